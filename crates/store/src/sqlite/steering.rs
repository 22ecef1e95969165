//! Webhooks switched off and on by an operator, beside a daemon or without one.
//!
//! Many deliveries are changed in pages, so that the daemon's writer never waits long. While a page is missing the webhook
//! is off, and killed in between it stays so; the same command again finishes the work.

use std::collections::HashSet;

use sqlx::sqlite::SqliteConnection;

use super::lanes::{Lane, demote_others, promote_heads};
use super::rows::{self, Reading};
use super::standing::DISABLE;
use super::store::Store;
use crate::{AttemptView, Page, StoreError, TestAttempt};
use jobtrackd_core::delivery::WebhookName;

/// Deliveries changed in one transaction.
const PAGE: u32 = 1000;

/// Latest events whose attempts are looked at.
const LATEST_EVENTS: i64 = 10_000;

const ASKS: &str = "SELECT name, asks FROM webhooks";

/// Names of webhooks that something waits for, pending in `names` and disabled in `disabled`; from name to name by the
/// indexes.
macro_rules! waited_for {
    () => {
        "
    WITH RECURSIVE names (name) AS (
        SELECT min(webhook) FROM deliveries WHERE state = 'pending'
        UNION ALL
        SELECT (SELECT min(webhook) FROM deliveries WHERE state = 'pending' AND webhook > names.name)
        FROM names WHERE names.name IS NOT NULL
    ), disabled (name) AS (
        SELECT min(webhook) FROM deliveries WHERE state = 'disabled'
        UNION ALL
        SELECT (SELECT min(webhook) FROM deliveries WHERE state = 'disabled' AND webhook > disabled.name)
        FROM disabled WHERE disabled.name IS NOT NULL
    )
    "
    };
}
pub(super) use waited_for;

pub(super) const NAMES: &str = concat!(
    waited_for!(),
    "SELECT name FROM names WHERE name IS NOT NULL
    UNION SELECT name FROM disabled WHERE name IS NOT NULL
    UNION SELECT name FROM webhooks
    ORDER BY name"
);

/// The parts are bounded each by an index; a test's attempts are few and found by the beginning of their ids.
pub(super) const LATEST_ATTEMPTS: &str = "
    SELECT * FROM (
        SELECT a.* FROM events AS e CROSS JOIN attempts AS a ON a.event_id = e.id AND a.webhook = ?1
        WHERE e.cursor > (SELECT coalesce(max(cursor), 0) FROM events) - ?2
        UNION ALL
        SELECT * FROM attempts WHERE event_id >= 'test_' AND event_id < 'test`' AND webhook = ?1
    )
    ORDER BY started_at DESC, number DESC LIMIT ?3";

/// Those that have expired meanwhile are given up by the daemon, which knows who stands in.
pub(super) const ENABLE_DELIVERIES: &str = "
    UPDATE deliveries SET state = 'pending', retries_used = 0, rested_ms = 0
    WHERE state = 'disabled' AND (event_id, webhook) IN (
        SELECT event_id, webhook FROM deliveries
        WHERE webhook = ?1 AND state = 'disabled' ORDER BY job_id, sequence LIMIT ?2)
    RETURNING job_id";

/// What had failed before and waits for its retry is due at once, with the retries it has left.
pub(super) const MAKE_DUE: &str = "
    UPDATE deliveries SET next_attempt_at = ?2
    WHERE (event_id, webhook) IN (
        SELECT event_id, webhook FROM deliveries
        WHERE webhook = ?1 AND state = 'pending' AND next_attempt_at > ?2 LIMIT ?3)";

const ENABLE: &str = "
    INSERT INTO webhooks (name, generation, asks) VALUES (?1, 1, 1)
    ON CONFLICT (name) DO UPDATE SET
        disabled_at = NULL, disabled_reason = NULL, paused_until = NULL, rests = 0, failures = 0, failing_jobs = NULL,
        held_since = NULL, probes = 0, probe_at = NULL, probe_event = NULL, ramp = NULL, revision = 0,
        generation = generation + 1, asks = asks + 1";

pub(super) const DISABLE_PAGE: &str = "
    UPDATE deliveries SET state = 'disabled', next_attempt_at = NULL
    WHERE state = 'pending' AND (event_id, webhook) IN (
        SELECT event_id, webhook FROM deliveries
        WHERE webhook = ?1 AND state = 'pending' ORDER BY job_id, sequence LIMIT ?2)";

const ASK: &str = "UPDATE webhooks SET asks = asks + 1 WHERE name = ?1";

const RECORD_TEST: &str = "
    INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, error, \"trigger\", answer, answer_cut)
    VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, 'test', ?7, ?8)";

