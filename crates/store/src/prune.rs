//! What is deleted at its age.

use std::time::Duration;

use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

/// A finished job of which a part has reached its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prunable {
    /// The job.
    pub job_id: JobId,
    /// When it ended.
    pub finished_at: UnixMillis,
    /// The number of its row, which tells jobs apart that ended at the same moment.
    pub row: i64,
}

/// Which parts of which jobs are deleted.
#[derive(Debug, Clone, Copy)]
pub struct Prune<'a> {
    /// Which part.
    pub stage: Stage,
    /// Only what ended before this moment.
    pub before: UnixMillis,
    /// The jobs, as [`Store::prunable`](crate::Store::prunable) has found them.
    pub jobs: &'a [Prunable],
    /// At most this many rows in this transaction.
    pub rows: u32,
}

/// What one transaction deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Jobs that are done, from the first one on; those that must not be pruned any more are among them.
    pub jobs: usize,
    /// Rows that were deleted.
    pub rows: u64,
    /// How long the database was locked for other writers.
    pub took: Duration,
}
