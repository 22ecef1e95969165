//! Sends recorded events to webhooks, in order per job, at least once.
//!
//! One loop per webhook, so that a slow or dead one never delays another. The database is the queue: of the pending
//! deliveries of one job only the first has a due time, so lanes are in order by construction and survive a restart. Memory
//! is bounded by a page of small bodies and by `max_in_flight` large ones, each read when its attempt begins. The webhook's
//! health (`core::health`) limits the requests in flight.

mod attempt;

mod health;

mod permit;

mod log;

pub use permit::Gauge;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Jitter};
use crate::core::delivery::{WebhookName, longest_retry};
use crate::core::health::Hold;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::heartbeat::Heartbeat;
use crate::store::{
    Deliveries as _, DueDeliveries, DueDelivery, Expiry as _, Store, StoreError, Undelivered,
    WebhookHealth, Webhooks as _,
};
use crate::telemetry;
use crate::webhook::{Sender, WebhookSettings};
use crate::writer::{Recorder, Writable, WriterGone};

use attempt::{Ended, Probe, attempt};
use health::SharedHealth;
use log::Log;
use permit::Permit;

/// Longest pause between two reads of the database while nothing is due.
const IDLE_CHECK: Duration = Duration::from_secs(60);

/// Deliveries read at once, beside those in flight. They wait in memory until the webhook's limit allows them.
const PAGE: u32 = 32;

/// Most finished requests whose outcome is not recorded yet, beside those in flight. A higher limit makes fewer and larger
/// transactions, but after a crash these requests are sent again.
const UNRECORDED: usize = 64;

/// Expired deliveries that are given up at once.
const EXPIRY_PAGE: u32 = 100;

/// Most unreadable deliveries that are skipped; more of them may block the deliveries after them.
const MAX_UNREADABLE: usize = 10_000;

/// The loop of one webhook.
#[derive(Debug)]
pub struct Dispatcher {
    parts: Arc<Parts>,
    /// Where events go; changed by a reload.
    target: watch::Receiver<Option<Arc<Target>>>,
    wakeup: Arc<Notify>,
    writable: watch::Receiver<Writable>,
    attempts: JoinSet<Result<Ended, DispatcherError>>,
    /// Jobs with a request in flight, and its event: at most one per lane. A lane whose outcome could not be recorded stays
    /// here until the next start: sending the event again and again without a record would be worse.
    lanes: HashMap<JobId, String>,
    /// Events of deliveries that cannot be read; logged once and skipped.
    unreadable: HashSet<String>,
    /// Due deliveries that have been read.
    queue: VecDeque<DueDelivery>,
    /// Whether deliveries may be due that are not in the queue.
    more: bool,
    /// Whether the webhook's row may have changed.
    row_changed: bool,
    row: WebhookHealth,
    health: SharedHealth,
    /// When the next undelivered event expires.
    expires_at: Option<UnixMillis>,
    /// The number of clock jumps at the last [`Dispatcher::clamp`].
    clamped: Option<u64>,
    gauge: Arc<Gauge>,
    /// Notified when a request has ended.
    over: Arc<Notify>,
    heartbeat: Heartbeat,
    log: Log,
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

impl Dispatcher {
    /// Makes the loop. `wakeup` is notified when something new was recorded, or an operator has changed something. While
    /// `target` is `None` the webhook is not configured, and nothing is sent.
    #[must_use]
    pub fn new(
        parts: Parts,
        target: watch::Receiver<Option<Arc<Target>>>,
        wakeup: Arc<Notify>,
    ) -> Self {
        telemetry::webhook_configured(&parts.name);
        Self {
            writable: parts.recorder.writable(),
            log: Log::of(&parts.name),
            parts: Arc::new(parts),
            target,
            wakeup,
            attempts: JoinSet::new(),
            lanes: HashMap::new(),
            unreadable: HashSet::new(),
            queue: VecDeque::new(),
            more: true,
            row_changed: true,
            row: WebhookHealth::default(),
            health: SharedHealth::default(),
            expires_at: None,
            clamped: None,
            gauge: Arc::default(),
            over: Arc::default(),
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
        while let Some(attempted) = self.attempts.join_next().await {
            self.finish(attempted)?;
        }
        Ok(())
    }

    async fn step(&mut self, stop: &CancellationToken) -> Result<(), DispatcherError> {
        let wait = self.start_attempts().await?;
        let wake = tokio::time::sleep(wait);
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = self.heartbeat.requested() => continue,
                () = stop.cancelled() => {}
                Some(attempted) = self.attempts.join_next() => {
                    self.finish(attempted)?;
                    while let Some(attempted) = self.attempts.try_join_next() {
                        self.finish(attempted)?;
                    }
                }
                () = self.over.notified() => {}
                () = self.wakeup.notified() => self.row_changed = true,
                () = &mut wake => self.row_changed = true,
                Ok(()) = self.writable.changed() => self.row_changed = true,
                Ok(()) = self.target.changed() => self.row_changed = true,
            }
            return Ok(());
        }
    }

