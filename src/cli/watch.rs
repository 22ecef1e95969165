//! `watch`: jobs while they are followed, on a screen that is updated, or as a line for each change.

pub(super) mod lines;
mod page;
pub(super) mod signals;
mod terminal;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, getpid, kill_process};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::screen::{Screen, Style, understands};
use super::unknown::unknown;
use crate::clock::Clock;
use crate::core::job::{JobId, JobState};
use crate::store::sqlite::{Holder, InstanceLock, Watcher};
use crate::store::{Intake as _, Store, StoreError, Wakeups as _, Watching as _};
use lines::Lines;
use page::Frame;
use signals::{Request, Signals, output_is_closed};
use terminal::Terminal;

/// How often it is checked whether another process has committed.
const TICK: Duration = Duration::from_millis(100);

/// Ticks after which times are updated.
const REDRAW: u32 = 10;

/// Redraws after which the daemon's lock is tried again.
const DAEMON: u32 = 5;

/// How long a job that has ended stays on the screen.
const LINGER: Duration = Duration::from_secs(10);

/// How long ended jobs are counted.
const COUNTED: Duration = Duration::from_secs(60);

/// Most jobs whose changes are printed as lines.
const MAX_JOBS: u32 = 1000;

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/watch.txt").trim_end())]
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
pub(super) enum End {
    /// All jobs that were named have ended.
    Ended,
    /// A signal ended it.
    Interrupted,
    /// The reader of the output has gone.
    Closed,
}

/// Where changes are shown.
pub(super) enum Display {
    /// A terminal that is updated.
    Page(Terminal),
    /// A line for each change.
    Lines(Lines),
}

impl Display {
    /// A page if it is wanted and standard output is a terminal that can show it, otherwise lines.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(super) fn open(wants_page: bool, lines: Lines) -> anyhow::Result<Self> {
        let out = io::stdout();
        match wants_page && understands(&out) {
            true => Terminal::enter(&out, Style::of(&out)).map(Self::Page),
            false => Ok(Self::Lines(lines)),
        }
    }

    pub(super) fn is_page(&self) -> bool {
        matches!(self, Self::Page(_))
    }

    /// Stops the process until its shell continues it, and leaves the terminal to the shell meanwhile.
    fn suspend(&mut self) -> anyhow::Result<()> {
        if let Self::Page(terminal) = self {
            terminal.leave();
        }
        kill_process(getpid(), Signal::STOP)?;
        match self {
            Self::Page(terminal) => terminal.show(),
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
    let mut seen = HashSet::new();
    let ids = args.ids.iter().filter(|id| seen.insert(*id));
    let ids: Vec<JobId> = ids.cloned().collect();
    if let Some(first) = ids.first()
        && store.progress(&ids).await?.is_empty()
    {
        return Err(unknown(store, first).await?);
    }
    // From here on no signal ends the process before the terminal is restored.
    let mut signals = Signals::listen().context("the program cannot listen to signals")?;
    let mut watch = Watch::new(store, database, ids).await?;
    let lines = Lines::new(args.json, screen.view.now);
    let mut display = Display::open(!args.json, lines)?;
    let is_page = display.is_page();
    if watch.frame.no_daemon && !is_page {
        screen.note(page::NO_DAEMON);
    }
    let end = watch.show(&mut display, &mut signals, screen).await;
    drop(display);
    let end = end?;
    if is_page && !watch.frame.ids.is_empty() {
        watch.print(screen);
    }
    watch.verdict(end)
}

/// Whether another process has committed; not known while the database is locked.
pub(super) async fn saw_commit(watcher: &mut Watcher) -> anyhow::Result<bool> {
    match watcher.saw_commit().await {
        Err(error) if error.is_temporary() => Ok(false),
        saw => saw.context("the database cannot be watched any more"),
    }
}

/// Whether reading again can succeed, once a lock is released.
pub(super) fn is_temporary(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<StoreError>();
    error.is_some_and(StoreError::is_temporary)
}

/// The jobs of a database, read again after each commit.
pub(super) struct Watch<'a> {
    store: &'a Store,
    watcher: Watcher,
    clock: Clock,
    database: PathBuf,
    /// Whether the frame is older than the last commit.
    is_stale: bool,
    frame: Frame,
}

impl<'a> Watch<'a> {
    /// Of these jobs, or of all that run.
    ///
    /// # Errors
    /// When the database cannot be watched.
    pub(super) async fn new(
        store: &'a Store,
        database: &Path,
        ids: Vec<JobId>,
    ) -> anyhow::Result<Self> {
        let mut watch = Self {
            store,
            watcher: store.watcher().await?,
            clock: Clock::system(),
            database: database.to_owned(),
            is_stale: true,
            frame: Frame {
                ids,
                ..Frame::default()
            },
        };
        watch.check_daemon();
        Ok(watch)
    }

