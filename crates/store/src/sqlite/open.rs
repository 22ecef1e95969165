//! Opens a file: its mode, its schema, its settings.

use std::cmp::Ordering;
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;

use super::files::{Files, check_names};
use super::filesystem::{DatabaseFile, real_path};
use super::migrate;
use super::migrate::{MIGRATIONS, newest};
use super::shortage::judge;
use super::store::{Shared, Store, integer, query, value};
use crate::{OLDEST_SQLITE, Result, StoreError};
use jobtrackd_clock::Clock;

/// `PRAGMA application_id` of jobtrackd's files: "JOBT".
const APPLICATION_ID: i64 = 0x4a4f_4254;

/// How long one statement waits for a foreign lock before it gives up and is tried again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this many bytes (64 MiB) after a checkpoint.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// Pages in the log after which a commit moves them into the database (8 MiB). A page that is written again and again is
/// moved once.
const CHECKPOINT: &str = "2048";

/// The writer keeps so many KiB of pages (16 MiB): other programs write little, so its cache stays true.
const WRITER_CACHE: &str = "-16384";

/// What a statement of the writer would have to undo stays in memory: it changes a thousand rows at most, and a temporary file
/// would be half of all writes.
const WRITER_TEMPORARY: &str = "MEMORY";

/// A reader keeps fewer (2 MiB), since each commit makes its cache stale.
const READER_CACHE: &str = "-2048";

/// Most rows that a statement goes ahead of who collects them: more than a page of any loop has. With the library's 50, the
/// two threads took turns for each row beyond, which was more than half of a start with many jobs.
const ROWS_AHEAD: usize = 1024;

/// The same for requests, which stop reading where their answer is full.
const REQUEST_ROWS_AHEAD: usize = 50;

/// An interrupted migration may have left the table that counts migrations, and nothing else.
const FOREIGN_TABLES: &str =
    "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'";

pub(super) const SCHEMA: &str =
    "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";

const SQLITE_VERSION: &str = "SELECT sqlite_version()";

const READERS: u32 = 4;

/// How long a request waits in all for its turn to write.
const REQUEST_PATIENCE: Duration = Duration::from_secs(3);

/// How long a request waits for a reader.
const REQUEST_READ_PATIENCE: Duration = Duration::from_secs(2);

impl Store {
    /// Creates the file if there is none, brings its schema up to date and opens it.
    ///
    /// # Errors
    /// When the file is not a database of jobtrackd, is newer than this program, or cannot be written, and
    /// [`StoreError::NetworkFilesystem`].
    pub async fn create_or_migrate<'a>(
        file: impl Into<DatabaseFile<'a>>,
        clock: Clock,
    ) -> Result<Self> {
        let file = file.into();
        file.check()?;
        Self::create_or_migrate_by(&MIGRATIONS, file, clock).await
    }

    pub(super) async fn create_or_migrate_by(
        migrations: &Migrator,
        file: DatabaseFile<'_>,
        clock: Clock,
    ) -> Result<Self> {
        let path = &real_path(file.path).map_err(unusable(file.path))?;
        if !file.create && !exists(path)? {
            return Err(StoreError::Missing(file.path.to_owned()));
        }
        check_names(path)?;
        if create_file(path).map_err(unusable(path))? {
            let database = path.display();
            tracing::warn!(
                %database,
                "there was no database and a new one is made; if there should be one, is its volume mounted?"
            );
        }
        let found = clock.held(schema_of(path)).await?;
        let known = newest(migrations);
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        let store = Self::connect(file.path, path, clock.clone()).await?;
        if found < known {
            let migrated = clock
                .held(migrate::run(&store.shared.options, migrations))
                .await;
            migrated.map_err(|error| judge(error, path, false))?;
        }
        store.open_all().await?;
        Ok(store)
    }

    /// Opens a file whose schema is up to date.
    ///
    /// # Errors
    /// [`StoreError::Absent`] when there is no file, [`StoreError::Outdated`] when it needs `jobtrackd migrate`,
    /// [`StoreError::NetworkFilesystem`] where that is not allowed.
    pub async fn open<'a>(file: impl Into<DatabaseFile<'a>>, clock: Clock) -> Result<Self> {
        let file = file.into();
        file.check()?;
        let path = &match real_path(file.path) {
            Ok(path) if exists(&path)? => path,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(unusable(file.path)(error));
            }
            _ => return Err(StoreError::Absent(file.path.to_owned())),
        };
        regular_file(path).map_err(unusable(path))?;
        check_names(path)?;
        let (found, known) = (clock.held(schema_of(path)).await?, newest(&MIGRATIONS));
        match found.cmp(&known) {
            Ordering::Greater => Err(StoreError::Newer { found, known }),
            Ordering::Less => Err(StoreError::Outdated {
                found,
                wanted: known,
            }),
            Ordering::Equal => Self::connect(file.path, path, clock).await,
        }
    }

    /// The number of the file's schema.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn schema(&self) -> Result<i64> {
        self.value(query!(SCHEMA)).await
    }

    /// Opens all connections, each with the log: later there may be too few file descriptors, or another log.
    async fn open_all(&self) -> Result<()> {
        let shared = &self.shared;
        let opening = async {
            if let Some(writer) = shared.writer.lock().await.as_mut() {
                integer(writer, SCHEMA).await?;
            }
            let mut readers = Vec::new();
            for _ in 0..READERS {
                let mut reader = shared.readers.acquire().await?;
                integer(&mut reader, SCHEMA).await?;
                readers.push(reader);
            }
            Ok(())
        };
        self.read(opening).await?;
        shared.files.check()
    }

    /// `name` is the configured path, `path` the file itself.
    async fn connect(name: &Path, path: &Path, clock: Clock) -> Result<Self> {
        let files = Arc::new(Files::of(name, path)?);
        let options = plain_options(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT)
            .pragma("wal_autocheckpoint", CHECKPOINT)
            .pragma("cache_size", WRITER_CACHE)
            .pragma("temp_store", WRITER_TEMPORARY)
            .row_buffer_size(ROWS_AHEAD);
        let writer = clock
            .held(SqliteConnection::connect_with(&options))
            .await
            .map_err(|error| opening(path, error.into()))?;
        Ok(Self {
            shared: Arc::new(Shared {
                readers: readers(&options, BUSY_TIMEOUT * 3),
                options,
                files,
                writer: Mutex::new(Some(writer)),
                turn: Arc::default(),
                patience: None,
                clock,
                shortage: parking_lot::Mutex::default(),
            }),
        })
    }

    /// The same database through other connections, for requests: these and the loops do not wait for each other's readers,
    /// and a write fails with [`StoreError::Busy`] after 3 s. It must be closed before this one.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub async fn for_requests(&self) -> Result<Self> {
        let shared = &self.shared;
        let reading = shared.options.clone().row_buffer_size(REQUEST_ROWS_AHEAD);
        // SQLite does not wait for a lock, so that no request keeps its turn while it waits.
        let options = reading.clone().busy_timeout(Duration::ZERO);
        let connecting = shared.clock.held(SqliteConnection::connect_with(&options));
        let writer = connecting.await.map_err(StoreError::from);
        let store = Self {
            shared: Arc::new(Shared {
                readers: readers(&reading, REQUEST_READ_PATIENCE),
                options,
                files: Arc::clone(&shared.files),
                writer: Mutex::new(Some(shared.judged(writer)?)),
                turn: Arc::clone(&shared.turn),
                patience: Some(REQUEST_PATIENCE),
                clock: shared.clock.clone(),
                shortage: parking_lot::Mutex::default(),
            }),
        };
        store.open_all().await?;
        Ok(store)
    }
}

