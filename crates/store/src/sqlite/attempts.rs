//! Attempts at deliveries, and what follows from them.

use std::collections::{BTreeSet, HashSet};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::bulk::{Bulk, Value};
use super::expiry::give_to_fallbacks;
use super::lanes::Lane;
use super::rows::{millis, read_columns};
use super::store::{Store, query};
use super::webhooks::affect_webhook;
use crate::{Attempts, FinishedAttempt, Result};
use jobtrackd_core::delivery::{AfterAttempt, Attempt, DeliveryState, WebhookName};

/// A 2xx counts even when the webhook was disabled or the event given up during the attempt. A delivery that is no longer a
/// head, because an earlier event is replayed meanwhile, waits for that one.
pub(super) static RECORD_OUTCOMES: Bulk<12> = Bulk::new(
    "WITH v (event_id, webhook, number, started_at, status, error, state, entries, pause_ms, next_attempt_at, delivered_at,
             expired_at) AS (VALUES {rows})
     UPDATE deliveries SET
        state = CASE WHEN deliveries.state <> 'pending' AND v.state <> 'delivered' THEN deliveries.state ELSE v.state END,
        attempts = v.number,
        last_attempt_at = v.started_at,
        retries_used = deliveries.retries_used + v.entries,
        rested_ms = deliveries.rested_ms + v.pause_ms,
        next_attempt_at = CASE WHEN deliveries.state = 'pending' AND deliveries.next_attempt_at IS NOT NULL
                               THEN v.next_attempt_at END,
        expired_at = CASE WHEN v.state = 'delivered' THEN NULL
                          WHEN deliveries.state = 'pending' THEN v.expired_at ELSE deliveries.expired_at END,
        delivered_at = v.delivered_at,
        last_status = v.status,
        last_error = CASE WHEN deliveries.state = 'exhausted' AND v.state <> 'delivered'
                          THEN deliveries.last_error ELSE v.error END
     FROM v
     WHERE deliveries.event_id = v.event_id AND deliveries.webhook = v.webhook
       AND deliveries.state <> 'delivered' AND deliveries.attempts = v.number - 1
     RETURNING deliveries.event_id, deliveries.webhook, deliveries.attempts",
);

