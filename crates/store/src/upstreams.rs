//! What is recorded of the API.

use jobtrackd_core::time::UnixMillis;

/// What ending the pauses changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The origins whose pause was in force, and until when.
    pub pauses: Vec<(String, UnixMillis)>,
    /// Jobs that were throttled and are polled at once.
    pub jobs: u64,
}
