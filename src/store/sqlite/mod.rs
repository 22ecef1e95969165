//! The SQLite backend: one connection writes, a pool reads, a third kind only watches.

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
mod undelivered;
mod upstreams;
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
use tokio::time::Instant;

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
    clock: Clock,
}

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
        self.shared
            .clock
            .held(async {
                let mut slot = self.shared.writer.lock().await;
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
            })
            .await
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
    work: F,
) -> Result<(T, Duration), StoreError>
where
    F: AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
{
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let began = Instant::now();
    let value = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok((value, began.elapsed()))
}

/// A row's single integer.
async fn integer(connection: &mut SqliteConnection, sql: &'static str) -> Result<i64, sqlx::Error> {
    sqlx::query(sql).fetch_one(connection).await?.try_get(0)
}
