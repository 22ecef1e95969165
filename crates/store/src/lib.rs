//! The only crate that knows the database: jobs, events and deliveries are read and written by verbs of the domain. No SQL
//! leaves it.
//!
//! Each module here declares the verbs of its subject as a trait, with what they take and return; the file of the same name
//! under [`sqlite`] implements them. What only a SQLite file has (locks, backups, versions of the schema) is a method of
//! [`sqlite::Store`] alone. With the feature `testing` there is a store in memory too, and what tests of both need.

mod attempts;
mod commit;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod counts;
mod deliveries;
mod error;
mod events;
mod expiry;
mod health;
mod intake;
mod jobs;
mod list;
#[cfg(any(test, feature = "testing"))]
pub mod memory;
#[cfg(any(test, feature = "testing"))]
mod outsider;
mod prune;
mod replay;
pub mod sqlite;
mod timeline;
mod undelivered;
mod upstreams;
mod users;
mod watch;
mod webhooks;

use std::time::Duration;

pub use attempts::Attempts;
pub use commit::Commits;
pub use counts::{Counting, Counts, MOST_COUNTED, WebhookCounts};
pub use deliveries::{Deliveries, DeliveryFilter, DeliveryPage, DeliveryRow};
pub use error::{OLDEST_SQLITE, Result, StoreError};
pub use events::{
    EventFilter, EventPage, EventRow, Events, LatestEvents, LatestPage, PAGE_BYTES, RecordedEvent,
};
pub use expiry::Expiry;
pub use health::{Checks, JobsHealth};
pub use intake::{Intake, Wakeups};
pub use jobs::{
    Enqueued, JobChallenge, JobDetail, JobFilter, JobPage, JobResource, JobSummary, Jobs, NewJob,
    StepRow, TransitionRow,
};
pub use jobtrackd_core::batch::{
    Batch, Committed, FinishedAttempt, Recordable, ScheduleUpdate, Undelivered,
};
pub use jobtrackd_core::delivery::Attempt;
pub use jobtrackd_core::rows::{DueDeliveries, DueDelivery, JobChange, JobRow, WebhookHealth};
pub use jobtrackd_core::shortage::Shortage;
pub use list::Lists;
#[cfg(any(test, feature = "testing"))]
pub use outsider::{JobUpdate, Outsider};
pub use prune::{EndPlace, Prunable, Prune, Pruned, Retention};
pub use replay::{Replay, ReplayFilter, ReplayPage, Replays};
pub use sqlite::Store;
pub use timeline::{TimelineEntry, TimelineItem, TimelineKey, TimelinePage, Timelines};
pub use undelivered::{Backlogs, MOST_WAITING, Page, Unconfigured, Unwanted};
pub use upstreams::{Resumed, Upstreams};
pub use users::{UserFilter, UserPage, Users};
pub use watch::{DeliveryCounts, JobProgress, Overview, Watching};
pub use webhooks::Webhooks;

/// Pause before a read that found the database busy is tried again.
const READ_RETRY: Duration = Duration::from_millis(500);

/// Repeats a read until it succeeds or its error is not temporary: a lock or a slow disk delays the loops and ends none.
///
/// # Errors
/// The first error that is not temporary.
pub async fn patiently<T, F>(mut read: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    loop {
        match read().await {
            Err(error) if error.is_temporary() => {
                tracing::debug!(%error, "the database cannot be read; it is tried again");
                tokio::time::sleep(READ_RETRY).await;
            }
            result => return result,
        }
    }
}
