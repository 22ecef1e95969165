//! A copy of the database in use, which gets its name when it is complete.
//!
//! The copy may be in a folder that only root may write, and root should not open the database, whose folder others may
//! write. So there are three steps: a process that may write the folder prepares it, one that may read the database makes
//! the copy, and the first one gives the copy its name.

use std::fs::{Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::copy::{Copied, copy};
use super::files::unfit;
use super::filesystem::DatabaseFile;
use super::staging::{At, CopyError, Entry, Staging, refusal};
use super::store::Store;
use jobtrackd_clock::Clock;

/// Prefix of the folder in which a copy is made; a process that is killed leaves it behind.
const STAGING: &str = ".jobtrackd-backup-";

/// The name of the copy, and a folder beside it in which it is made. Dropping this removes the folder.
#[derive(Debug)]
pub struct BackupTarget {
    entry: Entry,
    replace: bool,
    staging: Staging,
    /// The owner of the copy.
    owner: Metadata,
}

impl BackupTarget {
    /// Checks whether a copy of `database` may be put at `target`, with `replace` over another file. `writer` is the user
    /// and group that will make the copy, when this process will not.
    ///
    /// # Errors
    /// When `target` belongs to the database or is not a name for a copy, or its folder cannot be written.
    pub fn prepare(
        database: &Path,
        target: &Path,
        replace: bool,
        writer: Option<(u32, u32)>,
    ) -> Result<Self, CopyError> {
        let entry = Entry::of(target)?;
        check(&entry, &Entry::behind(database)?, replace)?;
        let staging = entry.staging(STAGING)?;
        let owner = staging.owner()?;
        if let Some((user, group)) = writer {
            staging.give(user, group)?;
        }
        Ok(Self {
            entry,
            replace,
            staging,
            owner,
        })
    }

    /// Gives the copy its name at once, with mode 0600.
    ///
    /// # Errors
    /// When it cannot; nothing is left behind then.
    pub fn put(self) -> Result<(), CopyError> {
        let (user, group) = (self.owner.uid(), self.owner.gid());
        if self.staging.owner()?.uid() != user {
            // From here on the other process cannot replace the copy.
            self.staging.give(user, group)?;
            let path = &self.staging.file.path;
            let file = self.staging.file.open()?;
            let finish = || {
                if let Some(reason) = unfit(&file.metadata()?) {
                    return Err(std::io::Error::other(reason));
                }
                fchown(&file, Some(user), Some(group))?;
                file.set_permissions(Permissions::from_mode(0o600))?;
                file.sync_all()
            };
            finish().at(path)?;
        }
        self.entry.take(&self.staging, self.replace)
    }
}

impl Store {
    /// Makes the copy of the database in `database` for `target`, while others may read and write it. The copy is a single
    /// file, without a log; [`BackupTarget::put`] gives it its name. Ends early once `stop` is cancelled.
    ///
    /// # Errors
    /// When there is no database of jobtrackd, or the copy cannot be written or is damaged.
    pub async fn back_up(
        database: DatabaseFile<'_>,
        target: &BackupTarget,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Copied, CopyError> {
        database.check()?;
        let copying = async {
            let database = Entry::behind(database.path)?;
            copy(&database, &target.staging, &target.entry.path, stop).await
        };
        clock.held(copying).await
    }
}

fn check(target: &Entry, database: &Entry, replace: bool) -> Result<(), CopyError> {
    let path = target.path.display();
    if database.owns(target)? {
        return Err(refusal!(
            "{path} belongs to the database itself; name another file"
        ));
    }
    let refusal = match target.found()? {
        Some(found) => why_not(&found, replace),
        None => None,
    };
    if let Some(reason) = refusal {
        return Err(refusal!("{path} {reason}"));
    }
    if let Some(other) = target.has_content_beside()? {
        return Err(refusal!(
            "{} would be read as a part of the copy; remove it, or name another file",
            other.display()
        ));
    }
    Ok(())
}

fn why_not(found: &Metadata, replace: bool) -> Option<&'static str> {
    if found.is_dir() {
        Some("is a folder; name a file in it")
    } else if found.is_symlink() {
        Some("is a symbolic link; name the file itself")
    } else if !found.is_file() {
        Some("is not a file; name another one")
    } else if !replace {
        Some("exists already; replace it with --force, or name another file")
    } else {
        None
    }
}
