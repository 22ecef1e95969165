//! The command line: one file per command, and what they share.
//!
//! Commands that work on the database need no daemon and take no lock: they read and write while one runs. Their output is
//! made by pure functions of the data, the time and the `screen::View`; text from outside is escaped.

mod backup;
mod bench;
mod cancel;
mod check;
mod completions;
mod deliveries;
pub mod demo;
mod doctor;
mod enqueue;
mod events;
mod list;
mod manual;
mod mfa;
mod migrate;
mod replay;
mod restore;
mod resume;
mod run;
mod show;
mod simulate;
mod watch;
mod webhook;

mod advice;
mod challenge;
mod options;
mod pages;
mod privilege;
mod probe;
mod prompt;
mod screen;
mod session;
mod steps;
mod table;
mod text;
mod unknown;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{ConfigError, Sources, Wanted, load_database, load_with};
use crate::store::sqlite::sqlite_version;
use screen::{Style, Tone, note, print};
use session::{as_owner, block_on, on_store};

/// The command failed.
const FAILED: u8 = 1;

/// The command line is wrong.
const USAGE: u8 = 2;

/// The configuration cannot be used (`EX_CONFIG`).
const CONFIG: u8 = 78;

/// Follows asynchronous API jobs to their end and sends signed events to webhooks.
#[derive(Debug, Parser)]
#[command(
    name = "jobtrackd",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 bad configuration."
)]
struct Cli {
    /// The configuration file [default: /etc/jobtrackd/jobtrackd.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow jobs until stopped by a signal
    Run,
    /// Watch real jobs being followed: simulator, webhook receiver and daemon in a temporary folder
    Demo(demo::DemoArgs),
    /// Check whether everything the daemon needs is there and works
    Check(check::Args),
    /// Find out what is wrong with this host, and say what to do about it
    Doctor(doctor::Args),
    /// Create the database, or bring its schema up to date
    Migrate(migrate::Args),
    /// Copy the database to a file while it is in use
    Backup(backup::Args),
    /// Replace the database by a backup; the daemon must be stopped
    Restore(restore::Args),
    /// Enqueue jobs to follow
    Enqueue(enqueue::Args),
    #[command(flatten)]
    OnDatabase(OnDatabase),
    /// Answer a job's open MFA challenge
    Mfa(mfa::Args),
    /// Show and manage webhooks
    Webhook(webhook::Args),
    /// Serve a simulated job API, for development and tests without credentials
    Simulate(simulate::SimulateArgs),
    /// Measure this machine in half a minute: what it polls, records and delivers each second
    #[command(hide = true)]
    Bench(bench::Args),
    /// Print a script with which a shell completes command lines
    Completions(completions::Args),
    /// Print the manual page
    #[command(hide = true)]
    Manual,
}

/// Commands that need nothing but the database.
#[derive(Debug, Subcommand)]
enum OnDatabase {
    /// List jobs, newest first
    List(list::Args),
    /// Show everything about one job: steps, challenge, failure, deliveries
    Show(show::Args),
    /// Watch jobs while they are followed
    Watch(watch::Args),
    /// Stop following jobs; they end as failed, kind cancelled
    Cancel(cancel::Args),
    /// End a pause that the API asked for
    Resume(resume::Args),
    /// List deliveries, those of the newest events first; give up some
    Deliveries(deliveries::Args),
    /// Show events in the order in which they happened, or as they happen
    Events(events::Args),
    /// Send events again, whether they were delivered or not
    Replay(replay::Args),
}

/// Runs the program with these arguments, the program's name first; the exit code says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = match Cli::try_parse_from(arguments) {
        Ok(cli) => dispatch(cli),
        Err(error) if error.kind() == ErrorKind::DisplayVersion => version(),
        Err(error) => {
            // Help for a pipe that closed early has no reader.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    let Err(error) = done else {
        return ExitCode::SUCCESS;
    };
    report(&error);
    ExitCode::from(if error.is::<ConfigError>() {
        CONFIG
    } else if error.is::<clap::Error>() {
        USAGE
    } else {
        FAILED
    })
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let sources = Sources::from_process(cli.config);
    let database = || load_database(&sources);
    match cli.command {
        Command::Run => run::run(&sources),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Simulate(args) => block_on(simulate::run(args)),
        Command::Bench(args) => bench::run(&args, &sources),
        Command::Completions(args) => completions::run(&args, &Cli::command()),
        Command::Manual => manual::run(Cli::command()),
        Command::Check(args) => block_on(check::run(&args, &sources)),
        Command::Doctor(args) => block_on(doctor::run(&args, &sources)),
        Command::Migrate(args) => {
            let database = database()?;
            as_owner(&database, migrate::run(&args, &database))
        }
        Command::Backup(args) => backup::run(&args, &database()?),
        Command::Restore(args) => restore::run(&args, &database()?),
        Command::Enqueue(args) => enqueue::run(&args, &sources),
        Command::Webhook(args) => webhook::run(&args, &sources),
        Command::Mfa(args) => {
            mfa::leave_no_core();
            let wanted = Wanted {
                api_key: true,
                ..Wanted::default()
            };
            let settings = load_with(&sources, wanted)?;
            on_store(&settings.database, async |store, screen| {
                mfa::run(&args, &settings.upstream, store, screen).await
            })
        }
        Command::OnDatabase(command) => {
            let database = database()?;
            on_store(&database, async |store, screen| match &command {
                OnDatabase::List(args) => list::run(args, store, screen).await,
                OnDatabase::Show(args) => show::run(args, store, screen).await,
                OnDatabase::Watch(args) => watch::run(args, store, &database.path, screen).await,
                OnDatabase::Cancel(args) => cancel::run(args, store, screen).await,
                OnDatabase::Resume(args) => resume::run(args, store, screen).await,
                OnDatabase::Deliveries(args) => deliveries::run(args, store, screen).await,
                OnDatabase::Events(args) => events::run(args, store, screen).await,
                OnDatabase::Replay(args) => replay::run(args, store, screen).await,
            })
        }
    }
}

/// For reports of problems: the version, the commit it was built from, and the version of SQLite.
fn version() -> anyhow::Result<()> {
    let sqlite = block_on(async { Ok(sqlite_version().await?) })?;
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("JOBTRACKD_COMMIT"));
    print(&format!("jobtrackd {version} ({commit}) SQLite {sqlite}\n"))
}

/// Writes an error and its causes to standard error, with a remedy unless it is a usage error, whose text has one.
fn report(error: &anyhow::Error) {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        drop(usage.print());
        return;
    }
    let mut text = Style::of(&io::stderr()).paint(Tone::Bad, "error:");
    for (depth, cause) in error.chain().enumerate() {
        let before = if depth == 0 { " " } else { "\n  caused by: " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{before}{cause}");
    }
    if let Some(advice) = advice::on(error) {
        let _ = write!(text, "\n  to go on: {advice}");
    }
    note(&text);
}

#[cfg(test)]
mod tests;
