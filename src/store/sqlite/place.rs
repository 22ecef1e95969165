//! Where a database file lies: its folder, the files beside it, and moves that a power cut does not undo.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use super::copy::CopyError;

/// What SQLite keeps beside a file and reads with it: the log and the rollback journal.
pub(super) const CONTENT: [&str; 2] = ["-wal", "-journal"];

/// What else lies beside a database of ours.
const COMPANIONS: [&str; 2] = ["-shm", ".lock"];

/// A path without links in it. The file need not be there, its folder is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) path: PathBuf,
}

impl Place {
    /// The place of `path`; a link at its end is not followed.
    pub(super) fn of(path: &Path) -> Result<Self, CopyError> {
        let absolute = std::path::absolute(path).map_err(|error| refused(path, &error))?;
        let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(CopyError::Refused(format!(
                "{} is a folder; name a file",
                path.display()
            )));
        };
        let folder = match fs::canonicalize(folder) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CopyError::Refused(format!(
                    "the folder {folder} does not exist; make it with: install -d -m 700 {folder}",
                    folder = folder.display()
                )));
            }
            Err(error) => return Err(refused(folder, &error)),
        };
        let path = folder.join(name);
        Ok(Self { folder, path })
    }

    /// The place of the file that `path` leads to, through links if there are any.
    pub(super) fn behind(path: &Path) -> Result<Self, CopyError> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => {
                Self::of(&fs::canonicalize(path).map_err(|error| refused(path, &error))?)
            }
            _ => Self::of(path),
        }
    }

    /// The file beside it with this ending.
    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(ending);
        PathBuf::from(name)
    }

    /// The file, if there is one; a link is not followed.
    pub(super) fn found(&self) -> Result<Option<Metadata>, CopyError> {
        found(&self.path)
    }

    /// Whether a log or a journal lies beside it.
    pub(super) fn has_content_beside(&self) -> Result<Option<PathBuf>, CopyError> {
        for ending in CONTENT {
            let path = self.beside(ending);
            if found(&path)?.is_some() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Whether `other` is the file itself, or a name that SQLite or the daemon uses for it.
    pub(super) fn owns(&self, other: &Self) -> Result<bool, CopyError> {
        let mut names = vec![self.path.clone()];
        names.extend(
            CONTENT
                .iter()
                .chain(&COMPANIONS)
                .map(|end| self.beside(end)),
        );
        for name in &names {
            if *name == other.path {
                return Ok(true);
            }
            if let (Some(mine), Some(other)) = (found(name)?, other.found()?)
                && (mine.dev(), mine.ino()) == (other.dev(), other.ino())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// An empty folder in the file's folder, which only its owner can look into; it vanishes when it is dropped.
    pub(super) fn staging(&self, prefix: &str) -> Result<TempDir, CopyError> {
        tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.folder)
            .map_err(|error| {
                CopyError::Refused(format!(
                    "cannot write into the folder {}: {}",
                    self.folder.display(),
                    plain(&error)
                ))
            })
    }

    /// Gives `file` this name, in place of any other file or only if there is none.
    pub(super) fn take(&self, file: &Path, replace: bool) -> Result<(), CopyError> {
        let moved = if replace {
            fs::rename(file, &self.path)
        } else {
            self.take_free_name(file)
        };
        moved.map_err(|error| refused(&self.path, &error))?;
        self.flush_folder()
    }

    fn take_free_name(&self, file: &Path) -> io::Result<()> {
        use rustix::io::Errno;
        match renameat_with(CWD, file, CWD, &self.path, RenameFlags::NOREPLACE) {
            // Network shares do not know this way of renaming.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !self.path.exists() => {
                fs::rename(file, &self.path)
            }
            done => Ok(done?),
        }
    }

    /// Makes what happened to the names in the folder outlast a power cut.
    pub(super) fn flush_folder(&self) -> Result<(), CopyError> {
        flush(&self.folder)
    }
}

/// A file for SQLite to write into: nobody else can read it at any moment.
pub(super) fn private_file(path: &Path) -> Result<(), CopyError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|error| refused(path, &error))
}

/// Makes what was written to a file, or to the list of a folder, outlast a power cut. No database may be open there.
pub(super) fn flush(path: &Path) -> Result<(), CopyError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| refused(path, &error))
}

/// What lies at this path, if anything; a link is not followed.
pub(super) fn found(path: &Path) -> Result<Option<Metadata>, CopyError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(path, &error)),
    }
}

pub(super) fn refused(path: &Path, error: &io::Error) -> CopyError {
    CopyError::Refused(format!("cannot use {}: {}", path.display(), plain(error)))
}

fn plain(error: &io::Error) -> String {
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
