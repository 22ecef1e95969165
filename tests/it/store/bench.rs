//! The seam between the suite and a backend: a fresh store, and an outsider with a connection of its own.

use std::path::{Path, PathBuf};

use jobtrackd::clock::Clock;
use jobtrackd::core::delivery::{AfterAttempt, WebhookName};
use jobtrackd::core::job::JobId;
use jobtrackd::core::observe::Tracked;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::store::{
    Batch, Commits as _, Committed, Deliveries as _, DueDelivery, EventFilter, Events as _,
    JobDetail, Jobs as _, Recordable, Store, StoreError,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column, Connection, Row, ValueRef};
use tempfile::TempDir;

use super::fixtures;

/// A fresh store, and somebody else who uses its database.
pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) outsider: Outsider,
    pub(crate) file: PathBuf,
    _folder: TempDir,
}

impl Bench {
    pub(crate) async fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let store = Store::create_or_migrate(&file, Clock::system())
            .await
            .unwrap();
        Self {
            store,
            outsider: Outsider::of(&file).await,
            file,
            _folder: folder,
        }
    }

    /// A fresh store with these jobs.
    pub(crate) async fn with_jobs(ids: &[&str]) -> Self {
        let mut bench = Self::fresh().await;
        for id in ids {
            bench
                .outsider
                .run(&format!("INSERT INTO jobs (id) VALUES ('{id}')"))
                .await
                .unwrap();
        }
        bench
    }

    pub(crate) async fn another_outsider(&self) -> Outsider {
        Outsider::of(&self.file).await
    }

    pub(crate) async fn tracked(&self, id: &str) -> Tracked {
        let id = JobId::parse(id).unwrap();
        self.store.tracked(&id).await.unwrap().unwrap()
    }

    pub(crate) async fn detail(&self, id: &str) -> JobDetail {
        let id = JobId::parse(id).unwrap();
        self.store.detail(&id).await.unwrap().unwrap()
    }

    /// The bodies of a job's events, in order.
    pub(crate) async fn bodies(&self, id: &str) -> Vec<String> {
        let filter = EventFilter {
            job: JobId::parse(id).ok(),
            limit: 1000,
            bytes: u32::MAX,
            ..EventFilter::default()
        };
        let page = self.store.events(&filter).await.unwrap();
        page.events.into_iter().map(|event| event.body).collect()
    }

    pub(crate) async fn record(&self, observations: Vec<Recordable>) -> Committed {
        self.try_record(observations).await.unwrap()
    }

    pub(crate) async fn try_record(
        &self,
        observations: Vec<Recordable>,
    ) -> Result<Committed, StoreError> {
        let batch = Batch {
            observations,
            now: Some(fixtures::T0),
            ..Batch::default()
        };
        self.store.commit(&batch).await
    }

    /// Records what an answer with this body means, and tells all its events to these webhooks.
    pub(crate) async fn sees(&self, id: &str, body: &str, webhooks: &[&str]) -> Committed {
        let seen = fixtures::seen(&self.tracked(id).await, body);
        self.record(vec![fixtures::with_deliveries(seen, webhooks)])
            .await
    }

    /// What is due at the end of time: every head of a lane.
    pub(crate) async fn heads(&self, webhook: &str) -> Vec<DueDelivery> {
        self.due(webhook, UnixMillis::MAX).await
    }

    pub(crate) async fn due(&self, webhook: &str, now: UnixMillis) -> Vec<DueDelivery> {
        let webhook = WebhookName::new(webhook);
        self.store
            .deliveries_due(&webhook, now, &[], 1000)
            .await
            .unwrap()
            .deliveries
    }

    pub(crate) async fn body_to_send(&self, webhook: &str, due: &DueDelivery) -> Option<Vec<u8>> {
        let webhook = WebhookName::new(webhook);
        let body = self.store.body_to_send(&webhook, &due.event_id).await;
        body.unwrap()
    }

    /// Records the next attempt at a delivery.
    pub(crate) async fn attempts(&self, webhook: &str, due: &DueDelivery, after: AfterAttempt) {
        let batch = Batch {
            attempts: vec![fixtures::attempt(webhook, due, after)],
            now: Some(fixtures::T0),
            ..Batch::default()
        };
        self.store.commit(&batch).await.unwrap();
    }
}

/// A program that knows nothing of jobtrackd but the schema, with the settings of an ordinary client.
pub(crate) struct Outsider(SqliteConnection);

impl Outsider {
    pub(crate) async fn of(file: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .foreign_keys(false);
        Self(SqliteConnection::connect_with(&options).await.unwrap())
    }

    pub(crate) async fn leave(self) {
        self.0.close().await.unwrap();
    }

    /// Runs a script; answers with the number of rows it changed, or what the database said against it.
    pub(crate) async fn run(&mut self, script: &str) -> Result<u64, String> {
        let done = sqlx::raw_sql(AssertSqlSafe(script.to_owned()))
            .execute(&mut self.0)
            .await;
        done.map(|done| done.rows_affected())
            .map_err(|error| error.as_database_error().unwrap().message().to_owned())
    }

    /// The rows of a query, each as its values with `|` between them.
    pub(crate) async fn rows(&mut self, query: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(query.to_owned()))
            .fetch_all(&mut self.0)
            .await
            .unwrap();
        rows.iter().map(line).collect()
    }

    /// The single value of a query.
    pub(crate) async fn value(&mut self, query: &str) -> String {
        self.rows(query).await.concat()
    }

    /// The number of rows in a table.
    pub(crate) async fn count(&mut self, table: &str) -> u64 {
        let count = self.value(&format!("SELECT count(*) FROM {table}")).await;
        count.parse().unwrap()
    }
}

fn line(row: &SqliteRow) -> String {
    let values: Vec<String> = row
        .columns()
        .iter()
        .map(|column| {
            let value = row.try_get_raw(column.ordinal()).unwrap();
            if value.is_null() {
                "NULL".to_owned()
            } else {
                row.try_get_unchecked(column.ordinal()).unwrap()
            }
        })
        .collect();
    values.join("|")
}
