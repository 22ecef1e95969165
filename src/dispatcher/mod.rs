//! Sends recorded events to webhooks, in order per job, at least once.
//!
//! One loop per webhook, so that a slow or dead one never delays another. It decides nothing: `core::machines::dispatcher`
//! says what to read, send and record, and this is the shell that does it. Memory is bounded by a page of small bodies and by
//! `max_in_flight` large ones, each read when its attempt begins.

mod work;

mod log;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Jitter};
use crate::core::delivery::WebhookName;
use crate::core::machines::dispatcher::{Answer, Dispatcher as Machine, Effect, Input};
use crate::heartbeat::Heartbeat;
use crate::store::{Store, StoreError};
use crate::telemetry::{self, Recent};
use crate::webhook::{Sender, WebhookSettings};
use crate::writer::{Recorder, Writable, WriterGone};

use log::Log;
use work::{Done, answer, give_up, record, send};

/// The loop of one webhook.
pub struct Dispatcher {
    machine: Machine,
    parts: Arc<Parts>,
    /// Where events go; changed by a reload.
    target: watch::Receiver<Option<Arc<Target>>>,
    /// The target whose settings the machine has.
    current: Option<Arc<Target>>,
    wakeup: Arc<Notify>,
    writable: watch::Receiver<Writable>,
    /// Requests in flight, and what is being recorded.
    tasks: JoinSet<Result<Done, DispatcherError>>,
    query: Option<OpenQuery>,
    gauge: Arc<Gauge>,
    heartbeat: Heartbeat,
    log: Log,
}

type OpenQuery = Pin<Box<dyn Future<Output = Result<Answer, StoreError>> + Send>>;

/// Numbers for the status server and for metrics.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Requests in flight.
    pub in_flight: AtomicUsize,
}

/// A webhook and the client that sends to it.
#[derive(Debug)]
pub struct Target {
    /// Its settings.
    pub webhook: WebhookSettings,
    /// The client.
    pub sender: Sender,
}

/// What the dispatcher is made from.
#[derive(Debug)]
pub struct Parts {
    /// The webhook's name.
    pub name: WebhookName,
    /// Where deliveries are read.
    pub store: Store,
    /// Where outcomes go.
    pub recorder: Recorder,
    /// The time of day.
    pub clock: Clock,
    /// Randomness of delays.
    pub jitter: Jitter,
    /// The last hour, as the dashboard shows it.
    pub recent: Recent,
}

