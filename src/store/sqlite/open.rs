//! Opening a file: its mode, its schema, its settings.

use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
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
        let store = Self::connect(path, clock).await?;
        let found = store.check_file(path).await?;
        let newest = newest_migration();
        if found > newest {
            return Err(StoreError::Newer {
                found,
                known: newest,
            });
        }
        if found < newest
            && let Err(error) = store.migrate().await
            // Another program may have been quicker; then all is well.
            && store.check_file(path).await? < newest
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
        let store = Self::connect(path, clock).await?;
        let found = store.check_file(path).await?;
        let wanted = newest_migration();
        match found {
            found if found > wanted => Err(StoreError::Newer {
                found,
                known: wanted,
            }),
            found if found < wanted => Err(StoreError::Outdated { found, wanted }),
            _ => Ok(store),
        }
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let migrating = async {
            let mut connection = SqliteConnection::connect_with(&self.shared.options).await?;
            let migrated = MIGRATIONS.run(&mut connection).await;
            connection.close().await?;
            migrated.map_err(|error| {
                StoreError::Other(format!("the schema was not brought up to date: {error}"))
            })
        };
        self.shared.clock.held(migrating).await
    }

    async fn connect(path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(BUSY_TIMEOUT)
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
        let (writer, readers) = match clock.held(connecting).await {
            Ok(connections) => connections,
            Err(StoreError::Damaged(reason) | StoreError::Other(reason)) => {
                return Err(unusable(path, &reason));
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            shared: Arc::new(Shared {
                options,
                readers,
                writer: Mutex::new(Some(writer)),
                clock,
            }),
        })
    }

    /// Checks the library and that the file is ours; answers with the schema's number, 0 for an empty file.
    async fn check_file(&self, path: &Path) -> Result<i64, StoreError> {
        let foreign = || StoreError::Foreign(path.to_owned());
        let reading = async {
            // One read transaction: another program may be bringing the schema up to date just now.
            let mut connection = self.shared.readers.begin().await?;
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
                    Err(foreign())
                };
            }
            Ok(integer(
                &mut connection,
                "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success",
            )
            .await?)
        };
        match self.shared.clock.held(reading).await {
            Err(StoreError::Damaged(reason) | StoreError::Other(reason)) => {
                Err(unusable(path, &reason))
            }
            result => result,
        }
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
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
