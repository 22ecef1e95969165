//! The health of the followed jobs, for an operator.

use jobtrackd_core::time::UnixMillis;

use super::error::Result;

/// The health of the jobs that have not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsHealth {
    /// Jobs that have not ended.
    pub unfinished: u64,
    /// Those of them whose latest polls failed, at least as many in a row as the caller names.
    pub failing: u64,
    /// The id of the one with the most failed polls in a row, and the error of the last; from outside.
    pub worst: Option<(String, String)>,
    /// Those that have passed a bound, so that only their end is recorded.
    pub limited: u64,
    /// Those whose next poll was due before the moment the caller names.
    pub overdue: u64,
    /// When the first of these was due.
    pub overdue_since: Option<UnixMillis>,
    /// What is wrong with the first hundred that cannot be followed or recorded, because another program has changed their
    /// rows.
    pub invalid: Vec<String>,
}

/// What an operator checks.
pub trait Checks {
    /// The health of the unfinished jobs: which of them were due before `due_before`, and which have failed `errors` polls
    /// in a row.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn jobs_health(
        &self,
        due_before: UnixMillis,
        errors: u32,
    ) -> impl Future<Output = Result<JobsHealth>> + Send;

    /// Whether the database can be written now; waits up to 5 s for the lock, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Busy`](crate::StoreError::Busy) when another program keeps the lock, or why nothing can be written.
    fn writable(&self) -> impl Future<Output = Result<()>> + Send;
}
