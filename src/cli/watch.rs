//! `watch`: jobs while they are followed, on a screen that moves, or as a line for each change.

mod lines;
mod page;
pub(super) mod signals;
mod terminal;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::screen::Screen;
use super::style::understands;
use super::unknown::unknown;
use crate::clock::Clock;
use crate::core::job::{JobId, JobState};
use crate::store::{Holder, InstanceLock, JobProgress, Overview, Store, StoreError, Watcher};
use lines::Lines;
use page::Frame;
use signals::{Asked, Signals, is_hung_up};
use terminal::Terminal;

/// How often it is looked whether somebody has committed.
const TICK: Duration = Duration::from_millis(100);

/// Ticks after which times are drawn anew.
const REDRAW: u32 = 10;

/// Redraws after which it is looked again whether a daemon follows the database.
const DAEMON: u32 = 5;

/// How long a job that has ended stays on the screen.
const LINGER: Duration = Duration::from_secs(10);

/// Ended jobs are counted for so long.
const LATELY: Duration = Duration::from_secs(60);

/// Most jobs of which changes are told in lines.
const MOST_JOBS: u32 = 1000;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without IDs it shows what runs, the job that changed last first, until it is interrupted: exit code \
                  0. With IDs it ends when all of them have ended: 0 if all succeeded, 1 if one failed, is not in the \
                  database, or was still running when it was interrupted.\n\n\
                  Where standard output is no terminal, or one with TERM=dumb, each change is a line.\n\n\
                  Examples:\n  jobtrackd watch\n  jobtrackd watch 61723 && echo done\n  \
                  jobtrackd watch --json | jq -c 'select(.type == \"job\")'"
)]
pub(super) struct Args {
    /// The jobs [default: all that run]
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    ids: Vec<JobId>,
    /// Print one JSON object per change
    #[arg(long)]
    json: bool,
}

/// How watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All jobs that were asked for have ended.
    Ended,
    /// Somebody has seen enough.
    Interrupted,
    /// Nobody can see it any more.
    Closed,
}

/// What was seen at one moment.
#[derive(Debug, Default)]
struct Sight {
    jobs: Vec<JobProgress>,
    overview: Overview,
}

/// Where things are shown.
enum Display {
    Moving(Terminal),
    Lines(Lines),
}

impl Display {
    /// Stops the process until its shell continues it, and leaves the terminal to the shell meanwhile.
    fn suspend(&mut self) -> anyhow::Result<()> {
        if let Self::Moving(terminal) = self {
            terminal.leave();
        }
        kill_process(getpid(), Signal::STOP)?;
        match self {
            Self::Moving(terminal) => terminal.show(),
            Self::Lines(_) => Ok(()),
        }
    }
}

pub(super) async fn run(
    args: &Args,
    store: &Store,
    database: &Path,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let mut ids: Vec<JobId> = Vec::new();
    for id in &args.ids {
        if !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    if let Some(first) = ids.first()
        && store.progress(&ids).await?.is_empty()
    {
        return Err(unknown(store, first).await?);
    }
    // From here on no signal ends the process before the terminal is as it was.
    let signals = Signals::listen().context("the program cannot listen to signals")?;
    let mut watch = Watch {
        store,
        watcher: store.watcher().await?,
        clock: Clock::system(),
        database: database.to_owned(),
        ids,
        lonely: false,
        news: false,
        sight: Sight::default(),
    };
    watch.ask_for_daemon();
    let mut display = if !args.json && understands(&io::stdout()) {
        Display::Moving(Terminal::enter(io::stdout(), screen.view.style)?)
    } else {
        if watch.lonely {
            super::note(&format!("note: {}", page::LONELY));
        }
        Display::Lines(Lines::new(args.json, screen.view.now))
    };
    let end = watch.show(&mut display, signals, screen).await;
    let moved = matches!(display, Display::Moving(_));
    drop(display);
    let end = end?;
    if moved && !watch.ids.is_empty() {
        screen.view.now = watch.clock.now();
        for line in page::draw(&watch.frame(), &screen.view, usize::MAX) {
            screen.line(&line);
        }
    }
    watch.verdict(end)
}

struct Watch<'a> {
    store: &'a Store,
    watcher: Watcher,
    clock: Clock,
    database: PathBuf,
    ids: Vec<JobId>,
    /// No daemon follows the database.
    lonely: bool,
    /// Somebody has committed, and it was not looked at yet.
    news: bool,
    sight: Sight,
}

