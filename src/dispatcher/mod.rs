//! The loop of stage 6: tells webhooks what was recorded, in order per job, at least once.
//!
//! One loop per webhook, so that a slow or dead one never delays another. The database is the queue: of the pending
//! deliveries of one job only the first has a due time, so lanes are in order by construction, and a restart goes on where it
//! was. Memory is bounded by a page of small bodies and by `max_in_flight` large ones, each read when its attempt begins. How the
//! webhook as a whole is (`core::health`) decides how many requests may be under way.

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
use crate::store::{DueDeliveries, DueDelivery, Expiry, Store, StoreError, WebhookHealth};
use crate::telemetry;
use crate::webhook::{Sender, WebhookSettings};
use crate::writer::{Recorder, Writable, WriterGone};

use attempt::{Ended, Probe, attempt};
use health::SharedHealth;
use log::Log;
use permit::Permit;

/// A webhook with nothing due is looked at again at least this often, wakeup or not.
const IDLE_CHECK: Duration = Duration::from_secs(60);

/// Deliveries read at once, beside those under way. They wait in memory for a free permit.
const PAGE: u32 = 32;

/// Requests that are over and whose outcome is not recorded yet, beside those under way. More of them make transactions
/// larger and fewer; after a crash they are sent again.
const UNRECORDED: usize = 64;

/// Expired deliveries given up at once.
const EXPIRY_PAGE: u32 = 100;

/// Most deliveries that cannot be read and are passed over; behind more of them others may wait.
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
    /// Jobs with a request under way, and its event: at most one per lane. Those whose outcome could not be recorded stay
    /// here until the next start: sending again and again without ever recording it would be worse.
    lanes: HashMap<JobId, String>,
    /// Events of deliveries that cannot be read, said and left out.
    unreadable: HashSet<String>,
    /// Due, and read already.
    queue: VecDeque<DueDelivery>,
    /// Whether more than the queue holds may be due.
    more: bool,
    /// Whether the webhook's row may have changed.
    row_changed: bool,
    row: WebhookHealth,
    health: SharedHealth,
    /// When the next undelivered event expires.
    expires_at: Option<UnixMillis>,
    /// The jumps of the wall clock up to which everything that waits was shortened to what it can be.
    clamped: Option<u64>,
    gauge: Arc<Gauge>,
    /// Told when a request is over.
    over: Arc<Notify>,
    heartbeat: Heartbeat,
    log: Log,
}

