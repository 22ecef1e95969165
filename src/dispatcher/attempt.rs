//! One attempt: sent, decided upon, recorded.

use std::sync::Arc;

use bytes::Bytes;

use super::health::SharedHealth;
use super::permit::Permit;
use super::{DispatcherError, Parts, Target};
use crate::core::delivery::{
    AfterAttempt, AttemptResult, Decision, Directive, RetryContext, Trigger, after_attempt,
};
use crate::core::event::EventType;
use crate::core::health::HealthEvidence;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::sockets::Shortage;
use crate::store::{Deliveries as _, DueDelivery, FinishedAttempt, WebhookHealth, patiently};
use crate::telemetry;
use crate::webhook::{AttemptReport, Message, WebhookSettings};

/// How the task of a due delivery ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// A request was sent, and this is recorded or not.
    Attempted(Box<FinishedAttempt>, bool),
    /// Nothing was sent: the delivery to this job's lane is no longer pending, or cannot be sent now.
    Skipped(JobId),
}

/// Why an attempt is made while the webhook is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// The next probe of the hold is due.
    Paced,
    /// The event expires, so it does not wait for the next probe.
    Expiring,
}

pub(super) async fn attempt(
    parts: Arc<Parts>,
    target: Arc<Target>,
    health: SharedHealth,
    mut delivery: DueDelivery,
    probe: Option<Probe>,
    permit: Permit,
) -> Result<Ended, DispatcherError> {
    let webhook = &target.webhook;
    let number = delivery.attempts + 1;
    let body = match delivery.body.take() {
        // A large body is read only now and is in memory only while it is sent.
        None => patiently(|| parts.store.body_to_send(&webhook.name, &delivery.event_id)).await?,
        small => small,
    };
    let Some(body) = body else {
        return Ok(Ended::Skipped(delivery.job_id));
    };
    // For lack of sockets nothing was sent; the delivery stays due.
    let Ok(report) = send(&target, &delivery, body.into()).await else {
        return Ok(Ended::Skipped(delivery.job_id));
    };
    let ended_at = parts.clock.now();
    let request = Request {
        parts: &parts,
        webhook,
        health: &health,
        delivery: &delivery,
        probe,
    };
    let (Decision { after, pause }, health) = request.decide(&report, ended_at);
    // Only after the health is updated, which limits the requests in flight.
    drop(permit);
    let lag = ended_at.since(delivery.created_at);
    telemetry::attempted(&webhook.name, &report.result, after, report.duration, lag);
    let is_undelivered = is_undelivered_challenge(delivery.kind, delivery.expires_at, after);
    let fallback = webhook.fallback.clone().filter(|_| is_undelivered);
    let trigger = match (delivery.is_replay, probe) {
        (true, _) => Trigger::Manual,
        (false, Some(_)) => Trigger::Probe,
        (false, None) => Trigger::Schedule,
    };
    let mut attempt = report.attempt(&delivery.event_id, &webhook.name, number, trigger);
    attempt.error = attempt.error.map(|error| with_end(error, after));
    let finished = FinishedAttempt {
        attempt,
        job_id: delivery.job_id,
        after,
        pause,
        disables: disables(&report.result, report.directive),
        fallback,
        health,
    };
    let is_recorded = parts.recorder.attempted(finished.clone()).await?;
    Ok(Ended::Attempted(Box::new(finished), is_recorded))
}

async fn send(
    target: &Target,
    delivery: &DueDelivery,
    body: Bytes,
) -> Result<AttemptReport, Shortage> {
    let message = Message {
        id: &delivery.event_id,
        body,
        attempt: delivery.attempts + 1,
        is_replay: delivery.is_replay,
    };
    target.sender.send(&target.webhook, &message).await
}

/// The request of an attempt, on whose answer is to be decided.
struct Request<'a> {
    parts: &'a Parts,
    webhook: &'a WebhookSettings,
    health: &'a SharedHealth,
    delivery: &'a DueDelivery,
    probe: Option<Probe>,
}

impl Request<'_> {
    /// Decides what follows for the event, and for the webhook's health if that changes.
    fn decide(
        &self,
        report: &AttemptReport,
        ended_at: UnixMillis,
    ) -> (Decision, Option<WebhookHealth>) {
        let (parts, delivery) = (self.parts, self.delivery);
        // Right after a jump of the clock nothing expires.
        let is_settled = parts.clock.stability().is_settled;
        let context = RetryContext {
            used: delivery.retries_used,
            schedule: &self.webhook.retry,
            expires_at: delivery.expires_at.filter(|_| is_settled),
            due: delivery.due,
            paused: delivery.paused,
            empty_pauses: self.health.empty_pauses(),
        };
        let random = parts.jitter.fraction();
        let decision = after_attempt(&report.result, report.directive, &context, ended_at, random);
        let evidence = HealthEvidence {
            job_id: &delivery.job_id,
            event_id: &delivery.event_id,
            is_probe: self.probe == Some(Probe::Paced),
            failed_before: delivery.failed_before,
            after: decision.after,
            paused_until: decision.pause.map(|pause| ended_at.plus(pause)),
        };
        let is_empty_pause = matches!(
            report.result,
            AttemptResult::Throttled { retry_after, .. } if retry_after.is_zero()
        );
        let limit = self.webhook.max_in_flight;
        let health = self
            .health
            .after(&evidence, is_empty_pause, limit, ended_at);
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
