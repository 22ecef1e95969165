//! The loop of stage 6: tells webhooks what was recorded, in order per job, at least once.
//!
//! One loop per webhook, so that a slow or dead one never delays another. The database is the queue: of the pending
//! deliveries of one job only the first has a due time, so lanes are in order by construction, memory is bounded by
//! `max_in_flight` and a page, and a restart goes on where it was. How the webhook as a whole is (`core::health`) decides how
//! many requests may be under way.

mod attempt;

mod condition;

mod place;

mod telling;

pub use place::Gauge;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Jitter};
use crate::core::health::Hold;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::pulse::Pulse;
use crate::store::{DueDelivery, Expiry, Store, StoreError, WebhookHealth};
use crate::telemetry;
use crate::tracker::read;
use crate::tracker::recorder::{Recorder, Writable, WriterGone};
use crate::webhook::{Sender, WebhookSettings};

use attempt::{Attempted, attempt};
use condition::Condition;
use place::Place;
use telling::Telling;

/// A webhook with nothing due is looked at again at least this often, nudge or not.
const IDLE_CHECK: Duration = Duration::from_secs(60);

/// Deliveries read at once, beside those under way. They wait in memory for a free place.
const PAGE: u32 = 32;

/// Requests that are over and whose outcome is not recorded yet, beside those under way. More of them make transactions
/// larger and fewer; after a crash they are sent again.
const UNRECORDED: usize = 64;

/// Expired deliveries given up at once.
const EXPIRY_PAGE: u32 = 100;

/// The loop of one webhook.
#[derive(Debug)]
pub struct Dispatcher {
    parts: Arc<Parts>,
    nudge: Arc<Notify>,
    writable: watch::Receiver<Writable>,
    attempts: JoinSet<Result<Attempted, WriterGone>>,
    /// Jobs with a request under way, and its event: at most one per lane. Those whose outcome could not be recorded stay
    /// here until the next start: sending again and again without ever recording it would be worse.
    lanes: HashMap<JobId, String>,
    /// Due, and read already.
    queue: VecDeque<DueDelivery>,
    /// Whether more than the queue holds may be due.
    more: bool,
    /// Whether the webhook's row may have changed.
    look_again: bool,
    standing: WebhookHealth,
    condition: Condition,
    /// When the next undelivered event expires.
    expires_at: Option<UnixMillis>,
    gauge: Arc<Gauge>,
    /// Told when a request is over.
    over: Arc<Notify>,
    pulse: Pulse,
    telling: Telling,
}

/// What the dispatcher is made from.
#[derive(Debug)]
pub struct Parts {
    /// The webhook.
    pub webhook: WebhookSettings,
    /// Who sends.
    pub sender: Sender,
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
    /// Makes the loop; `nudge` tells it that something new was recorded, or that an operator wants something.
    #[must_use]
    pub fn new(parts: Parts, nudge: Arc<Notify>) -> Self {
        telemetry::webhook(&parts.webhook.name);
        Self {
            writable: parts.recorder.writable(),
            telling: Telling::of(&parts.webhook.name),
            parts: Arc::new(parts),
            nudge,
            attempts: JoinSet::new(),
            lanes: HashMap::new(),
            queue: VecDeque::new(),
            more: true,
            look_again: true,
            standing: WebhookHealth::default(),
            condition: Condition::default(),
            expires_at: None,
            gauge: Arc::default(),
            over: Arc::default(),
            pulse: Pulse::default(),
        }
    }

