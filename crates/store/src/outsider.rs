//! Another program that shares the database, for tests and the simulation.

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;
use super::jobs::NewJob;

/// What an enqueuer changes of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobUpdate {
    /// Sets `cancel_requested`.
    Cancel,
    /// Sets `poll_requested`.
    Poll,
    /// Sets `url`.
    Url(Option<String>),
    /// Sets `webhook`.
    Webhook(Option<String>),
    /// Sets `priority`.
    Priority(i64),
    /// Sets `deadline_at`.
    Deadline(Option<UnixMillis>),
    /// Sets `not_before`.
    NotBefore(Option<UnixMillis>),
    /// Sets `created_at`, which no enqueuer does; for tests whose time is not that of the database.
    CreatedAt(UnixMillis),
}

/// A program that knows nothing of the daemon but the table that it may write.
pub trait Outsider {
    /// Inserts a row with this time of insertion; `false` when there is one with its id.
    ///
    /// # Errors
    /// [`Refused`](crate::StoreError::Refused) with the reason when the row may not be inserted.
    fn insert(
        &mut self,
        job: &NewJob,
        created_at: UnixMillis,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Changes a row; `false` when there is none.
    ///
    /// # Errors
    /// [`Refused`](crate::StoreError::Refused) with the reason when the row may not become that.
    fn update(
        &mut self,
        id: &JobId,
        update: &JobUpdate,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Deletes a job's row, and with it all that belongs to the job; `false` when there is none.
    ///
    /// # Errors
    /// [`Refused`](crate::StoreError::Refused) when the job has not ended, or an event of it is not delivered.
    fn delete(&mut self, id: &JobId) -> impl Future<Output = Result<bool>> + Send;
}
