//! The folder of a database file, and changes in it that survive a power cut.
//!
//! Another user who may write the folder can put a link at any name in it, at any moment. So the folder is held open, files
//! are created, moved and removed through that handle, and no link at the end of a name is followed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, mkdirat, openat, renameat, renameat_with, unlinkat,
};
use rustix::io::Errno;
use rustix::process::getpid;

use super::filesystem::real_path;
use super::lock::{LOCK, LockError};
use crate::StoreError;

/// Suffixes of files that SQLite reads with a database: the log and the rollback journal.
pub(super) const CONTENT: [&str; 2] = ["-wal", "-journal"];

/// Suffixes of the other files beside a database of jobtrackd.
const COMPANIONS: [&str; 2] = ["-shm", LOCK];

/// The name of the file in a staging folder.
const STAGED: &str = "jobs.db";

/// Most staging folders of earlier processes with the same process id that are skipped.
const MOST_LEFT: u32 = 1000;

/// Why a database was not copied or restored. Nothing was changed, and no file is left behind.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A daemon uses the database, or its lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file or folder cannot be used; the text says why, and names a remedy.
    #[error("{0}")]
    Refused(String),
    /// A signal stopped the program.
    #[error("stopped by a signal before it was done; nothing was changed, type it again")]
    Stopped,
}

/// A [`CopyError::Refused`] with this text.
macro_rules! refusal {
    ($($text:tt)*) => {
        $crate::sqlite::staging::CopyError::Refused(format!($($text)*))
    };
}
pub(super) use refusal;

/// A path without links in it. The file need not exist, its folder must.
#[derive(Debug)]
pub(super) struct Entry {
    folder: Arc<File>,
    pub(super) path: PathBuf,
    name: OsString,
}

