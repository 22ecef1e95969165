//! A copy of the database in use, put in place when it is whole.

use std::fs::Metadata;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::SqliteStore;
use super::copy::{Copied, CopyError, Source, copy};
use super::place::Place;

/// How the folder's name begins in which a copy is made; a process that is killed leaves it behind.
const STAGING: &str = ".jobtrackd-backup-";

impl SqliteStore {
    pub(in crate::store) async fn back_up(
        database: &Path,
        target: &Path,
        replace: bool,
        stop: &CancellationToken,
    ) -> Result<Copied, CopyError> {
        let database = Place::behind(database)?;
        let target = Place::of(target)?;
        check(&target, &database, replace)?;
        let staging = target.staging(STAGING)?;
        let whole = staging.path().join("copy.db");
        let copied = copy(&database, Source::Live, &whole, &target, stop).await?;
        target.take(&whole, replace)?;
        Ok(copied)
    }
}

fn check(target: &Place, database: &Place, replace: bool) -> Result<(), CopyError> {
    let path = target.path.display();
    if database.owns(target)? {
        return Err(CopyError::Refused(format!(
            "{path} belongs to the database itself; name another file"
        )));
    }
    let refusal = match target.found()? {
        Some(found) => unfit(&found, replace),
        None => None,
    };
    if let Some(reason) = refusal {
        return Err(CopyError::Refused(format!("{path} {reason}")));
    }
    if let Some(other) = target.has_content_beside()? {
        return Err(CopyError::Refused(format!(
            "{} would be read as a part of the copy; remove it, or name another file",
            other.display()
        )));
    }
    Ok(())
}

fn unfit(found: &Metadata, replace: bool) -> Option<&'static str> {
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