    /// Starts the attempts that are due and allowed; returns how long to wait for the next.
    async fn start_attempts(&mut self) -> Result<Duration, DispatcherError> {
        if *self.writable.borrow_and_update() != Writable::Yes {
            return Ok(IDLE_CHECK);
        }
        let Some(target) = self.target.borrow_and_update().clone() else {
            return Ok(IDLE_CHECK);
        };
        let stability = self.parts.clock.stability();
        if self.clamped != Some(stability.jumps) {
            self.clamp(&target).await?;
            self.clamped = Some(stability.jumps);
            self.row_changed = true;
        }
        let now = self.parts.clock.now();
        if std::mem::take(&mut self.row_changed) {
            self.read_row().await?;
        }
        if stability.is_settled && self.expires_at.is_some_and(|at| at <= now) {
            self.expire(&target, now).await?;
        }
        let next = if self.row.disabled.is_some() {
            None
        } else if let Some(until) = self.row.paused_until
            && until > now
        {
            Some(until)
        } else {
            self.start_allowed(&target, now).await?
        };
        let next = next.into_iter().chain(self.expires_at).min();
        Ok(next.map_or(IDLE_CHECK, |at| wait_until(at, now)))
    }

    /// Shortens waiting times to what they can be at most: a clock that was ahead may have set them years ahead.
    async fn clamp(&self, target: &Target) -> Result<(), DispatcherError> {
        let retry = target.webhook.retry.iter().max().copied();
        let longest = longest_retry(retry.unwrap_or_default());
        let (store, name) = (&self.parts.store, &self.parts.name);
        while self
            .heartbeat
            .read(|| store.clamp_waits(name, longest))
            .await?
            > 0
        {}
        Ok(())
    }

    /// Reads the webhook's row. Deliveries are read again if an operator has changed something.
    async fn read_row(&mut self) -> Result<(), DispatcherError> {
        let (store, name) = (&self.parts.store, &self.parts.name);
        let row = self.heartbeat.read(|| store.webhook_health(name)).await?;
        // Includes deliveries that have expired already.
        let ever = UnixMillis(i64::MIN);
        self.expires_at = self
            .heartbeat
            .read(|| store.next_expiry(name, ever))
            .await?;
        let is_changed = self.health.adopt(&row, self.parts.clock.now());
        if is_changed || row.disabled != self.row.disabled {
            self.queue.clear();
        }
        self.log.row(&row);
        self.row = row;
        self.more = true;
        Ok(())
    }

    /// Gives up expired deliveries that are not in flight.
    async fn expire(&mut self, target: &Target, now: UnixMillis) -> Result<(), DispatcherError> {
        let (store, name) = (&self.parts.store, &self.parts.name);
        let limit = EXPIRY_PAGE + u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let expired = self
            .heartbeat
            .read(|| store.expired_deliveries(name, now, limit))
            .await?;
        let expiries: Vec<Undelivered> = expired
            .into_iter()
            .filter(|delivery| self.lanes.get(&delivery.job_id) != Some(&delivery.event_id))
            .map(|delivery| Undelivered {
                fallback: target.webhook.fallback.clone(),
                ..delivery
            })
            .collect();
        self.expires_at = self.heartbeat.read(|| store.next_expiry(name, now)).await?;
        if !expiries.is_empty() {
            self.log.expired(&expiries);
            self.heartbeat
                .during(self.parts.recorder.expired(expiries))
                .await?;
            self.queue.clear();
            self.row_changed = true;
        }
        Ok(())
    }

