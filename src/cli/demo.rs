//! `jobtrackd demo`: everything at work for half a minute, without any preparation, and without a trace afterwards.
//!
//! A simulated API, a webhook receiver and the daemon run in one process and communicate over loopback sockets and a
//! database in a temporary folder, as they would in production. The demo drives them from outside: it inserts rows and
//! answers challenges, while `watch` shows the database. At the end it compares three independent records: what the API
//! answered, what the daemon recorded, and what the webhooks received.

mod dialects;
mod documents;
mod driver;
mod jobs;
mod report;
mod sandbox;

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use driver::Driver;
pub use jobs::{AUDIT, BILLING, DemoJob, User, jobs};
pub use sandbox::Sandbox;

use super::screen::{Screen, note};
use super::session::cancelling;
use super::watch::lines::Lines;
use super::watch::signals::{Request, Signals};
use super::watch::{Display, End, Watch};
use crate::app::{Daemon, Environment};
use crate::clock::Clock;
use crate::core::job::JobId;
use crate::logging;
use crate::status::Listen;
use crate::store::Store;
use dialects::Followed;
use report::{Check, Report};

/// How often the demo checks what is due.
const TICK: Duration = Duration::from_millis(100);

/// See everything at work: a simulated API, webhooks and the daemon, on this machine alone
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Keep the temporary folder with its database and configuration, and say where it is
    #[arg(long)]
    keep: bool,

    /// Show the daemon's own log, and plain lines in place of a moving display
    #[arg(long)]
    logs: bool,

    /// Serve the dashboard, and leave it running on the demo's data until ctrl-c
    #[arg(long)]
    open: bool,

    /// How many times faster than usual
    #[arg(long, hide = true, value_name = "X", default_value = "1", value_parser = parse_pace)]
    pace: f64,

    /// When the demo gives up
    #[arg(long, hide = true, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    limit: Duration,

    /// A type of events that the webhooks never take, to see a demo fail
    #[arg(long, hide = true, value_name = "TYPE")]
    refuse: Option<String>,
}

/// Why the demo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// Everything has ended.
    Over,
    /// The time limit was reached.
    TimeUp,
    /// A signal ended it.
    Interrupted,
}

fn parse_pace(text: &str) -> Result<f64, String> {
    let pace: f64 = text.parse().map_err(|_| "not a number; try 2".to_owned())?;
    if (0.1..=20.0).contains(&pace) {
        Ok(pace)
    } else {
        Err("must be 0.1 to 20".to_owned())
    }
}

/// Runs the demo; ctrl-c ends it, a second one at once.
///
/// # Errors
/// When something cannot be started, a promise is broken, or it was interrupted.
pub(super) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("failed to listen to signals")?;
    let sandbox = Sandbox::start(args.pace, args.refuse.as_deref(), args.open).await?;
    note(&format!(
        "{} jobs, an API at {}, two webhooks and jobtrackd, in {}",
        jobs().len(),
        sandbox.simulator.base_url(),
        sandbox.folder.path().display(),
    ));
    let settings = sandbox.settings()?;
    if args.logs {
        logging::start(&settings.log)?;
    }
    let database = settings.database.path.clone();
    let mut daemon = Daemon::start(settings, Environment::default(), &CancellationToken::new())
        .await
        .context("failed to start the daemon")?;
    let store = Store::open(&database, Clock::system()).await?;
    let address = daemon.status_address();
    let finish = tokio::select! {
        finish = show_and_stay(&args, &sandbox, &store, &database, &mut signals, address) => finish,
        error = daemon.failed() => Err(error.context("the daemon failed")),
    };
    // The daemon stops first, and so finds the others still there.
    let hurry = CancellationToken::new();
    let is_end = async || signals.next().await == Request::Stop;
    let stopped = cancelling(&hurry, is_end, daemon.stop(&hurry)).await;
    let report = Report::gather(&sandbox, &store).await;
    store.close().await;
    let others = match &finish {
        Ok(Finish::Over) => others(&args, &sandbox, &mut signals).await?,
        _ => Vec::new(),
    };
    let Sandbox {
        folder,
        simulator,
        receiver,
        ..
    } = sandbox;
    receiver.shutdown().await;
    simulator.shutdown().await;
    let kept = leave(folder, args.keep);
    let (finish, report, kept) = (finish?, report?, kept?);
    let mut screen = Screen::new(Clock::system().now());
    let mut checks = report.checks();
    if finish == Finish::Over {
        screen.text(&dialects::lines(&others, &screen.view));
        checks.push(dialects::check(&others));
    }
    let stopped = stopped.err().map(|error| format!("{error:#}"));
    checks.push(Check {
        promise: "the daemon stopped when asked to",
        problems: Vec::from_iter(stopped),
    });
    if finish != Finish::Interrupted {
        screen.text(&report.text(&checks, &screen.view));
    }
    if let Some(folder) = kept {
        screen.line(&format!(
            "kept {}; see a job with:\n  jobtrackd --config {} show 61723",
            folder.display(),
            folder.join(sandbox::CONFIG_FILE).display()
        ));
    }
    screen.finish()?;
    verdict(&checks, finish, args.limit)
}

