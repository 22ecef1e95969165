//! Deliveries that an operator repeats.

use std::collections::BTreeSet;

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::event::EventType;
use jobtrackd_core::time::UnixMillis;
use serde::{Deserialize, Serialize};

use super::deliveries::DeliveryRow;
use super::error::Result;

/// Which events are sent again: those that match every condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayFilter {
    /// Only this event.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event: Option<String>,
    /// Only events of this job.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub job: Option<String>,
    /// Only to this webhook.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub webhook: Option<String>,
    /// Only what happened then or later.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<UnixMillis>,
    /// Only what happened then or earlier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<UnixMillis>,
    /// Only events of this type.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<EventType>,
    /// Only what was given up.
    #[serde(default)]
    pub failed_only: bool,
    /// At most this many deliveries.
    pub limit: u64,
}

/// A part of what a replay sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayPage {
    /// In the order of commits, all deliveries of an event together.
    pub deliveries: Vec<DeliveryRow>,
    /// Deliveries that are left out because another program has changed their rows, and why.
    pub unreadable: Vec<String>,
    /// Webhooks that are disabled: their deliveries are not sent.
    pub disabled: BTreeSet<WebhookName>,
    /// The event after which the next page begins.
    pub reached: i64,
    /// Whether there is nothing after it.
    pub is_last: bool,
}

/// A replay that has been begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Its number.
    pub id: i64,
    /// What it sends.
    pub filter: ReplayFilter,
    /// When it was begun.
    pub started_at: UnixMillis,
    /// The last event it has made pending.
    pub reached: i64,
    /// Deliveries it has made pending.
    pub deliveries: u64,
}

/// Repeats deliveries: events are searched in windows, deliveries made pending in pages.
pub trait Replays {
    /// What a replay would send after the event `after`. One call searches at most 10,000 events.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn replayable(
        &self,
        filter: &ReplayFilter,
        after: i64,
    ) -> impl Future<Output = Result<ReplayPage>> + Send;

    /// Records that a replay begins.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn begin_replay(&self, filter: &ReplayFilter) -> impl Future<Output = Result<Replay>> + Send;

    /// Makes the deliveries of a page pending, and advances the replay. `None` when another program has advanced it.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    fn replay(
        &self,
        replay: &Replay,
        page: &ReplayPage,
    ) -> impl Future<Output = Result<Option<Replay>>> + Send;

    /// Unfinished replays, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn unfinished_replays(&self) -> impl Future<Output = Result<Vec<Replay>>> + Send;
}
