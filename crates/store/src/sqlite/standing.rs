//! How a webhook as a whole stands: disabled, resting, held, ramping up.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;

use super::bulk::json;
use super::rows::Reading;
use super::store::Store;
use crate::{AttemptRecord, HealthRecord, StoreError, WebhookHealth};
use jobtrackd_core::backoff::MAX_RETRY_AFTER;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::health::{Failing, Health, Hold, PROBE_PACE};
use jobtrackd_core::job::JobId;

const STANDING: &str = "SELECT * FROM webhooks WHERE name = ?1";

const REST: &str = "
    INSERT INTO webhooks (name, paused_until) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET paused_until = max(coalesce(paused_until, 0), excluded.paused_until)";

pub(super) const DISABLE: &str = "
    INSERT INTO webhooks (name, disabled_at, disabled_reason) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET
        disabled_at = coalesce(disabled_at, excluded.disabled_at),
        disabled_reason = coalesce(disabled_reason, excluded.disabled_reason)";

pub(super) const DISABLE_DELIVERIES: &str = "UPDATE deliveries SET state = 'disabled', next_attempt_at = NULL WHERE webhook = ?1 AND state = 'pending'";

/// A rest has put its event off for up to a day, whatever the schedule.
pub(super) const FAR_DELIVERIES: &str = "
    SELECT event_id FROM deliveries
    WHERE webhook = ?1 AND state = 'pending' AND next_attempt_at > ?2
      AND next_attempt_at > CASE WHEN rested_ms > 0 THEN max(?2, ?3) ELSE ?2 END
    LIMIT ?4";

const CLAMP_DELIVERIES: &str = "
    UPDATE deliveries SET next_attempt_at = CASE WHEN rested_ms > 0 THEN max(?3, ?4) ELSE ?3 END
    WHERE webhook = ?1 AND state = 'pending' AND event_id IN (SELECT value FROM json_each(?2))";

const CLAMP_WEBHOOK: &str = "
    UPDATE webhooks SET paused_until = min(paused_until, ?2), probe_at = min(probe_at, ?3)
    WHERE name = ?1 AND (paused_until > ?2 OR probe_at > ?3)";

/// Deliveries shortened in one transaction.
const CLAMP_PAGE: u32 = 1000;

/// Attempts end in any order; of two the later one's health is kept. What began before an operator had the health
/// forgotten says nothing of the time after.
const RECORD_HEALTH: &str = "
    INSERT INTO webhooks
        (name, failures, failing_jobs, held_since, probes, probe_at, probe_event, ramp, rests, revision, generation)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (name) DO UPDATE SET
        failures = excluded.failures, failing_jobs = excluded.failing_jobs, held_since = excluded.held_since,
        probes = excluded.probes, probe_at = excluded.probe_at, probe_event = excluded.probe_event,
        ramp = excluded.ramp, rests = excluded.rests, revision = excluded.revision
    WHERE webhooks.generation = excluded.generation AND webhooks.revision < excluded.revision";

impl Store {
    /// What is remembered of a webhook.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn webhook_health(&self, webhook: &WebhookName) -> Result<WebhookHealth, StoreError> {
        let query = sqlx::query(STANDING).bind(webhook.as_str());
        let row = self
            .read(query.fetch_optional(&self.shared.readers))
            .await?;
        let Some(row) = row else {
            return Ok(WebhookHealth::default());
        };
        let r = Reading::new(&row, "webhooks", "name");
        // A webhook whose row another hand has spoilt is treated like one of which nothing is remembered.
        Ok(read_health(&r).unwrap_or_else(|error| WebhookHealth {
            unreadable: Some(error.to_string()),
            ..WebhookHealth::default()
        }))
    }
}

impl Store {
    /// Shortens what waits for a webhook to what it can be at most: a retry to `longest` from now, a probe to the slowest
    /// pace, a rest to a day. A clock that was ahead may have put it years away. Answers how many deliveries were
    /// shortened; there may be more until it is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn clamp_waits(
        &self,
        webhook: &WebhookName,
        longest: Duration,
    ) -> Result<u64, StoreError> {
        let now = self.shared.clock.now();
        let (retry, rest) = (now.plus(longest), now.plus(MAX_RETRY_AFTER));
        let far = sqlx::query_scalar(FAR_DELIVERIES)
            .bind(webhook.as_str())
            .bind(retry.0)
            .bind(rest.0)
            .bind(CLAMP_PAGE);
        let far: Vec<String> = self.read(far.fetch_all(&self.shared.readers)).await?;
        let health = self.webhook_health(webhook).await?;
        let probe = now.plus(PROBE_PACE.max);
        let is_far = health.paused_until.is_some_and(|at| at > rest)
            || health.health.hold().and_then(|hold| hold.probe_at) > Some(probe);
        if far.is_empty() && !is_far {
            return Ok(0);
        }
        self.write(async |connection| {
            sqlx::query(CLAMP_WEBHOOK)
                .bind(webhook.as_str())
                .bind(rest.0)
                .bind(probe.0)
                .execute(&mut *connection)
                .await?;
            let clamped = sqlx::query(CLAMP_DELIVERIES)
                .bind(webhook.as_str())
                .bind(json(&far)?)
                .bind(retry.0)
                .bind(rest.0)
                .execute(connection)
                .await?;
            Ok(clamped.rows_affected())
        })
        .await
    }
}

