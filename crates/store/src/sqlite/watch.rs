//! Many jobs at a glance. Every statement reads a bounded number of rows, however many jobs there are.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::jobs::summary;
use super::rows::{self, Reading, job_columns};
use super::store::Store;
use crate::{Overview, StoreError, Told, WatchedJob};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// The latest transitions in which jobs that changed lately are found.
const LATEST_TRANSITIONS: i64 = 5000;

/// Most pending deliveries that are counted.
const MOST_PENDING: i64 = 100_000;

/// Most webhooks that are named.
const MOST_NAMES: i64 = 20;

/// The latest attempts of a webhook that are still to be repeated lie farthest ahead.
const HEADS: i64 = 100;

pub(super) const RUNNING: &str = "SELECT count(*) FROM jobs WHERE finished_at IS NULL";

pub(super) const ENDED: &str = "SELECT count(*) FROM jobs WHERE finished_at >= ?1";

/// The names come one by one from the index, without a look at the deliveries between them.
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

pub(super) const LIVELY: &str = "
    SELECT id, coalesce((SELECT observed_at FROM transitions WHERE job_id = found.id ORDER BY seq DESC LIMIT 1),
                        created_at) AS changed_at
    FROM (
        SELECT j.id, j.created_at FROM (
            SELECT DISTINCT job_id FROM (SELECT job_id FROM transitions ORDER BY rowid DESC LIMIT ?3)) AS lately
        CROSS JOIN jobs AS j ON j.id = lately.job_id WHERE +j.finished_at IS NULL
        UNION
        SELECT * FROM (SELECT id, created_at FROM jobs WHERE finished_at IS NULL ORDER BY rowid DESC LIMIT ?2)
        UNION
        SELECT * FROM (SELECT id, created_at FROM jobs WHERE finished_at >= ?1 ORDER BY finished_at DESC LIMIT ?2)
    ) AS found
    ORDER BY changed_at DESC, id DESC LIMIT ?2";

pub(super) const WATCHED: &str = concat!(
    "SELECT ",
    job_columns!(),
    ", j.metadata, j.failure, j.finished_at,
     (SELECT coalesce(max(seq), 0) FROM transitions WHERE job_id = j.id) AS last_seq,
     coalesce((SELECT observed_at FROM transitions WHERE job_id = j.id ORDER BY seq DESC LIMIT 1),
              j.created_at) AS changed_at
     FROM json_each(?1) AS wanted JOIN jobs AS j ON j.id = wanted.value ORDER BY wanted.key"
);

/// How a step stands is seen in its result only while it is not over.
pub(super) const STEPS_WATCHED: &str = "
    SELECT job_id, title, position, status, iif(status IN ('in-progress', 'pending'), result, NULL) AS result,
           first_seen_at, updated_at, challenge_expires_at, challenge_response_url
    FROM steps WHERE job_id IN (SELECT value FROM json_each(?1)) ORDER BY job_id, position, occurrence";

pub(super) const TOLD: &str = "
    SELECT job_id, state, last_error IS NOT NULL AS tried, count(*) AS events, sum(attempts) AS attempts
    FROM deliveries WHERE job_id IN (SELECT value FROM json_each(?1))
    GROUP BY job_id, state, tried";

