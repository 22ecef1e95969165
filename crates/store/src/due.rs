//! The verbs of dispatchers: what is to be sent to a webhook, when, and how the webhook stands.

use std::time::Duration;

use super::{DueDeliveries, ExpiredDelivery, Store, StoreError, WebhookHealth};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::time::UnixMillis;

impl Store {
    /// The heads of a webhook's lanes that are due at `now`, longest due first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries, StoreError> {
        match self {
            Self::Sqlite(store) => store.deliveries_due(webhook, now, limit).await,
        }
    }

    /// The exact bytes of an event that is still to be sent to a webhook; `None` when it is not any more: it was given up,
    /// disabled or deleted, or an earlier one goes first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn body_to_send(
        &self,
        webhook: &WebhookName,
        event_id: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Sqlite(store) => store.body_to_send(webhook, event_id).await,
        }
    }

    /// Which of the first 10,000 heads of a webhook's lanes cannot be read because another hand was in their rows, and why.
    /// They are not sent.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unreadable_deliveries(
        &self,
        webhook: &WebhookName,
    ) -> Result<Vec<(String, String)>, StoreError> {
        match self {
            Self::Sqlite(store) => store.unreadable_deliveries(webhook).await,
        }
    }

    /// When the webhook's next delivery falls due after `now`, if any waits.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_delivery(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        match self {
            Self::Sqlite(store) => store.next_delivery(webhook, now).await,
        }
    }

    /// Those of them that will expire, likewise.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn fresh_deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries, StoreError> {
        match self {
            Self::Sqlite(store) => store.fresh_deliveries_due(webhook, now, limit).await,
        }
    }

    /// The heads of a webhook's lanes, due or not, in the order in which a held webhook is probed: those that were never
    /// tried first, then those whose last attempt is longest ago. Those that have expired at `now` are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn deliveries_to_probe(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries, StoreError> {
        match self {
            Self::Sqlite(store) => store.deliveries_to_probe(webhook, now, limit).await,
        }
    }

    /// The webhook's undelivered events that have expired at `now`, heads or not, disabled ones too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn expired_deliveries(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<ExpiredDelivery>, StoreError> {
        match self {
            Self::Sqlite(store) => store.expired_deliveries(webhook, now, limit).await,
        }
    }

    /// When the next of the webhook's undelivered events expires after `now`, if any does.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_expiry(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        match self {
            Self::Sqlite(store) => store.next_expiry(webhook, now).await,
        }
    }

    /// Shortens what waits for a webhook to what it can be at most: a retry to `longest` from now, a probe to the slowest
    /// pace, a rest to a day. A clock that was ahead may have put it years away. Answers how many deliveries were
    /// shortened; there may be more until it is none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn clamp_waits(
        &self,
        webhook: &WebhookName,
        longest: Duration,
    ) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(store) => store.clamp_waits(webhook, longest).await,
        }
    }

    /// What is remembered of a webhook.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn webhook_health(&self, webhook: &WebhookName) -> Result<WebhookHealth, StoreError> {
        match self {
            Self::Sqlite(store) => store.webhook_health(webhook).await,
        }
    }
}
