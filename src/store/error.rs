//! What can go wrong with the database, told apart by what helps.

use std::path::PathBuf;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database file.
    #[error("there is no database at {}; create it with: jobtrackd migrate", .0.display())]
    Absent(PathBuf),
    /// The file cannot be opened or created.
    #[error("cannot open the database {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file lies on a network file system, or on one that may be one.
    #[error(
        "{} lies on a network file system ({name}); WAL does not work over a network filesystem, and two machines would \
         damage the database: put it on a local disk (database.url), or, if no other machine can ever reach it, set \
         database.allow_network_filesystem = true at your own risk", path.display()
    )]
    NetworkFilesystem {
        /// The database file.
        path: PathBuf,
        /// What the file system is called.
        name: String,
    },
    /// A SQLite file of another program.
    #[error("{} is not a database of jobtrackd", .0.display())]
    Foreign(PathBuf),
    /// The schema is older than this program.
    #[error(
        "the database has schema {found} and this program wants {wanted}; bring it up to date with: jobtrackd migrate"
    )]
    Outdated {
        /// The file's schema number, 0 for none.
        found: i64,
        /// This program's.
        wanted: i64,
    },
    /// The schema is newer than this program.
    #[error(
        "the database has schema {found}, newer than this program's {known}; install the newer jobtrackd again"
    )]
    Newer {
        /// The file's schema number.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The SQLite library is too old.
    #[error("SQLite {0} has a bug that can corrupt the database; {oldest} or newer is needed", oldest = super::OLDEST_SQLITE)]
    OldSqlite(String),
    /// Another program holds the write lock.
    #[error("the database is locked by another program")]
    Busy,
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// The disk failed, or the file is damaged or gone. What was committed can only be learned by opening the file again.
    #[error("the database cannot be trusted any more: {0}")]
    Damaged(String),
    /// A row was refused by a rule of the schema.
    #[error("{0}")]
    Refused(String),
    /// A row holds what no version of this program writes.
    #[error("the database is inconsistent: {table}.{column} of {row}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Which row.
        row: String,
    },
    /// Anything else SQLite or sqlx says.
    #[error("the database refused: {0}")]
    Other(String),
}

/// SQLite's primary result codes that mean something to us.
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const TOO_BIG: i32 = 18;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOTADB: i32 = 26;
    /// An extended code: the index of the write-ahead log could not be made longer.
    pub(super) const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);
}

impl StoreError {
    /// Whether the same call may succeed later, in this process: the lock is released, space is made.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Full)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            // All readers wait for a slow disk or a lock.
            return Self::Busy;
        }
        let Some(database) = error.as_database_error() else {
            return Self::Other(error.to_string());
        };
        let message = database.message().to_owned();
        let code = database.code().and_then(|code| code.parse::<i32>().ok());
        if code == Some(code::IOERR_SHMSIZE) {
            return Self::Full;
        }
        match code.map(|code| code & 0xff) {
            Some(code::BUSY | code::LOCKED) => Self::Busy,
            Some(code::FULL) => Self::Full,
            Some(code::IOERR | code::CORRUPT | code::CANTOPEN | code::NOTADB) => {
                Self::Damaged(message)
            }
            Some(code::CONSTRAINT | code::TOO_BIG) => Self::Refused(message),
            _ => Self::Other(message),
        }
    }
}
