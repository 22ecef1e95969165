//! Webhooks as a whole: what is recorded of them, and how operators disable and enable them, whether a daemon runs or not.
//!
//! Many deliveries are changed in pages, so that the daemon's writer never waits long. The webhook stays disabled until the
//! last page is done; if the command is killed in between, the same command finishes the work.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::json;
use super::lanes::{demote_others, lanes_of, promote_heads};
use super::rows::{FromRow, Reading};
use super::store::{Store, execute, fetch_all, query};
use crate::{FinishedAttempt, Page, Result, WebhookHealth, Webhooks};
use jobtrackd_core::backoff::MAX_RETRY_AFTER;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::health::{Failing, Health, Hold, PROBE_PACE};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Deliveries changed in one transaction.
const PAGE: u32 = 1000;

const REQUESTS: &str = "SELECT name, asks FROM webhooks";

/// Names of webhooks with deliveries that wait, pending ones in `names` and disabled ones in `disabled`; the indexes are
/// searched from name to name.
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

const WEBHOOK: &str = "SELECT * FROM webhooks WHERE name = ?1";

const PAUSE: &str = "
    INSERT INTO webhooks (name, paused_until) VALUES (?1, ?2)
    ON CONFLICT (name) DO UPDATE SET paused_until = max(coalesce(paused_until, 0), excluded.paused_until)";

pub(super) const DISABLE: &str = "
    INSERT INTO webhooks (name, disabled_at, disabled_reason) VALUES (?1, ?2, ?3)
    ON CONFLICT (name) DO UPDATE SET
        disabled_at = coalesce(disabled_at, excluded.disabled_at),
        disabled_reason = coalesce(disabled_reason, excluded.disabled_reason)";

/// A pause has put its event off for up to a day, whatever the schedule.
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

/// Attempts end in any order; the health after the later one is kept. An attempt that began before an operator reset the
/// health says nothing about the time after.
const RECORD_HEALTH: &str = "
    INSERT INTO webhooks
        (name, failures, failing_jobs, held_since, probes, probe_at, probe_event, ramp, rests, revision, generation)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (name) DO UPDATE SET
        failures = excluded.failures, failing_jobs = excluded.failing_jobs, held_since = excluded.held_since,
        probes = excluded.probes, probe_at = excluded.probe_at, probe_event = excluded.probe_event,
        ramp = excluded.ramp, rests = excluded.rests, revision = excluded.revision
    WHERE webhooks.generation = excluded.generation AND webhooks.revision < excluded.revision";

/// Those that have expired meanwhile are given up by the daemon, which knows the fallback.
pub(super) const ENABLE_DELIVERIES: &str = "
    UPDATE deliveries SET state = 'pending', retries_used = 0, rested_ms = 0
    WHERE state = 'disabled' AND (event_id, webhook) IN (
        SELECT event_id, webhook FROM deliveries
        WHERE webhook = ?1 AND state = 'disabled' ORDER BY job_id, sequence LIMIT ?2)
    RETURNING webhook, job_id";

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

/// The row may not exist yet.
const REQUEST: &str = "
    INSERT INTO webhooks (name, asks) VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET asks = asks + 1";

impl Webhooks for Store {
    async fn webhook_health(&self, webhook: &WebhookName) -> Result<WebhookHealth> {
        let rows = self.rows(query!(WEBHOOK, webhook.as_str())).await?;
        let Some(row) = rows.first() else {
            return Ok(WebhookHealth::default());
        };
        // A row that cannot be read, because another program has changed it, is treated as if there were none.
        let health = WebhookHealth::from_row(row);
        Ok(health.unwrap_or_else(|error| WebhookHealth {
            unreadable: Some(error.to_string()),
            ..WebhookHealth::default()
        }))
    }

    async fn webhook_requests(&self) -> Result<Vec<(WebhookName, i64)>> {
        let rows = self.rows(query!(REQUESTS)).await?;
        let read = rows.iter().map(|row| {
            let requests = Reading::new(row, "webhooks", "name").get("asks")?;
            Ok((name(row)?, requests))
        });
        read.collect()
    }

    async fn webhook_names(&self) -> Result<Vec<WebhookName>> {
        self.rows(query!(NAMES)).await?.iter().map(name).collect()
    }

    async fn clamp_waits(&self, webhook: &WebhookName, longest: Duration) -> Result<u64> {
        let now = self.shared.clock.now();
        let (retry, pause) = (now.plus(longest), now.plus(MAX_RETRY_AFTER));
        let name = webhook.as_str();
        let far = self
            .rows(query!(FAR_DELIVERIES, name, retry.0, pause.0, PAGE))
            .await?;
        let far: Vec<&str> = far
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        let health = self.webhook_health(webhook).await?;
        let probe = now.plus(PROBE_PACE.max);
        let is_far = health.paused_until.is_some_and(|at| at > pause)
            || health.health.hold().and_then(|hold| hold.probe_at) > Some(probe);
        if far.is_empty() && !is_far {
            return Ok(0);
        }
        self.write(async |connection| {
            execute(connection, query!(CLAMP_WEBHOOK, name, pause.0, probe.0)).await?;
            Ok(execute(
                connection,
                query!(CLAMP_DELIVERIES, name, json(&far)?, retry.0, pause.0),
            )
            .await?)
        })
        .await
    }