    /// Starts as many attempts as the webhook's health allows; returns when the next delivery is due.
    async fn start_allowed(
        &mut self,
        target: &Arc<Target>,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, DispatcherError> {
        let health = self.health.health();
        let allowed = health.allowed(target.webhook.max_in_flight);
        if let Some(hold) = health.hold() {
            // The outcome of the last probe is recorded before the next one is chosen.
            return match self.attempts.is_empty() {
                true => self.start_probe(target, hold, now).await,
                false => Ok(None),
            };
        }
        let in_flight = self.gauge.in_flight.load(Ordering::Relaxed);
        let unrecorded = self.attempts.len().saturating_sub(in_flight);
        let free = allowed
            .saturating_sub(in_flight)
            .min(UNRECORDED.saturating_sub(unrecorded));
        if free == 0 {
            return Ok(None);
        }
        self.start_due(target, free, now).await
    }

    async fn start_due(
        &mut self,
        target: &Arc<Target>,
        mut free: usize,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, DispatcherError> {
        loop {
            while free > 0
                && let Some(delivery) = self.queue.pop_front()
            {
                if self.is_sendable(&delivery, now) {
                    self.start(target, delivery, None);
                    free -= 1;
                }
            }
            if free == 0 {
                return Ok(None);
            }
            let (store, name) = (&self.parts.store, &self.parts.name);
            if !std::mem::take(&mut self.more) {
                return Ok(self
                    .heartbeat
                    .read(|| store.next_delivery(name, now))
                    .await?);
            }
            let limit = PAGE + self.skipped();
            let found = self
                .heartbeat
                .read(|| store.deliveries_due(name, now, limit))
                .await?;
            let is_full = found.deliveries.len() + found.unreadable.len() >= limit as usize;
            let mut due = self.readable(found);
            due.retain(|delivery| self.is_sendable(delivery, now));
            self.more = is_full && !due.is_empty();
            self.queue.extend(due);
        }
    }

    /// Probes a held webhook: with an event that expires as soon as that is due; otherwise, when the next probe is due, with
    /// the first events of the lanes in turn, those never sent before first.
    async fn start_probe(
        &mut self,
        target: &Arc<Target>,
        hold: &Hold,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, DispatcherError> {
        self.queue.clear();
        self.more = true;
        let parts = Arc::clone(&self.parts);
        let (store, name) = (&parts.store, &parts.name);
        let limit = 1 + self.skipped();
        let expiring = self
            .heartbeat
            .read(|| store.expiring_deliveries_due(name, now, limit))
            .await?;
        if let Some(delivery) = self.first_to_send(expiring, now) {
            self.start(target, delivery, Some(Probe::Expiring));
            return Ok(None);
        }
        if let Some(early) = hold.probe_at.filter(|at| *at > now) {
            let next = self
                .heartbeat
                .read(|| store.next_delivery(name, now))
                .await?;
            return Ok(next.into_iter().chain([early]).min());
        }
        // While the clock settles nothing expires, so nothing is skipped as expired.
        let ever = UnixMillis(i64::MIN);
        let is_settled = self.parts.clock.stability().is_settled;
        let expired = if is_settled { now } else { ever };
        let found = self
            .heartbeat
            .read(|| store.deliveries_to_probe(name, expired, limit))
            .await?;
        if let Some(probe) = self.first_to_send(found, now) {
            self.start(target, probe, Some(Probe::Paced));
        }
        Ok(None)
    }

    fn first_to_send(&mut self, found: DueDeliveries, now: UnixMillis) -> Option<DueDelivery> {
        let deliveries = self.readable(found);
        let mut deliveries = deliveries.into_iter();
        deliveries.find(|delivery| self.is_sendable(delivery, now))
    }

    /// Rows to read beyond those wanted: deliveries in flight are still pending, and unreadable ones are in the table too.
    fn skipped(&self) -> u32 {
        u32::try_from(self.lanes.len() + self.unreadable.len()).unwrap_or(u32::MAX)
    }

    /// The deliveries that could be read; the others are logged once.
    fn readable(&mut self, found: DueDeliveries) -> Vec<DueDelivery> {
        for (event_id, error) in found.unreadable {
            if self.unreadable.len() < MAX_UNREADABLE && self.unreadable.insert(event_id.clone()) {
                self.log.unreadable(&event_id, &error);
                // The page held one row less than its limit.
                self.more = true;
            }
        }
        found.deliveries
    }

    fn is_sendable(&self, delivery: &DueDelivery, now: UnixMillis) -> bool {
        let has_expired = || {
            delivery.expires_at.is_some_and(|at| at <= now)
                && self.parts.clock.stability().is_settled
        };
        !self.lanes.contains_key(&delivery.job_id) && !has_expired()
    }

    fn start(&mut self, target: &Arc<Target>, delivery: DueDelivery, probe: Option<Probe>) {
        let lane = (delivery.job_id.clone(), delivery.event_id.clone());
        self.lanes.extend([lane]);
        let (parts, target) = (Arc::clone(&self.parts), Arc::clone(target));
        let health = self.health.clone();
        let permit = Permit::taken(Arc::clone(&self.gauge), Arc::clone(&self.over));
        self.attempts
            .spawn(attempt(parts, target, health, delivery, probe, permit));
    }

    fn finish(
        &mut self,
        ended: Result<Result<Ended, DispatcherError>, tokio::task::JoinError>,
    ) -> Result<(), DispatcherError> {
        let (finished, is_recorded) = match ended {
            Ok(Ok(Ended::Attempted(finished, is_recorded))) => (finished, is_recorded),
            Ok(Ok(Ended::Skipped(job_id))) => {
                // The row has changed since it was read.
                self.lanes.remove(&job_id);
                self.row_changed = true;
                return Ok(());
            }
            Ok(Err(error)) => return Err(error),
            Err(error) => return Err(DispatcherError::Attempt(error.to_string())),
        };
        if is_recorded {
            self.lanes.remove(&finished.job_id);
        }
        self.more = true;
        self.row_changed |= finished.disables.is_some() || finished.pause.is_some();
        self.log.attempted(&finished, self.parts.clock.now());
        Ok(())
    }
}

/// One millisecond more than the difference, since the clock is rounded down to milliseconds.
fn wait_until(at: UnixMillis, now: UnixMillis) -> Duration {
    (at.since(now) + Duration::from_millis(1)).min(IDLE_CHECK)
}
