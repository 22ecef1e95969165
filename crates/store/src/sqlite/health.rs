//! The health of the followed jobs and of the file, for an operator.

use sqlx::Row;

use super::rows::Reading;
use super::store::{Store, query};
use crate::{Checks, Jobs as _, JobsHealth, Result};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Most findings of a check of the file.
const QUICK_CHECK: &str = "PRAGMA quick_check(5)";

/// A job that was never polled is due from its insertion on.
pub(super) const JOBS_HEALTH: &str = "
    SELECT count(*) AS unfinished,
           coalesce(sum(consecutive_errors BETWEEN ?2 AND 4294967295), 0) AS failing,
           coalesce(sum(limited), 0) AS limited,
           (SELECT id FROM jobs WHERE finished_at IS NULL AND consecutive_errors BETWEEN ?2 AND 4294967295
            ORDER BY consecutive_errors DESC LIMIT 1) AS failing_id,
           (SELECT last_error FROM jobs WHERE finished_at IS NULL AND consecutive_errors BETWEEN ?2 AND 4294967295
            ORDER BY consecutive_errors DESC LIMIT 1) AS failing_error,
           coalesce(sum(coalesce(next_poll_at, not_before, created_at) < ?1), 0) AS overdue,
           min(CASE WHEN coalesce(next_poll_at, not_before, created_at) < ?1
                    THEN coalesce(next_poll_at, not_before, created_at) END) AS overdue_since
    FROM jobs WHERE finished_at IS NULL";

/// Numbers that this program never writes. The table refuses a sum beyond an integer, and with it every observation of the
/// job.
pub(super) const INVALID: &str = "
    SELECT id FROM jobs WHERE finished_at IS NULL AND (
        polls < 0 OR quiet_polls NOT BETWEEN 0 AND 4294967295 OR consecutive_errors NOT BETWEEN 0 AND 4294967295
        OR event_bytes NOT BETWEEN 0 AND 1125899906842624
        OR EXISTS (SELECT 1 FROM steps WHERE job_id = jobs.id
                   AND (position NOT BETWEEN 0 AND 4294967295 OR occurrence NOT BETWEEN 0 AND 4294967295)))
    LIMIT 100";

impl Checks for Store {
    async fn jobs_health(&self, due_before: UnixMillis, errors: u32) -> Result<JobsHealth> {
        let query = query!(JOBS_HEALTH, due_before.0, errors);
        let row = self.read(query.fetch_one(&self.shared.readers)).await?;
        let mut invalid = Vec::new();
        for row in self.rows(query!(INVALID)).await? {
            invalid.push(self.what_is_wrong(row.try_get(0)?).await);
        }
        let r = Reading::new(&row, "jobs", "failing_id");
        let failing = r.lossy_text("failing_id")?;
        let error = r.lossy_text("failing_error")?.unwrap_or_default();
        Ok(JobsHealth {
            unfinished: r.get("unfinished")?,
            failing: r.get("failing")?,
            worst: failing.map(|id| (id, error)),
            limited: r.get("limited")?,
            overdue: r.get("overdue")?,
            overdue_since: r.get("overdue_since")?,
            invalid,
        })
    }

    async fn writable(&self) -> Result<()> {
        self.write(async |_| Ok(())).await
    }
}

impl Store {
    async fn what_is_wrong(&self, id: String) -> String {
        let Ok(id) = JobId::parse(&id) else {
            return format!("jobs.id is not that of a job (row {id})");
        };
        let row = self.job(&id).await.map(drop);
        let tracked = self.tracked(&id).await.map(drop);
        match row.and(tracked) {
            Err(error) => error.to_string(),
            Ok(()) => format!("jobs.event_bytes is out of range (row {id})"),
        }
    }

    /// What SQLite finds wrong with the structure of the file, at most five lines. Reads the whole file.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn quick_check(&self) -> Result<Vec<String>> {
        let rows = self.rows(query!(QUICK_CHECK)).await?;
        let lines = rows.iter().map(|row| row.try_get(0));
        let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
        Ok(lines.into_iter().filter(|line| line != "ok").collect())
    }
}