/// Follows a job of each other API; a signal ends it.
async fn others(
    args: &DemoArgs,
    sandbox: &Sandbox,
    signals: &mut Signals,
) -> anyhow::Result<Vec<Followed>> {
    let is_end = async { while signals.next().await != Request::Stop {} };
    tokio::select! {
        followed = dialects::follow_all(sandbox, args.limit) => Ok(followed),
        () = is_end => bail!("the demo was interrupted"),
    }
}

/// Shows what happens, and leaves the dashboard, if it has an address, until a signal comes.
async fn show_and_stay(
    args: &DemoArgs,
    sandbox: &Sandbox,
    store: &Store,
    database: &Path,
    signals: &mut Signals,
    dashboard: Option<Listen>,
) -> anyhow::Result<Finish> {
    if let Some(at) = &dashboard {
        note(&format!("the dashboard: http://{at}/"));
    }
    let finish = show(args, sandbox, store, database, signals).await?;
    if let Some(at) = dashboard.filter(|_| finish != Finish::Interrupted) {
        note(&format!("the dashboard stays at http://{at}/ until ctrl-c"));
        while signals.next().await != Request::Stop {}
    }
    Ok(finish)
}

/// Shows what happens until everything has ended, the time limit is reached, or a signal ends it.
async fn show(
    args: &DemoArgs,
    sandbox: &Sandbox,
    store: &Store,
    database: &Path,
    signals: &mut Signals,
) -> anyhow::Result<Finish> {
    let mut watch = Watch::new(store, database, Vec::new()).await?;
    let now = Clock::system().now();
    let mut screen = Screen::stderr(now);
    let mut display = Display::open(!args.logs, Lines::new(false, now))?;
    let is_page = display.is_page();
    let print = |line: &str| {
        if !is_page {
            note(line);
        }
    };
    let watching = async {
        match watch.show(&mut display, signals, &mut screen).await {
            // A display without a reader does not end the demo.
            Ok(End::Closed) => pending().await,
            shown => shown,
        }
    };
    let finish = tokio::select! {
        finish = drive(sandbox, store, args.limit, print) => finish?,
        shown = watching => shown.map(|_| Finish::Interrupted)?,
    };
    watch.update(&mut display, &mut screen).await?;
    drop(display);
    if finish != Finish::Interrupted {
        let ids: Result<_, _> = jobs().iter().map(|job| JobId::parse(job.id)).collect();
        let mut all = Watch::new(store, database, ids?).await?;
        all.read(0_u32, Vec::new()).await?;
        let mut screen = Screen::new(now);
        all.print(&mut screen);
        screen.finish()?;
    }
    Ok(finish)
}

/// Drives the demo until everything has ended, and nothing happens for a while after that.
async fn drive(
    sandbox: &Sandbox,
    store: &Store,
    limit: Duration,
    print: impl Fn(&str),
) -> anyhow::Result<Finish> {
    let mut driver = Driver::new(sandbox, store.clone());
    let began = Instant::now();
    let mut ticks = interval(TICK.div_f64(sandbox.pace).clamp(TICK / 10, TICK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over_since = None;
    while began.elapsed() < limit {
        ticks.tick().await;
        driver.step(&print).await?;
        if driver.is_over().await? {
            let since = *over_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= sandbox.quiet_time() {
                return Ok(Finish::Over);
            }
        }
    }
    Ok(Finish::TimeUp)
}

/// Removes the folder, or keeps it and returns its path.
fn leave(folder: TempDir, keep: bool) -> anyhow::Result<Option<PathBuf>> {
    if keep {
        return Ok(Some(folder.keep()));
    }
    let failed = format!("failed to remove {}", folder.path().display());
    folder.close().context(failed)?;
    Ok(None)
}

fn verdict(checks: &[Check], finish: Finish, limit: Duration) -> anyhow::Result<()> {
    let broken = checks.iter().filter(|check| !check.problems.is_empty());
    let broken: Vec<&str> = broken.map(|check| check.promise).collect();
    let late = match finish {
        Finish::Interrupted => bail!("the demo was interrupted"),
        Finish::TimeUp => format!("not over after {}; ", humantime::format_duration(limit)),
        Finish::Over if broken.is_empty() => return Ok(()),
        Finish::Over => String::new(),
    };
    bail!("the demo failed: {late}not so: {}", broken.join("; "))
}
