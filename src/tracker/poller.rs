//! The poller's loop: carries what happens into `core::machines::poller`, and carries out what that decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::intake::{Notice, Noticed};
use super::poll::{self, Context};
use super::reads::Reads;
use super::slots::{News, Slots};
use crate::clock::{Clock, Jitter};
use crate::core::cadence::PollingPolicy;
use crate::core::event::Subscriptions;
use crate::core::machines::poll::Settings;
use crate::core::machines::poller::{Effect, Input, Poller as Machine, Report};
use crate::heartbeat::Heartbeat;
use crate::store::{Jobs as _, Store, StoreError};
use crate::telemetry::{self, Recent};
use crate::upstream::Upstream;
use crate::writer::{Recorder, Writable};

/// The loop that polls jobs.
#[derive(Debug)]
pub struct Poller {
    machine: Machine,
    context: Arc<Context>,
    settings: watch::Receiver<PollerSettings>,
    notices: mpsc::Receiver<Noticed>,
    writable: watch::Receiver<Writable>,
    slots: Slots,
    gauge: Arc<Gauge>,
    heartbeat: Heartbeat,
}

/// What the poller is made from.
#[derive(Debug)]
pub struct PollerParts {
    /// Where jobs are read.
    pub store: Store,
    /// Where observations go.
    pub recorder: Recorder,
    /// The time of day.
    pub clock: Clock,
    /// Randomness of delays.
    pub jitter: Jitter,
    /// The last hour, as the dashboard shows it.
    pub recent: Recent,
}

/// What a reload may change; polls in flight keep the settings with which they began.
#[derive(Debug, Clone)]
pub struct PollerSettings {
    /// The API.
    pub upstream: Upstream,
    /// `https://host[:port]` of the API, for its relative links.
    pub api_origin: String,
    /// Which webhooks get which events.
    pub subscriptions: Subscriptions,
    /// When to poll.
    pub policy: PollingPolicy,
    /// Most polls in flight, at least 1.
    pub max_in_flight: usize,
}

/// Numbers for the status server and for metrics.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Jobs that are followed.
    pub followed: AtomicUsize,
    /// Polls in flight, and ends that are being recorded.
    pub in_flight: AtomicUsize,
    /// Followed jobs that name a webhook that is not configured.
    pub unknown_webhooks: AtomicUsize,
}

/// Why the poller has ended.
#[derive(Debug, thiserror::Error)]
pub enum PollerError {
    /// A poll or an end could not be recorded.
    #[error("a job cannot be recorded: {0}")]
    Task(String),
    /// A row that has changed cannot be read.
    #[error("a row cannot be read")]
    Store(#[from] StoreError),
}

impl PollerError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self::Task(error.to_string())
    }
}

impl PollerSettings {
    fn machine(&self) -> Settings {
        Settings {
            api_origin: self.api_origin.clone(),
            subscriptions: self.subscriptions.clone(),
            policy: self.policy,
            max_retry_after: self.upstream.max_retry_after(),
            heeds_retry_after: self.upstream.heeds_retry_after(),
        }
    }
}

impl Poller {
    /// Makes a poller that receives rows through `notices`, each with the time at which its reading began.
    #[must_use]
    pub fn new(
        parts: PollerParts,
        mut settings: watch::Receiver<PollerSettings>,
        notices: mpsc::Receiver<Noticed>,
    ) -> Self {
        let writable = parts.recorder.writable();
        let first = settings.borrow_and_update().clone();
        Self {
            machine: Machine::new(first.machine(), first.max_in_flight),
            context: Arc::new(Context {
                reads: Arc::new(Reads::new(parts.store.clone())),
                store: parts.store,
                recorder: parts.recorder,
                upstream: first.upstream,
                clock: parts.clock,
                jitter: parts.jitter,
                recent: parts.recent,
                unknown_words: Arc::default(),
            }),
            settings,
            notices,
            writable,
            slots: Slots::default(),
            gauge: Arc::default(),
            heartbeat: Heartbeat::default(),
        }
    }

