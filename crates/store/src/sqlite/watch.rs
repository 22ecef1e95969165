//! Many jobs at once. Every statement reads a bounded number of rows, however many jobs there are.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::bulk::json;
use super::deliveries::PENDING;
use super::jobs::{by_job, summary, summary_columns};
use super::rows::{FromRow, Reading};
use super::store::{Store, fetch_all, query, value};
use super::together::job_columns;
use crate::{DeliveryCounts, JobProgress, Overview, Result, Watching};
use jobtrackd_core::delivery::DeliveryState;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// The latest transitions in which jobs that changed lately are found.
const LATEST_TRANSITIONS: i64 = 5000;

/// Most pending deliveries that are counted.
const MOST_PENDING: i64 = 100_000;

/// Most webhooks that are named.
const MOST_NAMES: i64 = 20;

/// The deliveries of a webhook that were attempted last are due last.
const HEADS: i64 = 100;

pub(super) const RUNNING: &str = "SELECT count(*) FROM jobs WHERE finished_at IS NULL";

pub(super) const ENDED: &str = "SELECT count(*) FROM jobs WHERE finished_at >= ?1";

/// The names come one by one from the index, without reading the deliveries between them.
pub(super) const FAILING: &str = "
    WITH RECURSIVE names (name) AS (
        SELECT min(webhook) FROM deliveries WHERE state = 'pending'
        UNION ALL
        SELECT (SELECT min(webhook) FROM deliveries WHERE state = 'pending' AND webhook > names.name)
        FROM names WHERE names.name IS NOT NULL LIMIT 1000)
    SELECT name FROM names WHERE EXISTS (
        SELECT 1 FROM (
            SELECT d.last_error FROM deliveries AS d
            WHERE d.webhook = names.name AND d.state = 'pending' AND d.next_attempt_at IS NOT NULL
            ORDER BY d.next_attempt_at DESC LIMIT ?2)
        WHERE last_error IS NOT NULL)
    LIMIT ?1";

const DISABLED: &str =
    "SELECT name FROM webhooks WHERE disabled_at IS NOT NULL ORDER BY name LIMIT ?1";

pub(super) const RECENTLY_CHANGED: &str = "
    SELECT id, coalesce((SELECT observed_at FROM transitions WHERE job_id = found.id ORDER BY seq DESC LIMIT 1),
                        created_at) AS changed_at
    FROM (
        SELECT j.id, j.created_at FROM (
            SELECT DISTINCT job_id FROM (SELECT job_id FROM events AS latest ORDER BY cursor DESC LIMIT ?3)) AS lately
        CROSS JOIN jobs AS j ON j.id = lately.job_id WHERE +j.finished_at IS NULL
        UNION
        SELECT * FROM (SELECT id, created_at FROM jobs WHERE finished_at IS NULL ORDER BY rowid DESC LIMIT ?2)
        UNION
        SELECT * FROM (SELECT id, created_at FROM jobs WHERE finished_at >= ?1 ORDER BY finished_at DESC LIMIT ?2)
    ) AS found
    ORDER BY changed_at DESC, id DESC LIMIT ?2";

pub(super) const PROGRESS: &str = concat!(
    "SELECT ",
    summary_columns!(),
    ", (SELECT coalesce(max(seq), 0) FROM transitions WHERE job_id = j.id) AS last_seq,
     coalesce((SELECT observed_at FROM transitions WHERE job_id = j.id ORDER BY seq DESC LIMIT 1),
              j.created_at) AS changed_at
     FROM json_each(?1) AS wanted JOIN jobs AS j ON j.id = wanted.value ORDER BY wanted.key"
);

pub(super) const STEPS_OF_PROGRESS: &str = "
    SELECT job_id, title, occurrence, position, status, class, NULL AS result, error, first_seen_at, updated_at,
           challenge, challenge_expires_at, challenge_expiry_ms, challenge_response_url
    FROM steps WHERE job_id IN (SELECT value FROM json_each(?1)) ORDER BY job_id, position, occurrence";

