//! The only crate that knows the database: jobs, events and deliveries are read and written by verbs of the domain. No SQL
//! leaves it.
//!
//! [`Store`] is one SQLite file. Each module here says what its verbs take and return; the file of the same name under
//! `sqlite` has the verbs and their statements. A conformance suite (`tests/it/store/`) runs every verb.

mod counts;
mod deliveries;
mod error;
mod events;
mod health;
mod jobs;
mod prune;
mod replay;
mod sqlite;
mod timeline;
mod undelivered;
mod upstreams;
mod users;
mod watch;

use std::time::Duration;

pub use counts::{Counts, MOST_COUNTED, WebhookCounts};
pub use deliveries::{DeliveryFilter, DeliveryPage, DeliveryRow};
pub use error::{OLDEST_SQLITE, Result, StoreError};
pub use events::{EventFilter, EventPage, EventRow, PAGE_BYTES, RecordedEvent};
pub use health::JobsHealth;
pub use jobs::{
    Enqueued, JobChallenge, JobDetail, JobFilter, JobPage, JobResource, JobSummary, NewJob,
    StepRow, TransitionRow,
};
pub use jobtrackd_core::batch::{
    Batch, Committed, FinishedAttempt, Recordable, ScheduleUpdate, Undelivered,
};
pub use jobtrackd_core::delivery::Attempt;
pub use jobtrackd_core::rows::{DueDeliveries, DueDelivery, JobChange, JobRow, WebhookHealth};
pub use jobtrackd_core::shortage::Shortage;
pub use prune::{Prunable, Prune, Pruned};
pub use replay::{Replay, ReplayFilter, ReplayPage};
pub use sqlite::{
    BackupFile, BackupTarget, Copied, CopyError, DatabaseFile, Filesystem, FilesystemKind, Holder,
    InstanceLock, LockError, MOST_LINKS, Restored, Store, Watcher, folder_of, real_path,
    sqlite_version,
};
pub use timeline::{TimelineEntry, TimelineItem, TimelineKey, TimelinePage};
pub use undelivered::{MOST_WAITING, Page, Unconfigured, Unwanted};
pub use upstreams::Resumed;
pub use users::{UserFilter, UserPage};
pub use watch::{DeliveryCounts, JobProgress, Overview};

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
