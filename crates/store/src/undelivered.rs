//! Deliveries that are given up, moved to another webhook, or wait for one that is not configured.

use jobtrackd_core::delivery::WebhookName;

use super::error::Result;

/// The events of one webhook are counted up to this many.
pub const MOST_WAITING: u32 = 10_000;

/// Which deliveries are given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    /// The pending ones of this event.
    Event(String),
    /// The one of this event to this webhook, pending or disabled.
    EventOf(String, WebhookName),
    /// All of this webhook that are pending or disabled.
    AllOf(WebhookName),
}

/// Events that wait for a webhook which is not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfigured {
    /// The webhook.
    pub webhook: WebhookName,
    /// How many wait, up to [`MOST_WAITING`].
    pub events: u64,
}

impl Unconfigured {
    /// How many, in words.
    #[must_use]
    pub fn wait(&self) -> String {
        match self.events {
            1 => "1 event waits".to_owned(),
            events if events >= u64::from(MOST_WAITING) => {
                format!("{events} events or more wait")
            }
            events => format!("{events} events wait"),
        }
    }
}

/// What one transaction of a longer piece of work did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// Deliveries that it changed.
    pub deliveries: u64,
    /// Unfinished jobs that name another webhook now.
    pub jobs: u64,
    /// Whether nothing is left to do.
    pub is_last: bool,
}

/// Deliveries that are given up, moved to another webhook, or wait for one that is not configured.
pub trait Backlogs {
    /// Webhooks other than those in `known` for which events wait, pending or disabled; the first 100 by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn unconfigured_webhooks(
        &self,
        known: &[WebhookName],
    ) -> impl Future<Output = Result<Vec<Unconfigured>>> + Send;

    /// Gives up a page of deliveries: they become exhausted, and their lanes continue. A request in flight may still arrive.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    fn give_up(&self, unwanted: &Unwanted) -> impl Future<Output = Result<Page>> + Send;

    /// Moves a page of what one webhook has not received to another one, lane by lane in order, and with the last delivery
    /// of a lane its job, if it has not ended and names the old webhook. The other one does not get an event twice.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    fn move_deliveries(
        &self,
        from: &WebhookName,
        to: &WebhookName,
    ) -> impl Future<Output = Result<Page>> + Send;
}