fn readers(options: &SqliteConnectOptions, patience: Duration) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        // A file of this machine does not go away like a server; each ping would be one more change of threads.
        .test_before_acquire(false)
        .acquire_timeout(patience)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(
            options
                .clone()
                .pragma("query_only", "ON")
                .pragma("cache_size", READER_CACHE)
                .pragma("temp_store", "FILE"),
        )
}

/// Checks the library and that the file is jobtrackd's; returns the schema's number, 0 for an empty file. Changes nothing in
/// the file, which may be another program's.
async fn schema_of(path: &Path) -> Result<i64> {
    let mut connection = SqliteConnection::connect_with(&plain_options(path))
        .await
        .map_err(|error| opening(path, error.into()))?;
    let found = read_schema(&mut connection, path).await;
    connection.close().await?;
    found.map_err(|error| opening(path, error))
}

pub(super) async fn read_schema(connection: &mut SqliteConnection, path: &Path) -> Result<i64> {
    // One read transaction: another program may be bringing the schema up to date.
    let mut snapshot = connection.begin().await?;
    let version: String = value(&mut snapshot, query!(SQLITE_VERSION)).await?;
    if version_numbers(&version) < version_numbers(OLDEST_SQLITE) {
        return Err(StoreError::OldSqlite(version));
    }
    let application = integer(&mut snapshot, "PRAGMA application_id").await?;
    if application == APPLICATION_ID {
        return Ok(integer(&mut snapshot, SCHEMA).await?);
    }
    let foreign = application != 0 || integer(&mut snapshot, FOREIGN_TABLES).await? > 0;
    if foreign {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    Ok(0)
}

/// The version of the SQLite that is linked, such as `3.51.3`. Touches no file.
///
/// # Errors
/// When SQLite cannot open a database in memory.
pub async fn sqlite_version() -> Result<String> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await?;
    let version = value(&mut connection, query!(SQLITE_VERSION)).await?;
    connection.close().await?;
    Ok(version)
}

pub(super) fn plain_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        // The watcher alone reads many times a second; at debug it would hide all other lines.
        .disable_statement_logging()
}

fn version_numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

/// The meaning of an error while a file is opened.
fn opening(path: &Path, error: StoreError) -> StoreError {
    match judge(error, path, false) {
        StoreError::Damaged(reason) | StoreError::Other(reason) => unusable(path)(reason),
        other => other,
    }
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(unusable(path))
}

/// An error because the file cannot be used.
fn unusable<E: ToString>(path: &Path) -> impl FnOnce(E) -> StoreError {
    |reason| StoreError::Unusable {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// Creates the file with mode 0660 before SQLite opens it, and says whether it did: the log and the index beside it copy
/// its mode, and members of the group are to insert rows (docs/development.md, fact 4). An existing file keeps its
/// mode.
fn create_file(path: &Path) -> io::Result<bool> {
    let created = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o660)
        .open(path);
    match created {
        Ok(file) => {
            file.set_permissions(std::fs::Permissions::from_mode(0o660))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            regular_file(path)?;
            // Checked, not tried: closing a file also ends the locks that SQLite holds on it in this process.
            let wanted = Access::READ_OK | Access::WRITE_OK;
            accessat(CWD, path, wanted, AtFlags::EACCESS)?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn regular_file(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)?.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is not a file")),
    }
}
