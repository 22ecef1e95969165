//! `bench`: what this machine can do, measured in half a minute against simulated peers.
//!
//! The daemon and its peers are this program again, as processes of their own, so that the time of each on the processor is
//! known. They end when this one does, however it ends.

mod children;
mod measures;
mod place;
mod report;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;

use self::measures::Bench;
use self::place::Place;
use super::run as daemon;
use super::screen::{Screen, note};
use super::session::block_on;
use super::watch::signals::{Request, Signals};
use crate::clock::Clock;
use crate::config::Sources;
use crate::simulator::quick;

/// Measure this machine: what it polls, ends and delivers each second, and how long rows and commits take
#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/bench.txt").trim_end())]
pub(super) struct Args {
    /// The folder whose disk is measured [default: that of the configured database, if it exists and this user may write
    /// there, else the one for temporary files]
    #[arg(long, value_name = "DIR", value_parser = folder)]
    directory: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How long the longer measurements take
    #[arg(long, hide = true, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    span: Duration,
    /// Be one of the processes of a measurement
    #[arg(long, hide = true, value_name = "ROLE")]
    role: Option<Role>,
}

/// What a process of a measurement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// The daemon, until the end of standard input.
    Daemon,
    /// The API and the receiver, likewise.
    Peers,
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let folder = PathBuf::from(text);
    match folder.metadata() {
        Ok(found) if found.is_dir() => Ok(folder),
        Ok(_) => Err("not a folder; name one".to_owned()),
        Err(error) => Err(format!("{error}; name a folder that exists")),
    }
}

/// Measures, unless it is a part of a measurement itself. A signal ends it.
///
/// # Errors
/// When there is no place to measure, a part of it fails, or it was interrupted.
pub(super) fn run(args: &Args, sources: &Sources) -> anyhow::Result<()> {
    match args.role {
        Some(Role::Daemon) => {
            children::end_with_input();
            daemon::run(sources)
        }
        Some(Role::Peers) => {
            daemon::raise_open_files();
            block_on(async { Ok(quick::serve(()).await?) })
        }
        None => {
            let place = Place::find(args.directory.as_deref(), sources)?;
            block_on(measured(args, place))
        }
    }
}

async fn measured(args: &Args, place: Place) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("failed to listen to signals")?;
    let clock = Clock::system();
    let mut bench = Bench::new(place, args.span, clock.clone());
    if io::stderr().is_terminal() {
        note("measuring; this takes about half a minute");
    }
    let begun = clock.now();
    let is_end = async { while signals.next().await != Request::Stop {} };
    let figures = tokio::select! {
        figures = bench.measure() => Some(figures),
        () = is_end => None,
    };
    let closed = bench.close().await;
    let Some(figures) = figures else {
        closed?;
        bail!("the measurement was interrupted");
    };
    let (figures, place) = (figures?, closed?);
    let took = clock.now().since(begun);
    let mut screen = Screen::new(clock.now());
    report::print(&figures, &place, took, args.json, &mut screen)?;
    screen.finish()
}
