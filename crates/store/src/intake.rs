//! What other programs changed.

use jobtrackd_core::rows::JobChange;

use super::error::Result;

/// Notices that rows may have changed.
pub trait Wakeups {
    /// Whether anybody else has committed since the last call; the first one cannot know, and says so.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn saw_commit(&mut self) -> impl Future<Output = Result<bool>> + Send;
}

/// What other programs changed.
pub trait Intake {
    /// What notices commits.
    type Wakeups: Wakeups + Send;

    /// Something that only watches for commits of others.
    ///
    /// # Errors
    /// When the database cannot be opened.
    fn watcher(&self) -> impl Future<Output = Result<Self::Wakeups>> + Send;

    /// A page of the jobs that have not ended, by row number; `after` is `i64::MIN` for the first page.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn active_jobs(
        &self,
        after: i64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<JobChange>>> + Send;

    /// A page of what other programs changed, in commit order, after change number `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn changes(
        &self,
        after: i64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<JobChange>>> + Send;

    /// The number of the newest change, 0 when there was never one.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn newest_change(&self) -> impl Future<Output = Result<i64>> + Send;
}
