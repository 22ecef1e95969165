//! The only place that knows the database. Its verbs are those of the domain.
//!
//! [`Store`] is an enum over concrete backends, so that a second one can join; a conformance suite (`tests/it/store/`)
//! runs every verb. One connection writes, a small pool reads, one more connection only watches for foreign commits; what
//! requests ask for goes through connections of their own.

mod batch;
mod due;
mod error;
mod figures;
mod health;
mod pages;
mod place;
mod prune;
mod sqlite;
mod steering;
mod undelivered;
mod views;
mod watched;

use std::time::Duration;

pub use batch::{
    AttemptRecord, Batch, Committed, Expiry, HealthRecord, NewDelivery, Recordable, ScheduleUpdate,
};
pub use error::StoreError;
pub use figures::{Figures, MOST_COUNTED, WebhookFigures};
pub use health::{Backlog, JobsHealth};
pub use jobtrackd_core::shortage::Shortage;
pub use pages::{
    EventFilter, EventPage, Happened, Mirrored, PAGE_BYTES, RecordedEvent, TimelineEntry,
    TimelineKey, TimelinePage, UserFilter, UserPage,
};
pub use place::{Filesystem, FilesystemKind, MOST_LINKS, Place, folder_of, real_path};
pub use prune::{Prunable, Prune, Pruned};
pub use sqlite::{
    BackupFile, BackupTarget, Copied, CopyError, Holder, InstanceLock, LockError, Restored,
    sqlite_version,
};
pub use steering::{
    DeliveryFilter, DeliveryPage, ListedDelivery, Page, Replay, ReplayFilter, ReplayPage,
    Replayable, Resumed, TestAttempt,
};
pub use undelivered::{MOST_STRANDED, Moved, Stranded, Unwanted};
pub use views::{
    Asking, AttemptView, DeliveryView, DueDeliveries, DueDelivery, Enqueued, EventView,
    ExpiredDelivery, JobChange, JobDetail, JobFilter, JobPage, JobRow, JobSummary, NewJob,
    StepView, TransitionView, WebhookHealth,
};
pub use watched::{Overview, Told, WatchedJob};

use tokio_util::sync::CancellationToken;

use jobtrackd_clock::Clock;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::time::UnixMillis;
use sqlite::SqliteStore;

/// Oldest SQLite without the WAL-reset bug (docs/development.md, fact 8); an older one is refused at start.
pub const OLDEST_SQLITE: &str = "3.51.3";

/// What is true: jobs, steps, transitions, events, deliveries. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// One SQLite file.
    Sqlite(SqliteStore),
}

