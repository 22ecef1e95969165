//! Deliveries: which are due, and what attempts do to them.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::commit::{Lane, execute, json};
use super::rows::{Reading, due_delivery, millis};
use super::{SqliteStore, StoreError};
use crate::core::delivery::{AfterAttempt, DeliveryState, WebhookName};
use crate::core::time::UnixMillis;
use crate::store::{AttemptRecord, DueDelivery, WebhookHealth};

pub(super) const DUE: &str = "
    SELECT d.event_id, d.job_id, d.attempts, d.retries_used, e.body, e.created_at
    FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
    WHERE d.webhook = ?1 AND d.state = 'pending' AND d.next_attempt_at <= ?2
    ORDER BY d.next_attempt_at LIMIT ?3";

pub(super) const NEXT: &str = "
    SELECT min(next_attempt_at) FROM deliveries
    WHERE webhook = ?1 AND state = 'pending' AND next_attempt_at > ?2";

/// Each reading stops at the limit: the number is for people.
pub(super) const PENDING: &str =
    "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'pending' LIMIT ?1)";

const HEALTH: &str =
    "SELECT name, disabled_at, disabled_reason, paused_until FROM webhooks WHERE name = ?1";

/// A 2xx counts even when the webhook was disabled while it was under way.
pub(super) const RECORD_OUTCOMES: &str = "
    UPDATE deliveries SET
        state = CASE WHEN deliveries.state = 'disabled' AND v.value ->> 'state' <> 'delivered'
                     THEN 'disabled' ELSE v.value ->> 'state' END,
        attempts = v.value ->> 'number',
        retries_used = retries_used + (v.value ->> 'entries'),
        next_attempt_at = CASE WHEN deliveries.state = 'pending' THEN v.value ->> 'next_attempt_at' END,
        delivered_at = v.value ->> 'delivered_at',
        last_status = v.value ->> 'status',
        last_error = v.value ->> 'error'
    FROM json_each(?1) AS v
    WHERE deliveries.event_id = v.value ->> 'event_id' AND deliveries.webhook = v.value ->> 'webhook'
      AND deliveries.state IN ('pending', 'disabled') AND deliveries.attempts = (v.value ->> 'number') - 1
    RETURNING deliveries.event_id, deliveries.webhook, deliveries.attempts";

pub(super) const RECORD_ATTEMPTS: &str = "
    INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, error, \"trigger\")
    SELECT value ->> 'event_id', value ->> 'webhook', value ->> 'number', value ->> 'started_at',
           value ->> 'duration_ms', value ->> 'status', value ->> 'error', 'schedule'
    FROM json_each(?1)";

const REST: &str = "
    INSERT INTO webhooks (name, paused_until) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET paused_until = max(coalesce(paused_until, 0), excluded.paused_until)";

const DISABLE: &str = "
    INSERT INTO webhooks (name, disabled_at, disabled_reason) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET
        disabled_at = coalesce(disabled_at, excluded.disabled_at),
        disabled_reason = coalesce(disabled_reason, excluded.disabled_reason)";

pub(super) const DISABLE_DELIVERIES: &str = "UPDATE deliveries SET state = 'disabled', next_attempt_at = NULL WHERE webhook = ?1 AND state = 'pending'";

/// Gives the first pending delivery of each lane a due time, unless it has one.
pub(super) const PROMOTE: &str = "
    UPDATE deliveries SET next_attempt_at = ?2
    WHERE state = 'pending' AND next_attempt_at IS NULL AND (event_id, webhook) IN (
        SELECT d.event_id, d.webhook
        FROM json_each(?1) AS lane
        JOIN deliveries AS d ON d.webhook = lane.value ->> 'webhook' AND d.job_id = lane.value ->> 'job_id'
        WHERE d.state = 'pending' AND d.sequence = (
            SELECT min(first.sequence) FROM deliveries AS first
            WHERE first.webhook = lane.value ->> 'webhook' AND first.job_id = lane.value ->> 'job_id'
              AND first.state = 'pending'))";

impl SqliteStore {
    pub(in crate::store) async fn deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let query = sqlx::query(DUE)
            .bind(webhook.as_str())
            .bind(now.0)
            .bind(i64::from(limit));
        let rows = self.read(query.fetch_all(&self.shared.readers)).await?;
        rows.iter().map(due_delivery).collect()
    }

    pub(in crate::store) async fn next_delivery(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let query = sqlx::query(NEXT).bind(webhook.as_str()).bind(now.0);
        let row = self.read(query.fetch_one(&self.shared.readers)).await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(UnixMillis))
    }

    pub(in crate::store) async fn pending_deliveries(&self, limit: u32) -> Result<u32, StoreError> {
        let query = sqlx::query_scalar(PENDING).bind(limit);
        self.read(query.fetch_one(&self.shared.readers)).await
    }

    pub(in crate::store) async fn webhook_health(
        &self,
        webhook: &WebhookName,
    ) -> Result<WebhookHealth, StoreError> {
        let query = sqlx::query(HEALTH).bind(webhook.as_str());
        let Some(row) = self
            .read(query.fetch_optional(&self.shared.readers))
            .await?
        else {
            return Ok(WebhookHealth::default());
        };
        let r = Reading::new(&row, "webhooks", "name");
        Ok(WebhookHealth {
            disabled: r
                .maybe_time("disabled_at")?
                .zip(r.maybe_text("disabled_reason")?),
            paused_until: r.maybe_time("paused_until")?,
        })
    }
}

