//! Deletes what has reached its age: found by readers, deleted in small transactions of the one writer.
//!
//! A job may have thousands of events with large bodies, so it is deleted in parts, its attempts first and its row last;
//! if the process ends in between, the next pass deletes the rest.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::rows::Reading;
use super::store::{Store, execute, fetch_all, query};
use crate::{EndPlace, Prunable, Prune, Pruned, Result, Retention};
use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

/// Jobs that one search goes through.
const SEARCHED: i64 = 1000;

/// Most bytes of bodies that one transaction deletes (1 MiB), unless a single event has more.
const BYTES: i64 = 1 << 20;

/// No delivery is pending, and there was no attempt recently.
macro_rules! is_over {
    () => {
        "NOT EXISTS (
            SELECT 1 FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id WHERE e.job_id = old.id AND (
                d.state IN ('pending', 'disabled') OR d.last_attempt_at >= ?2))"
    };
}

/// `?1` is the mark of jobs of which this part is not deleted yet.
pub(super) const PRUNABLE: &str = concat!(
    "SELECT old.id, old.finished_at, old.row, ",
    is_over!(),
    " AS is_over
     FROM (
        SELECT id, finished_at, rowid AS row FROM jobs
        WHERE pruned = ?1 AND finished_at < ?2 AND (finished_at, rowid) > (?3, ?4)
        ORDER BY finished_at, rowid LIMIT ?5
     ) AS old ORDER BY old.finished_at, old.row"
);

pub(super) const MAY_BE_PRUNED: &str = concat!(
    "SELECT 1 FROM jobs AS old WHERE old.id = ?1 AND old.finished_at < ?2 AND ",
    is_over!()
);

pub(super) const PRUNE_ATTEMPTS: &str = "
    DELETE FROM attempts WHERE (event_id, webhook, number) IN (
        SELECT a.event_id, a.webhook, a.number FROM events AS e CROSS JOIN attempts AS a ON a.event_id = e.id
        WHERE e.job_id = ?1 LIMIT ?2)";

pub(super) const PRUNE_DELIVERIES: &str = "
    DELETE FROM deliveries WHERE (event_id, webhook) IN (
        SELECT d.event_id, d.webhook FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
        WHERE e.job_id = ?1 LIMIT ?2)";

/// At least one, whatever its size.
pub(super) const PRUNE_EVENTS: &str = "
    DELETE FROM events WHERE cursor IN (
        SELECT cursor FROM (
            SELECT cursor, octet_length(body) AS bytes, sum(octet_length(body)) OVER (ORDER BY sequence) AS up_to
            FROM events WHERE job_id = ?1 ORDER BY sequence LIMIT ?2)
        WHERE up_to <= ?3 OR up_to = bytes)
    RETURNING octet_length(body)";

pub(super) const PRUNE_TRANSITIONS: &str = "
    DELETE FROM transitions WHERE (job_id, seq) IN (
        SELECT job_id, seq FROM transitions WHERE job_id = ?1 LIMIT ?2)";

pub(super) const PRUNE_STEPS: &str = "
    DELETE FROM steps WHERE (job_id, title, occurrence) IN (
        SELECT job_id, title, occurrence FROM steps WHERE job_id = ?1 LIMIT ?2)";

const PRUNE_JOB: &str = "DELETE FROM jobs WHERE id = ?1 AND state IN ('success', 'failed')";

const MARK: &str = "UPDATE jobs SET pruned = ?2 WHERE id = ?1 AND pruned < ?2";

pub(super) const PRUNE_TESTS: &str = "
    DELETE FROM attempts WHERE (event_id, webhook, number) IN (
        SELECT event_id, webhook, number FROM attempts
        WHERE event_id >= 'test_' AND event_id < 'test`' AND started_at < ?1 LIMIT ?2)";

const HAS_EVENTS: &str = "SELECT 1 FROM events WHERE job_id = ?1 LIMIT 1";

