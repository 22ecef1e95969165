//! `backup`: a copy of the database, while it is in use.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::geteuid;
use tokio_util::sync::CancellationToken;

use super::privilege::{Owner, check_way};
use super::screen::Screen;
use super::session::{cancelling, database_file, runtime};
use super::text;
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::core::time::millis;
use crate::lifecycle::{Request, Signals};
use crate::record::command::BackupRecord;
use crate::store::Store;
use crate::store::sqlite::{BackupTarget, Copied};

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/backup.txt").trim_end())]
pub(super) struct Args {
    /// Where to put the copy
    #[arg(value_name = "FILE", value_parser = file)]
    file: PathBuf,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("a database is a file, not a stream; name a file".to_owned()),
        "" => Err("empty; name a file".to_owned()),
        _ => Ok(PathBuf::from(text)),
    }
}

pub(super) fn run(args: &Args, database: &DatabaseSettings) -> anyhow::Result<()> {
    let clock = Clock::system();
    let begun = clock.now();
    let copied = made(args, database, &clock).context("no backup was made")?;
    let took = clock.now().since(begun);
    let path = args.file.to_string_lossy();
    let mut screen = Screen::new(clock.now());
    screen.answer(args.json, &record(&path, &copied, took), |view| {
        let details = format!("  {}", summary(&copied, took));
        vec![view.done(&format!("{path} written")), view.dim(&details)]
    })?;
    screen.finish().context("the backup was made")
}

/// The copy at `path`, and how long it took to make.
pub(super) fn record<'a>(path: &'a str, copied: &Copied, took: Duration) -> BackupRecord<'a> {
    BackupRecord {
        path,
        bytes: copied.bytes,
        jobs: copied.jobs,
        schema: copied.schema,
        took_ms: millis(took),
    }
}

/// As root: makes the copy as the owner of the database's folder, and gives it its name as root.
fn made(args: &Args, database: &DatabaseSettings, clock: &Clock) -> anyhow::Result<Copied> {
    let owner = Owner::of(&database.path)?;
    if geteuid().is_root() {
        check_way(&args.file)?;
    }
    let writer = owner.as_ref().map(Owner::ids);
    let runtime = runtime()?;
    // Before a file is created, which a signal would leave behind.
    let mut signals = {
        let _guard = runtime.enter();
        listen()?
    };
    let target = BackupTarget::prepare(&database.path, &args.file, args.force, writer)?;
    let mut copying = || {
        runtime.block_on(async {
            let stop = CancellationToken::new();
            let copying = Store::back_up(database_file(database), &target, clock, &stop);
            Ok(cancelling(&stop, async || is_end(&mut signals).await, copying).await?)
        })
    };
    let copied = match &owner {
        Some(owner) => owner.run(copying)?,
        None => copying()?,
    };
    target.put()?;
    Ok(copied)
}

/// Whether the next signal is one to stop. A terminal that goes away stops nothing.
pub(super) async fn is_end(signals: &mut Signals) -> bool {
    signals.next().await == Request::Stop
}

/// Listens to signals; must be called in a runtime.
pub(super) fn listen() -> anyhow::Result<Signals> {
    Signals::listen().context("the program cannot listen to signals")
}

/// What a copy holds and how long it took, for people.
pub(super) fn summary(copied: &Copied, took: Duration) -> String {
    let jobs = text::count(u64::try_from(copied.jobs).unwrap_or_default(), "job");
    let (size, took) = (text::size(copied.bytes), text::brief(took));
    format!("{jobs}, schema {}, {size} in {took}", copied.schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_output_is_no_place_for_a_backup() {
        assert!(file("-").unwrap_err().contains("name a file"));
        assert_eq!(file("./-").unwrap(), PathBuf::from("./-"));
    }
}
