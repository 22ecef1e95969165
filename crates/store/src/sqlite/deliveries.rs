//! Deliveries: which are due, and what attempts do to them.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::{execute, json};
use super::expiry::{Untold, tell_fallbacks};
use super::lanes::Lane;
use super::rows::{Reading, due_delivery, millis};
use super::standing::affect_webhook;
use super::store::Store;
use crate::{AttemptRecord, DueDeliveries, StoreError};
use jobtrackd_core::answer::Cut;
use jobtrackd_core::delivery::{AfterAttempt, DeliveryState, WebhookName};
use jobtrackd_core::time::UnixMillis;

/// Most heads that are searched for such as cannot be read.
const MOST_HEADS: u32 = 10_000;

/// What [`due_delivery`] reads, of all heads for which what follows is true. Bodies of more than 16 KiB are left out: a page
/// of them is more than is sent at once.
macro_rules! due {
    ($condition:literal) => {
        due!(
            "CASE WHEN octet_length(e.body) <= 16384 THEN e.body END",
            $condition
        )
    };
    ($body:literal, $condition:literal) => {
        concat!(
            "SELECT d.event_id, d.job_id, d.attempts, d.retries_used, d.expires_at, d.\"trigger\",
                    d.next_attempt_at, d.rested_ms, d.last_error IS NOT NULL AS failed_before,
                    e.type, e.created_at, ",
            $body,
            " AS body
             FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
             WHERE d.webhook = ?1 AND d.state = 'pending' AND ",
            $condition
        )
    };
}

pub(super) const DUE: &str = due!("d.next_attempt_at <= ?2 ORDER BY d.next_attempt_at LIMIT ?3");

/// The condition on the state is that of the index; the `+` keeps SQLite from going through all that is due.
pub(super) const DUE_AND_FRESH: &str = due!(
    "+d.next_attempt_at <= ?2 AND d.state IN ('pending', 'disabled') AND d.expires_at > ?2
     ORDER BY d.next_attempt_at LIMIT ?3"
);

/// Due or not: a held webhook is probed at its own pace. Those that were never tried come first.
pub(super) const TO_PROBE: &str = due!(
    "d.next_attempt_at IS NOT NULL AND (d.expires_at IS NULL OR d.expires_at > ?2)
     ORDER BY d.last_attempt_at, d.next_attempt_at LIMIT ?3"
);

pub(super) const HEADS: &str = due!(
    "NULL",
    "d.next_attempt_at IS NOT NULL ORDER BY d.next_attempt_at LIMIT ?2"
);

pub(super) const BODY: &str = "
    SELECT e.body FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
    WHERE d.event_id = ?1 AND d.webhook = ?2 AND d.state = 'pending' AND d.next_attempt_at IS NOT NULL";

pub(super) const NEXT: &str = "
    SELECT min(next_attempt_at) FROM deliveries
    WHERE webhook = ?1 AND state = 'pending' AND next_attempt_at > ?2";

/// Each reading stops at the limit: the number is for people.
pub(super) const PENDING: &str =
    "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'pending' LIMIT ?1)";

/// A 2xx counts even when the webhook was disabled or the event given up while it was under way. One that is not a head any
/// more, because an earlier event was asked for again meanwhile, waits for that one.
pub(super) const RECORD_OUTCOMES: &str = "
    UPDATE deliveries SET
        state = CASE WHEN deliveries.state <> 'pending' AND v.value ->> 'state' <> 'delivered'
                     THEN deliveries.state ELSE v.value ->> 'state' END,
        attempts = v.value ->> 'number',
        last_attempt_at = v.value ->> 'started_at',
        retries_used = retries_used + (v.value ->> 'entries'),
        rested_ms = rested_ms + (v.value ->> 'rest_ms'),
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

