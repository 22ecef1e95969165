//! Where a measurement takes place: a folder on a real disk, a configuration, a database, and who else uses it.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jobtrackd::clock::Clock;
use jobtrackd::config::{Settings, Sources, load};
use jobtrackd::measuring;
use jobtrackd::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tempfile::TempDir;

/// Beside the other build results: what is mounted at `/tmp` often is no disk at all.
const DISK: &str = env!("CARGO_TARGET_TMPDIR");

/// A folder with a database and a configuration, gone when it is dropped.
pub(crate) struct DatabaseFile(TempDir);

impl DatabaseFile {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self(TempDir::new_in(DISK)?))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("jobs.db")
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.path("jobtrackd.toml")
    }

    /// Writes the configuration: an upstream without credentials, `upstream` and `polling` as given.
    pub(crate) fn configure(
        &self,
        base_url: &str,
        upstream: &str,
        polling: &str,
    ) -> anyhow::Result<Settings> {
        self.write(base_url, "", upstream, polling)
    }

    /// The same with a status server at a free port; answers with its address.
    pub(crate) fn configure_listening(
        &self,
        base_url: &str,
        polling: &str,
    ) -> anyhow::Result<String> {
        // Free again as soon as it is known.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        self.write(base_url, &address, "", polling)?;
        Ok(address)
    }

    fn write(
        &self,
        base_url: &str,
        listen: &str,
        upstream: &str,
        polling: &str,
    ) -> anyhow::Result<Settings> {
        let text = format!(
            "[database]\nurl = \"sqlite://{}\"\n[status]\nlisten = \"{listen}\"\n[log]\nlevel = \"error\"\n\
             [upstream]\nbase_url = \"{base_url}\"\nauth = \"none\"\n{upstream}\n[polling]\n{polling}\n",
            self.database().display()
        );
        std::fs::write(self.configuration(), text)?;
        // It may hold secrets of webhooks, and a warning is no part of a measurement.
        std::fs::set_permissions(self.configuration(), Permissions::from_mode(0o600))?;
        let sources = Sources {
            file: Some(self.configuration()),
            environment: BTreeMap::new(),
            credentials_directory: None,
        };
        load(&sources).context("the configuration of the measurement")
    }

    /// The database, with its schema.
    pub(crate) async fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::create_or_migrate(&self.database(), Clock::system()).await?)
    }

    pub(crate) async fn outsider(&self) -> anyhow::Result<Outsider> {
        Outsider::of(&self.database()).await
    }
}

/// Another program that uses the database, with a connection of its own.
pub(crate) struct Outsider(pub(crate) SqliteConnection);

impl Outsider {
    async fn of(file: &Path) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        Ok(Self(SqliteConnection::connect_with(&options).await?))
    }

    /// Inserts `count` jobs named `PREFIX-1`, `PREFIX-2` … in one transaction; they are not polled before `not_before`.
    pub(crate) async fn insert_many(
        &mut self,
        prefix: &str,
        count: usize,
        not_before: Option<i64>,
    ) -> anyhow::Result<()> {
        let not_before = not_before.map_or("NULL".to_owned(), |at| at.to_string());
        let sql = format!(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT INTO jobs (id, not_before) SELECT '{prefix}-' || i, {not_before} FROM n"
        );
        self.run(sql).await
    }

    /// Runs statements.
    pub(crate) async fn run(&mut self, sql: String) -> anyhow::Result<()> {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.0)
            .await?;
        Ok(())
    }

    /// The single number a query answers with.
    pub(crate) async fn number(&mut self, sql: &'static str) -> anyhow::Result<i64> {
        Ok(sqlx::query(sql).fetch_one(&mut self.0).await?.try_get(0)?)
    }
}

/// On what all of this was measured.
pub(crate) fn conditions() -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let (model, load) = (
        measuring::processor(),
        measuring::load().unwrap_or(f64::NAN),
    );
    Ok(format!(
        "{cores} cores ({model}), load {load} at the beginning; SQLite in WAL mode with synchronous=FULL on {DISK}"
    ))
}
