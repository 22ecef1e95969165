//! The connections of a database: one writes, a pool reads, a third kind only watches for commits. Requests have their own
//! writer and readers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::query::Query;
use sqlx::sqlite::{
    Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePool, SqliteRow,
};
use sqlx::{Connection, Decode, Row, Type};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::files::Files;
use super::rows::{FromRow, read_all};
use super::shortage::judge;

use crate::{Result, Shortage, StoreError};
use jobtrackd_clock::Clock;
use jobtrackd_core::recurring::{Recurring, Report};

/// Moves what the log holds into the database. The read comes first: SQLite opens the log with the first read, and a
/// checkpoint that has to open it waits for itself.
const CUT: &str = "SELECT 1 FROM sqlite_schema LIMIT 1; PRAGMA wal_checkpoint(TRUNCATE)";

/// The same without waiting for other connections.
const CUT_AT_ONCE: &str =
    "PRAGMA busy_timeout = 0; SELECT 1 FROM sqlite_schema LIMIT 1; PRAGMA wal_checkpoint(TRUNCATE)";

/// The database: jobs, steps, transitions, events, deliveries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: SqliteConnectOptions,
    pub(super) files: Arc<Files>,
    pub(super) readers: SqlitePool,
    /// The one writer. Empty after an error, which may leave a connection in a transaction that SQLite has already
    /// rolled back and sqlx has not (docs/development.md, fact 2); the next write opens a new one.
    pub(super) writer: Mutex<Option<SqliteConnection>>,
    /// Held during a transaction. The writers of one process take turns in order: SQLite's own lock has no order, and a
    /// writer that commits without a pause would keep the other out for seconds.
    pub(super) turn: Arc<Mutex<()>>,
    /// How long a write waits in all before it fails with [`StoreError::Busy`]; `None`: as long as SQLite waits for a lock.
    pub(super) patience: Option<Duration>,
    pub(super) clock: Clock,
    /// What readers lack, so that it is logged once.
    pub(super) shortage: parking_lot::Mutex<Recurring<Shortage>>,
}

/// Pause between two tries of a write with a limit.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(50);

