//! Opening a file: its mode, its schema, its settings.

use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Access, access};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection, Row};
use tokio::sync::Mutex;

use super::{Shared, SqliteStore, StoreError, integer};
use crate::clock::Clock;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// `PRAGMA application_id` of our files: "JOBT".
const APPLICATION_ID: i64 = 0x4a4f_4254;

/// How long one statement waits for a foreign lock before it gives up and is tried again.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The write-ahead log is cut back to this many bytes (64 MiB) after a checkpoint.
const JOURNAL_SIZE_LIMIT: &str = "67108864";

/// A migration cut short may have left the table that counts migrations, and nothing else.
const FOREIGN_TABLES: &str =
    "SELECT count(*) FROM sqlite_schema WHERE tbl_name <> '_sqlx_migrations'";

const READERS: u32 = 4;

impl SqliteStore {
    pub(in crate::store) async fn create_or_migrate(
        path: &Path,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        create_file(path).map_err(|error| unusable(path, &error.to_string()))?;
        let found = check_file(path, &clock).await?;
        let newest = newest_migration();
        if found > newest {
            return Err(StoreError::Newer {
                found,
                known: newest,
            });
        }
        let store = Self::connect(path, clock).await?;
        if found < newest
            && let Err(error) = store.migrate().await
            // Another program may have been quicker; then all is well.
            && check_file(path, &store.shared.clock).await? < newest
        {
            return Err(error);
        }
        Ok(store)
    }

    pub(in crate::store) async fn open(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        if !path
            .try_exists()
            .map_err(|error| unusable(path, &error.to_string()))?
        {
            return Err(StoreError::Absent(path.to_owned()));
        }
        let found = check_file(path, &clock).await?;
        let wanted = newest_migration();
        match found {
            found if found > wanted => Err(StoreError::Newer {
                found,
                known: wanted,
            }),
            found if found < wanted => Err(StoreError::Outdated { found, wanted }),
            _ => Self::connect(path, clock).await,
        }
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let migrating = async {
            let mut connection = SqliteConnection::connect_with(&self.shared.options).await?;
            let migrated = MIGRATIONS.run(&mut connection).await;
            connection.close().await?;
            migrated.map_err(not_migrated)
        };
        self.shared.clock.held(migrating).await
    }

    async fn connect(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let options = plain(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("journal_size_limit", JOURNAL_SIZE_LIMIT);
        let connecting = async {
            let writer = SqliteConnection::connect_with(&options).await?;
            let readers = SqlitePoolOptions::new()
                .max_connections(READERS)
                .acquire_timeout(BUSY_TIMEOUT * 3)
                .idle_timeout(None)
                .max_lifetime(None)
                .connect_lazy_with(options.clone().pragma("query_only", "ON"));
            Ok::<_, StoreError>((writer, readers))
        };
        let (writer, readers) = opened(path, clock.held(connecting).await)?;
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                readers,
                writer: Mutex::new(Some(writer)),
                clock,
            }),
        })
    }
}

/// Checks the library and that the file is ours; answers with the schema's number, 0 for an empty file. Nothing is set
/// on the connection that SQLite would write down, so another program's file stays as it is.
async fn check_file(path: &Path, clock: &Clock) -> Result<i64, StoreError> {
    let reading = async {
        let mut connection = SqliteConnection::connect_with(&plain(path)).await?;
        let found = schema_number(&mut connection, path).await;
        connection.close().await?;
        found
    };
    opened(path, clock.held(reading).await)
}

async fn schema_number(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    // One read transaction: another program may be bringing the schema up to date just now.
    let mut connection = connection.begin().await?;
    let version: String = sqlx::query("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if version_numbers(&version) < version_numbers(crate::store::OLDEST_SQLITE) {
        return Err(StoreError::OldSqlite(version));
    }
    let application = integer(&mut connection, "PRAGMA application_id").await?;
    let tables = integer(&mut connection, FOREIGN_TABLES).await?;
    if application != APPLICATION_ID {
        return if application == 0 && tables == 0 {
            Ok(0)
        } else {
            Err(StoreError::Foreign(path.to_owned()))
        };
    }
    let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
    Ok(integer(&mut connection, newest).await?)
}

fn plain(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
}

fn not_migrated(error: MigrateError) -> StoreError {
    let text = format!("the schema was not brought up to date: {error}");
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Some(StoreError::from(error)).filter(StoreError::is_temporary)
        }
        _ => None,
    }
    .unwrap_or(StoreError::Other(text))
}

/// What cannot be read at all is told with the file's name.
fn opened<T>(path: &Path, result: Result<T, StoreError>) -> Result<T, StoreError> {
    match result {
        Err(StoreError::Damaged(reason) | StoreError::Other(reason)) => {
            Err(unusable(path, &reason))
        }
        result => result,
    }
}

fn newest_migration() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

fn version_numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

fn unusable(path: &Path, reason: &str) -> StoreError {
    StoreError::Unusable {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

/// Creates the file with mode 0660 before SQLite opens it: the log and the index beside it copy its mode, and members
/// of the group are to insert rows (RELIABILITY, fact 4). An existing file keeps its mode.
fn create_file(path: &Path) -> io::Result<()> {
    let created = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o660)
        .open(path);
    match created {
        Ok(file) => file.set_permissions(std::fs::Permissions::from_mode(0o660)),
        // SQLite would open a file that may only be read without a word, and fail at the first write. It is asked for
        // without opening it: closing a file gives up all locks that this process has on it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok(access(path, Access::READ_OK | Access::WRITE_OK)?)
        }
        Err(error) => Err(error),
    }
}
