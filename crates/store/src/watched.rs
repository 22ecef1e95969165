//! The verbs for whoever watches jobs while they are followed.

use super::{JobFilter, JobSummary, Store, StoreError};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// How things are as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Jobs that have not ended.
    pub running: u64,
    /// Jobs that ended since the moment that was asked for.
    pub ended: u64,
    /// Deliveries that wait, counted up to 100,000.
    pub pending: u32,
    /// Webhooks with events that wait after a failed attempt, at most 20; outsiders' text.
    pub failing: Vec<String>,
    /// Webhooks that are disabled, at most 20; outsiders' text.
    pub disabled: Vec<String>,
}

/// What became of a job's events, over all webhooks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// Answered with 2xx.
    pub delivered: u64,
    /// Wait for their turn or for another attempt.
    pub pending: u64,
    /// Those of them that were tried in vain.
    pub refused: u64,
    /// Given up.
    pub exhausted: u64,
    /// Kept back, since the webhook is disabled.
    pub disabled: u64,
    /// Attempts that were made.
    pub attempts: u64,
}

/// A job as a watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedJob {
    /// The job and its steps; those that are over without their results.
    pub summary: JobSummary,
    /// The number of its latest transition, 0 before the first one.
    pub last_seq: u32,
    /// When that was observed; before the first one, when the job was inserted.
    pub changed_at: UnixMillis,
    /// What its webhooks were told.
    pub told: Told,
}

impl Store {
    /// How things are as a whole; ended jobs are counted from `ended_since` on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn overview(&self, ended_since: UnixMillis) -> Result<Overview, StoreError> {
        match self {
            Self::Sqlite(store) => store.overview(ended_since).await,
        }
    }

    /// The jobs that run, and those that ended at `ended_since` or later: at most `limit`, the one that changed last
    /// first. Of more than a few thousand that run, those that never changed may be missing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lively_jobs(
        &self,
        ended_since: UnixMillis,
        limit: u32,
    ) -> Result<Vec<JobId>, StoreError> {
        match self {
            Self::Sqlite(store) => store.lively_jobs(ended_since, limit).await,
        }
    }

    /// These jobs, in this order; those that are not there are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn watched(&self, ids: &[JobId]) -> Result<Vec<WatchedJob>, StoreError> {
        match self {
            Self::Sqlite(store) => store.watched(ids).await,
        }
    }

    /// Where a search by webhook or text ends although older jobs may match: the last job that is looked at. `None`
    /// when all are looked at.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn search_end(
        &self,
        filter: &JobFilter,
    ) -> Result<Option<(UnixMillis, JobId)>, StoreError> {
        match self {
            Self::Sqlite(store) => store.search_end(filter).await,
        }
    }
}
