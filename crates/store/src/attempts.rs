//! Attempts at deliveries.

use jobtrackd_core::delivery::{Attempt, WebhookName};

use super::error::Result;

/// Attempts at deliveries.
pub trait Attempts {
    /// The latest attempts at a webhook among those of so many latest events, the newest first, tests included.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn latest_attempts(
        &self,
        webhook: &WebhookName,
        events: u32,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Attempt>>> + Send;

    /// Records an attempt of a test.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn record_test(&self, attempt: &Attempt) -> impl Future<Output = Result<()>> + Send;
}
