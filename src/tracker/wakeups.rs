//! Who is woken when a webhook has something to send.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::core::delivery::WebhookName;

/// One notification per webhook. Those who write and those who send share it by clones; a reload adds to it.
#[derive(Debug, Clone, Default)]
pub struct Wakeups(Arc<RwLock<HashMap<WebhookName, Arc<Notify>>>>);

impl Wakeups {
    /// The notification of a webhook, made when it is first asked for.
    #[must_use]
    pub fn of(&self, webhook: &WebhookName) -> Arc<Notify> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(webhook.clone()).or_default())
    }

    /// Wakes whoever sends to this webhook, if anybody does.
    pub fn wake(&self, webhook: &WebhookName) {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = all.get(webhook) {
            notify.notify_one();
        }
    }
}
