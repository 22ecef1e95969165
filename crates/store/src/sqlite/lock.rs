//! One daemon per database: an exclusive lock on a file beside it, which says who has it, and one on the database file.
//!
//! The first is there before the database is, and stays when another file takes the database's place. The second is the
//! same whatever name led to the file: a link, a bind mount. SQLite's own locks are of another kind, and not in the way.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::files::{beside, unfit};
use super::filesystem::{Filesystem, FilesystemKind, folder_of, real_path};

/// What the lock file's name ends with.
pub(super) const LOCK: &str = ".lock";

/// Held as long as this lives; the system releases it with the process, however that ends.
#[derive(Debug)]
pub struct InstanceLock {
    _beside: File,
    /// Closing it ends the locks that SQLite has on the file in this process, so it stays open until the end.
    database: Option<File>,
}

/// Why the lock was not had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has it.
    #[error(
        "the database is in use by another jobtrackd ({holder}); one daemon follows one database"
    )]
    Held {
        /// Process id and start of the holder, as it wrote them down.
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

/// Who follows a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// Nobody, since there is no lock file or nobody holds the lock.
    Nobody,
    /// A daemon, with the note it wrote (`pid 4711, since …`).
    Daemon(String),
}

impl InstanceLock {
    /// Who has the lock of the database at `database`. The lock is tried and released at once, and nothing is written.
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

    /// Takes the lock of the database at `database`, without waiting, and that of the file itself, if it is there.
    /// `note` says who holds it (`pid 4711, since …`).
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
        // The note is only for people; a full disk must not keep the lock from being had.
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

    /// Takes the lock of the database file itself as well, which is the same under every name that the file may have.
    /// Does nothing when that is done already, or there is no file yet.
    ///
    /// # Errors
    /// As [`InstanceLock::take`].
    pub fn cover(&mut self, database: &Path) -> Result<(), LockError> {
        // On network file systems such a lock may be one and the same as those of SQLite, or keep it from reading.
        let local = |path| Filesystem::of(path).is_ok_and(|on| on.kind != FilesystemKind::Network);
        if self.database.is_some() || !local(database) {
            return Ok(());
        }
        // Through its links, if it has any: the file is what counts. One that cannot be opened is refused later.
        let waiting_for_nobody = OFlags::NONBLOCK.bits().cast_signed();
        let mut options = OpenOptions::new();
        let Ok(file) = options
            .read(true)
            .custom_flags(waiting_for_nobody)
            .open(database)
        else {
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

/// Opens a file that whoever may write the folder may have put there: links are not followed, nothing is waited for.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let careful = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = options
        .custom_flags(careful.bits().cast_signed())
        .open(path);
    // What lies there says more than what the system makes of it.
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
            // What root has just made must not keep the daemon out.
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
