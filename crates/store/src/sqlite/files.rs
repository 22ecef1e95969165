//! Which files a database consists of, and whether they are still those that were opened.
//!
//! SQLite keeps the log and its index beside the name by which a database was opened. So two names of one file would be
//! two logs, and a log that is removed while it is in use is lost for every program that opens the database later.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{Result, StoreError};

/// The log and its index, which exist while the database is open anywhere.
const LOG: [&str; 2] = ["-wal", "-shm"];

/// The file beside a database with this ending.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Refuses a database with a second name, or with a log or index that is not a file of its own. If one cannot be examined,
/// opening it will report the reason.
pub(super) fn check_names(database: &Path) -> Result<()> {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let path = beside(database, ending);
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        let names = found.nlink();
        if ending.is_empty() && found.is_file() && names > 1 {
            return Err(StoreError::SecondName { path, names });
        }
        if let Some(reason) = unfit(&found) {
            return Err(StoreError::Unusable { path, reason });
        }
    }
    Ok(())
}

/// Why a file is not one of its own that may be written.
pub(super) fn unfit(found: &Metadata) -> Option<String> {
    if found.is_symlink() {
        Some("it is a symbolic link; remove it".to_owned())
    } else if !found.is_file() {
        Some("it is not a file".to_owned())
    } else if found.nlink() > 1 {
        Some("it has another name (a hard link); remove it".to_owned())
    } else {
        None
    }
}

/// The files of an open database.
#[derive(Debug)]
pub(super) struct Files {
    /// The configured name, perhaps through links: the one that other programs open.
    name: PathBuf,
    real: PathBuf,
    database: FileId,
    /// As they were first seen; SQLite creates them with the first transaction.
    log: Mutex<[Option<FileId>; LOG.len()]>,
    /// What happened to the log that was removed, and to its rows.
    pub(super) log_outcome: OnceCell<Option<String>>,
}

/// Where the log is that this process has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogState {
    /// Under its name.
    InPlace,
    /// Removed, but the database was not changed without it: there is no other log, or an empty one whose users share the
    /// index, and with it SQLite's locks, with this process.
    Movable,
    /// Others use another log.
    Replaced,
    /// The database itself is gone or another file.
    OtherDatabase,
}

impl Files {
    pub(super) fn of(name: &Path, real: &Path) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            real: real.to_owned(),
            database: FileId::of(name)?,
            log: Mutex::default(),
            log_outcome: OnceCell::new(),
        })
    }

    pub(super) fn database(&self) -> &Path {
        &self.real
    }

    pub(super) fn log(&self) -> PathBuf {
        beside(&self.real, "-wal")
    }

    /// Fails once one of the files is gone or replaced. The first call notes their identities, so a connection must have the
    /// log open.
    pub(super) fn check(&self) -> Result<()> {
        self.compare(true)
    }

    /// The same of files that were seen before.
    pub(super) fn check_known(&self) -> Result<()> {
        self.compare(false)
    }

    fn compare(&self, note: bool) -> Result<()> {
        // SQLite keeps writing to a file that has lost its name, where no other program finds what it writes.
        if FileId::of(&self.name)? != self.database {
            let replaced = format!("{} is another file now", self.name.display());
            return Err(StoreError::Damaged(replaced));
        }
        let mut log = self.log.lock();
        for (ending, first) in LOG.into_iter().zip(log.iter_mut()) {
            let path = beside(&self.real, ending);
            let found = FileId::found(&path);
            match (*first, found) {
                (None, _) if note => *first = found,
                (None, _) => {}
                (Some(known), Some(found)) if known == found => {}
                (Some(_), found) => {
                    let what = match found {
                        Some(_) => "replaced by another file",
                        None => "removed",
                    };
                    let lost = format!("{} was {what} while it was in use", path.display());
                    return Err(StoreError::Damaged(lost));
                }
            }
        }
        Ok(())
    }

    pub(super) fn log_state(&self) -> LogState {
        if FileId::found(&self.real) != Some(self.database) {
            return LogState::OtherDatabase;
        }
        let [log, index] = *self.log.lock();
        let found = LOG.map(|ending| fs::symlink_metadata(beside(&self.real, ending)).ok());
        let [log_found, index_found] = found
            .each_ref()
            .map(|found| found.as_ref().map(FileId::from));
        let is_empty = |found: &Metadata| found.is_file() && found.len() == 0;
        match &found {
            _ if log_found == log => LogState::InPlace,
            [None, None] => LogState::Movable,
            [None, Some(_)] if index_found == index => LogState::Movable,
            [Some(other), Some(_)] if index_found == index && is_empty(other) => LogState::Movable,
            _ => LogState::Replaced,
        }
    }

    /// Whether others use this database with another log than ours. Then ours must not be moved into the database: it was
    /// changed without what ours holds.
    pub(super) fn has_other_log(&self) -> bool {
        let log = self.log.lock();
        LOG.into_iter().zip(log.iter()).any(|(ending, first)| {
            let found = FileId::found(&beside(&self.real, ending));
            matches!((first, found), (Some(first), Some(found)) if *first != found)
        })
    }
}

/// Which file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> Result<Self> {
        let found = fs::metadata(path)
            .map_err(|error| StoreError::Damaged(format!("{} is gone: {error}", path.display())))?;
        Ok(Self::from(&found))
    }

    fn found(path: &Path) -> Option<Self> {
        Some(Self::from(&fs::symlink_metadata(path).ok()?))
    }
}

impl From<&Metadata> for FileId {
    fn from(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}
