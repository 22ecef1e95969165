//! Wakes the dispatcher of a webhook when there is something to send.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::core::delivery::WebhookName;

/// One notification per configured webhook, and one for all others. Shared by clones; a reload changes it.
#[derive(Debug, Clone, Default)]
pub struct Wakeups(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    dispatchers: RwLock<HashMap<WebhookName, Arc<Notify>>>,
    stranded: Notify,
}

impl Wakeups {
    /// From now on `wakeup` is notified for this webhook.
    pub fn add(&self, webhook: WebhookName, wakeup: Arc<Notify>) {
        self.0.dispatchers.write().insert(webhook, wakeup);
    }

    /// From now on this webhook has no dispatcher.
    pub fn remove(&self, webhook: &WebhookName) {
        self.0.dispatchers.write().remove(webhook);
    }

    /// Wakes the dispatcher of this webhook; if there is none, the check for stranded events.
    pub fn wake(&self, webhook: &WebhookName) {
        let dispatchers = self.0.dispatchers.read();
        match dispatchers.get(webhook) {
            Some(wakeup) => wakeup.notify_one(),
            None => self.0.stranded.notify_one(),
        }
    }

    /// Resolves when there may be events for a webhook without a dispatcher.
    pub async fn stranded(&self) {
        self.0.stranded.notified().await;
    }
}
