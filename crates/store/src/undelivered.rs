//! Events that could not be told: given up, handed to another webhook, or waiting for one that nobody configured.

use super::{Page, Store, StoreError};
use jobtrackd_core::delivery::WebhookName;

/// The events of one webhook are counted up to this many.
pub const MOST_STRANDED: u32 = 10_000;

/// Which deliveries are given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unwanted {
    /// The pending ones of this event.
    Event(String),
    /// That of this event to this webhook, pending or disabled.
    EventOf(String, WebhookName),
    /// All of this webhook that are pending or disabled.
    AllOf(WebhookName),
}

/// Events that wait for a webhook which is not configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranded {
    /// The webhook.
    pub webhook: WebhookName,
    /// How many wait, up to [`MOST_STRANDED`].
    pub events: u64,
}

impl Stranded {
    /// How many, in words.
    #[must_use]
    pub fn wait(&self) -> String {
        match self.events {
            1 => "1 event waits".to_owned(),
            events if events >= u64::from(MOST_STRANDED) => {
                format!("{events} events or more wait")
            }
            events => format!("{events} events wait"),
        }
    }
}

impl Store {
    /// Webhooks other than those in `known` for which events wait, pending or disabled; the first 100 by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn stranded(&self, known: &[WebhookName]) -> Result<Vec<Stranded>, StoreError> {
        match self {
            Self::Sqlite(store) => store.stranded(known).await,
        }
    }

    /// Whether there is an event of this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_event(&self, id: &str) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.has_event(id).await,
        }
    }

    /// Gives up a page of deliveries: they become exhausted, and their lanes go on. A request under way may still arrive.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn give_up(&self, unwanted: &Unwanted) -> Result<Page, StoreError> {
        match self {
            Self::Sqlite(store) => store.give_up(unwanted).await,
        }
    }

    /// Hands a page of what one webhook was not told yet to another one, lane by lane in order, and with the last of a
    /// lane its job, if it has not ended and names the old webhook. What the other one has already is not given to it
    /// again.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn move_deliveries(
        &self,
        from: &WebhookName,
        to: &WebhookName,
    ) -> Result<Moved, StoreError> {
        match self {
            Self::Sqlite(store) => store.move_deliveries(from, to).await,
        }
    }
}

/// What one page of a move did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Deliveries that were handed over.
    pub deliveries: u64,
    /// Unfinished jobs that name the other webhook now.
    pub jobs: u64,
    /// Whether nothing is left to do.
    pub is_last: bool,
}
