//! Events in the order of their commits.

use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::error::Result;

/// Most bytes that are read for one answer, apart from its last row: 4 MiB.
pub const PAGE_BYTES: u32 = 4 << 20;

/// Which events are read.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only those committed after this one.
    pub after: i64,
    /// Only of this type.
    pub kind: Option<EventType>,
    /// Only of this job.
    pub job: Option<JobId>,
    /// At most this many.
    pub limit: u32,
    /// At most this many bytes of bodies, and one event more.
    pub bytes: u32,
    /// Whether [`RecordedEvent::detail`] is read, which takes a lookup per event.
    pub detail: bool,
}

/// A recorded event without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its id.
    pub id: String,
    /// 1, 2, 3 … per job.
    pub sequence: u32,
    /// Its type.
    pub kind: EventType,
    /// When it happened.
    pub created_at: UnixMillis,
}

/// A recorded event with its number in the order of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its number: later events have higher ones, and no number is used twice.
    pub cursor: i64,
    /// Its id.
    pub id: String,
    /// Its job.
    pub job_id: JobId,
    /// 1, 2, 3 … per job.
    pub sequence: u32,
    /// Its type.
    pub kind: EventType,
    /// When it happened.
    pub created_at: UnixMillis,
    /// What distinguishes it from others of its type: the failure's code, else its kind; or the step, with its status after
    /// a transition. `None` where the row, of an earlier version, does not say it, and unless it was
    /// wanted. Cut to 200 characters.
    pub detail: Option<String>,
    /// The bytes that are sent.
    pub body: String,
}

/// Events in order of their commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Those that match.
    pub events: Vec<RecordedEvent>,
    /// The number up to which all matching events are in this page.
    pub reached: i64,
    /// Whether there was nothing after `reached`.
    pub complete: bool,
}

/// Which of the latest events are listed.
#[derive(Debug, Clone, Default)]
pub struct LatestEvents {
    /// Only those committed before this one.
    pub before: Option<i64>,
    /// Only of this type.
    pub kind: Option<EventType>,
    /// At most this many.
    pub limit: u32,
}

/// The latest events, the newest first, without their bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestPage {
    /// Those that match, with an empty body and with their detail.
    pub events: Vec<RecordedEvent>,
    /// The event before which the next page begins; `None` when there is none.
    pub stopped: Option<i64>,
}

impl LatestPage {
    /// The events of a search that went back to `first`.
    pub(crate) fn of(events: Vec<RecordedEvent>, first: i64, limit: u32) -> Self {
        let last = events.last().map(|event| event.cursor);
        let stopped = match last {
            Some(last) if events.len() >= limit as usize => last,
            _ => first,
        };
        Self {
            events,
            // Cursors begin at 1.
            stopped: (stopped > 1).then_some(stopped),
        }
    }
}

/// Events in the order of their commits, for receivers that catch up.
pub trait Events {
    /// The cursor of the newest event, 0 when there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn newest_event(&self) -> impl Future<Output = Result<i64>> + Send;

    /// Whether there is an event of this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn has_event(&self, id: &str) -> impl Future<Output = Result<bool>> + Send;

    /// A page of events in order of their commits, which ends with the one that reaches the wanted bytes. A search for one
    /// type goes through at most 10,000 events and returns how far it came.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn events(&self, filter: &EventFilter) -> impl Future<Output = Result<EventPage>> + Send;

    /// The latest events, the newest first. A page searches 10,000 events at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn latest_events(
        &self,
        wanted: &LatestEvents,
    ) -> impl Future<Output = Result<LatestPage>> + Send;
}
