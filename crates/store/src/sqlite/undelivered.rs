//! Deliveries that are given up, moved to another webhook, or wait for one that is not configured.
//!
//! Each page is one transaction, so that the daemon's writer never waits long. If the command is killed in between, the
//! same command finishes the work.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::json;
use super::lanes::{Lane, demote_others, lanes_of, promote_heads};
use super::rows::{FromRow, Reading, read_columns};
use super::store::{Store, execute, fetch_all, query};
use super::webhooks::{request_reload, waited_for};
use crate::{Backlogs, MOST_WAITING, Page, Result, Unconfigured, Unwanted};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Deliveries or jobs changed in one transaction.
const PAGE: u32 = 1000;

/// Most webhooks that are named.
const MOST_NAMES: u32 = 100;

/// Counted up to the limit each.
pub(super) const UNCONFIGURED: &str = concat!(
    waited_for!(),
    "SELECT name,
           (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE webhook = name AND state = 'pending' LIMIT ?2))
           + (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE webhook = name AND state = 'disabled' LIMIT ?2)) AS events
    FROM (SELECT name FROM names UNION SELECT name FROM disabled)
    WHERE name IS NOT NULL AND name NOT IN (SELECT value FROM json_each(?1))
    ORDER BY name LIMIT ?3"
);

macro_rules! give_up {
    ($condition:literal) => {
        concat!(
            "UPDATE deliveries SET state = 'exhausted', next_attempt_at = NULL,
                last_error = 'given up by an operator' || coalesce('; before: ' || last_error, '')
             WHERE ",
            $condition,
            " RETURNING webhook, job_id"
        )
    };
}

pub(super) const GIVE_UP_EVENT: &str = give_up!("event_id = ?1 AND state = 'pending'");

pub(super) const GIVE_UP_EVENT_OF: &str =
    give_up!("event_id = ?1 AND webhook = ?2 AND state IN ('pending', 'disabled')");

pub(super) const GIVE_UP_PENDING: &str = give_up!(
    "state = 'pending' AND (event_id, webhook) IN (
         SELECT event_id, webhook FROM deliveries WHERE webhook = ?1 AND state = 'pending' LIMIT ?2)"
);

pub(super) const GIVE_UP_DISABLED: &str = give_up!(
    "state = 'disabled' AND (event_id, webhook) IN (
         SELECT event_id, webhook FROM deliveries WHERE webhook = ?1 AND state = 'disabled' LIMIT ?2)"
);

/// Lane by lane: what is pending of a lane and what is disabled of it come together, in order.
pub(super) const UNDELIVERED: &str = "
    SELECT u.event_id, u.job_id, e.created_at FROM (
        SELECT * FROM (SELECT event_id, job_id, sequence FROM deliveries
                       WHERE webhook = ?1 AND state = 'pending' ORDER BY job_id, sequence LIMIT ?2)
        UNION ALL
        SELECT * FROM (SELECT event_id, job_id, sequence FROM deliveries
                       WHERE webhook = ?1 AND state = 'disabled' ORDER BY job_id, sequence LIMIT ?2)
    ) AS u JOIN events AS e ON e.id = u.event_id
    ORDER BY u.job_id, u.sequence LIMIT ?2";

/// Each begins its schedule anew and expires when it did, even if the webhook had it before and gave it up or handed it
/// over.
pub(super) const HAND_OVER: &str = "
    INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, expires_at)
    SELECT d.event_id, ?2, d.job_id, d.sequence, CASE WHEN w.disabled_at IS NULL THEN 'pending' ELSE 'disabled' END,
           d.expires_at
    FROM json_each(?3) AS v
    JOIN deliveries AS d ON d.event_id = v.value AND d.webhook = ?1
    LEFT JOIN webhooks AS w ON w.name = ?2
    WHERE true
    ON CONFLICT (event_id, webhook) DO UPDATE SET
        state = excluded.state, retries_used = 0, rested_ms = 0, expires_at = excluded.expires_at, expired_at = NULL
    WHERE deliveries.state = 'exhausted'";

pub(super) const HANDED_OVER: &str = "
    UPDATE deliveries SET state = 'exhausted', next_attempt_at = NULL,
        last_error = 'moved to ' || ?2 || coalesce('; before: ' || last_error, '')
    WHERE webhook = ?1 AND event_id IN (SELECT value FROM json_each(?3))";

/// The oldest event goes first, whatever the job.
pub(super) const DUE_SINCE: &str = "
    UPDATE deliveries SET next_attempt_at = v.value ->> 'since'
    FROM json_each(?1) AS v
    WHERE deliveries.webhook = v.value ->> 'webhook' AND deliveries.job_id = v.value ->> 'job_id'
      AND deliveries.state = 'pending' AND deliveries.next_attempt_at = ?2";

/// A poll that was begun under the old name is not recorded: the revision has changed.
macro_rules! rename_jobs {
    ($which:literal) => {
        concat!(
            "UPDATE jobs SET webhook = ?2, revision = revision + 1
             WHERE +finished_at IS NULL AND webhook = ?1 AND id IN (",
            $which,
            ") AND NOT EXISTS (SELECT 1 FROM deliveries AS d
                               WHERE d.webhook = ?1 AND d.job_id = jobs.id AND d.state = 'pending')
               AND NOT EXISTS (SELECT 1 FROM deliveries AS d
                               WHERE d.webhook = ?1 AND d.job_id = jobs.id AND d.state = 'disabled')"
        )
    };
}

pub(super) const RENAME_THESE: &str = rename_jobs!("SELECT value FROM json_each(?3)");

