//! The loop of stage 6: tells webhooks what was recorded, in order per job, at least once.
//!
//! One loop per webhook, so that a slow or dead one never delays another. The database is the queue: of the pending
//! deliveries of one job only the first has a due time, so lanes are in order by construction, memory is bounded by
//! `max_in_flight`, and a restart goes on where it was.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::clock::{Clock, Jitter};
use crate::core::delivery::{AfterAttempt, AttemptResult, WebhookName, after_attempt};
use crate::core::job::JobId;
use crate::core::recurring::{Recurring, Tell};
use crate::core::time::{UnixMillis, millis};
use crate::pulse::Pulse;
use crate::store::{AttemptRecord, DueDelivery, Store, StoreError};
use crate::telemetry;
use crate::tracker::read;
use crate::tracker::recorder::{Recorder, Writable, WriterGone};
use crate::webhook::{Message, Sender, WebhookSettings};

/// A webhook with nothing due is looked at again at least this often, nudge or not.
const IDLE_CHECK: Duration = Duration::from_secs(60);

/// The loop of one webhook.
#[derive(Debug)]
pub struct Dispatcher {
    parts: Arc<Parts>,
    nudge: Arc<Notify>,
    writable: watch::Receiver<Writable>,
    attempts: JoinSet<Result<Attempted, WriterGone>>,
    in_flight: HashSet<String>,
    gauge: Arc<Gauge>,
    pulse: Pulse,
    trouble: Recurring<()>,
    /// Whether it was said that the webhook is disabled.
    disabled_said: bool,
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

/// Numbers that others may read at any time.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Attempts under way.
    pub in_flight: AtomicUsize,
}

#[derive(Debug)]
struct Attempted {
    event_id: String,
    job_id: JobId,
    number: u32,
    status: Option<u16>,
    duration: Duration,
    /// Whether it is recorded. If not, the delivery stays in flight until the next start: sending it again and again
    /// without ever recording it would be worse.
    recorded: bool,
    after: AfterAttempt,
    error: Option<String>,
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

impl Dispatcher {
    /// Makes the loop; `nudge` tells it that something new was recorded.
    #[must_use]
    pub fn new(parts: Parts, nudge: Arc<Notify>) -> Self {
        telemetry::webhook(&parts.webhook.name);
        Self {
            writable: parts.recorder.writable(),
            parts: Arc::new(parts),
            nudge,
            attempts: JoinSet::new(),
            in_flight: HashSet::new(),
            gauge: Arc::default(),
            pulse: Pulse::default(),
            trouble: Recurring::default(),
            disabled_said: false,
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
        self.gauge
            .in_flight
            .store(self.in_flight.len(), Ordering::Relaxed);
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
                () = self.nudge.notified() => {}
                () = &mut wake => {}
                Ok(()) = self.writable.changed() => {}
            }
            return Ok(());
        }
    }

    /// Starts what is due, within `max_in_flight`; answers how long there is nothing more to do.
    async fn start_attempts(&mut self) -> Result<Duration, DispatcherError> {
        let free = self
            .parts
            .webhook
            .max_in_flight
            .saturating_sub(self.in_flight.len());
        if free == 0 || *self.writable.borrow_and_update() != Writable::Yes {
            return Ok(IDLE_CHECK);
        }
        let name = &self.parts.webhook.name;
        let now = self.parts.clock.now();
        let health = read(&self.pulse, || self.parts.store.webhook_health(name)).await?;
        if let Some((since, reason)) = health.disabled {
            if !std::mem::replace(&mut self.disabled_said, true) {
                error!(webhook = %name, %since, error = reason, "the webhook is disabled; its events are kept");
            }
            return Ok(IDLE_CHECK);
        }
        if let Some(until) = health.paused_until
            && until > now
        {
            return Ok(until.since(now).min(IDLE_CHECK));
        }
        // Those under way are still pending and may be among the rows.
        let limit = u32::try_from(free + self.in_flight.len()).unwrap_or(u32::MAX);
        let due = read(&self.pulse, || {
            self.parts.store.deliveries_due(name, now, limit)
        })
        .await?;
        let fresh: Vec<DueDelivery> = due
            .into_iter()
            .filter(|delivery| !self.in_flight.contains(&delivery.event_id))
            .take(free)
            .collect();
        for delivery in fresh {
            self.in_flight.insert(delivery.event_id.clone());
            self.attempts
                .spawn(attempt(Arc::clone(&self.parts), delivery));
        }
        let (store, name) = (&self.parts.store, &self.parts.webhook.name);
        let next = read(&self.pulse, || store.next_delivery(name, now)).await?;
        Ok(next.map_or(IDLE_CHECK, |at| wait_until(at, now)))
    }

