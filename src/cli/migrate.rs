//! `migrate`: creates the database, or brings its schema up to date.

use std::path::Path;

use anyhow::{Context as _, bail};

use super::screen::Screen;
use super::session::database_file;
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::record::command::MigrateRecord;
use crate::store::sqlite::folder_of;
use crate::store::{Store, StoreError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args, database: &DatabaseSettings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let file = database_file(database);
    file.check()?;
    need_folder(&database.path)?;
    let (store, outcome, done) = match Store::open(file, clock.clone()).await {
        Ok(store) => (store, "unchanged", "is up to date already"),
        Err(error) => {
            let (outcome, done) = match error {
                StoreError::Absent(_) | StoreError::Outdated { found: 0, .. } => {
                    ("created", "created")
                }
                StoreError::Outdated { .. } => ("updated", "brought up to date"),
                error => return Err(error.into()),
            };
            let store = Store::create_or_migrate(file, clock.clone()).await?;
            (store, outcome, done)
        }
    };
    let schema = store.schema().await;
    store.leave().await;
    let path = database.path.to_string_lossy();
    let record = MigrateRecord {
        path: &path,
        schema: schema?,
        outcome,
    };
    let mut screen = Screen::new(clock.now());
    screen.answer(args.json, &record, |view| {
        let schema = format!("  schema {}", record.schema);
        vec![view.done(&format!("{path} {done}")), view.dim(&schema)]
    })?;
    screen.finish()
}

/// The folder is not created: its owner and mode decide who may insert jobs, so a person has to choose them.
pub(super) fn need_folder(path: &Path) -> anyhow::Result<()> {
    let folder = folder_of(path);
    let there = folder
        .try_exists()
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    if there {
        return Ok(());
    }
    let (path, folder) = (path.display(), folder.display());
    bail!(
        "cannot create {path}: the folder {folder} does not exist; create it for the user and group that may write jobs, for \
         example with: install -d -m 2770 {folder}"
    );
}
