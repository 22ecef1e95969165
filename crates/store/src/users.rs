//! The remote jobs of one user.

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;

/// Which jobs of a user are read.
#[derive(Debug, Clone)]
pub struct UserFilter {
    /// The user's id at the API.
    pub user: String,
    /// Only jobs of this connection.
    pub connection: Option<String>,
    /// Only jobs inserted before this one: its time and id.
    pub after: Option<(UnixMillis, JobId)>,
    /// At most this many.
    pub limit: u32,
}

/// Remote jobs of one user, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    /// The API's texts, verbatim.
    pub resources: Vec<String>,
    /// Where the next page begins; `None` when all jobs of the user were searched.
    pub next: Option<(UnixMillis, JobId)>,
}

/// The remote jobs of one user.
pub trait Users {
    /// Remote jobs whose source or results lead to a user, newest first; reads 4 MiB of them at most and one job more. For
    /// those of one connection it goes through at most 500 jobs of the user.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn jobs_of_user(&self, filter: &UserFilter) -> impl Future<Output = Result<UserPage>> + Send;
}
