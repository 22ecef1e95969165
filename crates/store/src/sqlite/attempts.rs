//! Attempts at deliveries, and what follows from them.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::bulk::{execute_rows, json};
use super::expiry::give_to_fallbacks;
use super::lanes::Lane;
use super::rows::{millis, read_columns};
use super::store::{Store, fetch_all, query};
use super::webhooks::affect_webhook;
use crate::{Attempts, FinishedAttempt, Result};
use jobtrackd_core::delivery::{AfterAttempt, Attempt, DeliveryState, WebhookName};
use jobtrackd_core::time::UnixMillis;

/// Latest events whose attempts are read.
const LATEST_EVENTS: i64 = 10_000;

/// A 2xx counts even when the webhook was disabled or the event given up during the attempt. A delivery that is no longer a
/// head, because an earlier event is replayed meanwhile, waits for that one.
pub(super) const RECORD_OUTCOMES: &str = "
    UPDATE deliveries SET
        state = CASE WHEN deliveries.state <> 'pending' AND v.value ->> 'state' <> 'delivered'
                     THEN deliveries.state ELSE v.value ->> 'state' END,
        attempts = v.value ->> 'number',
        last_attempt_at = v.value ->> 'started_at',
        retries_used = retries_used + (v.value ->> 'entries'),
        rested_ms = rested_ms + (v.value ->> 'pause_ms'),
        next_attempt_at = CASE WHEN deliveries.state = 'pending' AND deliveries.next_attempt_at IS NOT NULL
                               THEN v.value ->> 'next_attempt_at' END,
        expired_at = CASE WHEN v.value ->> 'state' = 'delivered' THEN NULL
                          WHEN deliveries.state = 'pending' THEN v.value ->> 'expired_at' ELSE expired_at END,
        delivered_at = v.value ->> 'delivered_at',
        last_status = v.value ->> 'status',
        last_error = CASE WHEN deliveries.state = 'exhausted' AND v.value ->> 'state' <> 'delivered'
                          THEN last_error ELSE v.value ->> 'error' END
    FROM json_each(?1) AS v
    WHERE deliveries.event_id = v.value ->> 'event_id' AND deliveries.webhook = v.value ->> 'webhook'
      AND deliveries.state <> 'delivered' AND deliveries.attempts = (v.value ->> 'number') - 1
    RETURNING deliveries.event_id, deliveries.webhook, deliveries.attempts";

pub(super) const RECORD_ATTEMPTS: &str = "
    INSERT INTO attempts
        (event_id, webhook, number, started_at, duration_ms, status, error, \"trigger\", answer, answer_cut)
    SELECT value ->> 'event_id', value ->> 'webhook', value ->> 'number', value ->> 'started_at',
           value ->> 'duration_ms', value ->> 'status', value ->> 'error', value ->> 'trigger',
           value ->> 'answer', value ->> 'answer_cut'
    FROM json_each(?1)";

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
    async fn latest_attempts(&self, webhook: &WebhookName, limit: u32) -> Result<Vec<Attempt>> {
        let query = query!(LATEST_ATTEMPTS, webhook.as_str(), LATEST_EVENTS, limit);
        self.all(query).await
    }

    async fn record_test(&self, attempt: &Attempt) -> Result<()> {
        let record =
            async |connection: &mut _| execute_rows(connection, RECORD_ATTEMPTS, &[attempt]).await;
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
    let outcomes: Vec<Outcome<'_>> = firsts.iter().copied().map(Outcome::of).collect();
    let returned = fetch_all(connection, query!(RECORD_OUTCOMES, json(&outcomes)?)).await?;
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
    let rows: Vec<&Attempt> = counted.iter().map(|each| &each.attempt).collect();
    execute_rows(connection, RECORD_ATTEMPTS, &rows).await?;
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

/// The state of a delivery after an attempt.
#[derive(Serialize)]
struct Outcome<'a> {
    event_id: &'a str,
    webhook: &'a WebhookName,
    number: u32,
    started_at: UnixMillis,
    status: Option<u16>,
    error: Option<&'a str>,
    state: DeliveryState,
    entries: u8,
    pause_ms: i64,
    next_attempt_at: Option<UnixMillis>,
    delivered_at: Option<UnixMillis>,
    expired_at: Option<UnixMillis>,
}

impl<'a> Outcome<'a> {
    fn of(finished: &'a FinishedAttempt) -> Self {
        let FinishedAttempt { attempt, after, .. } = finished;
        let (state, entries, next_attempt_at) = match *after {
            AfterAttempt::Delivered => (DeliveryState::Delivered, 0, None),
            AfterAttempt::Retry(at) => (DeliveryState::Pending, 1, Some(at)),
            AfterAttempt::Again(at) => (DeliveryState::Pending, 0, Some(at)),
            AfterAttempt::Exhausted | AfterAttempt::Expired | AfterAttempt::Aborted => {
                (DeliveryState::Exhausted, 0, None)
            }
            AfterAttempt::Disabled => (DeliveryState::Disabled, 0, None),
        };
        let ended_at = attempt.ended_at();
        Self {
            event_id: &attempt.event_id,
            webhook: &attempt.webhook,
            number: attempt.number,
            started_at: attempt.started_at,
            status: attempt.status,
            error: attempt.error.as_deref(),
            state,
            entries,
            pause_ms: millis(finished.pause.unwrap_or_default()),
            next_attempt_at,
            delivered_at: (state == DeliveryState::Delivered).then_some(ended_at),
            expired_at: (*after == AfterAttempt::Expired).then_some(ended_at),
        }
    }
}

read_columns!(Attempt, "attempts" by "event_id" {
    event_id, webhook, number, started_at, duration_ms, status, error, trigger, answer,
    answer_cut,
});
