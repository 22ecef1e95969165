//! Numbers of jobs and deliveries, counted within limits.

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobState;
use jobtrackd_core::time::UnixMillis;

use jobtrackd_core::rows::WebhookHealth;

use super::error::Result;

/// Jobs of one state, and pending deliveries of one webhook, are counted up to this many.
pub const MOST_COUNTED: u32 = 1_000_000;

/// The numbers of jobs and deliveries, and the size of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Jobs in each state, up to [`MOST_COUNTED`].
    pub jobs: Vec<(JobState, u64)>,
    /// The webhooks that the caller named.
    pub webhooks: Vec<WebhookCounts>,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Bytes of its write-ahead log.
    pub wal_bytes: u64,
}

/// The numbers of one webhook's deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookCounts {
    /// The webhook.
    pub name: WebhookName,
    /// Deliveries that are pending, up to [`MOST_COUNTED`].
    pub pending: u64,
    /// When the oldest of the pending events happened, among the 10,000 jobs that are due first.
    pub oldest_pending: Option<UnixMillis>,
    /// Deliveries that were given up, of the latest 10,000 events of all.
    pub exhausted: u64,
    /// When the latest of these happened.
    pub latest_exhausted: Option<UnixMillis>,
    /// Deliveries that are disabled, of the same events.
    pub disabled: u64,
    /// The webhook's health.
    pub health: WebhookHealth,
}

/// Numbers of jobs and deliveries.
pub trait Counting {
    /// The numbers of jobs, and those of these webhooks' deliveries.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn counts(&self, webhooks: &[WebhookName]) -> impl Future<Output = Result<Counts>> + Send;

    /// What a webhook has not received, without the limits of [`Counting::counts`] to what is pending.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn backlog(&self, webhook: &WebhookName) -> impl Future<Output = Result<WebhookCounts>> + Send;
}