    /// Shows whether the loop advances.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// Numbers for the status server and for metrics.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Follows jobs until `stop`, then finishes the tasks in flight.
    ///
    /// # Errors
    /// [`PollerError`] when it cannot continue; the process ends then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PollerError> {
        while !stop.is_cancelled() {
            self.step(&stop).await?;
        }
        // Progress is recorded first, since this loop is dropped if polls hang beyond the grace.
        self.machine.flush();
        self.carry_out().await?;
        while self.slots.are_busy() {
            let news = self.slots.news().await.map_err(PollerError::of)?;
            self.note(news)?;
            self.machine.flush();
            self.carry_out().await?;
        }
        Ok(())
    }

    /// Does what is due, then waits for the next event and handles it.
    async fn step(&mut self, stop: &CancellationToken) -> Result<(), PollerError> {
        // Subscribed before the gate is read, so that no change is missed.
        let upstream = self.context.upstream.clone();
        let gate_changed = upstream.gate().changed();
        self.heartbeat.beat();
        let is_writable = self.writable.borrow_and_update().permits_polls();
        self.handle(Input::Writable(is_writable));
        let now = self.context.clock.read();
        upstream.with_limits(|gate, budget| self.machine.advance(now, gate, budget));
        self.carry_out().await?;
        self.show();
        let wake_at = self.context.clock.instant(self.machine.wake_at(now));
        tokio::select! {
            () = stop.cancelled() => {}
            news = self.slots.news() => {
                self.note(news.map_err(PollerError::of)?)?;
                while let Some(news) = self.slots.try_news() {
                    self.note(news)?;
                }
            }
            Some((notice, read_at)) = self.notices.recv() => self.handle(match notice {
                Notice::Rows(rows) => {
                    self.context.reads.changed(&rows);
                    Input::Rows(rows, read_at)
                }
                Notice::Backlog(rows) => Input::Backlog(rows),
            }),
            () = tokio::time::sleep_until(wake_at) => {}
            () = gate_changed => {}
            () = self.heartbeat.requested() => {}
            // If the writer has ended, its own error ends the process.
            Ok(()) = self.writable.changed() => {}
            Ok(()) = self.settings.changed() => self.renew(),
        }
        self.carry_out().await
    }

    fn renew(&mut self) {
        let new = self.settings.borrow_and_update().clone();
        let input = Input::Settings(new.machine(), new.max_in_flight);
        self.context = Arc::new(Context {
            upstream: new.upstream,
            ..Context::clone(&self.context)
        });
        self.handle(input);
    }

    fn note(&mut self, news: News) -> Result<(), PollerError> {
        self.handle(match news {
            News::Answered => Input::Answered,
            News::Over(outcome) => Input::Finished(outcome.map_err(PollerError::of)?),
        });
        Ok(())
    }

    fn handle(&mut self, input: Input) {
        let Context {
            upstream,
            clock,
            jitter,
            ..
        } = &*self.context;
        let (now, mut random) = (clock.read(), || jitter.fraction());
        upstream.with_limits(|gate, _| self.machine.handle(input, now, gate, &mut random));
    }

    async fn carry_out(&mut self) -> Result<(), PollerError> {
        loop {
            let effects = self.machine.effects();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                self.carry(effect).await?;
            }
        }
    }

    async fn carry(&mut self, effect: Effect) -> Result<(), PollerError> {
        match effect {
            Effect::Start(task) => self.slots.start(Arc::clone(&self.context), task),
            Effect::Cut(id, failure) => self.slots.cut(&id, failure),
            Effect::ReadRow(id) => {
                let store = &self.context.store;
                let row = match self.heartbeat.read(|| store.job(&id)).await {
                    // Another program has damaged it; the other jobs continue.
                    Err(error @ StoreError::Inconsistent { .. }) => {
                        tracing::error!(job_id = %id, %error, "a row of jobs cannot be read and is not followed");
                        None
                    }
                    row => {
                        let row = row?;
                        if row.is_none() {
                            poll::log::row_gone(&id);
                        }
                        row
                    }
                };
                self.handle(Input::Row(id, row));
            }
            Effect::Forget(id) => self.context.upstream.forget(&id),
            Effect::RecordProgress(updates) => {
                if let Err(updates) = self.context.recorder.scheduled(updates) {
                    debug!("the writer is busy; progress is recorded later");
                    self.handle(Input::ProgressRefused(updates));
                }
            }
            Effect::RecordPause(origin, until) => {
                if !self.context.recorder.upstream_paused(origin, until) {
                    self.handle(Input::PauseRefused);
                }
            }
            Effect::Report(report) => log(&report),
        }
        Ok(())
    }

    fn show(&self) {
        let Self { machine, gauge, .. } = self;
        for (number, value) in [
            (&gauge.followed, machine.followed()),
            (&gauge.in_flight, machine.in_flight()),
            (&gauge.unknown_webhooks, machine.unknown_webhooks()),
        ] {
            number.store(value, Ordering::Relaxed);
        }
    }
}

fn log(report: &Report) {
    match report {
        Report::Followed(id) => debug!(job_id = %id, "job taken up"),
        Report::UnknownWebhook {
            id,
            webhook,
            is_new: true,
        } => {
            warn!(job_id = %id, webhook, "the job names a webhook that is not configured; its events wait until it is");
        }
        Report::UnknownWebhook { id, webhook, .. } => {
            debug!(job_id = %id, webhook, "this job, too, names a webhook that is not configured");
        }
        Report::Paused(seconds) => telemetry::paused(*seconds),
    }
}
