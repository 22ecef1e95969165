//! The verbs for whoever wants to know how things are.

use super::{Store, StoreError};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::time::UnixMillis;

/// How the jobs that have not ended are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobsHealth {
    /// Jobs that have not ended.
    pub unfinished: u64,
    /// Those of them whose latest polls failed, as many in a row as was asked for or more.
    pub failing: u64,
    /// The id of the one with the most failed polls in a row, and what was said at the last; outsiders' text.
    pub worst: Option<(String, String)>,
    /// Those that have passed a bound, so that only their end is recorded.
    pub limited: u64,
    /// Those whose next poll was due before the moment that was asked for.
    pub overdue: u64,
    /// When the first of these was due.
    pub overdue_since: Option<UnixMillis>,
    /// What is wrong with the first hundred that cannot be followed or recorded, because another hand was in their rows.
    pub spoilt: Vec<String>,
}

/// What one webhook has not been told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Events that wait.
    pub pending: u64,
    /// When the oldest of these happened.
    pub pending_since: Option<UnixMillis>,
    /// Events that were given up, of the latest 10,000 of all.
    pub exhausted: u64,
    /// When the latest of these happened.
    pub exhausted_latest: Option<UnixMillis>,
}

impl Store {
    /// How the unfinished jobs are: which of them were due before `due_before`, and which have failed `errors` polls in
    /// a row.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn jobs_health(
        &self,
        due_before: UnixMillis,
        errors: u32,
    ) -> Result<JobsHealth, StoreError> {
        match self {
            Self::Sqlite(store) => store.jobs_health(due_before, errors).await,
        }
    }

    /// What a webhook has not been told.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn backlog(&self, webhook: &WebhookName) -> Result<Backlog, StoreError> {
        match self {
            Self::Sqlite(store) => store.backlog(webhook).await,
        }
    }

    /// Whether the database can be written now; waits up to 5 s for the lock, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when another program keeps the lock, or why nothing can be written.
    pub async fn writable(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.writable().await,
        }
    }

    /// What SQLite finds wrong with the structure of the file, at most five lines; none when all is well. Reads the
    /// whole file.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn quick_check(&self) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(store) => store.quick_check().await,
        }
    }
}