/// Why the dispatcher ended.
#[derive(Debug, thiserror::Error)]
pub enum DispatcherError {
    /// The database cannot be read.
    #[error("deliveries cannot be read")]
    Store(#[from] StoreError),
    /// An attempt could not be finished.
    #[error("an attempt cannot be recorded: {0}")]
    Attempt(String),
}

impl From<WriterGone> for DispatcherError {
    fn from(gone: WriterGone) -> Self {
        Self::Attempt(gone.to_string())
    }
}

impl From<JoinError> for DispatcherError {
    fn from(error: JoinError) -> Self {
        Self::Attempt(error.to_string())
    }
}

impl Dispatcher {
    /// Makes the loop. `wakeup` is notified when something new was recorded, or an operator has changed something. While
    /// `target` is `None` the webhook is not configured, and nothing is sent.
    #[must_use]
    pub fn new(
        parts: Parts,
        mut target: watch::Receiver<Option<Arc<Target>>>,
        wakeup: Arc<Notify>,
    ) -> Self {
        telemetry::webhook_configured(&parts.name);
        let mut writable = parts.recorder.writable();
        // The first round takes both in.
        target.mark_changed();
        writable.mark_changed();
        Self {
            machine: Machine::default(),
            log: Log::of(&parts.name, parts.recent.clone(), parts.clock.clone()),
            parts: Arc::new(parts),
            target,
            current: None,
            wakeup,
            writable,
            tasks: JoinSet::new(),
            query: None,
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

    /// Delivers until `stop`, then finishes the attempts in flight.
    ///
    /// # Errors
    /// [`DispatcherError`] when it cannot continue; the process ends then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), DispatcherError> {
        while !stop.is_cancelled() {
            self.step(&stop).await?;
        }
        self.handle(Input::Stop);
        loop {
            self.carry_out();
            let Some(done) = self.tasks.join_next().await else {
                return Ok(());
            };
            self.finish(done??);
        }
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<(), DispatcherError> {
        self.take_in_changes();
        self.carry_out();
        let wake_at = self.machine.wake_at();
        let wake_at = wake_at.map(|at| self.parts.clock.instant(at));
        let is_idle = self.query.is_none();
        tokio::select! {
            // During a query only its tries beat, so that one that hangs is noticed.
            () = self.heartbeat.requested(), if is_idle => {}
            answer = answered(&mut self.query), if !is_idle => {
                self.query = None;
                self.handle(Input::Answer(answer?));
            }
            () = stop.cancelled(), if is_idle => {}
            Some(done) = self.tasks.join_next() => {
                self.finish(done??);
                while let Some(done) = self.tasks.try_join_next() {
                    self.finish(done??);
                }
            }
            () = self.wakeup.notified() => self.handle(Input::Woken),
            () = slept(wake_at) => {}
            Ok(()) = self.writable.changed() => self.writable.mark_changed(),
            Ok(()) = self.target.changed() => self.target.mark_changed(),
        }
        Ok(())
    }

    /// Takes in whether outcomes can be recorded, and the settings, right before anything is started.
    fn take_in_changes(&mut self) {
        if self.writable.has_changed().unwrap_or_default() {
            let writable = *self.writable.borrow_and_update();
            self.handle(Input::Writable(writable == Writable::Yes));
        }
        if self.target.has_changed().unwrap_or_default() {
            self.current.clone_from(&self.target.borrow_and_update());
            let settings = self.current.as_ref();
            let settings = settings.map(|target| Arc::new(target.webhook.dispatching()));
            self.handle(Input::Settings(settings));
        }
    }

    fn handle(&mut self, input: Input) {
        let (clock, jitter) = (&self.parts.clock, &self.parts.jitter);
        self.machine
            .handle(input, clock.read(), &mut || jitter.fraction());
        self.count();
    }

    fn count(&self) {
        let in_flight = self.machine.in_flight();
        self.gauge.in_flight.store(in_flight, Ordering::Relaxed);
    }

    /// Does what the machine decides until it waits.
    fn carry_out(&mut self) {
        while let Some(effect) = self.machine.next(self.parts.clock.read()) {
            let parts = Arc::clone(&self.parts);
            match effect {
                Effect::Query(query) => {
                    self.query = Some(Box::pin(answer(parts, self.heartbeat.clone(), query)));
                }
                Effect::Send(delivery) => {
                    self.count();
                    let target = self.current.clone();
                    // By reference: a task copies what it is given and what it returns, with all the room of its future.
                    self.tasks.spawn(Box::pin(send(parts, target, *delivery)));
                }
                Effect::Record(finished) => {
                    self.tasks.spawn(Box::pin(record(parts, finished)));
                }
                Effect::GiveUp(expiries) => {
                    self.log.expired(&expiries);
                    self.tasks.spawn(give_up(parts, expiries));
                }
                Effect::Report(report) => self.log.report(report),
            }
        }
    }

    fn finish(&mut self, done: Done) {
        let input = match done {
            Done::Sent(job_id, Some(report)) => Input::Sent(job_id, report),
            Done::Sent(job_id, None) => Input::NotSent(job_id),
            Done::Recorded(finished, is_recorded) => {
                self.log.attempted(&finished, self.parts.clock.now());
                Input::Recorded(finished.job_id, is_recorded)
            }
            Done::GaveUp(is_recorded) => Input::GaveUp(is_recorded),
        };
        self.handle(input);
    }
}

async fn answered(query: &mut Option<OpenQuery>) -> Result<Answer, StoreError> {
    match query {
        Some(query) => query.await,
        None => std::future::pending().await,
    }
}

async fn slept(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
