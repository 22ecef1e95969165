//! The health of the followed jobs, for an operator.

use jobtrackd_core::time::UnixMillis;

use super::rows::Job;
use super::store::Store;
use crate::{Checks, JobsHealth, Result};

impl Checks for Store {
    async fn jobs_health(&self, due_before: UnixMillis, errors: u32) -> Result<JobsHealth> {
        self.read(|tables| {
            let jobs = tables.jobs_by_number();
            let unfinished: Vec<&Job> = jobs.filter(|job| !job.has_ended()).collect();
            let failed = |job: &&Job| job.row.progress.consecutive_errors >= errors;
            let failing = unfinished.iter().copied().filter(failed);
            // Of equal ones the first, as `max_by_key` takes the last.
            let worst = failing.clone().rev();
            let worst = worst.max_by_key(|job| job.row.progress.consecutive_errors);
            let due = unfinished.iter().map(|job| {
                let row = &job.row;
                row.next_poll_at
                    .or(row.not_before)
                    .unwrap_or(row.created_at)
            });
            let overdue = due.filter(|at| *at < due_before);
            let limited = unfinished.iter().filter(|job| job.row.progress.limited);
            Ok(JobsHealth {
                unfinished: unfinished.len() as u64,
                failing: failing.count() as u64,
                worst: worst.map(|job| {
                    let error = job.row.progress.last_error.clone();
                    (job.row.id.to_string(), error.unwrap_or_default())
                }),
                limited: limited.count() as u64,
                overdue: overdue.clone().count() as u64,
                overdue_since: overdue.min(),
                invalid: Vec::new(),
            })
        })
    }

    async fn writable(&self) -> Result<()> {
        self.write(|_, _| Ok(()))
    }
}