fn read_health(r: &Reading<'_>) -> Result<WebhookHealth, StoreError> {
    Ok(WebhookHealth {
        disabled: r
            .maybe_time("disabled_at")?
            .zip(r.maybe_text("disabled_reason")?),
        paused_until: r.maybe_time("paused_until")?,
        health: health(r)?,
        rests: r.number("rests")?,
        revision: r.integer("revision")?,
        generation: r.integer("generation")?,
        asks: r.integer("asks")?,
        unreadable: None,
    })
}

fn health(r: &Reading<'_>) -> Result<Health, StoreError> {
    let failures = r.number("failures")?;
    Ok(
        match (r.maybe_time("held_since")?, r.maybe_number("ramp")?) {
            (Some(since), _) => Health::Held(Hold {
                since,
                failures,
                probes: r.number("probes")?,
                probe_at: r.maybe_time("probe_at")?,
                event_id: r.maybe_text("probe_event")?,
            }),
            (None, ramp) => {
                let jobs = failing_jobs(r)?;
                let failing = Failing { failures, jobs };
                match ramp {
                    Some(allowed) => Health::Ramping {
                        allowed,
                        taken: 0,
                        failing,
                    },
                    None => Health::Ready(failing),
                }
            }
        },
    )
}

fn failing_jobs(r: &Reading<'_>) -> Result<Vec<JobId>, StoreError> {
    let Some(text) = r.maybe_text("failing_jobs")? else {
        return Ok(Vec::new());
    };
    let ids: Vec<String> = serde_json::from_str(&text).map_err(|_| r.broken("failing_jobs"))?;
    ids.iter()
        .map(|id| JobId::parse(id).map_err(|_| r.broken("failing_jobs")))
        .collect()
}

/// What an attempt means for its webhook as a whole.
pub(super) async fn affect_webhook(
    connection: &mut SqliteConnection,
    attempt: &AttemptRecord,
) -> Result<(), StoreError> {
    let webhook = attempt.webhook.as_str();
    let ended_at = attempt.started_at.plus(attempt.duration);
    if let Some(rest) = attempt.rest {
        let until = ended_at.plus(rest);
        let rest = sqlx::query(REST).bind(webhook).bind(until.0);
        rest.execute(&mut *connection).await?;
    }
    if let Some(record) = &attempt.health {
        record_health(connection, webhook, record).await?;
    }
    if let Some(reason) = attempt.disables {
        let disable = sqlx::query(DISABLE).bind(webhook).bind(ended_at.0);
        disable.bind(reason).execute(&mut *connection).await?;
        let withdraw = sqlx::query(DISABLE_DELIVERIES).bind(webhook);
        withdraw.execute(connection).await?;
    }
    Ok(())
}

async fn record_health(
    connection: &mut SqliteConnection,
    webhook: &str,
    record: &HealthRecord,
) -> Result<(), StoreError> {
    let (mut hold, mut ramp, mut failing) = (None, None, None);
    match &record.health {
        Health::Ready(of) => failing = Some(&of.jobs),
        Health::Held(of) => hold = Some(of),
        Health::Ramping {
            allowed,
            failing: of,
            ..
        } => (ramp, failing) = (Some(*allowed), Some(&of.jobs)),
    }
    let failing = failing.filter(|jobs| !jobs.is_empty());
    sqlx::query(RECORD_HEALTH)
        .bind(webhook)
        .bind(record.health.failures())
        .bind(failing.map(json).transpose()?)
        .bind(hold.map(|hold| hold.since.0))
        .bind(hold.map_or(0, |hold| hold.probes))
        .bind(hold.and_then(|hold| hold.probe_at).map(|at| at.0))
        .bind(hold.and_then(|hold| hold.event_id.as_deref()))
        .bind(ramp)
        .bind(record.rests)
        .bind(record.revision)
        .bind(record.generation)
        .execute(connection)
        .await?;
    Ok(())
}
