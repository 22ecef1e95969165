//! The verbs of retention.

use std::time::Duration;

use super::{Store, StoreError};
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
    /// What of them.
    pub stage: Stage,
    /// What was over before this moment.
    pub before: UnixMillis,
    /// The jobs, as [`Store::prunable`] has found them.
    pub jobs: &'a [Prunable],
    /// At most so many rows in this transaction.
    pub rows: u32,
}

/// What one transaction deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// Jobs that are done, from the first one on; those that must not be pruned any more are among them.
    pub jobs: usize,
    /// Rows that were deleted.
    pub rows: u64,
    /// How long nobody else could write.
    pub took: Duration,
}

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
        match self {
            Self::Sqlite(store) => store.prunable(stage, before, after).await,
        }
    }

    /// Deletes what is given, as far as the rows go. Whether it may be deleted is asked again in the same transaction.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is deleted then.
    pub async fn prune(&self, prune: Prune<'_>) -> Result<Pruned, StoreError> {
        match self {
            Self::Sqlite(store) => store.prune(prune).await,
        }
    }

    /// Deletes attempts of tests that began before this moment, at most so many.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is deleted then.
    pub async fn prune_tests(&self, before: UnixMillis, rows: u32) -> Result<Pruned, StoreError> {
        match self {
            Self::Sqlite(store) => store.prune_tests(before, rows).await,
        }
    }
}
