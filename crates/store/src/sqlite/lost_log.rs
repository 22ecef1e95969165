//! Saves committed rows when the write-ahead log is removed while it is in use.

use std::time::Duration;

use sqlx::sqlite::{Sqlite, SqliteConnection};
use sqlx::{Row, pool::PoolConnection};
use tokio::time::{Instant, sleep};

use super::files::LogState;
use super::shortage::write_beside;
use super::store::{Store, TRY_AGAIN, integer};
use crate::{Result, StoreError};

/// How long to wait for other programs that still read an older state of the database, or write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps every connection that shares the index from writing. A reader of the pool can do so once it may write.
const HOLD: &str = "PRAGMA query_only = OFF; BEGIN IMMEDIATE";
const RELEASE: &str = "ROLLBACK; PRAGMA query_only = ON";

/// How many bytes the database has once all of the log is in it.
const SIZE: &str = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";

const MOVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

impl Store {
    /// Whether the files are still those that were opened. A log that was removed is moved into the database, unless there
    /// is another one by now. After an error this store can only be closed.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with what was removed, and whether committed rows may be lost.
    pub async fn verify_files(&self) -> Result<()> {
        let files = &self.shared.files;
        let Err(taken) = files.check_known() else {
            return Ok(());
        };
        let outcome = files.log_outcome.get_or_init(|| self.rescue_log()).await;
        Err(match (taken, outcome) {
            (StoreError::Damaged(what), Some(outcome)) => {
                StoreError::Damaged(format!("{what}; {outcome}"))
            }
            (taken, _) => taken,
        })
    }

    async fn rescue_log(&self) -> Option<String> {
        let moved = match self.shared.files.log_state() {
            LogState::OtherDatabase => return None,
            LogState::InPlace => {
                return Some(
                    "no committed row is lost: the log itself, which has them, is in its place"
                        .to_owned(),
                );
            }
            LogState::Replaced => Err(StoreError::Other("there is another log now".to_owned())),
            LogState::Movable => self.shared.clock.held(self.save_rows()).await,
        };
        Some(match moved {
            Ok(()) => {
                "the committed rows that only it held have been moved into the database; none is lost"
                    .to_owned()
            }
            Err(error) => format!("committed rows that only it held may be lost ({error})"),
        })
    }

    /// Moves the removed log into the database, through two readers that have it open. A third connection might open
    /// another log.
    async fn save_rows(&self) -> Result<()> {
        let mut holder = self.idle_reader().await?;
        let mut mover = self.idle_reader().await?;
        sqlx::raw_sql(HOLD).execute(&mut *holder).await?;
        let moved = self.move_log(&mut holder, &mut mover).await;
        sqlx::raw_sql(RELEASE).execute(&mut *holder).await?;
        moved
    }

    async fn idle_reader(&self) -> Result<PoolConnection<Sqlite>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.shared.readers.try_acquire() {
                Some(reader) => return Ok(reader),
                None if Instant::now() >= deadline => return Err(StoreError::Busy),
                None => sleep(TRY_AGAIN).await,
            }
        }
    }

    async fn move_log(
        &self,
        holder: &mut SqliteConnection,
        mover: &mut SqliteConnection,
    ) -> Result<()> {
        let files = &self.shared.files;
        // Again, now that none can write: if another program wrote before, there is another log.
        if files.log_state() != LogState::Movable {
            return Err(StoreError::Other("there is another log now".to_owned()));
        }
        // If the disk became full during the move, the file would be half old and half new.
        let size = integer(holder, SIZE).await?;
        let there = std::fs::metadata(files.database()).map_or(0, |found| found.len());
        let growth = size.unsigned_abs().saturating_sub(there);
        write_beside(files.database(), growth)
            .map_err(|error| StoreError::Other(format!("no room for them: {error}")))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            // As much as readers of older states permit, up to the end of a transaction.
            let row = sqlx::query(MOVE).fetch_one(&mut *mover).await?;
            let (all, moved): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            // Both are -1 while another program does the same.
            if all >= 0 && all == moved {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Busy);
            }
            sleep(TRY_AGAIN).await;
        }
    }
}
