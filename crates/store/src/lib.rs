//! The only crate that knows the database: what is true of jobs, events and deliveries, read and written by verbs of the
//! domain. No SQL passes its face.
//!
//! [`Store`] is one SQLite file. Each module here says what its verbs take and give back; the file of the same name under
//! `sqlite` has the verbs and their statements. A conformance suite (`tests/it/store/`) runs every verb.

mod batch;
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
mod webhooks;

use std::time::Duration;

pub use batch::{
    AttemptRecord, Batch, Committed, Expiry, HealthRecord, NewDelivery, Recordable, ScheduleUpdate,
};
pub use counts::{Figures, MOST_COUNTED, WebhookFigures};
pub use deliveries::{
    AttemptView, DeliveryFilter, DeliveryPage, DeliveryView, DueDeliveries, DueDelivery,
    ExpiredDelivery, ListedDelivery,
};
pub use error::{OLDEST_SQLITE, StoreError};
pub use events::{EventFilter, EventPage, EventView, PAGE_BYTES, RecordedEvent};
pub use health::{Backlog, JobsHealth};
pub use jobs::{
    Asking, Enqueued, JobChange, JobDetail, JobFilter, JobPage, JobRow, JobSummary, Mirrored,
    NewJob, StepView, TransitionView,
};
pub use jobtrackd_core::shortage::Shortage;
pub use prune::{Prunable, Prune, Pruned};
pub use replay::{Replay, ReplayFilter, ReplayPage, Replayable};
pub use sqlite::{
    BackupFile, BackupTarget, Copied, CopyError, DatabaseFile, Filesystem, FilesystemKind, Holder,
    InstanceLock, LockError, Restored, Store, Watcher, folder_of, real_path, sqlite_version,
};
pub use timeline::{Happened, TimelineEntry, TimelineKey, TimelinePage};
pub use undelivered::{MOST_STRANDED, Moved, Page, Stranded, Unwanted};
pub use upstreams::Resumed;
pub use users::{UserFilter, UserPage};
pub use watch::{Overview, Told, WatchedJob};
pub use webhooks::{TestAttempt, WebhookHealth};

/// Pause before a read that found the database busy is tried again.
const READ_RETRY: Duration = Duration::from_millis(500);

/// Reads until it works or cannot work any more: a lock or a slow disk delays the loops, and ends none of them.
///
/// # Errors
/// The first error that is not temporary.
pub async fn patiently<T, F>(mut read: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
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
