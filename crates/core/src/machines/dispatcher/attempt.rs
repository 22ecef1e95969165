//! One attempt: what follows from its result for the event, for the webhook's health and for the fallback.

use std::sync::Arc;

use super::health::KnownHealth;
use super::messages::{Report, Settings};
use crate::batch::FinishedAttempt;
use crate::delivery::{
    AfterAttempt, AttemptReport, AttemptResult, Decision, Directive, RetryContext, Trigger,
    after_attempt,
};
use crate::event::EventType;
use crate::health::HealthEvidence;
use crate::rows::{DueDelivery, WebhookHealth};
use crate::time::{Now, UnixMillis};

/// Why an attempt is made while the webhook is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// The next probe of the hold is due.
    Paced,
    /// The event expires, so it does not wait for the next probe.
    Expiring,
}

/// An attempt in flight.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Without its body.
    pub(super) delivery: DueDelivery,
    pub(super) probe: Option<Probe>,
    /// Those it began with.
    pub(super) settings: Arc<Settings>,
}

impl Attempt {
    /// Decides what follows; the health counts the attempt.
    pub(super) fn finish(
        &self,
        report: AttemptReport,
        health: &mut KnownHealth,
        now: Now,
        random: f64,
    ) -> (FinishedAttempt, Report) {
        let (delivery, settings) = (&self.delivery, &self.settings);
        let (Decision { after, pause }, health) = self.decide(&report, health, now, random);
        let is_undelivered = is_undelivered_challenge(delivery.kind, delivery.expires_at, after);
        let trigger = match (delivery.is_replay, self.probe) {
            (true, _) => Trigger::Manual,
            (false, Some(_)) => Trigger::Probe,
            (false, None) => Trigger::Schedule,
        };
        let number = delivery.attempts.saturating_add(1);
        let mut attempt = report.attempt(&delivery.event_id, &settings.name, number, trigger);
        attempt.error = attempt.error.map(|error| with_end(error, after));
        let finished = FinishedAttempt {
            attempt,
            job_id: delivery.job_id.clone(),
            after,
            pause,
            disables: disables(&report.result, report.directive),
            fallback: settings.fallback.clone().filter(|_| is_undelivered),
            health,
        };
        let report = Report::Attempted {
            result: report.result,
            after,
            duration: report.duration,
            lag: now.wall.since(delivery.created_at),
        };
        (finished, report)
    }

    /// Decides what follows for the event, and for the webhook's health if that changes.
    fn decide(
        &self,
        report: &AttemptReport,
        health: &mut KnownHealth,
        now: Now,
        random: f64,
    ) -> (Decision, Option<WebhookHealth>) {
        let delivery = &self.delivery;
        let context = RetryContext {
            used: delivery.retries_used,
            schedule: &self.settings.retry,
            // Right after a jump of the clock nothing expires.
            expires_at: delivery.expires_at.filter(|_| now.stability.is_settled),
            due: delivery.due,
            paused: delivery.paused,
            empty_pauses: health.empty_pauses(),
        };
        let decision = after_attempt(&report.result, report.directive, &context, now.wall, random);
        let evidence = HealthEvidence {
            job_id: &delivery.job_id,
            event_id: &delivery.event_id,
            is_probe: self.probe == Some(Probe::Paced),
            failed_before: delivery.failed_before,
            after: decision.after,
            paused_until: decision.pause.map(|pause| now.wall.plus(pause)),
        };
        let is_empty_pause = matches!(
            report.result,
            AttemptResult::Throttled { retry_after, .. } if retry_after.is_zero()
        );
        let limit = self.settings.max_in_flight;
        let health = health.after(&evidence, is_empty_pause, limit, now.wall);
        (decision, health)
    }
}

/// Whether the event is of a challenge and is given up for this webhook.
fn is_undelivered_challenge(
    kind: EventType,
    expires_at: Option<UnixMillis>,
    after: AfterAttempt,
) -> bool {
    let is_over = match after {
        AfterAttempt::Exhausted | AfterAttempt::Expired | AfterAttempt::Aborted => true,
        // A disabled delivery with an expiry is given up when it expires.
        AfterAttempt::Disabled => expires_at.is_none(),
        AfterAttempt::Delivered | AfterAttempt::Retry(_) | AfterAttempt::Again(_) => false,
    };
    is_over && kind == EventType::ActionRequired
}

/// Why the answer disables the webhook, if it does.
fn disables(result: &AttemptResult, directive: Option<Directive>) -> Option<&'static str> {
    match (result, directive) {
        (AttemptResult::Gone, _) => Some("the webhook answered 410"),
        (_, Some(Directive::Disable)) => {
            Some("the webhook asked for it (webhook-delivery: disable)")
        }
        _ => None,
    }
}

/// What went wrong, and that there will be no further attempt where the schedule alone does not say so.
fn with_end(error: String, after: AfterAttempt) -> String {
    match after {
        AfterAttempt::Expired => format!("{error}; it expires before it could be tried again"),
        AfterAttempt::Aborted => format!("{error}; the webhook does not want this event"),
        _ => error,
    }
}