    /// Whether it advances.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
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
                () = self.pulse.asked() => continue,
                () = stop.cancelled() => {}
                Some(attempted) = self.attempts.join_next() => {
                    self.finish(attempted)?;
                    while let Some(attempted) = self.attempts.try_join_next() {
                        self.finish(attempted)?;
                    }
                }
                () = self.over.notified() => {}
                () = self.nudge.notified() => self.look_again = true,
                () = &mut wake => self.look_again = true,
                Ok(()) = self.writable.changed() => self.look_again = true,
            }
            return Ok(());
        }
    }

    /// Starts what is due and allowed; answers how long there is nothing more to do.
    async fn start_attempts(&mut self) -> Result<Duration, DispatcherError> {
        if *self.writable.borrow_and_update() != Writable::Yes {
            return Ok(IDLE_CHECK);
        }
        let now = self.parts.clock.now();
        if std::mem::take(&mut self.look_again) {
            self.look().await?;
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            self.expire(now).await?;
        }
        let next = if self.standing.disabled.is_some() {
            None
        } else if let Some(until) = self.standing.paused_until
            && until > now
        {
            Some(until)
        } else {
            self.start_allowed(now).await?
        };
        let next = next.into_iter().chain(self.expires_at).min();
        Ok(next.map_or(IDLE_CHECK, |at| wait_until(at, now)))
    }

    /// Reads how the webhook stands. What was read of deliveries before is read again: an operator may have changed it.
    async fn look(&mut self) -> Result<(), DispatcherError> {
        let (store, name) = (&self.parts.store, &self.parts.webhook.name);
        let standing = read(&self.pulse, || store.webhook_health(name)).await?;
        // What has expired already comes first.
        let ever = UnixMillis(i64::MIN);
        self.expires_at = read(&self.pulse, || store.next_expiry(name, ever)).await?;
        if self.condition.adopt(&standing) || standing.disabled != self.standing.disabled {
            self.queue.clear();
        }
        self.telling.standing(&standing);
        self.standing = standing;
        self.more = true;
        Ok(())
    }

    /// Gives up what has expired and is not under way.
    async fn expire(&mut self, now: UnixMillis) -> Result<(), DispatcherError> {
        let (store, name) = (&self.parts.store, &self.parts.webhook.name);
        let limit = EXPIRY_PAGE + u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let expired = read(&self.pulse, || store.expired_deliveries(name, now, limit)).await?;
        let expiries: Vec<Expiry> = expired
            .into_iter()
            .filter(|delivery| self.lanes.get(&delivery.job_id) != Some(&delivery.event_id))
            .map(|delivery| Expiry {
                event_id: delivery.event_id,
                job_id: delivery.job_id,
                webhook: name.clone(),
                fallback: self.parts.webhook.fallback.clone(),
            })
            .collect();
        self.expires_at = read(&self.pulse, || store.next_expiry(name, now)).await?;
        if !expiries.is_empty() {
            self.telling.expired(&expiries);
            self.pulse
                .while_waiting(self.parts.recorder.expired(expiries))
                .await?;
            self.queue.clear();
            self.look_again = true;
        }
        Ok(())
    }

    /// Starts as many attempts as the webhook's health allows; answers when there is more to do.
    async fn start_allowed(
        &mut self,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, DispatcherError> {
        let health = self.condition.health();
        let allowed = health.allowed(self.parts.webhook.max_in_flight);
        if let Some(hold) = health.hold() {
            // What the last one has shown is recorded before the next one is chosen.
            return match self.attempts.is_empty() {
                true => self.start_probe(hold, now).await,
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
        self.start_due(free, now).await
    }

    async fn start_due(
        &mut self,
        mut free: usize,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, DispatcherError> {
        loop {
            while free > 0
                && let Some(delivery) = self.queue.pop_front()
            {
                if self.may_be_sent(&delivery, now) {
                    self.start(delivery, false);
                    free -= 1;
                }
            }
            if free == 0 {
                return Ok(None);
            }
            let (store, name) = (&self.parts.store, &self.parts.webhook.name);
            if !std::mem::take(&mut self.more) {
                return Ok(read(&self.pulse, || store.next_delivery(name, now)).await?);
            }
            // Those under way are still pending and may be among the rows.
            let limit = PAGE + u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
            let mut due = read(&self.pulse, || store.deliveries_due(name, now, limit)).await?;
            let is_full = due.len() >= limit as usize;
            due.retain(|delivery| self.may_be_sent(delivery, now));
            self.more = is_full && !due.is_empty();
            self.queue.extend(due);
        }
    }

    /// Tries whether a held webhook takes events again: with one that is worth something for a short time only, as soon as
    /// it is due; else, when the time has come, with the one that was tried before, or the one that is due first.
    async fn start_probe(
        &mut self,
        hold: &Hold,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, DispatcherError> {
        self.queue.clear();
        self.more = true;
        let (store, name) = (&self.parts.store, &self.parts.webhook.name);
        // A lane whose outcome could not be recorded must not hide the others.
        let limit = 1 + u32::try_from(self.lanes.len()).unwrap_or(u32::MAX);
        let mut found = read(&self.pulse, || store.fresh_deliveries_due(name, now, limit)).await?;
        found.retain(|delivery| self.may_be_sent(delivery, now));
        let early = hold.probe_at.filter(|at| *at > now);
        if found.is_empty() && early.is_none() {
            if let Some(event_id) = hold.event_id.as_deref() {
                found.extend(read(&self.pulse, || store.delivery_due(name, event_id, now)).await?);
            }
            if found.is_empty() {
                found = read(&self.pulse, || store.deliveries_due(name, now, limit)).await?;
            }
        }
        let probe = found
            .into_iter()
            .find(|delivery| self.may_be_sent(delivery, now));
        if let Some(probe) = probe {
            self.start(probe, true);
            return Ok(None);
        }
        let next = read(&self.pulse, || store.next_delivery(name, now)).await?;
        Ok(next.into_iter().chain(early).min())
    }

    fn may_be_sent(&self, delivery: &DueDelivery, now: UnixMillis) -> bool {
        !self.lanes.contains_key(&delivery.job_id) && delivery.expires_at.is_none_or(|at| at > now)
    }

    fn start(&mut self, delivery: DueDelivery, is_probe: bool) {
        let lane = (delivery.job_id.clone(), delivery.event_id.clone());
        self.lanes.extend([lane]);
        let parts = Arc::clone(&self.parts);
        let condition = self.condition.clone();
        let place = Place::taken(Arc::clone(&self.gauge), Arc::clone(&self.over));
        self.attempts
            .spawn(attempt(parts, condition, delivery, is_probe, place));
    }

    fn finish(
        &mut self,
        attempted: Result<Result<Attempted, WriterGone>, tokio::task::JoinError>,
    ) -> Result<(), DispatcherError> {
        let attempted = match attempted {
            Ok(attempted) => attempted?,
            Err(error) => return Err(DispatcherError::Attempt(error.to_string())),
        };
        if attempted.recorded {
            self.lanes.remove(&attempted.job_id);
        }
        self.more = true;
        self.look_again |= attempted.concerns_all();
        self.telling.attempted(&attempted, self.parts.clock.now());
        Ok(())
    }
}

/// A due time may lie between two milliseconds of the clock; one more makes sure it has come.
fn wait_until(at: UnixMillis, now: UnixMillis) -> Duration {
    (at.since(now) + Duration::from_millis(1)).min(IDLE_CHECK)
}