    async fn enable_webhook(&self, webhook: &WebhookName) -> Result<Page> {
        let name = webhook.as_str();
        self.write(async |connection| {
            let now = self.shared.clock.now();
            let enabled = fetch_all(connection, query!(ENABLE_DELIVERIES, name, PAGE)).await?;
            let lanes = lanes_of(&enabled);
            demote_others(connection, &lanes).await?;
            promote_heads(connection, &lanes, now).await?;
            let mut is_last = enabled.len() < PAGE as usize;
            if is_last {
                is_last = execute(connection, query!(MAKE_DUE, name, now.0, PAGE)).await?
                    < u64::from(PAGE);
            }
            if is_last {
                execute(connection, query!(ENABLE, name)).await?;
            }
            Ok(Page {
                deliveries: enabled.len() as u64,
                jobs: 0,
                is_last,
            })
        })
        .await
    }

    async fn disable_webhook(&self, webhook: &WebhookName, reason: &str) -> Result<Page> {
        let name = webhook.as_str();
        self.write(async |connection| {
            let now = self.shared.clock.now();
            execute(connection, query!(DISABLE, name, now.0, reason)).await?;
            request_reload(connection, webhook).await?;
            let deliveries = execute(connection, query!(DISABLE_PAGE, name, PAGE)).await?;
            Ok(Page {
                deliveries,
                jobs: 0,
                is_last: deliveries < u64::from(PAGE),
            })
        })
        .await
    }
}

pub(super) fn name(row: &SqliteRow) -> Result<WebhookName> {
    let name = Reading::new(row, "webhooks", "name").lossy_text("name")?;
    Ok(WebhookName::new(&name.unwrap_or_default()))
}

/// Makes the daemon read a webhook's row again, and try the webhook.
pub(super) async fn request_reload(
    connection: &mut SqliteConnection,
    webhook: &WebhookName,
) -> Result<()> {
    execute(connection, query!(REQUEST, webhook.as_str())).await?;
    Ok(())
}

impl FromRow for WebhookHealth {
    const TABLE: &'static str = "webhooks";
    const KEY: &'static str = "name";

    fn read(r: &Reading<'_>) -> Result<Self> {
        let disabled_at: Option<UnixMillis> = r.get("disabled_at")?;
        Ok(Self {
            disabled: disabled_at.zip(r.get("disabled_reason")?),
            paused_until: r.get("paused_until")?,
            health: health(r)?,
            empty_pauses: r.get("rests")?,
            revision: r.get("revision")?,
            generation: r.get("generation")?,
            requests: r.get("asks")?,
            unreadable: None,
        })
    }
}

fn health(r: &Reading<'_>) -> Result<Health> {
    let failures = r.get("failures")?;
    if let Some(since) = r.get("held_since")? {
        return Ok(Health::Held(Hold {
            since,
            failures,
            probes: r.get("probes")?,
            probe_at: r.get("probe_at")?,
            event_id: r.get("probe_event")?,
        }));
    }
    let jobs = failing_jobs(r)?;
    let failing = Failing { failures, jobs };
    Ok(match r.get("ramp")? {
        Some(allowed) => Health::Ramping {
            allowed,
            taken: 0,
            failing,
        },
        None => Health::Ready(failing),
    })
}

fn failing_jobs(r: &Reading<'_>) -> Result<Vec<JobId>> {
    let Some(text) = r.get::<Option<String>>("failing_jobs")? else {
        return Ok(Vec::new());
    };
    let broken = || r.broken("failing_jobs");
    let ids: Vec<String> = serde_json::from_str(&text).map_err(|_| broken())?;
    let ids = ids.iter().map(|id| JobId::parse(id).map_err(|_| broken()));
    ids.collect()
}

/// Records what an attempt changes for its webhook as a whole.
pub(super) async fn affect_webhook(
    connection: &mut SqliteConnection,
    finished: &FinishedAttempt,
) -> Result<()> {
    let webhook = finished.attempt.webhook.as_str();
    let ended_at = finished.attempt.ended_at();
    if let Some(pause) = finished.pause {
        execute(connection, query!(PAUSE, webhook, ended_at.plus(pause).0)).await?;
    }
    if let Some(update) = &finished.health {
        record_health(connection, webhook, update).await?;
    }
    if let Some(reason) = finished.disables {
        execute(connection, query!(DISABLE, webhook, ended_at.0, reason)).await?;
        execute(connection, query!(DISABLE_PAGE, webhook, -1)).await?;
    }
    Ok(())
}

async fn record_health(
    connection: &mut SqliteConnection,
    webhook: &str,
    update: &WebhookHealth,
) -> Result<()> {
    let (mut hold, mut ramp, mut failing) = (None, None, None);
    match &update.health {
        Health::Ready(of) => failing = Some(&of.jobs),
        Health::Held(of) => hold = Some(of),
        Health::Ramping {
            allowed,
            failing: of,
            ..
        } => (ramp, failing) = (Some(*allowed), Some(&of.jobs)),
    }
    let failing = failing.filter(|jobs| !jobs.is_empty());
    execute(
        connection,
        query!(
            RECORD_HEALTH,
            webhook,
            update.health.failures(),
            failing.map(json).transpose()?,
            hold.map(|hold| hold.since.0),
            hold.map_or(0, |hold| hold.probes),
            hold.and_then(|hold| hold.probe_at).map(|at| at.0),
            hold.and_then(|hold| hold.event_id.as_deref()),
            ramp,
            update.empty_pauses,
            update.revision,
            update.generation
        ),
    )
    .await?;
    Ok(())
}
