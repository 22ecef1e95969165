//! Jobs as `jobtrackd watch` shows them.

use jobtrackd_core::time::UnixMillis;

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