impl Store {
    /// Runs `work` in one `BEGIN IMMEDIATE` transaction of the writer connection.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        F: AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    {
        let (value, _) = self.write_timed(work).await?;
        Ok(value)
    }

    /// The same, with how long the database was locked for other writers.
    pub(super) async fn write_timed<T, F>(&self, work: F) -> Result<(T, Duration)>
    where
        F: AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    {
        let (shared, mut work) = (&self.shared, Some(work));
        let Some(patience) = shared.patience else {
            // Held to the end: no time may pass between the locks and the transaction.
            let writing = async {
                let mut slot = shared.writer.lock().await;
                let _turn = shared.turn.lock().await;
                self.attempt(&mut slot, &mut work).await
            };
            let written = shared.clock.held(writing).await;
            return written.map_err(|error| shared.meaning(error));
        };
        let deadline = Instant::now() + patience;
        let mut slot = until(deadline, shared.writer.lock()).await?;
        loop {
            let turn = until(deadline, shared.turn.lock()).await?;
            let result = shared.clock.held(self.attempt(&mut slot, &mut work)).await;
            drop(turn);
            let is_locked = matches!(result, Err(StoreError::Busy)) && work.is_some();
            if !is_locked || Instant::now() + TRY_AGAIN >= deadline {
                return result.map_err(|error| shared.meaning(error));
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// Takes `work` once the transaction has begun.
    async fn attempt<T, F>(
        &self,
        slot: &mut Option<SqliteConnection>,
        work: &mut Option<F>,
    ) -> Result<(T, Duration)>
    where
        F: AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
    {
        let files = &self.shared.files;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => {
                // Opening would create a new log where ours was removed.
                files.check_known()?;
                SqliteConnection::connect_with(&self.shared.options).await?
            }
        };
        let result = in_transaction(&mut connection, files, work).await;
        match &result {
            Ok(_) => *slot = Some(connection),
            // No other connection finds the log that this one has open.
            Err(_) if files.check_known().is_err() => *slot = Some(connection),
            Err(_) => drop(connection.close().await),
        }
        result
    }

    /// Runs `work` on a reader. A paused clock does not advance meanwhile.
    pub(super) async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T> {
        let read = self.shared.clock.held(work).await;
        self.shared.judged(read.map_err(StoreError::from))
    }

    /// Runs `work` in one read transaction, so that its statements see the same state.
    pub(super) async fn snapshot<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T> {
        self.read(async {
            let mut snapshot = self.shared.readers.begin().await?;
            let value = work(&mut snapshot).await?;
            snapshot.commit().await?;
            Ok(value)
        })
        .await
    }

    /// All rows of one statement.
    pub(super) async fn rows(&self, query: Statement<'_>) -> Result<Vec<SqliteRow>> {
        self.read(query.fetch_all(&self.shared.readers)).await
    }

    /// All rows of one statement, as one type.
    pub(super) async fn all<T: FromRow>(&self, query: Statement<'_>) -> Result<Vec<T>> {
        read_all(&self.rows(query).await?)
    }

    /// The one row of a statement, if there is one.
    pub(super) async fn optional<T: FromRow>(&self, query: Statement<'_>) -> Result<Option<T>> {
        let row = self
            .read(query.fetch_optional(&self.shared.readers))
            .await?;
        row.as_ref().map(T::from_row).transpose()
    }

    /// The single value of a statement's single row.
    pub(super) async fn value<T>(&self, query: Statement<'_>) -> Result<T>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
    {
        let row = self.read(query.fetch_one(&self.shared.readers)).await?;
        Ok(row.try_get(0)?)
    }

    /// Closes all connections, but does not cut the write-ahead log: that would make a daemon that is writing wait.
    pub async fn leave(&self) {
        self.close_all(false).await;
    }

    /// Closes all connections; the last one cuts the write-ahead log.
    pub async fn close(&self) {
        self.close_all(true).await;
    }

    async fn close_all(&self, cuts_log: bool) {
        if self.is_kept_open() {
            return;
        }
        let writer = self.shared.writer.lock().await.take();
        let closing = async {
            self.shared.readers.close().await;
            let Some(mut writer) = writer else { return };
            if cuts_log {
                // Best effort, without waiting for others: what stays in the log is read from there at the next start,
                // unless the log was removed.
                let is_there = self.shared.files.check_known().is_ok();
                let sql = if is_there { CUT_AT_ONCE } else { CUT };
                if let Err(error) = sqlx::raw_sql(sql).execute(&mut writer).await {
                    tracing::debug!(%error, "the write-ahead log was not cut");
                }
            }
            drop(writer.close().await);
        };
        self.shared.clock.held(closing).await;
    }

    /// Keeps the connections open to the end of the process when others have another log: closing the last one moves ours
    /// into the database, where it would be mixed with what they have written. The same once ours was removed: closing would
    /// also remove the file that then has its name.
    fn is_kept_open(&self) -> bool {
        let files = &self.shared.files;
        let kept = files.has_other_log() || matches!(files.log_outcome.get(), Some(Some(_)));
        if kept {
            std::mem::forget(Arc::clone(&self.shared));
        }
        kept
    }
}

impl Shared {
    /// The meaning of an error. If files were removed, that is its reason, whatever SQLite reports.
    fn meaning(&self, error: StoreError) -> StoreError {
        match judge(error, self.files.database(), true) {
            StoreError::Damaged(reason) => {
                let taken = self.files.check_known().err();
                taken.unwrap_or(StoreError::Damaged(reason))
            }
            other => other,
        }
    }

    /// The meaning of a reader's error; a shortage is logged once while it lasts.
    pub(super) fn judged<T>(&self, read: Result<T>) -> Result<T> {
        let read = read.map_err(|error| self.meaning(error));
        let short = match &read {
            Err(StoreError::Short(shortage)) => Some(*shortage),
            Err(_) => return read,
            Ok(_) => None,
        };
        let mut shortage = self.shortage.lock();
        match shortage.note(short, self.clock.now()) {
            Some(Report::Begun(shortage)) => {
                tracing::warn!(%shortage, "the database cannot be read just now; it is tried again until it can");
            }
            Some(Report::Ended(shortage)) => {
                tracing::info!(%shortage, "the database can be read again");
            }
            None => {}
        }
        read
    }
}

/// Waits for a lock of this process, until the deadline.
async fn until<T>(deadline: Instant, lock: impl Future<Output = T>) -> Result<T> {
    let locked = timeout_at(deadline, lock).await;
    locked.map_err(|_| StoreError::Busy)
}

async fn in_transaction<T, F>(
    connection: &mut SqliteConnection,
    files: &Files,
    work: &mut Option<F>,
) -> Result<(T, Duration)>
where
    F: AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
{
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // The log is open now. A commit to a log without a name would be lost.
    files.check()?;
    let began = Instant::now();
    let work = work
        .take()
        .ok_or_else(|| StoreError::Other("the work was done before".to_owned()))?;
    let value = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok((value, began.elapsed()))
}

pub(super) type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// A statement with its parameters, `?1` first.
macro_rules! query {
    ($sql:expr $(, $parameter:expr)* $(,)?) => {
        sqlx::query($sql)$(.bind($parameter))*
    };
}
pub(super) use query;

/// Runs a statement; how many rows it changed.
pub(super) async fn execute(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> Result<u64, sqlx::Error> {
    Ok(statement.execute(connection).await?.rows_affected())
}

/// All rows of a statement.
pub(super) async fn fetch_all(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    statement.fetch_all(connection).await
}

/// The single value of a statement's single row.
pub(super) async fn value<T>(
    connection: &mut SqliteConnection,
    statement: Statement<'_>,
) -> Result<T, sqlx::Error>
where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
{
    statement.fetch_one(connection).await?.try_get(0)
}

/// A row's single integer.
pub(super) async fn integer(
    connection: &mut SqliteConnection,
    sql: &'static str,
) -> Result<i64, sqlx::Error> {
    value(connection, query!(sql)).await
}
