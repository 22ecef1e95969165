//! The tables as another program reads them.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

/// Jobs that have not ended, and deliveries that are not done.
pub(crate) const UNFINISHED: &str = "SELECT (SELECT count(*) FROM jobs WHERE finished_at IS NULL) \
                                     + (SELECT count(*) FROM deliveries WHERE state = 'pending')";

/// What has ended or is not to be sent any more; while jobs go on, new deliveries come.
pub(crate) const FINISHED: &str = "SELECT (SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL) \
                                   + (SELECT count(*) FROM deliveries WHERE state <> 'pending')";

#[derive(Debug, Clone)]
pub(crate) struct Transition {
    pub(crate) job: String,
    pub(crate) seq: i64,
    pub(crate) title: String,
    pub(crate) from: Option<String>,
    pub(crate) to: String,
    pub(crate) updated: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) job: String,
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) body: String,
    /// Where its delivery stands.
    pub(crate) delivery: Option<String>,
}

/// Everything that is recorded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    /// What `integrity_check` and `quick_check` say.
    pub(crate) checks: Vec<String>,
    /// Ids and states.
    pub(crate) jobs: Vec<(String, String)>,
    /// In the order of jobs and their numbers, like the events.
    pub(crate) transitions: Vec<Transition>,
    pub(crate) events: Vec<Event>,
}

pub(crate) async fn open(database: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "0")
        .busy_timeout(Duration::from_secs(5));
    SqliteConnection::connect_with(&options)
        .await
        .with_context(|| format!("cannot open {}", database.display()))
}

/// The number that a query answers.
pub(crate) async fn number(database: &Path, sql: &str) -> anyhow::Result<i64> {
    let mut connection = open(database).await?;
    let number = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_one(&mut connection)
        .await;
    connection.close().await?;
    Ok(number?)
}

impl Tables {
    pub(crate) async fn read(database: &Path) -> anyhow::Result<Self> {
        let mut connection = open(database).await?;
        let mut tables = Self::default();
        for check in ["PRAGMA integrity_check", "PRAGMA quick_check"] {
            let said = sqlx::query_scalar(check).fetch_all(&mut connection).await?;
            tables.checks.extend(said);
        }
        let mut reading = connection.begin().await?;
        tables.jobs = sqlx::query_as("SELECT id, state FROM jobs ORDER BY id")
            .fetch_all(&mut *reading)
            .await?;
        let transitions = "SELECT job_id, seq, title, from_status, to_status, coalesce(remote_updated, '') \
                           FROM transitions ORDER BY job_id, seq";
        let transitions = sqlx::query(transitions).fetch_all(&mut *reading).await?;
        tables.transitions = transitions
            .iter()
            .map(Transition::of)
            .collect::<Result<_, _>>()?;
        let events = "SELECT id, e.job_id, e.sequence, type, body, state FROM events AS e \
                      LEFT JOIN deliveries AS d ON d.event_id = e.id ORDER BY e.job_id, e.sequence";
        let events = sqlx::query(events).fetch_all(&mut *reading).await?;
        tables.events = events.iter().map(Event::of).collect::<Result<_, _>>()?;
        reading.commit().await?;
        connection.close().await?;
        Ok(tables)
    }
}

impl Transition {
    fn of(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            job: row.try_get(0)?,
            seq: row.try_get(1)?,
            title: row.try_get(2)?,
            from: row.try_get(3)?,
            to: row.try_get(4)?,
            updated: row.try_get(5)?,
        })
    }
}

impl Event {
    fn of(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get(0)?,
            job: row.try_get(1)?,
            sequence: row.try_get(2)?,
            kind: row.try_get(3)?,
            body: row.try_get(4)?,
            delivery: row.try_get(5)?,
        })
    }
}
