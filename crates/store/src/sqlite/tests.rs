//! What only the inside of the backend can show: query plans, and a writer with limits of its own.

mod limits;
mod plans;

use tempfile::TempDir;

use super::*;
use crate::Place;

async fn fresh() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let store = SqliteStore::create_or_migrate(Place::from(&file), Clock::system())
        .await
        .unwrap();
    (folder, store)
}
