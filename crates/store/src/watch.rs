//! Jobs as `jobtrackd watch` shows them.

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;
use super::jobs::JobSummary;

/// The totals over all jobs and webhooks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Jobs that have not ended.
    pub running: u64,
    /// Jobs that ended since the moment the caller names.
    pub ended: u64,
    /// Deliveries that wait, counted up to 100,000.
    pub pending: u32,
    /// Webhooks with events that wait after a failed attempt, at most 20; from outside.
    pub failing: Vec<String>,
    /// Webhooks that are disabled, at most 20; from outside.
    pub disabled: Vec<String>,
}

/// The deliveries of a job's events to all webhooks, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeliveryCounts {
    /// Answered with 2xx.
    pub delivered: u64,
    /// Wait for their turn or for another attempt.
    pub pending: u64,
    /// Those of them with a failed attempt.
    pub refused: u64,
    /// Given up.
    pub exhausted: u64,
    /// Held back, because the webhook is disabled.
    pub disabled: u64,
    /// Attempts that were made.
    pub attempts: u64,
}

/// A job, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobProgress {
    /// The job and its steps; those that are over without their results.
    pub summary: JobSummary,
    /// The number of its latest transition, 0 before the first one.
    pub last_seq: u32,
    /// When that was observed; before the first one, when the job was inserted.
    pub changed_at: UnixMillis,
    /// The deliveries of its events.
    pub deliveries: DeliveryCounts,
}

impl JobProgress {
    /// Why the latest poll failed; `None` once one is good again.
    #[must_use]
    pub fn latest_error(&self) -> Option<&str> {
        let progress = &self.summary.row.progress;
        let error = progress.last_error.as_deref();
        error.filter(|_| progress.consecutive_errors > 0)
    }
}

/// Many jobs at once. Every verb reads a bounded number of rows, however many jobs there are.
pub trait Watching {
    /// The totals over all jobs and webhooks; ended jobs are counted from `ended_since` on.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn overview(&self, ended_since: UnixMillis) -> impl Future<Output = Result<Overview>> + Send;

    /// The jobs that run, and those that ended at `ended_since` or later: at most `limit`, the one that changed last
    /// first. Of more than a few thousand that run, those that never changed may be missing.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn recently_changed(
        &self,
        ended_since: UnixMillis,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<JobId>>> + Send;

    /// These jobs, in this order; those that do not exist are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn progress(&self, ids: &[JobId]) -> impl Future<Output = Result<Vec<JobProgress>>> + Send;
}