impl Store {
    /// Creates the file if there is none, brings its schema up to date and opens it.
    ///
    /// # Errors
    /// When the file is no database of jobtrackd, is newer than this program, or cannot be written, and
    /// [`StoreError::NetworkFilesystem`].
    pub async fn create_or_migrate<'a>(
        place: impl Into<Place<'a>>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let place = place.into();
        Ok(Self::Sqlite(
            SqliteStore::create_or_migrate(place, clock).await?,
        ))
    }

    /// Opens a file whose schema is up to date.
    ///
    /// # Errors
    /// [`StoreError::Absent`] when there is no file, [`StoreError::Outdated`] when it wants `jobtrackd migrate`,
    /// [`StoreError::NetworkFilesystem`] when the place does not allow that.
    pub async fn open<'a>(place: impl Into<Place<'a>>, clock: Clock) -> Result<Self, StoreError> {
        Ok(Self::Sqlite(SqliteStore::open(place.into(), clock).await?))
    }

    /// The same database through connections of its own, for requests: they wait neither for the loops' readers nor the
    /// loops for theirs, and a write is [`StoreError::Busy`] after 3 s, however many wait. To be closed before this one.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub async fn for_requests(&self) -> Result<Self, StoreError> {
        match self {
            Self::Sqlite(store) => Ok(Self::Sqlite(store.for_requests().await?)),
        }
    }

    /// Makes the copy of the database in `database` for `target`, beside whoever reads and writes it. The copy is one file
    /// that needs nothing beside it; [`BackupTarget::put`] gives it its name. Ends early once `stop` is cancelled.
    ///
    /// # Errors
    /// When there is no database of jobtrackd, or the copy cannot be written or is not whole.
    pub async fn back_up(
        database: Place<'_>,
        target: &BackupTarget,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Copied, CopyError> {
        database.check()?;
        let copying = SqliteStore::back_up(database.path, target, stop);
        clock.held(copying).await
    }

    /// Puts a copy of `from` in the place of the database in `database`, which is kept under another name. Its schema
    /// stays as it is. Ends early, with nothing changed, once `stop` is cancelled.
    ///
    /// # Errors
    /// When a daemon or another program has the database, or `from` is no whole database of jobtrackd, or a newer one.
    pub async fn restore(
        database: Place<'_>,
        from: &BackupFile,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Restored, CopyError> {
        database.check()?;
        let restoring = SqliteStore::restore(database.path, from, clock.now(), stop);
        clock.held(restoring).await
    }

    /// Commits everything in the batch in one transaction.
    ///
    /// # Errors
    /// Nothing of the batch is recorded then. [`StoreError::is_temporary`] says whether trying again makes sense.
    pub async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        match self {
            Self::Sqlite(store) => store.commit(batch).await,
        }
    }

    /// A page of the jobs that have not ended, by row number; `after` is `i64::MIN` for the first page.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn active_jobs(&self, after: i64, limit: u32) -> Result<Vec<JobChange>, StoreError> {
        match self {
            Self::Sqlite(store) => store.active_jobs(after, limit).await,
        }
    }

    /// A page of what outsiders changed, in commit order, after change number `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn changes(&self, after: i64, limit: u32) -> Result<Vec<JobChange>, StoreError> {
        match self {
            Self::Sqlite(store) => store.changes(after, limit).await,
        }
    }

    /// The number of the newest change, 0 when there was never one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_change(&self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(store) => store.newest_change().await,
        }
    }

    /// A connection of its own that only watches for commits of others.
    ///
    /// # Errors
    /// When the database cannot be opened.
    pub async fn watcher(&self) -> Result<Watcher, StoreError> {
        match self {
            Self::Sqlite(store) => Ok(Watcher::Sqlite(store.watcher().await?)),
        }
    }

    /// A job as it was last recorded; `None` when its row is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tracked(&self, id: &JobId) -> Result<Option<Tracked>, StoreError> {
        match self {
            Self::Sqlite(store) => store.tracked(id).await,
        }
    }

    /// One row; `None` when it is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job(&self, id: &JobId) -> Result<Option<JobRow>, StoreError> {
        match self {
            Self::Sqlite(store) => store.job(id).await,
        }
    }

    /// How many deliveries are pending, counted up to `limit`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn pending_deliveries(&self, limit: u32) -> Result<u32, StoreError> {
        match self {
            Self::Sqlite(store) => store.pending_deliveries(limit).await,
        }
    }

    /// Until when the API at this origin asked to be left alone, as last written down.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upstream_pause(&self, origin: &str) -> Result<Option<UnixMillis>, StoreError> {
        match self {
            Self::Sqlite(store) => store.upstream_pause(origin).await,
        }
    }

    /// How often operators have ended pauses of APIs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn upstream_resumes(&self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(store) => store.upstream_resumes().await,
        }
    }

    /// Inserts a job; `false` when the id is there already.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with the reason when the row may not be inserted.
    pub async fn enqueue(&self, job: &NewJob) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.enqueue(job).await,
        }
    }

    /// Inserts jobs in one transaction and says of each what became of it, in order. A refused one keeps none of the
    /// others out.
    ///
    /// # Errors
    /// When the database cannot be written; none of them is inserted then.
    pub async fn enqueue_all(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, StoreError> {
        match self {
            Self::Sqlite(store) => store.enqueue_all(jobs).await,
        }
    }

    /// Asks for the end of a job's tracking; `None` when there is no such job, `Some(false)` when it has ended already.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn request_cancel(&self, id: &JobId) -> Result<Option<bool>, StoreError> {
        match self {
            Self::Sqlite(store) => store.request_cancel(id).await,
        }
    }

    /// Asks for a poll of a job at once; `None` when there is no such job, `Some(false)` when it has ended already.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn request_poll(&self, id: &JobId) -> Result<Option<bool>, StoreError> {
        match self {
            Self::Sqlite(store) => store.request_poll(id).await,
        }
    }

    /// A page of jobs, newest first, of at most 4 MiB and one job more. A search by webhook or text looks at 100,000 jobs
    /// of the state and time at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list(&self, filter: &JobFilter) -> Result<JobPage, StoreError> {
        match self {
            Self::Sqlite(store) => store.list(filter).await,
        }
    }

    /// The ids of the newest jobs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_ids(&self, limit: u32) -> Result<Vec<JobId>, StoreError> {
        match self {
            Self::Sqlite(store) => store.newest_ids(limit).await,
        }
    }

    /// What answering a job's challenge needs; `None` when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn asking(&self, id: &JobId) -> Result<Option<Asking>, StoreError> {
        match self {
            Self::Sqlite(store) => store.asking(id).await,
        }
    }

    /// What is known of one job, but for what may be large.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn detail(&self, id: &JobId) -> Result<Option<JobDetail>, StoreError> {
        match self {
            Self::Sqlite(store) => store.detail(id).await,
        }
    }

    /// Names in `jobs.webhook` of unfinished jobs that are not in `known`, with the number of those jobs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unknown_webhooks(
        &self,
        known: &[WebhookName],
    ) -> Result<Vec<(String, u64)>, StoreError> {
        match self {
            Self::Sqlite(store) => store.unknown_webhooks(known).await,
        }
    }

    /// The number of the file's schema.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn schema(&self) -> Result<i64, StoreError> {
        match self {
            Self::Sqlite(store) => store.schema().await,
        }
    }

    /// Whether the files are still those that were opened. A log that was removed is moved into the database, if nobody has
    /// another one by now; then and otherwise this store is only to be closed.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what was taken away, and whether committed rows may be lost.
    pub async fn verify_files(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.verify_files().await,
        }
    }

    /// Closes all connections and leaves the write-ahead log to whoever else has the database open: cutting it would make
    /// a daemon that is writing wait.
    pub async fn leave(&self) {
        match self {
            Self::Sqlite(store) => store.leave().await,
        }
    }

    /// Closes all connections; the last one out tidies the write-ahead log.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
        }
    }
}

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

/// Watches for commits of other connections.
#[derive(Debug)]
pub enum Watcher {
    /// A SQLite connection that is used for nothing else.
    Sqlite(sqlite::SqliteWatcher),
}

impl Watcher {
    /// Whether anybody has committed since the last call.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn saw_commit(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(watcher) => watcher.saw_commit().await,
        }
    }
}
