//! What only the inside of the backend can show: query plans, and a writer with limits of its own.

mod limits;
mod plans;

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};
use tempfile::TempDir;
use tokio::sync::Mutex;

use super::files::Files;
use super::store::{Shared, Store};
use crate::StoreError;
use jobtrackd_clock::Clock;

async fn fresh() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    let store = Store::create_or_migrate(&file, Clock::system())
        .await
        .unwrap();
    (folder, store)
}
