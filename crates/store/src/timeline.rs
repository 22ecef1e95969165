//! A job's history, in pages.

use jobtrackd_core::time::UnixMillis;

use super::deliveries::{AttemptView, DeliveryView};
use super::jobs::TransitionView;

/// The place of an entry in a job's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineKey {
    /// When it happened.
    pub at: UnixMillis,
    /// What is before what at the same moment: transitions, events, deliveries, attempts.
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
pub enum Happened {
    /// A step changed.
    Transition(TransitionView),
    /// There was something to tell.
    Event {
        /// The event's id.
        id: String,
        /// 1, 2, 3 … per job.
        sequence: u32,
        /// Its type's name.
        kind: String,
    },
    /// A webhook is to be told; how that stands now.
    Delivery(DeliveryView),
    /// A webhook was told, or not.
    Attempt(AttemptView),
}

/// One entry of a job's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineEntry {
    /// Its place.
    pub key: TimelineKey,
    /// What it was.
    pub what: Happened,
}

/// A part of a job's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelinePage {
    /// In order.
    pub entries: Vec<TimelineEntry>,
    /// Whether there are more.
    pub more: bool,
}