pub(super) const RENAME_OTHERS: &str =
    rename_jobs!("SELECT id FROM jobs WHERE finished_at IS NULL AND webhook = ?1 LIMIT ?3");

impl Backlogs for Store {
    async fn unconfigured_webhooks(&self, known: &[WebhookName]) -> Result<Vec<Unconfigured>> {
        let query = query!(UNCONFIGURED, json(known)?, MOST_WAITING, MOST_NAMES);
        self.all(query).await
    }

    async fn give_up(&self, unwanted: &Unwanted) -> Result<Page> {
        self.write(async |connection| {
            let (rows, is_last) = match unwanted {
                Unwanted::Event(event) => {
                    let query = query!(GIVE_UP_EVENT, event);
                    (fetch_all(connection, query).await?, true)
                }
                Unwanted::EventOf(event, webhook) => {
                    let query = query!(GIVE_UP_EVENT_OF, event, webhook.as_str());
                    (fetch_all(connection, query).await?, true)
                }
                Unwanted::AllOf(webhook) => give_up_all(connection, webhook).await?,
            };
            let lanes = lanes_of(&rows);
            promote_heads(connection, &lanes, self.shared.clock.now()).await?;
            let webhooks: BTreeSet<&WebhookName> = lanes.iter().map(|lane| &lane.webhook).collect();
            for webhook in webhooks {
                request_reload(connection, webhook).await?;
            }
            Ok(Page {
                deliveries: rows.len() as u64,
                jobs: 0,
                is_last,
            })
        })
        .await
    }

    async fn move_deliveries(&self, from: &WebhookName, to: &WebhookName) -> Result<Page> {
        self.write(async |connection| {
            let page = fetch_all(connection, query!(UNDELIVERED, from.as_str(), PAGE)).await?;
            // Rows that another program has changed stay where they are.
            let deliveries = page.iter().filter_map(|row| Waiting::from_row(row).ok());
            let deliveries: Vec<Waiting> = deliveries.collect();
            let mut jobs = 0;
            if !deliveries.is_empty() {
                let now = self.shared.clock.now();
                jobs += hand_over(connection, from, to, &deliveries, now).await?;
            }
            let mut is_last = page.len() < PAGE as usize || deliveries.is_empty();
            if is_last {
                let others = execute(
                    connection,
                    query!(RENAME_OTHERS, from.as_str(), to.as_str(), PAGE),
                )
                .await?;
                is_last = others < u64::from(PAGE);
                jobs += others;
            }
            for webhook in [from, to] {
                request_reload(connection, webhook).await?;
            }
            Ok(Page {
                deliveries: deliveries.len() as u64,
                jobs,
                is_last,
            })
        })
        .await
    }
}

impl FromRow for Unconfigured {
    const TABLE: &'static str = "deliveries";
    const KEY: &'static str = "name";

    fn read(r: &Reading<'_>) -> Result<Self> {
        let name = r.lossy_text("name")?.unwrap_or_default();
        Ok(Self {
            webhook: WebhookName::new(&name),
            events: r.get::<u64>("events")?.min(u64::from(MOST_WAITING)),
        })
    }
}

/// A page of what waits for a webhook, and whether it was the last one.
async fn give_up_all(
    connection: &mut SqliteConnection,
    webhook: &WebhookName,
) -> Result<(Vec<SqliteRow>, bool)> {
    let mut given_up = Vec::new();
    for sql in [GIVE_UP_PENDING, GIVE_UP_DISABLED] {
        let rows = fetch_all(connection, query!(sql, webhook.as_str(), PAGE)).await?;
        // More events may be recorded meanwhile: a page that is not full is the last one.
        let is_full = rows.len() == PAGE as usize;
        given_up.extend(rows);
        if is_full {
            return Ok((given_up, false));
        }
    }
    Ok((given_up, true))
}

/// A delivery that is handed over.
struct Waiting {
    event_id: String,
    job_id: JobId,
    created_at: UnixMillis,
}

read_columns!(Waiting, "deliveries" by "event_id" {
    event_id, job_id, created_at,
});

/// Hands over these deliveries, which are in the order of their lanes; returns how many jobs have another webhook now.
async fn hand_over(
    connection: &mut SqliteConnection,
    from: &WebhookName,
    to: &WebhookName,
    deliveries: &[Waiting],
    now: UnixMillis,
) -> Result<u64> {
    let events: Vec<&str> = deliveries
        .iter()
        .map(|each| each.event_id.as_str())
        .collect();
    let events = json(&events)?;
    for sql in [HAND_OVER, HANDED_OVER] {
        execute(connection, query!(sql, from.as_str(), to.as_str(), &events)).await?;
    }
    let mut oldest: Vec<&Waiting> = deliveries.iter().collect();
    oldest.dedup_by_key(|each| &each.job_id);
    let lanes: BTreeSet<Lane> = oldest
        .iter()
        .map(|each| Lane::of(to, &each.job_id))
        .collect();
    demote_others(connection, &lanes).await?;
    promote_heads(connection, &lanes, now).await?;
    let due = oldest.iter().map(|each| DueLane {
        webhook: to,
        job_id: &each.job_id,
        since: each.created_at.min(now),
    });
    execute(
        connection,
        query!(DUE_SINCE, json(&due.collect::<Vec<_>>())?, now.0),
    )
    .await?;
    let jobs: Vec<&JobId> = oldest.iter().map(|each| &each.job_id).collect();
    Ok(execute(
        connection,
        query!(RENAME_THESE, from.as_str(), to.as_str(), json(&jobs)?),
    )
    .await?)
}

#[derive(Serialize)]
struct DueLane<'a> {
    webhook: &'a WebhookName,
    job_id: &'a JobId,
    since: UnixMillis,
}