impl Entry {
    /// The entry of `path`; a link at its end is not followed.
    pub(super) fn of(path: &Path) -> Result<Self, CopyError> {
        let absolute = std::path::absolute(path).at(path)?;
        let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(refusal!("{} is a folder; name a file", path.display()));
        };
        let folder = match fs::canonicalize(folder) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(refusal!(
                    "the folder {folder} does not exist; make it with: install -d -m 700 {folder}",
                    folder = folder.display()
                ));
            }
            Err(error) => return Err(error).at(folder),
        };
        let opened = open(CWD, &folder, OFlags::RDONLY | OFlags::DIRECTORY);
        Ok(Self {
            path: folder.join(name),
            name: name.to_owned(),
            folder: Arc::new(opened.at(&folder)?),
        })
    }

    /// The entry of the file that `path` leads to, through links if there are any.
    pub(super) fn behind(path: &Path) -> Result<Self, CopyError> {
        match real_path(path) {
            Ok(real) => Self::of(&real),
            // The error of the folder is clearer.
            Err(_) => Self::of(path),
        }
    }

    /// The file beside it with this ending.
    pub(super) fn beside(&self, ending: &str) -> Self {
        let with = |name: &OsStr| {
            let mut name = name.to_owned();
            name.push(ending);
            name
        };
        Self {
            folder: Arc::clone(&self.folder),
            path: PathBuf::from(with(self.path.as_os_str())),
            name: with(&self.name),
        }
    }

    /// The owner of the folder.
    pub(super) fn folder(&self) -> Result<Metadata, CopyError> {
        self.folder.metadata().at(&self.path)
    }

    /// The file, if there is one.
    pub(super) fn found(&self) -> Result<Option<Metadata>, CopyError> {
        let found =
            open(&*self.folder, &self.name, OFlags::PATH).and_then(|found| found.metadata());
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at(&self.path),
        }
    }

    /// The file, to be read; it must be one.
    pub(super) fn open(&self) -> Result<File, CopyError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        open(&*self.folder, &self.name, flags).at(&self.path)
    }

    /// Whether there is a log or a journal beside it.
    pub(super) fn has_content_beside(&self) -> Result<Option<PathBuf>, CopyError> {
        for ending in CONTENT {
            let beside = self.beside(ending);
            if beside.found()?.is_some() {
                return Ok(Some(beside.path));
            }
        }
        Ok(None)
    }

    /// Whether `other` is the file itself, or a name that SQLite or the daemon uses for it.
    pub(super) fn owns(&self, other: &Self) -> Result<bool, CopyError> {
        let endings = [""].iter().chain(&CONTENT).chain(&COMPANIONS);
        for mine in endings.map(|ending| self.beside(ending)) {
            if mine.path == other.path {
                return Ok(true);
            }
            if let (Some(mine), Some(other)) = (mine.found()?, other.found()?)
                && (mine.dev(), mine.ino()) == (other.dev(), other.ino())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An empty folder in the file's folder, which only its owner can read.
    pub(super) fn staging(&self, prefix: &str) -> Result<Staging, CopyError> {
        Staging::within(self, prefix).map_err(|error| {
            refusal!(
                "cannot write into the folder of {}: {}",
                self.path.display(),
                plain(&error)
            )
        })
    }

    /// Gives the file the free name `other`.
    pub(super) fn give_name(&self, other: &Self) -> Result<(), CopyError> {
        let moved = take_free_name((&self.folder, &self.name), (&other.folder, &other.name));
        moved.at(&other.path)
    }

    pub(super) fn remove(&self) -> Result<(), CopyError> {
        unlinkat(&*self.folder, &self.name, AtFlags::empty()).at(&self.path)
    }

    /// Gives the staged file this name, in place of any other file or only if there is none.
    pub(super) fn take(&self, staged: &Staging, replace: bool) -> Result<(), CopyError> {
        if replace {
            renameat(&*staged.folder, STAGED, &*self.folder, &self.name).at(&self.path)?;
        } else {
            staged.file.give_name(self)?;
        }
        self.flush_folder()
    }

    /// Exchanges the staged file and the one of this name, at once. `false` where the file system cannot.
    pub(super) fn exchange(&self, staged: &Staging) -> Result<bool, CopyError> {
        let flags = RenameFlags::EXCHANGE;
        match renameat_with(&*staged.folder, STAGED, &*self.folder, &self.name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
            Err(error) => Err(error).at(&self.path),
        }
    }

    /// Flushes the folder, so that changed names survive a power cut.
    pub(super) fn flush_folder(&self) -> Result<(), CopyError> {
        self.folder.sync_all().at(&self.path)
    }
}

/// A new folder with a file for SQLite to write into. Both are removed when this is dropped, unless the file was moved
/// elsewhere or is to stay.
#[derive(Debug)]
pub(super) struct Staging {
    within: Arc<File>,
    name: OsString,
    folder: Arc<File>,
    /// The file in it, and what SQLite keeps beside that.
    pub(super) file: Entry,
    stays: bool,
}

impl Staging {
    fn within(entry: &Entry, prefix: &str) -> io::Result<Self> {
        let mut number = 0;
        let name = loop {
            let name = OsString::from(format!("{prefix}{}-{number}", getpid()));
            match mkdirat(&*entry.folder, &name, Mode::RWXU) {
                Ok(()) => break name,
                Err(Errno::EXIST) if number < MOST_LEFT => number += 1,
                Err(error) => return Err(error.into()),
            }
        };
        let folder = open(&*entry.folder, &name, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let folder = Arc::new(folder);
        let path = entry.path.with_file_name(&name).join(STAGED);
        Ok(Self {
            within: Arc::clone(&entry.folder),
            name,
            file: Entry {
                folder: Arc::clone(&folder),
                path,
                name: OsString::from(STAGED),
            },
            folder,
            stays: false,
        })
    }

    /// Lets another user write into it.
    pub(super) fn give(&self, user: u32, group: u32) -> Result<(), CopyError> {
        fchown(&*self.folder, Some(user), Some(group)).at(&self.file.path)
    }

    /// Who may write into it.
    pub(super) fn owner(&self) -> Result<Metadata, CopyError> {
        self.file.folder()
    }

    /// A new file beside the staged one, or the staged one itself: no other user can read it at any moment.
    pub(super) fn create(&self, ending: &str) -> Result<File, CopyError> {
        let made = self.file.beside(ending);
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&*self.folder, &made.name, flags, Mode::RUSR | Mode::WUSR)
            .map(File::from)
            .at(&made.path)
    }

    /// From now on the file is not removed.
    pub(super) fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for ending in ["", "-old", "-wal", "-shm", "-journal"] {
            if !self.stays || !ending.is_empty() {
                let _ = self.file.beside(ending).remove();
            }
        }
        // If something is left it is harmless; the documents say how to remove it.
        let _ = unlinkat(&*self.within, &self.name, AtFlags::REMOVEDIR);
    }
}

/// Opens the file of a name; a link is not followed.
fn open(folder: impl std::os::fd::AsFd, name: impl AsRef<Path>, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name.as_ref(), flags, Mode::empty())?.into())
}

fn take_free_name(from: (&File, &OsStr), to: (&File, &OsStr)) -> io::Result<()> {
    match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
        // Network file systems do not support this way of renaming.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match open(to.0, to.1, OFlags::PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(renameat(from.0, from.1, to.0, to.1)?)
            }
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        },
        done => Ok(done?),
    }
}

/// An error of the system that names the file.
pub(super) trait At<T> {
    fn at(self, path: &Path) -> Result<T, CopyError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T, CopyError> {
        let used = |error: E| refusal!("cannot use {}: {}", path.display(), plain(&error.into()));
        self.map_err(used)
    }
}

fn plain(error: &io::Error) -> String {
    if Errno::from_io_error(error) == Some(Errno::LOOP) {
        return "it is a symbolic link; name the file itself".to_owned();
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!("{error}; run it as a user who may, or as root")
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("{error}; make space, or use another disk")
        }
        _ => error.to_string(),
    }
}
