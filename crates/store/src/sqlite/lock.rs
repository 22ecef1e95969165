//! One daemon per database: an exclusive lock on a file beside it, which names the holder, and one on the database file.
//!
//! The first works before the database exists, and when another file replaces the database. The second works whatever
//! name led to the file: a link, a bind mount. SQLite's own locks are of another kind and do not conflict with it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::files::{beside, unfit};
use super::filesystem::{Filesystem, FilesystemKind, folder_of, real_path};

/// Suffix of the lock file.
pub(super) const LOCK: &str = ".lock";

/// The lock, held until this is dropped; the system releases it when the process ends.
#[derive(Debug)]
pub struct InstanceLock {
    _beside: File,
    /// Closing it ends the locks that SQLite has on the file in this process, so it stays open until the end.
    database: Option<File>,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error(
        "the database is in use by another jobtrackd ({holder}); one daemon follows one database"
    )]
    Held {
        /// Process id and start of the holder, from its note.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {reason}", path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Which daemon follows a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// None: there is no lock file, or no process holds the lock.
    Nobody,
    /// One with this note (`pid 4711, since …`).
    Daemon(String),
}

impl InstanceLock {
    /// Which daemon holds the lock of the database at `database`. The lock is tried and released at once, and nothing is
    /// written.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn holder(database: &Path) -> Result<Holder, LockError> {
        let path = lock_path(database)?;
        let mut file = match open(&path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Holder::Nobody),
            Err(error) => return Err(unusable(&path, &error)),
        };
        match lock(&file, FlockOperation::NonBlockingLockShared, &path)? {
            true => Ok(Holder::Nobody),
            false => Ok(Holder::Daemon(read_note(&mut file))),
        }
    }

    /// Takes the lock of the database at `database`, without waiting, and that of the file itself, if it exists.
    /// `note` names the holder (`pid 4711, since …`).
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's note, or [`LockError::Unusable`].
    pub fn take(database: &Path, note: &str) -> Result<Self, LockError> {
        let path = lock_path(database)?;
        let mut file = open_or_make(&path, database).map_err(|error| unusable(&path, &error))?;
        if !lock(&file, FlockOperation::NonBlockingLockExclusive, &path)? {
            let holder = read_note(&mut file);
            return Err(LockError::Held { holder });
        }
        // The note is only for people; the lock is taken even if the disk is full.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(note.as_bytes()));
        let mut lock = Self {
            _beside: file,
            database: None,
        };
        lock.cover(database)?;
        Ok(lock)
    }

    /// Takes the lock of the database file itself as well, which is the same under every name of the file.
    /// Does nothing when that is done already, or there is no file yet.
    ///
    /// # Errors
    /// Those of [`InstanceLock::take`].
    pub fn cover(&mut self, database: &Path) -> Result<(), LockError> {
        // On network file systems such a lock may conflict with those of SQLite.
        let local = |path| Filesystem::of(path).is_ok_and(|on| on.kind != FilesystemKind::Network);
        if self.database.is_some() || !local(database) {
            return Ok(());
        }
        // Symbolic links are followed: the file matters. One that cannot be opened is refused later.
        let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
        let mut options = OpenOptions::new();
        let Ok(file) = options.read(true).custom_flags(nonblocking).open(database) else {
            return Ok(());
        };
        if !lock(&file, FlockOperation::NonBlockingLockExclusive, database)? {
            let database = database.display();
            let holder = format!("which has it under another name; see: fuser -v {database}");
            return Err(LockError::Held { holder });
        }
        self.database = Some(file);
        Ok(())
    }
}

/// Locks a file without waiting; `false` when another process has the lock.
fn lock(file: &File, how: FlockOperation, path: &Path) -> Result<bool, LockError> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(unusable(path, &error)),
    }
}

fn lock_path(database: &Path) -> Result<PathBuf, LockError> {
    let real = real_path(database).map_err(|error| unusable(&beside(database, LOCK), &error))?;
    Ok(beside(&real, LOCK))
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> LockError {
    LockError::Unusable {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

/// Opens a file that another user may have put into the folder: links are not followed, and a pipe does not block.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options
        .custom_flags(careful.bits().cast_signed())
        .open(path);
    // The kind of the file explains more than the system's error.
    let found = match &opened {
        Ok(file) => file.metadata(),
        Err(_) => fs::symlink_metadata(path),
    };
    match found.ok().as_ref().and_then(unfit) {
        Some(reason) => Err(io::Error::other(reason)),
        None => opened,
    }
}

fn open_or_make(path: &Path, database: &Path) -> io::Result<File> {
    let options = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o640);
        options
    };
    match open(path, options().create_new(true)) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open(path, &mut options()),
        Ok(file) if geteuid().is_root() => {
            // A file that root has just created must not keep the daemon out.
            let like = fs::metadata(database).or_else(|_| fs::metadata(folder_of(path)))?;
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
            Ok(file)
        }
        made => made,
    }
}

fn read_note(file: &mut File) -> String {
    let mut note = String::new();
    match file.take(200).read_to_string(&mut note) {
        Ok(_) if !note.trim().is_empty() => jobtrackd_core::text::printable(note.trim(), 200),
        _ => "which left no note".to_owned(),
    }
}
