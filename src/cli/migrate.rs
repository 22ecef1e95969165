//! `migrate`: the database is created, or its schema brought up to date.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::database_file;
use super::screen::Screen;
use super::style::Tone;
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::store::{DatabaseFile, Store, StoreError};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was done to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Created,
    Updated,
    Unchanged,
}

#[derive(Serialize)]
struct Record<'a> {
    path: &'a str,
    schema: i64,
    outcome: Outcome,
}

pub(super) async fn run(args: &Args, database: &DatabaseSettings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let path = &database.path;
    let place = database_file(database);
    place.check()?;
    need_folder(path)?;
    let (store, outcome) = match Store::open(place, clock.clone()).await {
        Ok(store) => (store, Outcome::Unchanged),
        Err(StoreError::Absent(_) | StoreError::Outdated { found: 0, .. }) => {
            (migrated(place, &clock).await?, Outcome::Created)
        }
        Err(StoreError::Outdated { .. }) => (migrated(place, &clock).await?, Outcome::Updated),
        Err(error) => return Err(error.into()),
    };
    let schema = store.schema().await;
    store.leave().await;
    let path = path.to_string_lossy();
    let record = Record {
        path: &path,
        schema: schema?,
        outcome,
    };
    let mut screen = Screen::new(clock.now());
    if args.json {
        screen.json(&record)?;
    } else {
        let view = screen.view;
        let done = match outcome {
            Outcome::Created => "created",
            Outcome::Updated => "brought up to date",
            Outcome::Unchanged => "is up to date already",
        };
        screen.line(&format!("{} {path} {done}", view.paint(Tone::Good, "✓")));
        screen.line(&view.paint(
            Tone::Dim,
            &format!("  schema {schema}", schema = record.schema),
        ));
    }
    screen.finish()
}

async fn migrated(place: DatabaseFile<'_>, clock: &Clock) -> Result<Store, StoreError> {
    Store::create_or_migrate(place, clock.clone()).await
}

/// A folder is not made on the way: its owner and mode decide who may insert jobs, so a person has to choose them.
pub(super) fn need_folder(path: &Path) -> anyhow::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => return Ok(()),
    };
    let there = folder
        .try_exists()
        .with_context(|| format!("cannot look into the folder {}", folder.display()))?;
    if !there {
        bail!(
            "cannot create {path}: the folder {folder} does not exist; create it for the user and group that may write \
             jobs, for example with: install -d -m 2770 {folder}",
            path = path.display(),
            folder = folder.display()
        );
    }
    Ok(())
}