impl Store {
    /// The names of webhooks of which anything is remembered, and how often an operator has asked the daemon to look at
    /// each again.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn webhook_asks(&self) -> Result<Vec<(WebhookName, i64)>, StoreError> {
        let rows = self
            .read(sqlx::query(ASKS).fetch_all(&self.shared.readers))
            .await?;
        let read = rows.iter().map(|row| {
            let r = Reading::new(row, "webhooks", "name");
            let name = r.foreign_text("name")?.unwrap_or_default();
            Ok((WebhookName::new(&name), r.integer("asks")?))
        });
        read.collect()
    }

    /// The names of webhooks that something waits for or of which anything is remembered, sorted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn webhook_names(&self) -> Result<Vec<WebhookName>, StoreError> {
        let rows = self
            .read(sqlx::query(NAMES).fetch_all(&self.shared.readers))
            .await?;
        let read = rows.iter().map(|row| {
            let r = Reading::new(row, "deliveries", "name");
            let name = r.foreign_text("name")?.unwrap_or_default();
            Ok(WebhookName::new(&name))
        });
        read.collect()
    }

    /// The latest attempts at a webhook among those of the 10,000 latest events, the newest first, tests included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn latest_attempts(
        &self,
        webhook: &WebhookName,
        limit: u32,
    ) -> Result<Vec<AttemptView>, StoreError> {
        let query = sqlx::query(LATEST_ATTEMPTS)
            .bind(webhook.as_str())
            .bind(LATEST_EVENTS)
            .bind(limit);
        let found = self.read(query.fetch_all(&self.shared.readers)).await?;
        found.iter().map(rows::attempt).collect()
    }

    /// Switches a webhook on: a page of its disabled deliveries becomes pending, in order, then what waits for a retry becomes
    /// due, and with the last page its hold or rest is forgotten. A disabled one is sent nothing until then.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn enable_webhook(&self, webhook: &WebhookName) -> Result<Page, StoreError> {
        self.write(async |connection| {
            let now = self.shared.clock.now();
            let flipped = sqlx::query(ENABLE_DELIVERIES)
                .bind(webhook.as_str())
                .bind(PAGE)
                .fetch_all(&mut *connection)
                .await?;
            let lanes = lanes_of(webhook, &flipped);
            demote_others(connection, &lanes).await?;
            promote_heads(connection, &lanes, now).await?;
            let mut is_last = flipped.len() < PAGE as usize;
            if is_last {
                let due = sqlx::query(MAKE_DUE)
                    .bind(webhook.as_str())
                    .bind(now.0)
                    .bind(PAGE);
                is_last = due.execute(&mut *connection).await?.rows_affected() < u64::from(PAGE);
            }
            if is_last {
                let enable = sqlx::query(ENABLE).bind(webhook.as_str());
                enable.execute(connection).await?;
            }
            Ok(Page {
                deliveries: flipped.len() as u64,
                is_last,
            })
        })
        .await
    }

    /// Switches a webhook off, from the first page on, for this reason unless it is off already; a page of its pending
    /// deliveries becomes disabled.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn disable_webhook(
        &self,
        webhook: &WebhookName,
        reason: &str,
    ) -> Result<Page, StoreError> {
        self.write(async |connection| {
            let now = self.shared.clock.now();
            let disable = sqlx::query(DISABLE)
                .bind(webhook.as_str())
                .bind(now.0)
                .bind(reason);
            disable.execute(&mut *connection).await?;
            ask(connection, webhook.as_str()).await?;
            let withdrawn = sqlx::query(DISABLE_PAGE)
                .bind(webhook.as_str())
                .bind(PAGE)
                .execute(connection)
                .await?
                .rows_affected();
            Ok(Page {
                deliveries: withdrawn,
                is_last: withdrawn < u64::from(PAGE),
            })
        })
        .await
    }

    /// Keeps an attempt of a test.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn record_test(&self, attempt: &TestAttempt) -> Result<(), StoreError> {
        self.write(async |connection| {
            sqlx::query(RECORD_TEST)
                .bind(&attempt.event_id)
                .bind(attempt.webhook.as_str())
                .bind(attempt.started_at.0)
                .bind(i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX))
                .bind(attempt.status)
                .bind(&attempt.error)
                .bind(&attempt.answer)
                .bind(attempt.answer_cut)
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }
}

/// Has the daemon look at a webhook again.
async fn ask(connection: &mut SqliteConnection, webhook: &str) -> Result<(), StoreError> {
    sqlx::query(ASK).bind(webhook).execute(connection).await?;
    Ok(())
}

/// Rows that another hand has spoilt are in no lane.
fn lanes_of(webhook: &WebhookName, rows: &[sqlx::sqlite::SqliteRow]) -> HashSet<Lane> {
    let lanes = rows.iter().filter_map(|row| {
        Some(Lane {
            webhook: webhook.clone(),
            job_id: Reading::new(row, "deliveries", "job_id")
                .job_id("job_id")
                .ok()?,
        })
    });
    lanes.collect()
}