impl Store {
    /// How things are as a whole; ended jobs are counted from `ended_since` on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn overview(&self, ended_since: UnixMillis) -> Result<Overview, StoreError> {
        self.read(async {
            let mut snapshot = self.shared.readers.begin().await?;
            let running: i64 = sqlx::query_scalar(RUNNING)
                .fetch_one(&mut *snapshot)
                .await?;
            let ended = sqlx::query_scalar(ENDED).bind(ended_since.0);
            let ended: i64 = ended.fetch_one(&mut *snapshot).await?;
            let pending = sqlx::query_scalar(super::deliveries::PENDING).bind(MOST_PENDING);
            let pending = pending.fetch_one(&mut *snapshot).await?;
            let failing = sqlx::query(FAILING).bind(MOST_NAMES).bind(HEADS);
            let failing = failing.fetch_all(&mut *snapshot).await?;
            let disabled = sqlx::query(DISABLED).bind(MOST_NAMES);
            let disabled = disabled.fetch_all(&mut *snapshot).await?;
            snapshot.commit().await?;
            Ok(Overview {
                running: running.unsigned_abs(),
                ended: ended.unsigned_abs(),
                pending,
                failing: names(&failing)?,
                disabled: names(&disabled)?,
            })
        })
        .await
    }

    /// The jobs that run, and those that ended at `ended_since` or later: at most `limit`, the one that changed last
    /// first. Of more than a few thousand that run, those that never changed may be missing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lively_jobs(
        &self,
        ended_since: UnixMillis,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        let query = sqlx::query(LIVELY)
            .bind(ended_since.0)
            .bind(i64::from(limit))
            .bind(LATEST_TRANSITIONS);
        let rows = self.read(query.fetch_all(&self.shared.readers)).await?;
        rows.iter()
            .map(|row| Reading::new(row, "jobs", "id").job_id("id"))
            .collect()
    }

    /// These jobs, in this order; those that are not there are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn watched(&self, ids: &[JobId]) -> Result<Vec<WatchedJob>, StoreError> {
        let ids: Vec<&str> = ids.iter().map(JobId::as_str).collect();
        let ids = super::bulk::json(&ids)?;
        let (jobs, steps, told) = self
            .read(async {
                let mut snapshot = self.shared.readers.begin().await?;
                let mut parts = Vec::new();
                for sql in [WATCHED, STEPS_WATCHED, TOLD] {
                    let query = sqlx::query(sql).bind(&ids);
                    parts.push(query.fetch_all(&mut *snapshot).await?);
                }
                snapshot.commit().await?;
                let mut parts = parts.into_iter();
                let mut next = || parts.next().unwrap_or_default();
                Ok((next(), next(), next()))
            })
            .await?;
        let mut steps = by_job(&steps, rows::step)?;
        let mut told = by_job(&told, part)?;
        jobs.iter()
            .map(|row| {
                let r = Reading::new(row, "jobs", "id");
                let id = r.text("id")?;
                let parts = told.remove(&id).unwrap_or_default();
                Ok(WatchedJob {
                    summary: summary(row, steps.remove(&id).unwrap_or_default())?,
                    last_seq: r.number("last_seq")?,
                    changed_at: r.time("changed_at")?,
                    told: parts.into_iter().fold(Told::default(), sum),
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

fn by_job<T>(
    rows: &[SqliteRow],
    read: impl Fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<HashMap<String, Vec<T>>, StoreError> {
    let mut found: HashMap<String, Vec<T>> = HashMap::new();
    for row in rows {
        let job: String = row.try_get("job_id")?;
        found.entry(job).or_default().push(read(row)?);
    }
    Ok(found)
}

fn part(row: &SqliteRow) -> Result<Told, StoreError> {
    let r = Reading::new(row, "deliveries", "job_id");
    let events = r.number("events")?;
    let mut told = Told {
        attempts: r.number("attempts")?,
        ..Told::default()
    };
    match r.text("state")?.as_str() {
        "delivered" => told.delivered = events,
        "exhausted" => told.exhausted = events,
        "disabled" => told.disabled = events,
        _ => {
            told.pending = events;
            told.refused = if r.flag("tried")? { events } else { 0 };
        }
    }
    Ok(told)
}

fn sum(all: Told, part: Told) -> Told {
    Told {
        delivered: all.delivered + part.delivered,
        pending: all.pending + part.pending,
        refused: all.refused + part.refused,
        exhausted: all.exhausted + part.exhausted,
        disabled: all.disabled + part.disabled,
        attempts: all.attempts + part.attempts,
    }
}
