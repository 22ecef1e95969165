//! The verbs of dispatchers: what is to be sent to a webhook, when, and how the webhook stands.

use super::{DueDelivery, ExpiredDelivery, Store, StoreError, WebhookHealth};
use crate::core::delivery::WebhookName;
use crate::core::time::UnixMillis;

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
    ) -> Result<Vec<DueDelivery>, StoreError> {
        match self {
            Self::Sqlite(store) => store.deliveries_due(webhook, now, limit).await,
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
    ) -> Result<Vec<DueDelivery>, StoreError> {
        match self {
            Self::Sqlite(store) => store.fresh_deliveries_due(webhook, now, limit).await,
        }
    }

    /// The delivery of one event, if it is the head of its lane and due at `now`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn delivery_due(
        &self,
        webhook: &WebhookName,
        event_id: &str,
        now: UnixMillis,
    ) -> Result<Option<DueDelivery>, StoreError> {
        match self {
            Self::Sqlite(store) => store.delivery_due(webhook, event_id, now).await,
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
