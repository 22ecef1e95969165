//! The command line: one file per command, and what they share to look alike.
//!
//! Commands that work on the database need no daemon, and no lock: they read and write beside one. What they print is
//! made by pure functions of the data, the time and the `screen::View`; text from outside is escaped.

mod backup;
mod cancel;
mod check;
mod completions;
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
mod told;
mod version;
mod watch;
mod webhook;

mod advice;
mod challenge;
mod columns;
mod deliveries;
mod history;
mod pages;
mod past;
mod privilege;
mod probe;
mod prompt;
mod screen;
mod steps;
mod style;
mod table;
mod text;
mod timeline;
mod unknown;

#[cfg(test)]
mod sample;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::clock::Clock;
use crate::config::{
    ConfigError, DatabaseSettings, Sources, load_database, load_enqueue, load_upstream,
};
use crate::store::{DatabaseFile, Store};
use privilege::leave_to_owner;
use screen::Screen;
use style::{Style, Tone};

/// The command failed.
const FAILED: u8 = 1;

/// The command line makes no sense.
const USAGE: u8 = 2;

/// The configuration cannot be used (`EX_CONFIG`).
const CONFIG: u8 = 78;

/// Follows asynchronous API jobs to their end and tells webhooks what happened.
#[derive(Debug, Parser)]
#[command(
    name = "jobtrackd",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 bad configuration."
)]
struct Cli {
    /// The configuration file [default: /etc/jobtrackd/jobtrackd.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow jobs until told to stop
    Run,
    /// Watch real jobs being followed: simulator, webhook receiver and daemon in a temporary folder
    Demo(demo::DemoArgs),
    /// Look whether everything the daemon needs is there and works
    Check(check::Args),
    /// Find out what is wrong with this host, and say what to do about it
    Doctor(doctor::Args),
    /// Create the database, or bring its schema up to date
    Migrate(migrate::Args),
    /// Copy the database to a file while it is in use
    Backup(backup::Args),
    /// Put a backup in the place of the database; the daemon must be stopped
    Restore(restore::Args),
    /// Hand over jobs to follow
    Enqueue(enqueue::Args),
    /// List jobs, newest first
    List(list::Args),
    /// Show everything known of one job: steps, challenge, failure, deliveries
    Show(show::Args),
    /// Watch jobs while they are followed
    Watch(watch::Args),
    /// Stop following jobs; they end as failed, kind cancelled
    Cancel(cancel::Args),
    /// End a pause that the API asked for
    Resume(resume::Args),
    /// Answer a job's open MFA challenge
    Mfa(mfa::Args),
    /// See and steer those who are told
    Webhook(webhook::Args),
    /// List deliveries, those of the newest events first; give up some
    Deliveries(told::Args),
    /// Show events in the order in which they happened, or as they happen
    Events(events::Args),
    /// Send events again, whatever became of them
    Replay(replay::Args),
    /// Serve a simulated job API, for development and tests without credentials
    Simulate(simulate::SimulateArgs),
    /// Print what a shell needs to complete command lines
    Completions(completions::Args),
    /// Print the manual page
    #[command(hide = true)]
    Manual,
}

/// Runs the program with these arguments, the program's name first, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::DisplayVersion => return ended(version::run()),
        Err(error) => {
            // Help for a pipe that closed early has no reader to be missed by.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    ended(dispatch(cli))
}

/// Reports what went wrong, and says it to whoever waits for the process.
fn ended(done: anyhow::Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::from(if error.is::<ConfigError>() {
                CONFIG
            } else if error.is::<clap::Error>() {
                USAGE
            } else {
                FAILED
            })
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<()> {
    let sources = Sources::from_process(cli.config);
    let database = || load_database(&sources);
    match cli.command {
        Command::Run => run::run(&sources),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Simulate(args) => block_on(simulate::run(args)),
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
        Command::Enqueue(args) => {
            let options = args.options(Clock::system().now())?;
            let (database, base_url, rules) = load_enqueue(&sources)?;
            let rules = enqueue::Rules::new(&base_url, rules)?;
            on_store(&database, async |store, screen| {
                enqueue::run(&args, &options, &rules, store, screen).await
            })
        }
        Command::List(args) => on_store(&database()?, async |store, screen| {
            list::run(&args, store, screen).await
        }),
        Command::Show(args) => on_store(&database()?, async |store, screen| {
            show::run(&args, store, screen).await
        }),
        Command::Watch(args) => {
            let database = database()?;
            on_store(&database, async |store, screen| {
                watch::run(&args, store, &database.path, screen).await
            })
        }
        Command::Cancel(args) => on_store(&database()?, async |store, screen| {
            cancel::run(&args, store, screen).await
        }),
        Command::Resume(args) => on_store(&database()?, async |store, screen| {
            resume::run(&args, store, screen).await
        }),
        Command::Webhook(args) => {
            let (database, webhooks) = args.settings(&sources)?;
            match args.test() {
                Some(test) => as_owner(&database, webhook::run_test(test, &webhooks, &database)),
                None => on_store(&database, async |store, screen| {
                    webhook::run(&args, &webhooks, store, screen).await
                }),
            }
        }
        Command::Deliveries(args) => on_store(&database()?, async |store, screen| {
            told::run(&args, store, screen).await
        }),
        Command::Events(args) => on_store(&database()?, async |store, screen| {
            events::run(&args, store, screen).await
        }),
        Command::Replay(args) => on_store(&database()?, async |store, screen| {
            replay::run(&args, store, screen).await
        }),
        Command::Mfa(args) => {
            mfa::leave_no_core();
            let (database, upstream) = load_upstream(&sources)?;
            on_store(&database, async |store, screen| {
                mfa::run(&args, &upstream, store, screen).await
            })
        }
    }
}

/// Runs a command's work on the database, which must be there. What was printed before a failure comes out before it.
fn on_store(
    database: &DatabaseSettings,
    work: impl AsyncFnOnce(&Store, &mut Screen) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    as_owner(database, async {
        let clock = Clock::system();
        let place = database_file(database);
        let store = Store::open(place, clock.clone()).await?;
        let mut screen = Screen::new(clock.now());
        let done = work(&store, &mut screen).await;
        let printed = screen.finish();
        store.leave().await;
        done.and(printed)
    })
}

/// Runs what opens the database; root does it as the owner of its folder.
fn as_owner(
    database: &DatabaseSettings,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    leave_to_owner(&database.path)?;
    block_on(work)
}

fn database_file(database: &DatabaseSettings) -> DatabaseFile<'_> {
    DatabaseFile::new(&database.path, database.allow_network_filesystem)
}

fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the program cannot start its runtime")?
        .block_on(work)
}

/// Writes a remark to standard error.
fn note(text: &str) {
    // Without a standard error nobody is there to be told.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes an error and its causes to standard error; an error of the command line says itself how to go on.
fn report(error: &anyhow::Error) {
    if let Some(usage) = error.downcast_ref::<clap::Error>() {
        drop(usage.print());
        return;
    }
    let mut stderr = io::stderr();
    let mut text = Style::of(&stderr).paint(Tone::Bad, "error:");
    for (depth, cause) in error.chain().enumerate() {
        let before = if depth == 0 { " " } else { "\n  caused by: " };
        // Writing to a String cannot fail, and without a standard error nobody is there to be told.
        let _ = write!(text, "{before}{cause}");
    }
    if let Some(advice) = advice::on(error) {
        let _ = write!(text, "\n  to go on: {advice}");
    }
    let _ = writeln!(stderr, "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
