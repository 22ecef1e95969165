//! Notices what other programs changed.

use std::future::pending;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};

use super::log_writes::LogWrites;
use super::rows::{FromRow, Reading};
use super::store::{Shared, Store, integer, query};
use super::together::job_columns;
use crate::{Intake, JobChange, JobRow, Result, StoreError, Wakeups};

pub(super) const ACTIVE_JOBS: &str = concat!(
    "SELECT j.rowid AS number, ",
    job_columns!(),
    " FROM jobs AS j WHERE j.finished_at IS NULL AND j.rowid > ?1 ORDER BY j.rowid LIMIT ?2"
);

pub(super) const CHANGES: &str = concat!(
    "SELECT c.seq AS number, ",
    job_columns!(),
    " FROM job_changes AS c LEFT JOIN jobs AS j ON j.id = c.job_id WHERE c.seq > ?1 ORDER BY c.seq LIMIT ?2"
);

const NEWEST_CHANGE: &str =
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'job_changes'), 0)";

impl Intake for Store {
    type Wakeups = Watcher;

    async fn watcher(&self) -> Result<Watcher> {
        let options = self.shared.options.clone().pragma("query_only", "ON");
        let clock = &self.shared.clock;
        self.shared.files.check_known()?;
        let connecting = clock.held(SqliteConnection::connect_with(&options)).await;
        let connection = self.shared.judged(connecting.map_err(StoreError::from))?;
        Ok(Watcher {
            shared: Arc::clone(&self.shared),
            connection,
            version: None,
            writes: LogWrites::watch(&self.shared.files.log())
                .inspect_err(|error| tracing::debug!(%error, "writes to the log are not reported"))
                .ok(),
        })
    }

    async fn active_jobs(&self, after: i64, limit: u32) -> Result<Vec<JobChange>> {
        self.all(query!(ACTIVE_JOBS, after, limit)).await
    }

    async fn changes(&self, after: i64, limit: u32) -> Result<Vec<JobChange>> {
        self.all(query!(CHANGES, after, limit)).await
    }

    async fn newest_change(&self) -> Result<i64> {
        self.value(query!(NEWEST_CHANGE)).await
    }
}

impl FromRow for JobChange {
    const TABLE: &'static str = "jobs";
    const KEY: &'static str = "id";

    /// A row that cannot be read is logged and skipped: it must not keep the daemon from following the others.
    fn read(r: &Reading<'_>) -> Result<Self> {
        let id: Option<String> = r.row.try_get("id")?;
        let job = id.and_then(|id| {
            let log = |error: &StoreError| {
                tracing::error!(job_id = id, %error, "a row of jobs cannot be read and is not followed");
            };
            JobRow::read(r).inspect_err(log).ok()
        });
        Ok(Self {
            number: r.row.try_get("number")?,
            job,
        })
    }
}

/// A connection that only reads `PRAGMA data_version`, which changes when another connection has committed and can
/// only be compared on one and the same connection.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    connection: SqliteConnection,
    version: Option<i64>,
    /// `None` where the kernel does not report writes.
    writes: Option<LogWrites>,
}

impl Watcher {
    /// Whether writes to the log are reported.
    #[must_use]
    pub fn watches_writes(&self) -> bool {
        self.writes.is_some()
    }

    /// Returns when a program on this machine, this one too, has written to the log since the last call; its commit may
    /// come later. Never where writes are not reported.
    pub async fn written(&self) {
        if let Some(writes) = &self.writes
            && writes.next().await.is_ok()
        {
            return;
        }
        pending::<()>().await;
    }
}

impl Wakeups for Watcher {
    async fn saw_commit(&mut self) -> Result<bool> {
        let reading = integer(&mut self.connection, "PRAGMA data_version");
        let read = self.shared.clock.held(reading).await;
        let version = self.shared.judged(read.map_err(StoreError::from))?;
        self.shared.files.check()?;
        Ok(self.version.replace(version) != Some(version))
    }
}
