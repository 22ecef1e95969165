//! Deliveries that are given up, moved to another webhook, or wait for one that is not configured.

use jobtrackd_core::delivery::WebhookName;

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
