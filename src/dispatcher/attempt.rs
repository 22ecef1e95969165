//! One attempt: sent, judged, recorded.

use std::sync::Arc;
use std::time::Duration;

use super::Parts;
use super::condition::Condition;
use super::place::Place;
use crate::core::delivery::{
    AfterAttempt, AttemptResult, Retrying, Trigger, WebhookName, Wish, after_attempt,
};
use crate::core::event::EventType;
use crate::core::health::{Health, Tried};
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::store::{AttemptRecord, DueDelivery};
use crate::telemetry;
use crate::tracker::recorder::WriterGone;
use crate::webhook::Message;

/// An attempt that is over.
#[derive(Debug)]
pub(super) struct Attempted {
    pub(super) event_id: String,
    pub(super) job_id: JobId,
    pub(super) number: u32,
    pub(super) status: Option<u16>,
    pub(super) duration: Duration,
    /// Whether it is recorded.
    pub(super) recorded: bool,
    pub(super) after: AfterAttempt,
    pub(super) disables: bool,
    pub(super) error: Option<String>,
    /// Who is told in the webhook's place.
    pub(super) fallback: Option<WebhookName>,
    /// The webhook's health, if the attempt has changed it.
    pub(super) health: Option<Health>,
}

impl Attempted {
    /// Whether it means something for the webhook as a whole that stands in its row.
    pub(super) fn concerns_all(&self) -> bool {
        self.disables || matches!(self.after, AfterAttempt::Rest(_))
    }
}

pub(super) async fn attempt(
    parts: Arc<Parts>,
    condition: Condition,
    delivery: DueDelivery,
    is_probe: bool,
    place: Place,
) -> Result<Attempted, WriterGone> {
    let webhook = &parts.webhook;
    let number = delivery.attempts + 1;
    let message = Message {
        id: &delivery.event_id,
        body: delivery.body.into_bytes().into(),
        attempt: number,
        is_replay: delivery.is_replay,
    };
    let report = parts.sender.send(webhook, &message).await;
    let ended_at = parts.clock.now();
    let retrying = Retrying {
        used: delivery.retries_used,
        schedule: &webhook.retry,
        expires_at: delivery.expires_at,
    };
    let random = parts.jitter.fraction();
    let after = after_attempt(&report.result, report.wish, &retrying, ended_at, random);
    let tried = Tried {
        event_id: &delivery.event_id,
        is_probe,
        is_success: after == AfterAttempt::Delivered,
        after,
    };
    // Only now: how many more may be under way depends on it.
    let health = condition.after(&tried, &webhook.retry, webhook.max_in_flight, ended_at);
    drop(place);
    let lag = ended_at.since(delivery.created_at);
    telemetry::attempted(&webhook.name, &report.result, after, report.duration, lag);
    let is_untold = is_untold_challenge(&delivery.kind, delivery.expires_at, after);
    let fallback = webhook.fallback.clone().filter(|_| is_untold);
    let disables = disables(&report.result, report.wish);
    let mut attempted = Attempted {
        event_id: delivery.event_id,
        job_id: delivery.job_id,
        number,
        status: report.result.status(),
        duration: report.duration,
        recorded: false,
        after,
        disables: disables.is_some(),
        error: report.result.error(),
        fallback: fallback.clone(),
        health: health.as_ref().map(|record| record.health.clone()),
    };
    let record = AttemptRecord {
        event_id: attempted.event_id.clone(),
        job_id: attempted.job_id.clone(),
        webhook: webhook.name.clone(),
        number,
        started_at: report.started_at,
        duration: report.duration,
        trigger: match (delivery.is_replay, is_probe) {
            (true, _) => Trigger::Manual,
            (false, true) => Trigger::Probe,
            (false, false) => Trigger::Schedule,
        },
        result: report.result,
        answer: report.answer,
        after,
        disables,
        fallback,
        health,
    };
    attempted.recorded = parts.recorder.attempted(record).await?;
    Ok(attempted)
}

/// Whether this webhook will not be told of the challenge any more.
fn is_untold_challenge(kind: &str, expires_at: Option<UnixMillis>, after: AfterAttempt) -> bool {
    let is_over = match after {
        AfterAttempt::Exhausted | AfterAttempt::Expired | AfterAttempt::Aborted => true,
        // One that is disabled and expires is given up when its time has come.
        AfterAttempt::Disabled => expires_at.is_none(),
        AfterAttempt::Delivered | AfterAttempt::Retry(_) | AfterAttempt::Rest(_) => false,
    };
    is_over && kind == EventType::ActionRequired.as_str()
}

/// Why nothing more is to be sent to a webhook, if its answer says so.
fn disables(result: &AttemptResult, wish: Option<Wish>) -> Option<&'static str> {
    match (result, wish) {
        (AttemptResult::Gone, _) => Some("the webhook answered 410"),
        (_, Some(Wish::Disable)) => Some("the webhook asked for it (webhook-delivery: disable)"),
        _ => None,
    }
}
