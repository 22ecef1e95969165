//! Log lines and counts of one webhook: trouble and its end once each, and everything an operator must act upon.

use tracing::{debug, error, info, warn};

use crate::clock::Clock;
use crate::core::delivery::{AfterAttempt, WebhookName};
use crate::core::health::Health;
use crate::core::job::JobId;
use crate::core::machines::dispatcher::Report;
use crate::core::recurring::{self, Recurring};
use crate::core::text::printable;
use crate::core::time::{UnixMillis, millis};
use crate::store::{FinishedAttempt, Undelivered, WebhookHealth};
use crate::telemetry::{self, Recent};

/// Longest event id that is logged, in characters; our own are shorter.
const MAX_ID: usize = 64;

#[derive(Debug)]
pub(super) struct Log {
    webhook: WebhookName,
    recent: Recent,
    clock: Clock,
    trouble: Recurring<()>,
    disabled_logged: bool,
    hold_logged: bool,
    unreadable_logged: bool,
}

impl Log {
    pub(super) fn of(webhook: &WebhookName, recent: Recent, clock: Clock) -> Self {
        Self {
            webhook: webhook.clone(),
            recent,
            clock,
            trouble: Recurring::default(),
            disabled_logged: false,
            hold_logged: false,
            unreadable_logged: false,
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        match report {
            Report::Row(row) => self.row(&row),
            Report::Unreadable { event_id, error } => self.unreadable(&event_id, &error),
            Report::Attempted {
                result,
                after,
                duration,
                lag,
            } => {
                telemetry::attempted(&self.webhook, &result, after, duration, lag);
                let delivered = after == AfterAttempt::Delivered;
                self.recent.attempted(self.clock.now(), delivered);
            }
        }
    }

    /// Logs what has changed in the webhook's row.
    fn row(&mut self, row: &WebhookHealth) {
        let webhook = &self.webhook;
        let was_logged = std::mem::replace(&mut self.unreadable_logged, row.unreadable.is_some());
        if let Some(error) = row.unreadable.as_ref().filter(|_| !was_logged) {
            error!(%webhook, error, "the recorded state of the webhook cannot be read and is ignored; see: jobtrackd doctor");
        }
        match &row.disabled {
            Some((since, reason)) => {
                if !std::mem::replace(&mut self.disabled_logged, true) {
                    error!(%webhook, %since, error = reason, "the webhook is disabled; its events are kept");
                }
            }
            None => {
                if std::mem::take(&mut self.disabled_logged) {
                    info!(%webhook, "the webhook is enabled again");
                }
            }
        }
    }

    /// Another program has changed the row of a delivery.
    fn unreadable(&self, event_id: &str, error: &str) {
        let webhook = &self.webhook;
        let event_id = printable(event_id, MAX_ID);
        error!(%webhook, event_id, error, "a delivery cannot be read and is not sent; see: jobtrackd doctor");
    }

    /// Events that expired.
    pub(super) fn expired(&self, expiries: &[Undelivered]) {
        for expiry in expiries {
            let fallback = expiry.fallback.as_ref();
            self.event_expired(&expiry.job_id, &expiry.event_id, fallback, None);
        }
    }

    pub(super) fn attempted(&mut self, finished: &FinishedAttempt, now: UnixMillis) {
        let webhook = &self.webhook;
        let (attempt, job_id) = (&finished.attempt, &finished.job_id);
        let (event_id, error) = (&attempt.event_id, &attempt.error);
        let retry_in_ms = match finished.after {
            AfterAttempt::Retry(at) | AfterAttempt::Again(at) => Some(millis(at.since(now))),
            _ => None,
        };
        debug!(
            %webhook,
            %job_id,
            event_id,
            attempt = attempt.number,
            status = attempt.status,
            duration_ms = attempt.duration_ms,
            error,
            retry_in_ms,
            "attempted"
        );
        let change = match finished.after {
            AfterAttempt::Delivered => self.trouble.note(None, now),
            AfterAttempt::Retry(_) | AfterAttempt::Again(_) => self.trouble.note(Some(()), now),
            AfterAttempt::Exhausted => {
                error!(%webhook, %job_id, event_id, error, "an event was given up after its last attempt; it is kept");
                None
            }
            AfterAttempt::Expired => {
                let (fallback, error) = (finished.fallback.as_ref(), error.as_deref());
                self.event_expired(job_id, event_id, fallback, error);
                None
            }
            AfterAttempt::Aborted => {
                warn!(%webhook, %job_id, event_id, error, "an event was given up at the webhook's request; it is kept");
                None
            }
            AfterAttempt::Disabled => None,
        };
        match change {
            Some(recurring::Report::Begun(())) => {
                warn!(%webhook, error, retry_in_ms, "the webhook does not take events; they are tried again");
            }
            Some(recurring::Report::Ended(())) => info!(%webhook, "the webhook takes events again"),
            None => {}
        }
        match finished.health.as_ref().map(|row| &row.health) {
            Some(Health::Held(hold)) if !self.hold_logged => {
                self.hold_logged = true;
                let failures = hold.failures;
                let probe_in_ms = hold.probe_at.map(|at| millis(at.since(now)));
                warn!(%webhook, failures, error, probe_in_ms, "the webhook is held: one event at a time is tried until it takes one");
            }
            Some(Health::Ready(_)) => self.hold_logged = false,
            _ => {}
        }
    }

    fn event_expired(
        &self,
        job_id: &JobId,
        event_id: &str,
        fallback: Option<&WebhookName>,
        error: Option<&str>,
    ) {
        let webhook = &self.webhook;
        telemetry::expired(webhook, 1);
        let fallback = fallback.map(WebhookName::as_str);
        error!(%webhook, %job_id, event_id, fallback, error, "an event has expired before it was delivered; it is kept");
    }
}
