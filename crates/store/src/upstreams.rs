//! What is recorded of the API.

use jobtrackd_core::time::UnixMillis;

use super::error::Result;

/// What ending the pauses changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The origins whose pause was in force, and until when.
    pub pauses: Vec<(String, UnixMillis)>,
    /// Jobs that were throttled and are polled at once.
    pub jobs: u64,
}

/// What is recorded of the API, and how an operator ends its pauses.
pub trait Upstreams {
    /// Until when the API at this origin requested a pause, as last recorded.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn upstream_pause(
        &self,
        origin: &str,
    ) -> impl Future<Output = Result<Option<UnixMillis>>> + Send;

    /// How often operators have ended pauses of APIs.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn upstream_resumes(&self) -> impl Future<Output = Result<i64>> + Send;

    /// Ends every pause that an API requested, here and in the daemon of this database, and makes jobs due that were
    /// throttled.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn resume_upstreams(&self) -> impl Future<Output = Result<Resumed>> + Send;
}
