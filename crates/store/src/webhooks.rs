//! Webhooks as a whole: what is recorded of them, and how operators disable and enable them, whether a daemon runs or not.

use std::time::Duration;

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::rows::WebhookHealth;

use super::error::Result;
use super::undelivered::Page;

/// Webhooks as a whole: what is recorded of them, and how operators disable and enable them, whether a daemon runs or not.
pub trait Webhooks {
    /// What is recorded of a webhook.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn webhook_health(
        &self,
        webhook: &WebhookName,
    ) -> impl Future<Output = Result<WebhookHealth>> + Send;

    /// The names of webhooks with a row, and how often an operator has requested that the daemon reads each again.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn webhook_requests(&self) -> impl Future<Output = Result<Vec<(WebhookName, i64)>>> + Send;

    /// The names of webhooks with deliveries that wait or with a row, sorted.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn webhook_names(&self) -> impl Future<Output = Result<Vec<WebhookName>>> + Send;

    /// Shortens the waits for a webhook to their longest: a retry to `longest` from now, a probe to the slowest pace, a
    /// pause to a day. A clock that was ahead may have put them years away. Returns how many deliveries were changed; there
    /// may be more until that is 0.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn clamp_waits(
        &self,
        webhook: &WebhookName,
        longest: Duration,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Enables a webhook: a page of its disabled deliveries becomes pending, in order, then retries become due, and with the
    /// last page its hold or pause ends. Nothing is sent to it until then.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    fn enable_webhook(&self, webhook: &WebhookName) -> impl Future<Output = Result<Page>> + Send;

    /// Disables a webhook with the first page, for this reason unless it is disabled already; a page of its pending
    /// deliveries becomes disabled.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    fn disable_webhook(
        &self,
        webhook: &WebhookName,
        reason: &str,
    ) -> impl Future<Output = Result<Page>> + Send;
}