impl Store {
    /// The heads of a webhook's lanes that are due at `now`, longest due first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries, StoreError> {
        self.due(DUE, webhook, now, limit).await
    }

    /// Those of them that will expire, likewise.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn fresh_deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries, StoreError> {
        self.due(DUE_AND_FRESH, webhook, now, limit).await
    }

    /// The heads of a webhook's lanes, due or not, in the order in which a held webhook is probed: those that were never
    /// tried first, then those whose last attempt is longest ago. Those that have expired at `now` are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deliveries_to_probe(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries, StoreError> {
        self.due(TO_PROBE, webhook, now, limit).await
    }

    async fn due(
        &self,
        sql: &'static str,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries, StoreError> {
        let query = sqlx::query(sql)
            .bind(webhook.as_str())
            .bind(now.0)
            .bind(limit);
        let rows = self.read(query.fetch_all(&self.shared.readers)).await?;
        Ok(readable(&rows))
    }

    /// The exact bytes of an event that is still to be sent to a webhook; `None` when it is not any more: it was given up,
    /// disabled or deleted, or an earlier one goes first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn body_to_send(
        &self,
        webhook: &WebhookName,
        event_id: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query(BODY).bind(event_id).bind(webhook.as_str());
        let row = self
            .read(query.fetch_optional(&self.shared.readers))
            .await?;
        // As bytes: the body is sent as it stands, UTF-8 or not.
        Ok(row.map(|row| row.try_get_unchecked(0)).transpose()?)
    }

    /// Which of the first 10,000 heads of a webhook's lanes cannot be read because another hand was in their rows, and why.
    /// They are not sent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unreadable_deliveries(
        &self,
        webhook: &WebhookName,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let query = sqlx::query(HEADS).bind(webhook.as_str()).bind(MOST_HEADS);
        let rows = self.read(query.fetch_all(&self.shared.readers)).await?;
        Ok(readable(&rows).unreadable)
    }

    /// When the webhook's next delivery falls due after `now`, if any waits.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_delivery(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let query = sqlx::query(NEXT).bind(webhook.as_str()).bind(now.0);
        let row = self.read(query.fetch_one(&self.shared.readers)).await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(UnixMillis))
    }

    /// How many deliveries are pending, counted up to `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pending_deliveries(&self, limit: u32) -> Result<u32, StoreError> {
        let query = sqlx::query_scalar(PENDING).bind(limit);
        self.read(query.fetch_one(&self.shared.readers)).await
    }
}

/// Another hand may have been in a row; the other deliveries must not suffer for it.
fn readable(rows: &[SqliteRow]) -> DueDeliveries {
    let mut found = DueDeliveries::default();
    for row in rows {
        match due_delivery(row) {
            Ok(delivery) => found.deliveries.push(delivery),
            Err(error) => {
                let event = Reading::new(row, "deliveries", "event_id").name;
                found.unreadable.push((event, error.to_string()));
            }
        }
    }
    found
}

