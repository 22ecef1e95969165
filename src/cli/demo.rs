//! `jobtrackd demo`: the whole of it in half a minute, with nothing needed and nothing left behind.
//!
//! A simulated API, a webhook receiver and the daemon run in one process and meet over loopback sockets and a database
//! in a temporary folder, as they would in earnest; the demo itself is an outsider that inserts rows, answers
//! challenges, and at the end compares three records that know nothing of each other: what the API showed, what the
//! daemon recorded, and what the webhooks received.

mod plan;

mod seed;

mod stage;

mod play;

mod screen;

mod paint;

mod evidence;

mod history;

mod checks;

mod report;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub use screen::Screen;

use crate::lifecycle::Signals;
use crate::logging;
use checks::Check;
use evidence::Evidence;
use play::Play;
use stage::Stage;

/// How often the demo looks at what has happened, at most.
const TICK: Duration = Duration::from_millis(100);

/// See everything at work: a simulated API, webhooks and the daemon, on this machine alone
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Keep the temporary folder with its database and configuration, and say where it is
    #[arg(long)]
    pub keep: bool,

    /// Show the daemon's own log, and plain lines in place of a moving display
    #[arg(long)]
    pub logs: bool,

    /// How many times faster than usual
    #[arg(long, hide = true, value_name = "X", default_value = "1", value_parser = parse_pace)]
    pub pace: f64,

    /// When the demo gives up
    #[arg(long, hide = true, value_name = "DURATION", default_value = "60s", value_parser = humantime::parse_duration)]
    pub limit: Duration,

    /// A type of events that the webhooks never take, to see a demo fail
    #[arg(long, hide = true, value_name = "TYPE")]
    pub refuse: Option<String>,
}

impl Default for DemoArgs {
    fn default() -> Self {
        Self {
            keep: false,
            logs: false,
            pace: 1.0,
            limit: Duration::from_secs(60),
            refuse: None,
        }
    }
}

/// How the performance came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finale {
    /// Nothing more was to be expected.
    Over,
    /// The time was up.
    TimeUp,
    /// It was told to stop.
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

/// Performs the demo on the process's own terminal; ctrl-c ends it, a second one at once.
///
/// # Errors
/// When something cannot be started, anything expected is missing at the end, or it was interrupted.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("failed to listen to signals")?;
    let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
    let screen = Screen::of_process(args.logs);
    let performance = run_on(args, screen, &stop, &hurry);
    tokio::pin!(performance);
    loop {
        tokio::select! {
            result = &mut performance => return result,
            _ = signals.next() => {
                if stop.is_cancelled() {
                    hurry.cancel();
                }
                stop.cancel();
            }
        }
    }
}

/// As [`run`], on this screen and until `stop`; `hurry` then cuts the stopping short.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    args: DemoArgs,
    screen: Screen,
    stop: &CancellationToken,
    hurry: &CancellationToken,
) -> anyhow::Result<()> {
    let (mut view, mut out, paint) = screen.into_parts();
    let mut stage = Stage::set(args.pace, args.refuse.as_deref(), |settings| {
        if args.logs {
            logging::start(&settings.log)?;
        }
        Ok(())
    })
    .await?;
    let mut play = Play::new(&stage, args.pace);
    view.say(&format!(
        "{} jobs, an API at {}, two webhooks and jobtrackd, in {}",
        play.actors.len(),
        stage.simulator.base_url(),
        stage.folder.path().display(),
    ));
    let finale = perform(&mut stage, &mut play, &mut view, &args, stop).await;
    view.close();
    let (control, inbox) = (stage.simulator.control(), stage.receiver.inbox());
    let struck = stage.strike(hurry).await;
    let evidence = Evidence::gather(&play, &struck.outside, &control, &inbox).await;
    struck.outside.close().await;
    let kept = leave(struck.folder, args.keep);
    let (finale, evidence, kept) = (finale?, evidence?, kept?);
    if finale == Finale::Interrupted {
        say_kept(&mut *out, kept.as_deref())?;
        anyhow::bail!("the demo was interrupted");
    }
    let mut checks = checks::all(&evidence);
    checks.push(Check::of(
        "the daemon stopped when it was told to",
        |missing| {
            if let Err(error) = &struck.stopped {
                missing.push(format!("{error:#}"));
            }
        },
    ));
    let report = report::text(&evidence, &checks, paint);
    out.write_all(report.as_bytes())
        .context("failed to write to standard output")?;
    say_kept(&mut *out, kept.as_deref())?;
    verdict(&checks, finale, args.limit)
}

/// Plays until nothing more is to be expected and a while of silence has confirmed it.
async fn perform(
    stage: &mut Stage,
    play: &mut Play,
    view: &mut screen::View,
    args: &DemoArgs,
    stop: &CancellationToken,
) -> anyhow::Result<Finale> {
    let give_up = Instant::now() + args.limit;
    let mut ticks = tokio::time::interval(plan::at_pace(TICK, args.pace).clamp(TICK / 10, TICK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over_since = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return Ok(Finale::Interrupted),
            error = stage.daemon.failed() => return Err(error.context("the daemon failed")),
        }
        let happenings = play.step().await?;
        view.show(play, &happenings);
        if play.is_over() {
            let since = *over_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= stage::quiet_time(args.pace) {
                return Ok(Finale::Over);
            }
        }
        if Instant::now() >= give_up {
            return Ok(Finale::TimeUp);
        }
    }
}

/// Removes the folder, or keeps it and says where it is.
fn leave(folder: TempDir, keep: bool) -> anyhow::Result<Option<PathBuf>> {
    if keep {
        return Ok(Some(folder.keep()));
    }
    let path = folder.path().to_owned();
    let removed = folder.close();
    removed.with_context(|| format!("failed to remove {}", path.display()))?;
    Ok(None)
}

fn say_kept(out: &mut dyn Write, kept: Option<&Path>) -> anyhow::Result<()> {
    if let Some(folder) = kept {
        let file = stage::config_file(folder);
        writeln!(
            out,
            "kept {}; look at a job with:\n  jobtrackd --config {} show 61723",
            folder.display(),
            file.display()
        )
        .context("failed to write to standard output")?;
    }
    Ok(())
}

fn verdict(checks: &[Check], finale: Finale, limit: Duration) -> anyhow::Result<()> {
    let missing: Vec<&str> = checks
        .iter()
        .filter(|check| !check.missing.is_empty())
        .map(|check| check.promise)
        .collect();
    let late = match finale {
        Finale::TimeUp => format!("not over after {}; ", humantime::format_duration(limit)),
        Finale::Over | Finale::Interrupted => String::new(),
    };
    if missing.is_empty() && finale == Finale::Over {
        return Ok(());
    }
    anyhow::bail!("the demo failed: {late}not so: {}", missing.join("; "))
}