pub(super) const DELIVERY_COUNTS: &str = "
    SELECT e.job_id, d.state, d.last_error IS NOT NULL AS tried, count(*) AS events, sum(d.attempts) AS attempts
    FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
    WHERE e.job_id IN (SELECT value FROM json_each(?1))
    GROUP BY e.job_id, d.state, tried";

impl Watching for Store {
    async fn overview(&self, ended_since: UnixMillis) -> Result<Overview> {
        self.snapshot(async |snapshot| {
            let count = async |snapshot: &mut _, query| value::<i64>(snapshot, query).await;
            let (running, ended) = (query!(RUNNING), query!(ENDED, ended_since.0));
            let failing = query!(FAILING, MOST_NAMES, HEADS);
            Ok(Overview {
                running: count(snapshot, running).await?.unsigned_abs(),
                ended: count(snapshot, ended).await?.unsigned_abs(),
                pending: value(snapshot, query!(PENDING, MOST_PENDING)).await?,
                failing: names(&fetch_all(snapshot, failing).await?)?,
                disabled: names(&fetch_all(snapshot, query!(DISABLED, MOST_NAMES)).await?)?,
            })
        })
        .await
    }

    async fn recently_changed(&self, ended_since: UnixMillis, limit: u32) -> Result<Vec<JobId>> {
        let query = query!(RECENTLY_CHANGED, ended_since.0, limit, LATEST_TRANSITIONS);
        let rows = self.rows(query).await?;
        rows.iter()
            .map(|row| Reading::new(row, "jobs", "id").get("id"))
            .collect()
    }

    async fn progress(&self, ids: &[JobId]) -> Result<Vec<JobProgress>> {
        let ids = json(ids)?;
        let (jobs, steps, deliveries) = self
            .snapshot(async |snapshot| {
                Ok((
                    fetch_all(snapshot, query!(PROGRESS, &ids)).await?,
                    fetch_all(snapshot, query!(STEPS_OF_PROGRESS, &ids)).await?,
                    fetch_all(snapshot, query!(DELIVERY_COUNTS, &ids)).await?,
                ))
            })
            .await?;
        let mut steps = by_job(&steps)?;
        let mut deliveries = by_job(&deliveries)?;
        jobs.iter()
            .map(|row| {
                let r = Reading::new(row, "jobs", "id");
                let id: String = r.get("id")?;
                let counts = deliveries.remove(&id).unwrap_or_default();
                Ok(JobProgress {
                    summary: summary(row, steps.remove(&id).unwrap_or_default())?,
                    last_seq: r.get("last_seq")?,
                    changed_at: r.get("changed_at")?,
                    deliveries: counts.into_iter().fold(DeliveryCounts::default(), sum),
                })
            })
            .collect()
    }
}

fn names(rows: &[SqliteRow]) -> Result<Vec<String>, sqlx::Error> {
    let bytes = rows.iter().map(|row| row.try_get::<&[u8], _>("name"));
    bytes
        .map(|name| Ok(String::from_utf8_lossy(name?).into_owned()))
        .collect()
}

/// One row counts those of one state, either with or without a failed attempt.
impl FromRow for DeliveryCounts {
    const TABLE: &'static str = "deliveries";
    const KEY: &'static str = "job_id";

    fn read(r: &Reading<'_>) -> Result<Self> {
        let events = r.get("events")?;
        let mut counts = Self {
            attempts: r.get("attempts")?,
            ..Self::default()
        };
        match r.get("state")? {
            DeliveryState::Delivered => counts.delivered = events,
            DeliveryState::Exhausted => counts.exhausted = events,
            DeliveryState::Disabled => counts.disabled = events,
            DeliveryState::Pending => {
                counts.pending = events;
                counts.refused = if r.get("tried")? { events } else { 0 };
            }
        }
        Ok(counts)
    }
}

fn sum(all: DeliveryCounts, part: DeliveryCounts) -> DeliveryCounts {
    DeliveryCounts {
        delivered: all.delivered + part.delivered,
        pending: all.pending + part.pending,
        refused: all.refused + part.refused,
        exhausted: all.exhausted + part.exhausted,
        disabled: all.disabled + part.disabled,
        attempts: all.attempts + part.attempts,
    }
}