/// Records attempts and what follows from them. Those that are not their delivery's next one do nothing, and are named.
pub(super) async fn record_attempts(
    connection: &mut SqliteConnection,
    attempts: &[AttemptRecord],
) -> Result<RecordedAttempts, StoreError> {
    let mut recorded = RecordedAttempts::default();
    if attempts.is_empty() {
        return Ok(recorded);
    }
    let mut known = HashSet::new();
    let firsts: Vec<&AttemptRecord> = attempts
        .iter()
        .filter(|attempt| known.insert(key(attempt)))
        .collect();
    let outcomes: Vec<OutcomeRow<'_>> = firsts.iter().copied().map(OutcomeRow::new).collect();
    let returned = sqlx::query(RECORD_OUTCOMES)
        .bind(json(&outcomes)?)
        .fetch_all(&mut *connection)
        .await?;
    let mut taken: HashSet<(&str, &str, u32)> = HashSet::new();
    for row in &returned {
        taken.insert((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    }
    let (counted, strange): (Vec<&AttemptRecord>, Vec<&AttemptRecord>) = firsts
        .into_iter()
        .partition(|attempt| taken.contains(&key(attempt)));
    recorded.strange = strange
        .iter()
        .map(|each| (each.event_id.clone(), each.webhook.clone(), each.number))
        .collect();
    let rows: Vec<AttemptRow<'_>> = counted.iter().copied().map(AttemptRow::new).collect();
    execute(connection, RECORD_ATTEMPTS, &rows).await?;
    for attempt in &counted {
        affect_webhook(connection, attempt).await?;
        recorded.lanes.insert(Lane {
            webhook: attempt.webhook.clone(),
            job_id: attempt.job_id.clone(),
        });
    }
    let untold: Vec<Untold<'_>> = counted.iter().filter_map(|each| Untold::of(each)).collect();
    let fallbacks = tell_fallbacks(connection, &untold).await?;
    recorded.lanes.extend(fallbacks);
    Ok(recorded)
}

/// What became of the attempts of a batch.
#[derive(Default)]
pub(super) struct RecordedAttempts {
    /// The lanes whose head may have changed.
    pub(super) lanes: HashSet<Lane>,
    /// Those that were not the next ones of their deliveries.
    pub(super) strange: HashSet<(String, WebhookName, u32)>,
}

fn key(attempt: &AttemptRecord) -> (&str, &str, u32) {
    (
        attempt.event_id.as_str(),
        attempt.webhook.as_str(),
        attempt.number,
    )
}

#[derive(Serialize)]
struct OutcomeRow<'a> {
    state: &'static str,
    entries: u8,
    rest_ms: i64,
    next_attempt_at: Option<UnixMillis>,
    delivered_at: Option<UnixMillis>,
    expired_at: Option<UnixMillis>,
    #[serde(flatten)]
    attempt: AttemptRow<'a>,
}

impl<'a> OutcomeRow<'a> {
    fn new(attempt: &'a AttemptRecord) -> Self {
        let (state, entries, next_attempt_at) = match attempt.after {
            AfterAttempt::Delivered => (DeliveryState::Delivered, 0, None),
            AfterAttempt::Retry(at) => (DeliveryState::Pending, 1, Some(at)),
            AfterAttempt::Again(at) => (DeliveryState::Pending, 0, Some(at)),
            AfterAttempt::Exhausted | AfterAttempt::Expired | AfterAttempt::Aborted => {
                (DeliveryState::Exhausted, 0, None)
            }
            AfterAttempt::Disabled => (DeliveryState::Disabled, 0, None),
        };
        let ended_at = attempt.started_at.plus(attempt.duration);
        Self {
            state: state.as_str(),
            entries,
            rest_ms: millis(attempt.rest.unwrap_or_default()),
            next_attempt_at,
            delivered_at: (state == DeliveryState::Delivered).then_some(ended_at),
            expired_at: (attempt.after == AfterAttempt::Expired).then_some(ended_at),
            // The row of the attempt has it.
            attempt: AttemptRow {
                answer: None,
                ..AttemptRow::new(attempt)
            },
        }
    }
}

#[derive(Serialize)]
struct AttemptRow<'a> {
    event_id: &'a str,
    webhook: &'a str,
    number: u32,
    started_at: UnixMillis,
    duration_ms: i64,
    status: Option<u16>,
    error: Option<String>,
    trigger: &'static str,
    answer: Option<&'a str>,
    answer_cut: Option<&'static str>,
}

impl<'a> AttemptRow<'a> {
    fn new(attempt: &'a AttemptRecord) -> Self {
        let answer = attempt.answer.as_ref();
        Self {
            event_id: &attempt.event_id,
            webhook: attempt.webhook.as_str(),
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: millis(attempt.duration),
            status: attempt.result.status(),
            error: error_of(attempt),
            trigger: attempt.trigger.as_str(),
            answer: answer.map(|answer| answer.text.as_str()),
            answer_cut: answer.and_then(|answer| answer.cut).map(Cut::as_str),
        }
    }
}

/// What went wrong, and that there will be no further attempt where the schedule alone does not say so.
fn error_of(attempt: &AttemptRecord) -> Option<String> {
    let error = attempt.result.error()?;
    Some(match attempt.after {
        AfterAttempt::Expired => format!("{error}; it expires before it could be tried again"),
        AfterAttempt::Aborted => format!("{error}; the webhook wants this event no more"),
        _ => error,
    })
}
