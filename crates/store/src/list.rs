//! Jobs in pages, the newest first, and the search among them.

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;
use super::jobs::{JobFilter, JobPage};

/// Jobs in pages, the newest first, and the search among them.
pub trait Lists {
    /// A page of jobs, the newest or latest ended first, of at most 4 MiB and one job more. A search by what no index of this
    /// order has reads 100,000 jobs of the state and time at most, or fewer.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn list(&self, filter: &JobFilter) -> impl Future<Output = Result<JobPage>> + Send;

    /// The ids of the newest jobs.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn newest_ids(&self, limit: u32) -> impl Future<Output = Result<Vec<JobId>>> + Send;

    /// The ids that begin with this text, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn ids_beginning(
        &self,
        start: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<JobId>>> + Send;

    /// Where a search ends although older jobs may match: the place of the last job that is read. `None`
    /// when all are read.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn search_end(
        &self,
        filter: &JobFilter,
    ) -> impl Future<Output = Result<Option<(UnixMillis, JobId)>>> + Send;
}