    /// Shows what happens until all named jobs have ended, a signal ends it, or the reader has gone.
    ///
    /// # Errors
    /// When the database cannot be read any more, or the terminal cannot be written.
    pub(super) async fn show(
        &mut self,
        display: &mut Display,
        signals: &mut Signals,
        screen: &mut Screen,
    ) -> anyhow::Result<End> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut redraws = 0_u32;
        loop {
            self.update(display, screen).await?;
            if screen.is_closed() {
                return Ok(End::Closed);
            }
            if self.all_ended() {
                return Ok(End::Ended);
            }
            if let Some(end) = self.wait(&mut ticks, signals, display).await? {
                return Ok(end);
            }
            redraws += 1;
            if redraws.is_multiple_of(DAEMON) {
                self.check_daemon();
            }
        }
    }

    /// Shows the present state.
    ///
    /// # Errors
    /// Those of [`Watch::show`].
    pub(super) async fn update(
        &mut self,
        display: &mut Display,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        self.is_stale |= saw_commit(&mut self.watcher).await?;
        match display {
            Display::Page(terminal) => {
                self.is_stale = false;
                let (_, rows) = terminal.size();
                let read = self.read(rows, Vec::new()).await;
                self.unless_temporary(read)?;
                let view = terminal.view(self.clock.now());
                terminal.draw(&page::draw(&self.frame, &view, usize::from(rows)))
            }
            Display::Lines(lines) if std::mem::take(&mut self.is_stale) => {
                let read = self.read(MAX_JOBS, lines.open()).await;
                self.unless_temporary(read)?;
                let now = self.clock.now();
                let printed = lines.print(self.store, &self.frame.jobs, now, screen).await;
                self.unless_temporary(printed)?;
                screen.flush();
                Ok(())
            }
            Display::Lines(_) => Ok(()),
        }
    }

    /// Prints all jobs in the state that was shown last.
    pub(super) fn print(&self, screen: &mut Screen) {
        screen.view.now = self.clock.now();
        for line in page::draw(&self.frame, &screen.view, usize::MAX) {
            screen.line(&line);
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
            tokio::select! {
                request = signals.next() => match request {
                    Request::Stop => return Ok(Some(End::Interrupted)),
                    Request::Redraw => return Ok(None),
                    Request::Suspend => return display.suspend().map(|()| None),
                },
                _ = ticks.tick() => {}
            }
            if output_is_closed() {
                return Ok(Some(End::Closed));
            }
            if saw_commit(&mut self.watcher).await? {
                self.is_stale = true;
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// Reads the jobs: those that were named, or at most `limit` that run, and `more`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn read(
        &mut self,
        limit: impl Into<u32>,
        mut more: Vec<JobId>,
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        let ids = if self.frame.ids.is_empty() {
            let recent = now.minus(LINGER);
            let mut ids = self.store.recently_changed(recent, limit.into()).await?;
            more.retain(|id| !ids.contains(id));
            ids.append(&mut more);
            ids
        } else {
            self.frame.ids.clone()
        };
        self.frame.jobs = self.store.progress(&ids).await?;
        self.frame.overview = self.store.overview(now.minus(COUNTED)).await?;
        Ok(())
    }

    /// While the database is locked, it is read again at the next tick.
    fn unless_temporary(&mut self, done: anyhow::Result<()>) -> anyhow::Result<()> {
        match done {
            Err(error) if is_temporary(&error) => {
                self.is_stale = true;
                Ok(())
            }
            done => done.context("the database cannot be read any more"),
        }
    }

    fn check_daemon(&mut self) {
        // A lock that this user may not try says nothing about a daemon.
        let holder = InstanceLock::holder(&self.database);
        self.frame.no_daemon = matches!(holder, Ok(Holder::Nobody));
    }

    fn all_ended(&self) -> bool {
        !self.is_stale
            && !self.frame.ids.is_empty()
            && self.frame.count(JobState::is_final) == self.frame.jobs.len()
    }

    /// The exit code, with the reason.
    fn verdict(&self, end: End) -> anyhow::Result<()> {
        let frame = &self.frame;
        if frame.ids.is_empty() || end == End::Closed {
            return Ok(());
        }
        let all = frame.ids.len();
        let running = frame.count(|state| !state.is_final());
        let failed = frame.count(|state| state == JobState::Failed);
        let absent = all - frame.jobs.len();
        if end == End::Interrupted && running > 0 {
            bail!(
                "interrupted while {running} of {all} jobs ran; they are still followed; watch them again with: jobtrackd watch"
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
