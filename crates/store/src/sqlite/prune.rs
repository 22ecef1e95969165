//! Deleting what has reached its age: found by readers, deleted in small transactions of the one writer.
//!
//! A job may have thousands of events with large bodies, so it is deleted in pieces, its attempts first and its row last;
//! killed in between, the rest goes with the next pass.

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::rows::Reading;
use super::store::Store;
use crate::{Prunable, Prune, Pruned, StoreError};
use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

/// Jobs that one look goes through.
const LOOKED_AT: i64 = 1000;

/// Most bytes of bodies that one transaction deletes (1 MiB), unless a single event has more.
const BYTES: i64 = 1 << 20;

/// Nothing is left to be told, and nothing was lately.
macro_rules! is_over {
    () => {
        "NOT EXISTS (
            SELECT 1 FROM deliveries AS d WHERE d.job_id = old.id AND (
                d.state IN ('pending', 'disabled') OR d.last_attempt_at >= ?2))"
    };
}

/// `?1` is how much is deleted already where this part is still there.
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
        SELECT event_id, webhook FROM deliveries WHERE job_id = ?1 LIMIT ?2)";

/// The first one whatever its size.
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

impl Store {
    /// A page of jobs that ended before this moment, of which this part is still there and nothing is left to be told,
    /// in the order of their ends, behind `after`. Looks at 1000 such jobs at most; the second value is where it stopped,
    /// if it did.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn prunable(
        &self,
        stage: Stage,
        before: UnixMillis,
        after: Option<(UnixMillis, i64)>,
    ) -> Result<(Vec<Prunable>, Option<(UnixMillis, i64)>), StoreError> {
        let (at, row) = after.map_or((i64::MIN, i64::MIN), |(at, row)| (at.0, row));
        let query = sqlx::query(PRUNABLE)
            .bind(marked_before(stage))
            .bind(before.0)
            .bind(at)
            .bind(row)
            .bind(LOOKED_AT);
        let rows = self.read(query.fetch_all(&self.shared.readers)).await?;
        let mut prunable = Vec::new();
        let mut last = None;
        for row in &rows {
            let r = Reading::new(row, "jobs", "id");
            let (finished_at, number) = (r.time("finished_at")?, r.integer("row")?);
            last = Some((finished_at, number));
            // Whatever its id: a row that cannot be read is left alone.
            let over = r.flag("is_over")?;
            if let (true, Ok(job_id)) = (over, r.job_id("id")) {
                prunable.push(Prunable {
                    job_id,
                    finished_at,
                    row: number,
                });
            }
        }
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= LOOKED_AT);
        Ok((prunable, last.filter(|_| is_full)))
    }

    /// Deletes what is given, as far as the rows go. Whether it may be deleted is asked again in the same transaction.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is deleted then.
    pub async fn prune(&self, prune: Prune<'_>) -> Result<Pruned, StoreError> {
        let ((jobs, rows), took) = self
            .write_timed(async |connection| {
                let mut budget = Budget {
                    rows: i64::from(prune.rows),
                    bytes: BYTES,
                };
                let (mut jobs, mut rows) = (0, 0);
                for job in prune.jobs {
                    let may = sqlx::query(MAY_BE_PRUNED)
                        .bind(job.job_id.as_str())
                        .bind(prune.before.0);
                    let mut is_done = true;
                    if may.fetch_optional(&mut *connection).await?.is_some() {
                        let before = budget.rows;
                        is_done =
                            prune_job(connection, &job.job_id, prune.stage, &mut budget).await?;
                        rows += (before - budget.rows).unsigned_abs();
                    }
                    jobs += usize::from(is_done);
                    // The looks are bounded too.
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

    /// Deletes attempts of tests that began before this moment, at most so many.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is deleted then.
    pub async fn prune_tests(&self, before: UnixMillis, rows: u32) -> Result<Pruned, StoreError> {
        let (rows, took) = self
            .write_timed(async |connection| {
                let deleted = sqlx::query(PRUNE_TESTS).bind(before.0).bind(rows);
                Ok(deleted.execute(connection).await?.rows_affected())
            })
            .await?;
        Ok(Pruned {
            jobs: 0,
            rows,
            took,
        })
    }
}

/// The mark of jobs of which this part is still there.
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
}

/// Deletes rows of a job as far as the budget goes; answers whether nothing of this stage is there any more.
async fn prune_job(
    connection: &mut SqliteConnection,
    job: &JobId,
    stage: Stage,
    budget: &mut Budget,
) -> Result<bool, StoreError> {
    let parts: &[&'static str] = match stage {
        Stage::Attempts => &[PRUNE_ATTEMPTS],
        Stage::Events => &[PRUNE_ATTEMPTS, PRUNE_DELIVERIES, PRUNE_EVENTS],
        Stage::Jobs => &[
            PRUNE_ATTEMPTS,
            PRUNE_DELIVERIES,
            PRUNE_EVENTS,
            PRUNE_TRANSITIONS,
            PRUNE_STEPS,
        ],
    };
    for sql in parts {
        if budget.is_used_up() {
            return Ok(false);
        }
        let query = sqlx::query(*sql).bind(job.as_str()).bind(budget.rows);
        if *sql == PRUNE_EVENTS {
            let deleted = query.bind(budget.bytes).fetch_all(&mut *connection).await?;
            for row in &deleted {
                budget.rows -= 1;
                budget.bytes -= row.try_get::<i64, _>(0)?;
            }
            if !deleted.is_empty() && has_events(connection, job).await? {
                return Ok(false);
            }
        } else {
            let wanted = budget.rows;
            let deleted = query.execute(&mut *connection).await?.rows_affected();
            budget.rows = wanted.saturating_sub_unsigned(deleted);
        }
    }
    // What was deleted to the last row of the budget may have left others.
    if budget.is_used_up() {
        return Ok(false);
    }
    let query = match stage {
        Stage::Attempts | Stage::Events => sqlx::query(MARK)
            .bind(job.as_str())
            .bind(marked_before(stage) + 1),
        Stage::Jobs => sqlx::query(PRUNE_JOB).bind(job.as_str()),
    };
    query.execute(connection).await?;
    Ok(true)
}

async fn has_events(connection: &mut SqliteConnection, job: &JobId) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT EXISTS (SELECT 1 FROM events WHERE job_id = ?1)");
    let row = query.bind(job.as_str()).fetch_one(connection).await?;
    Ok(row.try_get::<i64, _>(0)? != 0)
}
