//! Where a measurement takes place: a folder below the one whose disk is measured, and the configuration in it.

use std::env::temp_dir;
use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use tempfile::TempDir;

use super::super::privilege::leave_to_owner;
use super::super::text;
use crate::config::{DatabaseSettings, Sources, load_database};
use crate::store::sqlite::{DatabaseFile, Filesystem, folder_of};

/// The name of a database in a folder.
const DATABASE: &str = "jobs.db";

/// Free space that there must be, in bytes: several times what a measurement writes on a fast machine.
const ROOM: u64 = 512 << 20;

/// The webhook of the measurement. Its receiver checks no signature.
pub(super) const WEBHOOK: &str = "bench";

/// The folder whose disk is measured.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Why this one, in words for people.
    pub(super) choice: String,
    pub(super) filesystem: Filesystem,
    allow_network: bool,
}

impl Place {
    /// The named folder, else that of the configured database, else the one for temporary files. As root, this thread continues
    /// as the owner of that folder.
    ///
    /// # Errors
    /// When the configuration or the folder cannot be used.
    pub(super) fn find(named: Option<&Path>, sources: &Sources) -> anyhow::Result<Self> {
        let (folder, choice, allow_network) = match named {
            Some(named) => {
                leave_to_owner(&named.join(DATABASE))?;
                (named.to_owned(), "as named".to_owned(), false)
            }
            None => configured(&load_database(sources)?)?,
        };
        check(&folder, allow_network)?;
        let filesystem = Filesystem::of(&folder.join(DATABASE))
            .with_context(|| format!("the file system of {} is not known", folder.display()))?;
        Ok(Self {
            folder,
            choice,
            filesystem,
            allow_network,
        })
    }

    #[cfg(test)]
    pub(super) fn for_tests(folder: PathBuf, filesystem: Filesystem) -> Self {
        Self {
            folder,
            choice: "as named".to_owned(),
            filesystem,
            allow_network: false,
        }
    }

    /// A folder for one database, with nothing in it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn site(&self) -> anyhow::Result<Site> {
        let folder = tempfile::Builder::new()
            .prefix(".jobtrackd-bench-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.folder)
            .with_context(|| format!("no folder can be made in {}", self.folder.display()))?;
        Ok(Site {
            folder,
            allow_network: self.allow_network,
        })
    }
}

fn configured(database: &DatabaseSettings) -> anyhow::Result<(PathBuf, String, bool)> {
    let folder = folder_of(&database.path);
    let shown = folder.display();
    let why = if !folder.is_dir() {
        "does not exist"
    } else {
        leave_to_owner(&database.path)?;
        match is_writable(folder) {
            true => {
                let choice = "of the configured database".to_owned();
                return Ok((folder.to_owned(), choice, database.allow_network_filesystem));
            }
            false => "cannot be written by this user",
        }
    };
    let choice = format!("for temporary files; {shown}, of the configured database, {why}");
    Ok((temp_dir(), choice, false))
}

fn is_writable(folder: &Path) -> bool {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    accessat(CWD, folder, wanted, AtFlags::EACCESS).is_ok()
}

fn check(folder: &Path, allow_network: bool) -> anyhow::Result<()> {
    let shown = folder.display();
    if !is_writable(folder) {
        bail!(
            "this user cannot write {shown}; name another folder with --directory, or run it as another user"
        );
    }
    DatabaseFile::new(&folder.join(DATABASE), allow_network).check()?;
    let found =
        statvfs(folder).with_context(|| format!("the free space of {shown} is not known"))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < ROOM {
        bail!(
            "{} are free in {shown}, and a measurement wants {}; name another folder with --directory",
            text::size(free),
            text::size(ROOM)
        );
    }
    Ok(())
}

/// A folder for one database; removed when it is dropped.
#[derive(Debug)]
pub(super) struct Site {
    folder: TempDir,
    allow_network: bool,
}

impl Site {
    /// The database, which may be there already.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join(DATABASE)
    }

    /// Where the database is, as the store wants to know it.
    pub(super) fn file<'a>(&self, path: &'a Path) -> DatabaseFile<'a> {
        DatabaseFile::new(path, self.allow_network)
    }

    /// What the daemon writes to standard error.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.folder.path().join("jobtrackd.toml")
    }

    /// Writes the configuration: peers at this address, jobs polled at this distance.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn configure(&self, peers: &str, delay: &str) -> anyhow::Result<()> {
        let database = format!("sqlite://{}", self.database().display());
        let text = format!(
            include_str!("config.toml.in"),
            // JSON's texts are among those of TOML.
            database = serde_json::Value::from(database),
            network = self.allow_network,
            peers = peers,
            delay = delay,
            webhook = WEBHOOK,
        );
        let file = self.configuration();
        let mut options = OpenOptions::new();
        let private = options.write(true).create_new(true).mode(0o600).open(&file);
        private
            .and_then(|mut to| to.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {}", file.display()))
    }

    /// Removes the folder.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub(super) fn remove(self) -> anyhow::Result<()> {
        let failed = format!("failed to remove {}", self.folder.path().display());
        self.folder.close().context(failed)
    }
}
