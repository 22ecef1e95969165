//! Events that expire before a webhook accepts them.

use jobtrackd_core::batch::Undelivered;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;

/// Events that expire before a webhook accepts them.
pub trait Expiry {
    /// The webhook's undelivered events that have expired at `now`, heads or not, disabled ones too.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn expired_deliveries(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Undelivered>>> + Send;

    /// When the next of the webhook's undelivered events expires after `now`, if any does.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn next_expiry(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> impl Future<Output = Result<Option<UnixMillis>>> + Send;
}
