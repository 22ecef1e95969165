//! The verbs of the status server: what is read in pages, each of them bounded in rows and in bytes.

use super::{AttemptView, DeliveryView, JobSummary, Store, StoreError, TransitionView};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::{JobId, JobState};
use jobtrackd_core::time::UnixMillis;

/// Most bytes of what is read at once for one answer, but for its last row: 4 MiB.
pub const PAGE_BYTES: u32 = 4 << 20;

/// The remote job as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The tracker's state of it.
    pub state: JobState,
    /// The API's text, verbatim; `None` before the first good poll.
    pub resource: Option<String>,
}

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
}

/// A recorded event with its place in the order of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Its place: later events have higher ones, and none comes again.
    pub cursor: i64,
    /// Its id.
    pub id: String,
    /// Its job.
    pub job_id: JobId,
    /// 1, 2, 3 … per job.
    pub sequence: u32,
    /// Its type's name.
    pub kind: String,
    /// When it happened.
    pub created_at: UnixMillis,
    /// The bytes that are sent.
    pub body: String,
}

/// Events in order of their commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// Those that were asked for.
    pub events: Vec<RecordedEvent>,
    /// Where to go on: no event up to here is left out.
    pub reached: i64,
    /// Whether there was nothing behind `reached`.
    pub complete: bool,
}

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

/// Which jobs of a user are read.
#[derive(Debug, Clone)]
pub struct UserFilter {
    /// The user's id at the API.
    pub user: String,
    /// Only jobs of this connection.
    pub connection: Option<String>,
    /// Only jobs inserted before this one: its time and id.
    pub after: Option<(UnixMillis, JobId)>,
    /// At most this many.
    pub limit: u32,
}

/// Remote jobs of one user, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    /// The API's texts, verbatim.
    pub resources: Vec<String>,
    /// Where to go on; `None` when all jobs of the user have been looked at.
    pub next: Option<(UnixMillis, JobId)>,
}

impl Store {
    /// The remote job as last seen; `None` when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mirrored(&self, id: &JobId) -> Result<Option<Mirrored>, StoreError> {
        match self {
            Self::Sqlite(store) => store.mirrored(id).await,
        }
    }

    /// One job as it stands in a list.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn summary(&self, id: &JobId) -> Result<Option<JobSummary>, StoreError> {
        match self {
            Self::Sqlite(store) => store.summary(id).await,
        }
    }

    /// A page of events in order of their commits, but none behind the one that brings it to the wanted bytes. A
    /// search for one type goes through at most 10,000 events and says how far it came.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events(&self, filter: &EventFilter) -> Result<EventPage, StoreError> {
        match self {
            Self::Sqlite(store) => store.events(filter).await,
        }
    }

    /// The place of the newest event, 0 when there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(store) => store.newest_event().await,
        }
    }

    /// A part of a job's timeline behind `after`, at most 4 MiB and one entry more; `None` when there is no
    /// such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn timeline(
        &self,
        id: &JobId,
        after: Option<&TimelineKey>,
        limit: u32,
    ) -> Result<Option<TimelinePage>, StoreError> {
        match self {
            Self::Sqlite(store) => store.timeline(id, after, limit).await,
        }
    }

    /// Remote jobs whose source or results lead to a user, newest first; looks at 4 MiB of them at most and one job more,
    /// and at 500 of them for those of one connection.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn jobs_of_user(&self, filter: &UserFilter) -> Result<UserPage, StoreError> {
        match self {
            Self::Sqlite(store) => store.jobs_of_user(filter).await,
        }
    }
}
