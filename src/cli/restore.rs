//! `restore`: replaces the database by a backup.

use std::path::PathBuf;

use anyhow::Context as _;
use rustix::process::geteuid;
use tokio_util::sync::CancellationToken;

use super::backup::{file, is_end, listen, record, summary};
use super::migrate::need_folder;
use super::privilege::{check_way, leave_to_owner};
use super::screen::Screen;
use super::session::{block_on, cancelling, database_file};
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::record::command::RestoreRecord;
use crate::store::Store;
use crate::store::sqlite::{BackupFile, CopyError, LockError, Restored};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/restore.txt").trim_end())]
pub(super) struct Args {
    /// A file that jobtrackd backup has made
    #[arg(value_name = "FILE", value_parser = file)]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, database: &DatabaseSettings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let begun = clock.now();
    let restored = restored(args, database, &clock).map_err(|error| {
        let first = match error.downcast_ref() {
            Some(CopyError::Lock(LockError::Held { .. })) => {
                "nothing was restored; stop the daemon first, for example with: systemctl stop jobtrackd"
            }
            _ => "nothing was restored",
        };
        error.context(first)
    })?;
    let took = clock.now().since(begun);
    let (path, from) = (database.path.to_string_lossy(), args.file.to_string_lossy());
    let previous = restored.previous.as_ref();
    let previous = previous.map(|path| path.to_string_lossy());
    let answer = RestoreRecord {
        copy: record(&path, &restored.copied, took),
        from: &from,
        previous: previous.as_deref(),
    };
    let mut screen = Screen::new(clock.now());
    screen.answer(args.json, &answer, |view| {
        let details = summary(&restored.copied, took);
        let mut lines = vec![
            view.done(&format!("{path} restored from {from}")),
            view.dim(&format!("  {details}")),
        ];
        if restored.copied.schema < restored.newest {
            let schema = restored.newest;
            lines.push(view.dim(&format!("  the next start brings it up to schema {schema}")));
        }
        let previous = previous.as_ref();
        let note = |previous| view.dim(&format!("  the database before it is {previous}"));
        lines.extend(previous.map(note));
        lines
    })?;
    screen.finish().context("the database was restored")
}

/// As root: only opens the file as root; all the rest is done as the owner of the database's folder.
fn restored(args: &Args, database: &DatabaseSettings, clock: &Clock) -> anyhow::Result<Restored> {
    need_folder(&database.path)?;
    if geteuid().is_root() {
        check_way(&args.file)?;
    }
    let file = BackupFile::open(&args.file)?;
    leave_to_owner(&database.path)?;
    block_on(async {
        let stop = CancellationToken::new();
        let restoring = Store::restore(database_file(database), &file, clock, &stop);
        let mut signals = listen()?;
        Ok(cancelling(&stop, async || is_end(&mut signals).await, restoring).await?)
    })
}