/// A webhook, and who sends to it.
#[derive(Debug)]
pub struct Target {
    /// Its settings.
    pub webhook: WebhookSettings,
    /// Prepared for it.
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
    /// Makes the loop; `wakeup` tells it that something new was recorded, or that an operator wants something. While `target`
    /// is `None` the webhook is not configured, and nothing is sent.
    #[must_use]
    pub fn new(
        parts: Parts,
        target: watch::Receiver<Option<Arc<Target>>>,
        wakeup: Arc<Notify>,
    ) -> Self {
        telemetry::webhook(&parts.name);
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

    /// Whether it advances.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// Numbers that others may read.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Delivers until `stop`, then finishes the attempts under way.
    ///
    /// # Errors
    /// [`DispatcherError`] when it cannot go on; the process ends then.
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

    /// Starts what is due and allowed; answers how long there is nothing more to do.
    async fn start_attempts(&mut self) -> Result<Duration, DispatcherError> {
        if *self.writable.borrow_and_update() != Writable::Yes {
            return Ok(IDLE_CHECK);
        }
        let Some(target) = self.target.borrow_and_update().clone() else {
            return Ok(IDLE_CHECK);
        };
        let steady = self.parts.clock.stability();
        if self.clamped != Some(steady.jumps) {
            self.clamp(&target).await?;
            self.clamped = Some(steady.jumps);
            self.row_changed = true;
        }
        let now = self.parts.clock.now();
        if std::mem::take(&mut self.row_changed) {
            self.read_row().await?;
        }
        if steady.is_settled && self.expires_at.is_some_and(|at| at <= now) {
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

    /// Shortens what waits to what it can be at most: a clock that was ahead may have put it years away.
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

    /// Reads how the webhook stands. What was read of deliveries before is read again: an operator may have changed it.
    async fn read_row(&mut self) -> Result<(), DispatcherError> {
        let (store, name) = (&self.parts.store, &self.parts.name);
        let row = self.heartbeat.read(|| store.webhook_health(name)).await?;
        // What has expired already comes first.
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

    /// Gives up what has expired and is not under way.
    async fn expire(&mut self, target: &Target, now: UnixMillis) -> Result<(), DispatcherError> {
        let (store, name) = (&self.parts.store, &self.parts.name);
        let limit = EXPIRY_PAGE + u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let expired = self
            .heartbeat
            .read(|| store.expired_deliveries(name, now, limit))
            .await?;
        let expiries: Vec<Expiry> = expired
            .into_iter()
            .filter(|delivery| self.lanes.get(&delivery.job_id) != Some(&delivery.event_id))
            .map(|delivery| Expiry {
                event_id: delivery.event_id,
                job_id: delivery.job_id,
                webhook: name.clone(),
                fallback: target.webhook.fallback.clone(),
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

    /// Starts as many attempts as the webhook's health allows; answers when there is more to do.
    async fn start_allowed(
        &mut self,
        target: &Arc<Target>,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, DispatcherError> {
        let health = self.health.health();
        let allowed = health.allowed(target.webhook.max_in_flight);
        if let Some(hold) = health.hold() {
            // What the last one has shown is recorded before the next one is chosen.
            return match self.attempts.is_empty() {
                true => self.start_probe(target, hold, now).await,
                false => Ok(None),
            };
        }
        let under_way = self.gauge.in_flight.load(Ordering::Relaxed);
        let unrecorded = self.attempts.len().saturating_sub(under_way);
        let free = allowed
            .saturating_sub(under_way)
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
                if self.may_be_sent(&delivery, now) {
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
            let limit = PAGE + self.passed_over();
            let found = self
                .heartbeat
                .read(|| store.deliveries_due(name, now, limit))
                .await?;
            let is_full = found.deliveries.len() + found.unreadable.len() >= limit as usize;
            let mut due = self.readable(found);
            due.retain(|delivery| self.may_be_sent(delivery, now));
            self.more = is_full && !due.is_empty();
            self.queue.extend(due);
        }
    }

    /// Tries whether a held webhook accepts events again: with one that expires, as soon as it is due; else, at the pace of
    /// the hold, with the heads of the lanes one after the other, those that were never tried first.
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
        let limit = 1 + self.passed_over();
        let fresh = self
            .heartbeat
            .read(|| store.fresh_deliveries_due(name, now, limit))
            .await?;
        if let Some(fresh) = self.first_to_send(fresh, now) {
            self.start(target, fresh, Some(Probe::Fresh));
            return Ok(None);
        }
        if let Some(early) = hold.probe_at.filter(|at| *at > now) {
            let next = self
                .heartbeat
                .read(|| store.next_delivery(name, now))
                .await?;
            return Ok(next.into_iter().chain([early]).min());
        }
        // While the clock settles nothing expires, and nothing is passed over because it has.
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
        deliveries.find(|delivery| self.may_be_sent(delivery, now))
    }

    /// How many rows more than wanted are read: those under way are still pending and may be among them, and so may those
    /// that cannot be read.
    fn passed_over(&self) -> u32 {
        u32::try_from(self.lanes.len() + self.unreadable.len()).unwrap_or(u32::MAX)
    }

    /// The deliveries that could be read; the others are said once.
    fn readable(&mut self, found: DueDeliveries) -> Vec<DueDelivery> {
        for (event_id, error) in found.unreadable {
            if self.unreadable.len() < MAX_UNREADABLE && self.unreadable.insert(event_id.clone()) {
                self.log.unreadable(&event_id, &error);
                // The page had one good row fewer than it could have.
                self.more = true;
            }
        }
        found.deliveries
    }

    fn may_be_sent(&self, delivery: &DueDelivery, now: UnixMillis) -> bool {
        let is_fresh = || {
            let has_expired = delivery.expires_at.is_some_and(|at| at <= now);
            !has_expired || !self.parts.clock.stability().is_settled
        };
        !self.lanes.contains_key(&delivery.job_id) && is_fresh()
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
        let attempted = match ended {
            Ok(Ok(Ended::Attempted(attempted))) => attempted,
            Ok(Ok(Ended::Skipped(job_id))) => {
                // Another hand was there since it was read.
                self.lanes.remove(&job_id);
                self.row_changed = true;
                return Ok(());
            }
            Ok(Err(error)) => return Err(error),
            Err(error) => return Err(DispatcherError::Attempt(error.to_string())),
        };
        if attempted.recorded {
            self.lanes.remove(&attempted.job_id);
        }
        self.more = true;
        self.row_changed |= attempted.concerns_all();
        self.log.attempted(&attempted, self.parts.clock.now());
        Ok(())
    }
}

/// A due time may lie between two milliseconds of the clock; one more makes sure it has come.
fn wait_until(at: UnixMillis, now: UnixMillis) -> Duration {
    (at.since(now) + Duration::from_millis(1)).min(IDLE_CHECK)
}