    fn finish(
        &mut self,
        attempted: Result<Result<Attempted, WriterGone>, tokio::task::JoinError>,
    ) -> Result<(), DispatcherError> {
        let attempted = match attempted {
            Ok(Ok(attempted)) => attempted,
            Ok(Err(error)) => return Err(DispatcherError::Attempt(error.to_string())),
            Err(error) => return Err(DispatcherError::Attempt(error.to_string())),
        };
        if attempted.recorded {
            self.in_flight.remove(&attempted.event_id);
        }
        self.tell(&attempted);
        Ok(())
    }

    fn tell(&mut self, attempted: &Attempted) {
        let webhook = &self.parts.webhook.name;
        let Attempted {
            event_id,
            job_id,
            error,
            ..
        } = attempted;
        let now = self.parts.clock.now();
        let retry_in_ms = match attempted.after {
            AfterAttempt::Retry(at) | AfterAttempt::Rest(at) => Some(millis(at.since(now))),
            _ => None,
        };
        debug!(
            %webhook,
            %job_id,
            event_id,
            attempt = attempted.number,
            status = attempted.status,
            duration_ms = millis(attempted.duration),
            error,
            retry_in_ms,
            "attempted"
        );
        let told = match attempted.after {
            AfterAttempt::Delivered => self.trouble.note(None, now),
            AfterAttempt::Retry(_) | AfterAttempt::Rest(_) => self.trouble.note(Some(()), now),
            AfterAttempt::Exhausted => {
                error!(%webhook, %job_id, event_id, error, "an event was given up after its last attempt; it is kept");
                None
            }
            AfterAttempt::Disabled => None,
        };
        match told {
            Some(Tell::Begun(())) => {
                warn!(%webhook, error, retry_in_ms, "the webhook does not take events; they are tried again");
            }
            Some(Tell::Ended(())) => info!(%webhook, "the webhook takes events again"),
            None => {}
        }
    }
}

/// A due time may lie between two milliseconds of the clock; one more makes sure it has come.
fn wait_until(at: UnixMillis, now: UnixMillis) -> Duration {
    (at.since(now) + Duration::from_millis(1)).min(IDLE_CHECK)
}

async fn attempt(parts: Arc<Parts>, delivery: DueDelivery) -> Result<Attempted, WriterGone> {
    let message = Message {
        id: &delivery.event_id,
        body: delivery.body.into_bytes().into(),
    };
    let report = parts.sender.send(&parts.webhook, &message).await;
    let ended_at = parts.clock.now();
    let after = after_attempt(
        &report.result,
        delivery.retries_used,
        &parts.webhook.retry,
        ended_at,
        parts.jitter.fraction(),
    );
    let lag = ended_at.since(delivery.created_at);
    let name = &parts.webhook.name;
    telemetry::attempted(name, &report.result, after, report.duration, lag);
    let error = AttemptResult::error(&report.result);
    let status = AttemptResult::status(&report.result);
    let number = delivery.attempts + 1;
    let record = AttemptRecord {
        event_id: delivery.event_id.clone(),
        job_id: delivery.job_id.clone(),
        webhook: WebhookName::clone(&parts.webhook.name),
        number,
        started_at: report.started_at,
        duration: report.duration,
        result: report.result,
        after,
    };
    let recorded = parts.recorder.attempted(record).await?;
    Ok(Attempted {
        recorded,
        event_id: delivery.event_id,
        job_id: delivery.job_id,
        number,
        status,
        duration: report.duration,
        after,
        error,
    })
}
