//! What is deleted at its age.

use std::time::Duration;

use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;

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
    /// The jobs, as [`Retention::prunable`] has found them.
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

/// The place of a job in the order of ends: when it ended, and the number of its row.
pub type EndPlace = (UnixMillis, i64);

/// Deletes what has reached its age: found by readers, deleted in small transactions.
pub trait Retention {
    /// A page of jobs that ended before this moment, of which this part is not deleted yet and no delivery is pending, in the
    /// order of their ends, after `after`. Searches at most 1000 such jobs; the second value is where it stopped, if it did.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn prunable(
        &self,
        stage: Stage,
        before: UnixMillis,
        after: Option<EndPlace>,
    ) -> impl Future<Output = Result<(Vec<Prunable>, Option<EndPlace>)>> + Send;

    /// Deletes these parts, up to the number of rows. Whether they may be deleted is checked again in the same transaction.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is deleted then.
    fn prune(&self, prune: Prune<'_>) -> impl Future<Output = Result<Pruned>> + Send;

    /// Deletes at most this many attempts of tests that began before this moment.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is deleted then.
    fn prune_tests(
        &self,
        before: UnixMillis,
        rows: u32,
    ) -> impl Future<Output = Result<Pruned>> + Send;
}
