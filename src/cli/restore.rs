//! `restore`: a backup in the place of the database.

use std::path::PathBuf;

use anyhow::Context as _;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::backup::{file, held, until_asked};
use super::migrate::need_folder;
use super::place_of;
use super::screen::Screen;
use super::style::Tone;
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::store::{CopyError, LockError, Store};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Stop the daemon and every program that has the database open first. The database that was there is \
                  kept beside the new one, under a name with .before-restore- and the time."
)]
pub(super) struct Args {
    /// A file that jobtrackd backup has made
    #[arg(value_name = "FILE", value_parser = file)]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    path: &'a str,
    from: &'a str,
    bytes: u64,
    jobs: i64,
    schema: i64,
    previous: Option<&'a str>,
    took_ms: u128,
}

pub(super) async fn run(args: &Args, database: &DatabaseSettings) -> anyhow::Result<()> {
    let clock = Clock::system();
    need_folder(&database.path)?;
    let (stop, begun) = (CancellationToken::new(), clock.now());
    let restoring = Store::restore(place_of(database), &args.file, &clock, &stop);
    let restored = until_asked(restoring, &stop).await?;
    let took = clock.now().since(begun);
    let restored = restored.map_err(|error| {
        let first = match &error {
            CopyError::Lock(LockError::Held { .. }) => {
                "nothing was restored; stop the daemon first, for example with: systemctl stop jobtrackd"
            }
            CopyError::Lock(LockError::Unusable { .. }) => {
                "nothing was restored; run it as the daemon's user, or as root"
            }
            _ => "nothing was restored",
        };
        anyhow::Error::new(error).context(first)
    })?;
    let (path, from) = (database.path.to_string_lossy(), args.file.to_string_lossy());
    let previous = restored
        .previous
        .as_ref()
        .map(|path| path.to_string_lossy());
    let mut screen = Screen::new(clock.now());
    if args.json {
        screen.json(&Record {
            path: &path,
            from: &from,
            bytes: restored.copied.bytes,
            jobs: restored.copied.jobs,
            schema: restored.copied.schema,
            previous: previous.as_deref(),
            took_ms: took.as_millis(),
        })?;
        return screen.finish().context("the database was restored");
    }
    let view = screen.view;
    let done = view.paint(Tone::Good, "✓");
    screen.line(&format!("{done} {path} restored from {from}"));
    let mut said = vec![held(&restored.copied, took)];
    if restored.copied.schema < restored.newest {
        let newest = restored.newest;
        said.push(format!("the next start brings it up to schema {newest}"));
    }
    if let Some(previous) = previous {
        said.push(format!("the database before it is {previous}"));
    }
    for line in said {
        screen.line(&view.paint(Tone::Dim, &format!("  {line}")));
    }
    screen.finish().context("the database was restored")
}