impl Retention for Store {
    async fn prunable(
        &self,
        stage: Stage,
        before: UnixMillis,
        after: Option<EndPlace>,
    ) -> Result<(Vec<Prunable>, Option<EndPlace>)> {
        let (at, row) = after.map_or((i64::MIN, i64::MIN), |(at, row)| (at.0, row));
        let query = query!(PRUNABLE, marked_before(stage), before.0, at, row, SEARCHED);
        let rows = self.rows(query).await?;
        let mut prunable = Vec::new();
        let mut last = None;
        for row in &rows {
            let r = Reading::new(row, "jobs", "id");
            let (finished_at, row) = (r.get("finished_at")?, r.get("row")?);
            last = Some((finished_at, row));
            // A row whose id cannot be read is skipped.
            if let (true, Ok(job_id)) = (r.get("is_over")?, r.get("id")) {
                prunable.push(Prunable {
                    job_id,
                    finished_at,
                    row,
                });
            }
        }
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= SEARCHED);
        Ok((prunable, last.filter(|_| is_full)))
    }

    async fn prune(&self, prune: Prune<'_>) -> Result<Pruned> {
        let ((jobs, rows), took) = self
            .write_timed(async |connection| {
                let mut budget = Budget {
                    rows: i64::from(prune.rows),
                    bytes: BYTES,
                };
                let (mut jobs, mut rows) = (0, 0);
                for Prunable { job_id, .. } in prune.jobs {
                    let may = query!(MAY_BE_PRUNED, job_id.as_str(), prune.before.0);
                    let mut is_done = true;
                    if may.fetch_optional(&mut *connection).await?.is_some() {
                        let before = budget.rows;
                        is_done = prune_job(connection, job_id, prune.stage, &mut budget).await?;
                        rows += (before - budget.rows).unsigned_abs();
                    }
                    jobs += usize::from(is_done);
                    // A job without rows to delete takes time too.
                    budget.rows -= 1;
                    if !is_done || budget.is_used_up() {
                        break;
                    }
                }
                Ok((jobs, rows))
            })
            .await?;
        Ok(Pruned { jobs, rows, took })
    }

    async fn prune_tests(&self, before: UnixMillis, rows: u32) -> Result<Pruned> {
        let (rows, took) = self
            .write_timed(async |connection| {
                Ok(execute(connection, query!(PRUNE_TESTS, before.0, rows)).await?)
            })
            .await?;
        Ok(Pruned {
            jobs: 0,
            rows,
            took,
        })
    }
}

/// The mark of jobs of which this part is not deleted yet.
fn marked_before(stage: Stage) -> i64 {
    match stage {
        Stage::Attempts => 0,
        Stage::Events => 1,
        Stage::Jobs => 2,
    }
}

/// What one transaction may still delete.
struct Budget {
    rows: i64,
    bytes: i64,
}

impl Budget {
    fn is_used_up(&self) -> bool {
        self.rows <= 0 || self.bytes <= 0
    }

    /// Deletes rows of a job within the budget; returns whether some of it is left.
    async fn delete(
        &mut self,
        connection: &mut SqliteConnection,
        sql: &'static str,
        job: &JobId,
    ) -> Result<bool> {
        let deleted = execute(connection, query!(sql, job.as_str(), self.rows)).await?;
        self.rows = self.rows.saturating_sub_unsigned(deleted);
        Ok(!self.is_used_up())
    }

    /// The same for events, whose bodies count too; also `false` when events are left.
    async fn delete_events(
        &mut self,
        connection: &mut SqliteConnection,
        job: &JobId,
    ) -> Result<bool> {
        let delete = query!(PRUNE_EVENTS, job.as_str(), self.rows, self.bytes);
        for row in &fetch_all(connection, delete).await? {
            self.rows -= 1;
            self.bytes -= row.try_get::<i64, _>(0)?;
        }
        let left = query!(HAS_EVENTS, job.as_str())
            .fetch_optional(connection)
            .await?;
        Ok(left.is_none() && !self.is_used_up())
    }
}

/// Deletes rows of a job within the budget; returns whether all of this stage are deleted. When the budget is used up,
/// there may be more.
async fn prune_job(
    connection: &mut SqliteConnection,
    job: &JobId,
    stage: Stage,
    budget: &mut Budget,
) -> Result<bool> {
    let is_done = budget.delete(connection, PRUNE_ATTEMPTS, job).await?
        && (stage < Stage::Events
            || budget.delete(connection, PRUNE_DELIVERIES, job).await?
                && budget.delete_events(connection, job).await?)
        && (stage < Stage::Jobs
            || budget.delete(connection, PRUNE_TRANSITIONS, job).await?
                && budget.delete(connection, PRUNE_STEPS, job).await?);
    if !is_done {
        return Ok(false);
    }
    let end = match stage {
        Stage::Attempts | Stage::Events => query!(MARK, job.as_str(), marked_before(stage) + 1),
        Stage::Jobs => query!(PRUNE_JOB, job.as_str()),
    };
    execute(connection, end).await?;
    Ok(true)
}
