//! Errors of the database, one kind for each remedy.

use std::path::PathBuf;

use jobtrackd_core::shortage::Shortage;

/// Oldest SQLite without the WAL-reset bug (docs/development.md, fact 8); an older one is refused at start.
pub const OLDEST_SQLITE: &str = "3.51.3";

/// What the functions of this crate return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database file.
    #[error("there is no database at {}; create it with: jobtrackd migrate", .0.display())]
    Absent(PathBuf),
    /// There is no database file, and none may be made.
    #[error(
        "there is no database at {}, and database.create = false: if its volume is not mounted, mount it; to make a new \
         one, run: jobtrackd migrate", .0.display()
    )]
    Missing(PathBuf),
    /// The file cannot be opened or created.
    #[error("cannot open the database {}: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The file has more than one name.
    #[error(
        "{path} has {names} names (hard links); opening it under another one would damage it; find them with \
         find DIR -xdev -samefile {path}, keep one of them, and remove the others", path = path.display()
    )]
    SecondName {
        /// The file.
        path: PathBuf,
        /// How many there are.
        names: u64,
    },
    /// The file is on a network file system, or on one that may be one.
    #[error(
        "{} lies on a network file system ({name}); WAL does not work over a network filesystem, and two machines would \
         damage the database: put it on a local disk (database.url), or, if no other machine can ever reach it, set \
         database.allow_network_filesystem = true at your own risk", path.display()
    )]
    NetworkFilesystem {
        /// The database file.
        path: PathBuf,
        /// The name of the file system.
        name: String,
    },
    /// A SQLite file of another program.
    #[error("{} is not a database of jobtrackd", .0.display())]
    Foreign(PathBuf),
    /// The schema is older than this program.
    #[error(
        "the database has schema {found} and this program needs {wanted}; bring it up to date with: jobtrackd migrate"
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
    #[error("SQLite {0} has a bug that can corrupt the database; {oldest} or newer is needed", oldest = OLDEST_SQLITE)]
    OldSqlite(String),
    /// Another program holds the write lock.
    #[error("the database is locked by another program")]
    Busy,
    /// No space is left.
    #[error("the disk is full")]
    Full,
    /// The system is short of something.
    #[error("{0}")]
    Short(Shortage),
    /// A system call failed, and SQLite does not say why: `judge` finds out whether the system lacks something.
    #[error("the database cannot be trusted any more: {message}")]
    Failed {
        /// SQLite's extended result code.
        code: i32,
        /// What it says.
        message: String,
    },
    /// The disk failed, or the file is damaged or gone. What was committed can only be learned by opening the file again.
    #[error("the database cannot be trusted any more: {0}")]
    Damaged(String),
    /// A row was refused by a rule of the schema.
    #[error("{0}")]
    Refused(String),
    /// A row holds something that this program never writes.
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

/// SQLite's result codes that mean something to us: primary ones, and extended ones of `IOERR`.
pub(super) mod code {
    pub(crate) const BUSY: i32 = 5;
    pub(crate) const LOCKED: i32 = 6;
    pub(crate) const NOMEM: i32 = 7;
    pub(crate) const IOERR: i32 = 10;
    pub(crate) const CORRUPT: i32 = 11;
    pub(crate) const FULL: i32 = 13;
    pub(crate) const CANTOPEN: i32 = 14;
    pub(crate) const TOO_BIG: i32 = 18;
    pub(crate) const CONSTRAINT: i32 = 19;
    pub(crate) const NOTADB: i32 = 26;
    pub(crate) const IOERR_READ: i32 = IOERR | (1 << 8);
    pub(crate) const IOERR_SHORT_READ: i32 = IOERR | (2 << 8);
    pub(crate) const IOERR_NOMEM: i32 = IOERR | (12 << 8);
    pub(crate) const IOERR_SHMMAP: i32 = IOERR | (21 << 8);
    pub(crate) const IOERR_MMAP: i32 = IOERR | (24 << 8);
}

impl StoreError {
    /// Whether the same call may succeed later, in this process: the lock is released, space is made.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy | Self::Full | Self::Short(_))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            // All readers wait for a slow disk or a lock.
            sqlx::Error::PoolTimedOut => return Self::Busy,
            // The thread of a connection could not be started.
            sqlx::Error::Io(io) => {
                if let Some(shortage) = Shortage::of(io) {
                    return Self::Short(shortage);
                }
            }
            _ => {}
        }
        let Some(database) = error.as_database_error() else {
            return Self::Other(error.to_string());
        };
        let message = database.message().to_owned();
        let Some(code) = database.code().and_then(|code| code.parse::<i32>().ok()) else {
            return Self::Other(message);
        };
        match (code, code & 0xff) {
            (_, code::FULL) => Self::Full,
            (code::IOERR_NOMEM, _) | (_, code::NOMEM) => Self::Short(Shortage::Memory),
            (_, code::BUSY | code::LOCKED) => Self::Busy,
            (_, code::IOERR | code::CANTOPEN) => Self::Failed { code, message },
            (_, code::CORRUPT | code::NOTADB) => Self::Damaged(message),
            (_, code::CONSTRAINT | code::TOO_BIG) => Self::Refused(message),
            _ => Self::Other(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_shortage_is_distinguished_from_damage() {
        for (errno, expected) in [
            (Errno::MFILE, Some(Shortage::Descriptors)),
            (Errno::NFILE, Some(Shortage::Descriptors)),
            (Errno::NOMEM, Some(Shortage::Memory)),
            (Errno::AGAIN, Some(Shortage::Threads)),
            (Errno::DQUOT, Some(Shortage::Quota)),
            (Errno::FBIG, Some(Shortage::FileSize)),
            (Errno::IO, None),
            (Errno::ROFS, None),
            (Errno::ACCESS, None),
        ] {
            assert_eq!(Shortage::of(&io::Error::from(errno)), expected, "{errno:?}");
            let error = StoreError::from(sqlx::Error::Io(errno.into()));
            assert_eq!(error.is_temporary(), expected.is_some(), "{errno:?}");
        }
    }
}
