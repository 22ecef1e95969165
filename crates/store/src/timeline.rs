//! A job's history, in pages.

use jobtrackd_core::delivery::Attempt;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::deliveries::DeliveryRow;
use super::error::Result;
use super::events::EventRow;
use super::jobs::TransitionRow;

/// The position of an entry in a job's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineKey {
    /// When it happened.
    pub at: UnixMillis,
    /// The order of kinds at the same moment: transitions, events, deliveries, attempts.
    pub rank: u8,
    /// The transition's or the event's number in its job.
    pub n: u32,
    /// The webhook of a delivery or an attempt, else empty.
    pub webhook: String,
    /// The attempt's number, else 0.
    pub number: u32,
}

/// Something that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimelineItem {
    /// A step changed.
    Transition(TransitionRow),
    /// An event was recorded.
    Event(EventRow),
    /// The delivery of an event to a webhook, as it is now.
    Delivery(DeliveryRow),
    /// An attempt at a delivery.
    Attempt(Attempt),
}

/// One entry of a job's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Its position.
    pub key: TimelineKey,
    /// What happened.
    pub item: TimelineItem,
}

/// A part of a job's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelinePage {
    /// In order.
    pub entries: Vec<TimelineEntry>,
    /// Whether there are more.
    pub more: bool,
}

/// The history of a job in one order.
pub trait Timelines {
    /// A part of a job's timeline after `after`, at most 4 MiB and one entry more; `None` when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn timeline(
        &self,
        id: &JobId,
        after: Option<&TimelineKey>,
        limit: u32,
    ) -> impl Future<Output = Result<Option<TimelinePage>>> + Send;
}
