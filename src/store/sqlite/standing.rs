//! How a webhook as a whole stands: disabled, resting, held, ramping up.

use sqlx::sqlite::SqliteConnection;

use super::rows::Reading;
use super::{SqliteStore, StoreError};
use crate::core::delivery::{AfterAttempt, WebhookName};
use crate::core::health::{Health, Hold};
use crate::core::time::UnixMillis;
use crate::store::{AttemptRecord, HealthRecord, WebhookHealth};

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

/// Attempts end in any order; of two the later one's health is kept. What began before an operator had the health
/// forgotten says nothing of the time after.
const RECORD_HEALTH: &str = "
    INSERT INTO webhooks (name, failures, held_since, probe_at, probe_event, ramp, revision, generation)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    ON CONFLICT (name) DO UPDATE SET
        failures = excluded.failures, held_since = excluded.held_since, probe_at = excluded.probe_at,
        probe_event = excluded.probe_event, ramp = excluded.ramp, revision = excluded.revision
    WHERE webhooks.generation = excluded.generation AND webhooks.revision < excluded.revision";

impl SqliteStore {
    pub(in crate::store) async fn webhook_health(
        &self,
        webhook: &WebhookName,
    ) -> Result<WebhookHealth, StoreError> {
        let query = sqlx::query(STANDING).bind(webhook.as_str());
        let row = self
            .read(query.fetch_optional(&self.shared.readers))
            .await?;
        let Some(row) = row else {
            return Ok(WebhookHealth::default());
        };
        let r = Reading::new(&row, "webhooks", "name");
        Ok(WebhookHealth {
            disabled: r
                .maybe_time("disabled_at")?
                .zip(r.maybe_text("disabled_reason")?),
            paused_until: r.maybe_time("paused_until")?,
            health: health(&r)?,
            revision: r.integer("revision")?,
            generation: r.integer("generation")?,
            asks: r.integer("asks")?,
        })
    }
}

fn health(r: &Reading<'_>) -> Result<Health, StoreError> {
    let failures = r.number("failures")?;
    Ok(
        match (r.maybe_time("held_since")?, r.maybe_number("ramp")?) {
            (Some(since), _) => Health::Held(Hold {
                since,
                failures,
                probe_at: r.maybe_time("probe_at")?,
                event_id: r.maybe_text("probe_event")?,
            }),
            (None, Some(allowed)) => Health::Ramping { allowed, taken: 0 },
            (None, None) => Health::Ready { failures },
        },
    )
}

/// What an attempt means for its webhook as a whole.
pub(super) async fn affect_webhook(
    connection: &mut SqliteConnection,
    attempt: &AttemptRecord,
) -> Result<(), StoreError> {
    let webhook = attempt.webhook.as_str();
    if let AfterAttempt::Rest(until) = attempt.after {
        let rest = sqlx::query(REST).bind(webhook).bind(until.0);
        rest.execute(&mut *connection).await?;
    }
    if let Some(record) = &attempt.health {
        record_health(connection, webhook, record).await?;
    }
    if let Some(reason) = attempt.disables {
        let ended_at = attempt.started_at.plus(attempt.duration);
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
    let (hold, ramp, failures) = match &record.health {
        Health::Ready { failures } => (None, None, *failures),
        Health::Held(hold) => (Some(hold), None, hold.failures),
        Health::Ramping { allowed, .. } => (None, Some(*allowed), 0),
    };
    let time = |time: Option<UnixMillis>| time.map(|time| time.0);
    sqlx::query(RECORD_HEALTH)
        .bind(webhook)
        .bind(failures)
        .bind(hold.map(|hold| hold.since.0))
        .bind(time(hold.and_then(|hold| hold.probe_at)))
        .bind(hold.and_then(|hold| hold.event_id.as_deref()))
        .bind(ramp)
        .bind(record.revision)
        .bind(record.generation)
        .execute(connection)
        .await?;
    Ok(())
}