pub(super) static RECORD_ATTEMPTS: Bulk<10> = Bulk::new(
    "INSERT INTO attempts
        (event_id, webhook, number, started_at, duration_ms, status, error, \"trigger\", answer, answer_cut)
     SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL",
);

/// Each part is bounded by an index; attempts of tests are few and found by the prefix of their ids.
pub(super) const LATEST_ATTEMPTS: &str = "
    SELECT * FROM (
        SELECT a.* FROM events AS e CROSS JOIN attempts AS a ON a.event_id = e.id AND a.webhook = ?1
        WHERE e.cursor > (SELECT coalesce(max(cursor), 0) FROM events) - ?2
        UNION ALL
        SELECT * FROM attempts WHERE event_id >= 'test_' AND event_id < 'test`' AND webhook = ?1
    )
    ORDER BY started_at DESC, number DESC LIMIT ?3";

impl Attempts for Store {
    async fn latest_attempts(
        &self,
        webhook: &WebhookName,
        events: u32,
        limit: u32,
    ) -> Result<Vec<Attempt>> {
        let query = query!(LATEST_ATTEMPTS, webhook.as_str(), events, limit);
        self.all(query).await
    }

    async fn record_test(&self, attempt: &Attempt) -> Result<()> {
        let rows = std::iter::once(row(attempt));
        let record = async |connection: &mut _| RECORD_ATTEMPTS.run(connection, rows).await;
        self.write(record).await.map(drop)
    }
}

/// The result of recording the attempts of a batch.
#[derive(Default)]
pub(super) struct RecordedAttempts {
    /// The lanes whose head may have changed.
    pub(super) lanes: BTreeSet<Lane>,
    /// Those that were not the next ones of their deliveries.
    pub(super) unexpected: HashSet<(String, WebhookName, u32)>,
}

/// Records attempts and what follows from them, except those that are not their delivery's next one, which are returned.
pub(super) async fn record_attempts(
    connection: &mut SqliteConnection,
    attempts: &[FinishedAttempt],
) -> Result<RecordedAttempts> {
    let mut recorded = RecordedAttempts::default();
    if attempts.is_empty() {
        return Ok(recorded);
    }
    let mut seen = HashSet::new();
    let firsts: Vec<&FinishedAttempt> = attempts
        .iter()
        .filter(|each| seen.insert(key(&each.attempt)))
        .collect();
    let outcomes = firsts.iter().copied().map(outcome);
    let returned = RECORD_OUTCOMES.run(connection, outcomes).await?;
    let mut taken: HashSet<(&str, &str, u32)> = HashSet::new();
    for row in &returned {
        taken.insert((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    }
    let (counted, unexpected): (Vec<&FinishedAttempt>, Vec<&FinishedAttempt>) = firsts
        .into_iter()
        .partition(|each| taken.contains(&key(&each.attempt)));
    let unexpected = unexpected.iter().map(|FinishedAttempt { attempt, .. }| {
        (
            attempt.event_id.clone(),
            attempt.webhook.clone(),
            attempt.number,
        )
    });
    recorded.unexpected = unexpected.collect();
    let rows = counted.iter().map(|each| row(&each.attempt));
    RECORD_ATTEMPTS.run(connection, rows).await?;
    for each in &counted {
        affect_webhook(connection, each).await?;
        recorded
            .lanes
            .insert(Lane::of(&each.attempt.webhook, &each.job_id));
    }
    let undelivered = counted.iter().filter_map(|each| {
        let attempt = &each.attempt;
        Some((
            attempt.event_id.as_str(),
            &attempt.webhook,
            each.fallback.as_ref()?,
        ))
    });
    let fallbacks = give_to_fallbacks(connection, undelivered).await?;
    recorded.lanes.extend(fallbacks);
    Ok(recorded)
}

fn key(attempt: &Attempt) -> (&str, &str, u32) {
    (
        attempt.event_id.as_str(),
        attempt.webhook.as_str(),
        attempt.number,
    )
}

fn row(attempt: &Attempt) -> [Value<'_>; 10] {
    [
        (&attempt.event_id).into(),
        (&attempt.webhook).into(),
        attempt.number.into(),
        attempt.started_at.into(),
        attempt.duration_ms.into(),
        attempt.status.into(),
        attempt.error.as_ref().into(),
        attempt.trigger.into(),
        attempt.answer.as_ref().into(),
        attempt.answer_cut.into(),
    ]
}

/// The state of a delivery after an attempt.
fn outcome(finished: &FinishedAttempt) -> [Value<'_>; 12] {
    let FinishedAttempt { attempt, after, .. } = finished;
    let (state, entries, next_attempt_at) = match *after {
        AfterAttempt::Delivered => (DeliveryState::Delivered, 0_u8, None),
        AfterAttempt::Retry(at) => (DeliveryState::Pending, 1, Some(at)),
        AfterAttempt::Again(at) => (DeliveryState::Pending, 0, Some(at)),
        AfterAttempt::Exhausted | AfterAttempt::Expired | AfterAttempt::Aborted => {
            (DeliveryState::Exhausted, 0, None)
        }
        AfterAttempt::Disabled => (DeliveryState::Disabled, 0, None),
    };
    let ended_at = attempt.ended_at();
    let is_delivered = state == DeliveryState::Delivered;
    [
        (&attempt.event_id).into(),
        (&attempt.webhook).into(),
        attempt.number.into(),
        attempt.started_at.into(),
        attempt.status.into(),
        attempt.error.as_ref().into(),
        state.into(),
        entries.into(),
        millis(finished.pause.unwrap_or_default()).into(),
        next_attempt_at.into(),
        is_delivered.then_some(ended_at).into(),
        (*after == AfterAttempt::Expired).then_some(ended_at).into(),
    ]
}

read_columns!(Attempt, "attempts" by "event_id" {
    event_id, webhook, number, started_at, duration_ms, status, error, trigger, answer,
    answer_cut,
});