impl Watch<'_> {
    async fn show(
        &mut self,
        display: &mut Display,
        mut signals: Signals,
        screen: &mut Screen,
    ) -> anyhow::Result<End> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut redraws = 0_u32;
        loop {
            let changed = std::mem::take(&mut self.news) || self.is_new().await?;
            let moving = matches!(display, Display::Moving(_));
            if changed || moving {
                let limit = match display {
                    Display::Moving(terminal) => terminal.size().1,
                    Display::Lines(_) => MOST_JOBS,
                };
                let open = match display {
                    Display::Moving(_) => Vec::new(),
                    Display::Lines(lines) => lines.open(),
                };
                let looked = self.look(limit, open).await;
                self.unless_temporary(looked)?;
            }
            match display {
                Display::Moving(terminal) => {
                    terminal.draw(
                        |view, height| page::draw(&self.frame(), &view, height),
                        &self.clock,
                    )?;
                }
                Display::Lines(lines) if changed => {
                    let told = lines
                        .tell(self.store, &self.sight, self.clock.now(), screen)
                        .await;
                    self.unless_temporary(told)?;
                    screen.flush();
                }
                Display::Lines(_) => {}
            }
            if screen.is_closed() {
                return Ok(End::Closed);
            }
            if self.all_ended() {
                return Ok(End::Ended);
            }
            if let Some(end) = self.wait(&mut ticks, &mut signals, display).await? {
                return Ok(end);
            }
            redraws += 1;
            if redraws.is_multiple_of(DAEMON) {
                self.ask_for_daemon();
            }
        }
    }

    /// Waits until there is something to show.
    async fn wait(
        &mut self,
        ticks: &mut Interval,
        signals: &mut Signals,
        display: &mut Display,
    ) -> anyhow::Result<Option<End>> {
        for _ in 0..REDRAW {
            let asked = tokio::select! {
                asked = signals.next() => Some(asked),
                _ = ticks.tick() => None,
            };
            match asked {
                Some(Asked::Stop) => return Ok(Some(End::Interrupted)),
                Some(Asked::Redraw) => return Ok(None),
                Some(Asked::Suspend) => {
                    display.suspend()?;
                    return Ok(None);
                }
                None => {}
            }
            if is_hung_up() {
                return Ok(Some(End::Closed));
            }
            if self.is_new().await? {
                self.news = true;
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Whether somebody has committed since it was last asked.
    async fn is_new(&mut self) -> anyhow::Result<bool> {
        match self.watcher.saw_commit().await {
            Err(error) if error.is_temporary() => Ok(false),
            answer => answer.context("the database cannot be watched any more"),
        }
    }

    async fn look(&mut self, limit: u32, mut more: Vec<JobId>) -> anyhow::Result<()> {
        let now = self.clock.now();
        let store = self.store;
        let ids = if self.ids.is_empty() {
            let mut ids = store.recently_changed(now.minus(LINGER), limit).await?;
            more.retain(|id| !ids.contains(id));
            ids.append(&mut more);
            ids
        } else {
            self.ids.clone()
        };
        self.sight = Sight {
            jobs: store.progress(&ids).await?,
            overview: store.overview(now.minus(LATELY)).await?,
        };
        Ok(())
    }

    /// What a lock hides just now is looked at again with the next tick.
    fn unless_temporary(&mut self, looked: anyhow::Result<()>) -> anyhow::Result<()> {
        let is_temporary = |error: &anyhow::Error| {
            let error = error.downcast_ref::<StoreError>();
            error.is_some_and(StoreError::is_temporary)
        };
        match looked {
            Err(error) if is_temporary(&error) => {
                self.news = true;
                Ok(())
            }
            done => done.context("the database cannot be read any more"),
        }
    }

    fn ask_for_daemon(&mut self) {
        // One that may not be asked for here says nothing of whether it runs.
        let holder = InstanceLock::holder(&self.database);
        self.lonely = matches!(holder, Ok(Holder::Nobody));
    }

    fn frame(&self) -> Frame<'_> {
        Frame {
            ids: &self.ids,
            jobs: &self.sight.jobs,
            overview: &self.sight.overview,
            lonely: self.lonely,
        }
    }

    fn all_ended(&self) -> bool {
        let ended = |job: &JobProgress| job.summary.row.state.is_final();
        let looked = !self.news;
        looked && !self.ids.is_empty() && self.sight.jobs.iter().all(ended)
    }

    /// What the exit code tells, with the reason.
    fn verdict(&self, end: End) -> anyhow::Result<()> {
        if self.ids.is_empty() || end == End::Closed {
            return Ok(());
        }
        let all = self.ids.len();
        let of_state = |wanted: fn(JobState) -> bool| {
            let jobs = self.sight.jobs.iter();
            jobs.filter(|job| wanted(job.summary.row.state)).count()
        };
        let running = of_state(|state| !state.is_final());
        let failed = of_state(|state| state == JobState::Failed);
        let absent = all - self.sight.jobs.len();
        if end == End::Interrupted && running > 0 {
            bail!(
                "interrupted while {running} of {all} jobs ran; they are followed all the same, look again with: jobtrackd watch"
            );
        }
        if absent > 0 {
            bail!(
                "{absent} of {all} jobs are not in the database; list those that are with: jobtrackd list"
            );
        }
        if failed > 0 {
            bail!("{failed} of {all} jobs failed; see why with: jobtrackd show ID");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
