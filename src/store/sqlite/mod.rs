//! The SQLite backend: one connection writes, a pool reads, a third kind only watches. Requests have a writer and readers
//! of their own.

mod backup;
mod command;
mod commit;
mod copy;
mod deliveries;
mod events;
mod expiry;
mod figures;
mod health;
mod intake;
mod jobs;
mod lanes;
mod list;
mod listing;
mod lock;
mod migrate;
mod open;
mod place;
mod prune;
mod replay;
mod restore;
mod rows;
mod standing;
mod steering;
mod timeline;
mod users;
mod watched;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool};
use sqlx::{Connection, Row};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

pub use copy::{Copied, CopyError};
pub(super) use intake::SqliteWatcher;
pub use lock::{Holder, InstanceLock, LockError};
pub use open::sqlite_version;
pub use restore::Restored;

use super::StoreError;
use crate::clock::Clock;

/// One SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: SqliteConnectOptions,
    readers: SqlitePool,
    /// The one writer. Empty after an error, which may leave a connection in a transaction that SQLite has already
    /// rolled back and sqlx has not (RELIABILITY, fact 2); the next write opens a new one.
    writer: Mutex<Option<SqliteConnection>>,
    /// Held during a transaction. The writers of one process take turns in order: at SQLite's own lock, which knows none,
    /// one that commits without a pause would keep the other out for seconds.
    turn: Arc<Mutex<()>>,
    /// How long a write waits in all before it is [`StoreError::Busy`]; `None`: as long as SQLite waits for a foreign lock.
    patience: Option<Duration>,
    clock: Clock,
}

/// Pause between two tries of a write that has patience of its own.
const TRY_AGAIN: Duration = Duration::from_millis(50);

impl SqliteStore {
    /// Runs `work` in one `BEGIN IMMEDIATE` transaction of the writer connection.
    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    {
        let (value, _) = self.write_timed(work).await?;
        Ok(value)
    }

    /// The same, with how long nobody else could write. The wait for others is not in it.
    async fn write_timed<T, F>(&self, work: F) -> Result<(T, Duration), StoreError>
    where
        F: AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    {
        let (shared, mut work) = (&self.shared, Some(work));
        let Some(patience) = shared.patience else {
            let writing = async {
                let mut slot = shared.writer.lock().await;
                let _turn = shared.turn.lock().await;
                self.attempt(&mut slot, &mut work).await
            };
            return shared.clock.held(writing).await;
        };
        let deadline = Instant::now() + patience;
        let late = |_| StoreError::Busy;
        let mut slot = timeout_at(deadline, shared.writer.lock())
            .await
            .map_err(late)?;
        loop {
            let turn = timeout_at(deadline, shared.turn.lock())
                .await
                .map_err(late)?;
            let result = shared.clock.held(self.attempt(&mut slot, &mut work)).await;
            drop(turn);
            let locked = matches!(result, Err(StoreError::Busy)) && work.is_some();
            if !locked || Instant::now() + TRY_AGAIN >= deadline {
                return result;
            }
            sleep(TRY_AGAIN).await;
        }
    }

    /// Takes `work` once the transaction has begun.
    async fn attempt<T, F>(
        &self,
        slot: &mut Option<SqliteConnection>,
        work: &mut Option<F>,
    ) -> Result<(T, Duration), StoreError>
    where
        F: AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
    {
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.shared.options).await?,
        };
        let result = in_transaction(&mut connection, work).await;
        match &result {
            Ok(_) => *slot = Some(connection),
            Err(_) => drop(connection.close().await),
        }
        result
    }

    /// Runs `work` on a reader. Paused time stands still meanwhile.
    async fn read<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        Ok(self.shared.clock.held(work).await?)
    }

    pub(super) async fn close(&self) {
        let writer = self.shared.writer.lock().await.take();
        let closing = async {
            self.shared.readers.close().await;
            if let Some(mut writer) = writer {
                // Best effort, and no waiting for others: what stays in the log is read from there at the next start.
                // The read comes first: SQLite opens the log with the first read, and a checkpoint that has to open it
                // waits for itself.
                let tidied = sqlx::raw_sql(
                    "PRAGMA busy_timeout = 0; SELECT 1 FROM sqlite_schema LIMIT 1; PRAGMA wal_checkpoint(TRUNCATE)",
                )
                .execute(&mut writer)
                .await;
                if let Err(error) = tidied {
                    tracing::debug!(%error, "the write-ahead log was not tidied");
                }
                drop(writer.close().await);
            }
        };
        self.shared.clock.held(closing).await;
    }
}

async fn in_transaction<T, F>(
    connection: &mut SqliteConnection,
    work: &mut Option<F>,
) -> Result<(T, Duration), StoreError>
where
    F: AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
{
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let began = Instant::now();
    let work = work
        .take()
        .ok_or_else(|| StoreError::Other("the work was done before".to_owned()))?;
    let value = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok((value, began.elapsed()))
}

/// A row's single integer.
async fn integer(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(sql).fetch_one(connection).await?.try_get(0)
}