/// Records attempts and what follows from them; answers with the lanes whose head may have changed. An attempt that is
/// not the delivery's next one was recorded before and does nothing.
pub(super) async fn record_attempts(
    connection: &mut SqliteConnection,
    attempts: &[AttemptRecord],
) -> Result<HashSet<Lane>, StoreError> {
    if attempts.is_empty() {
        return Ok(HashSet::new());
    }
    let mut told = HashSet::new();
    let firsts: Vec<&AttemptRecord> = attempts
        .iter()
        .filter(|attempt| told.insert(key(attempt)))
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
    let counted: Vec<&AttemptRecord> = firsts
        .into_iter()
        .filter(|attempt| taken.contains(&key(attempt)))
        .collect();
    let rows: Vec<AttemptRow<'_>> = counted.iter().copied().map(AttemptRow::new).collect();
    execute(connection, RECORD_ATTEMPTS, &rows).await?;
    for attempt in &counted {
        affect_webhook(connection, attempt).await?;
    }
    Ok(counted
        .into_iter()
        .map(|attempt| Lane {
            webhook: attempt.webhook.clone(),
            job_id: attempt.job_id.clone(),
        })
        .collect())
}

fn key(attempt: &AttemptRecord) -> (&str, &str, u32) {
    (
        attempt.event_id.as_str(),
        attempt.webhook.as_str(),
        attempt.number,
    )
}

/// What an attempt means for its webhook as a whole.
async fn affect_webhook(
    connection: &mut SqliteConnection,
    attempt: &AttemptRecord,
) -> Result<(), StoreError> {
    let webhook = attempt.webhook.as_str();
    match attempt.after {
        AfterAttempt::Rest(until) => {
            let rest = sqlx::query(REST).bind(webhook).bind(until.0);
            rest.execute(connection).await?;
        }
        AfterAttempt::Disabled => {
            let ended_at = attempt.started_at.plus(attempt.duration);
            let disable = sqlx::query(DISABLE).bind(webhook).bind(ended_at.0);
            disable
                .bind("the webhook answered 410")
                .execute(&mut *connection)
                .await?;
            let withdraw = sqlx::query(DISABLE_DELIVERIES).bind(webhook);
            withdraw.execute(connection).await?;
        }
        AfterAttempt::Delivered | AfterAttempt::Retry(_) | AfterAttempt::Exhausted => {}
    }
    Ok(())
}

/// Makes the first pending delivery of each lane due at `now`, unless it waits for a retry.
pub(super) async fn promote_heads(
    connection: &mut SqliteConnection,
    lanes: &HashSet<Lane>,
    now: UnixMillis,
) -> Result<(), StoreError> {
    if lanes.is_empty() {
        return Ok(());
    }
    let rows: Vec<LaneRow<'_>> = lanes
        .iter()
        .map(|lane| LaneRow {
            webhook: lane.webhook.as_str(),
            job_id: lane.job_id.as_str(),
        })
        .collect();
    sqlx::query(PROMOTE)
        .bind(json(&rows)?)
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(())
}

#[derive(Serialize)]
struct LaneRow<'a> {
    webhook: &'a str,
    job_id: &'a str,
}

#[derive(Serialize)]
struct OutcomeRow<'a> {
    state: &'static str,
    entries: u8,
    next_attempt_at: Option<UnixMillis>,
    delivered_at: Option<UnixMillis>,
    #[serde(flatten)]
    attempt: AttemptRow<'a>,
}

impl<'a> OutcomeRow<'a> {
    fn new(attempt: &'a AttemptRecord) -> Self {
        let (state, entries, next_attempt_at) = match attempt.after {
            AfterAttempt::Delivered => (DeliveryState::Delivered, 0, None),
            AfterAttempt::Retry(at) => (DeliveryState::Pending, 1, Some(at)),
            AfterAttempt::Rest(at) => (DeliveryState::Pending, 0, Some(at)),
            AfterAttempt::Exhausted => (DeliveryState::Exhausted, 0, None),
            AfterAttempt::Disabled => (DeliveryState::Disabled, 0, None),
        };
        let delivered = state == DeliveryState::Delivered;
        Self {
            state: state.as_str(),
            entries,
            next_attempt_at,
            delivered_at: delivered.then(|| attempt.started_at.plus(attempt.duration)),
            attempt: AttemptRow::new(attempt),
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
}

impl<'a> AttemptRow<'a> {
    fn new(attempt: &'a AttemptRecord) -> Self {
        Self {
            event_id: &attempt.event_id,
            webhook: attempt.webhook.as_str(),
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: millis(attempt.duration),
            status: attempt.result.status(),
            error: attempt.result.error(),
        }
    }
}
