//! One daemon per database: an exclusive lock on a file beside it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Held as long as this lives; the system releases it with the process, however that ends.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
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
    /// Who has the lock of the database at `database`. The lock is tried and given back at once, and nothing is written.
    ///
    /// # Errors
    /// When the lock file cannot be read.
    pub fn holder(database: &Path) -> Result<Holder, LockError> {
        let path = lock_path(database);
        let unusable = |error: &dyn std::fmt::Display| LockError::Unusable {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Holder::Nobody),
            Err(error) => return Err(unusable(&error)),
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(Holder::Nobody),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Holder::Daemon(read_note(&mut file))),
            Err(error) => Err(unusable(&error)),
        }
    }

    /// Takes the lock of the database at `database`, without waiting. `note` says who holds it (`pid 4711, since …`).
    ///
    /// # Errors
    /// [`LockError::Held`] with the holder's note, or [`LockError::Unusable`].
    pub fn take(database: &Path, note: &str) -> Result<Self, LockError> {
        let path = lock_path(database);
        let unusable = |error: &dyn std::fmt::Display| LockError::Unusable {
            path: path.clone(),
            reason: error.to_string(),
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o640)
            .open(&path)
            .map_err(|error| unusable(&error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held {
                    holder: read_note(&mut file),
                });
            }
            Err(error) => return Err(unusable(&error)),
        }
        // The note is only for people; a full disk must not keep the lock from being had.
        let _ = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(note.as_bytes()));
        Ok(Self { _file: file })
    }
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn read_note(file: &mut File) -> String {
    let mut note = String::new();
    match file.take(200).read_to_string(&mut note) {
        Ok(_) if !note.trim().is_empty() => crate::core::poll::printable(note.trim(), 200),
        _ => "which left no note".to_owned(),
    }
}
