//! Wakes the dispatcher of a webhook that has something to send.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::core::delivery::WebhookName;

/// One notification per webhook, and one for all those that nobody sends to. Those who write and those who send share it by
/// clones; a reload changes it.
#[derive(Debug, Clone, Default)]
pub struct Wakeups(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    sending: RwLock<HashMap<WebhookName, Arc<Notify>>>,
    stranded: Notify,
}

impl Wakeups {
    /// From now on `sender` is woken for this webhook.
    pub fn add(&self, webhook: WebhookName, sender: Arc<Notify>) {
        let sending = self.0.sending.write();
        let mut sending = sending.unwrap_or_else(PoisonError::into_inner);
        sending.insert(webhook, sender);
    }

    /// From now on nobody sends to this webhook.
    pub fn remove(&self, webhook: &WebhookName) {
        let sending = self.0.sending.write();
        let mut sending = sending.unwrap_or_else(PoisonError::into_inner);
        sending.remove(webhook);
    }

    /// Wakes the dispatcher of this webhook; if there is none, the task that reports stranded events.
    pub fn wake(&self, webhook: &WebhookName) {
        let sending = self.0.sending.read();
        let sending = sending.unwrap_or_else(PoisonError::into_inner);
        match sending.get(webhook) {
            Some(sender) => sender.notify_one(),
            None => self.0.stranded.notify_one(),
        }
    }

    /// Resolves when there may be something for a webhook that nobody sends to.
    pub async fn stranded(&self) {
        self.0.stranded.notified().await;
    }
}
