//! A backup put in the place of the database.
//!
//! In this order, so that a crash at any point leaves a whole database in place, the old one or the new one, and never
//! one beside the log of the other:
//!
//! 1. The instance lock is taken: no daemon starts meanwhile.
//! 2. The backup is copied into a folder beside the database, looked at, dressed with the old file's owner and mode, and
//!    flushed.
//! 3. The old database's log is folded into its file, and the file is locked for good: SQLite grants that only if nobody
//!    else has it open. Whoever opens it now waits, and is refused when it writes, since the file has moved.
//! 4. The old file gets a second name. What was beside a file too damaged for step 3 is moved to that name too, and
//!    flushed before the next step.
//! 5. The new file is renamed over the old one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Row};
use tokio_util::sync::CancellationToken;

use super::copy::{Copied, CopyError, Source, copy};
use super::migrate::{MIGRATIONS, newest};
use super::open::{plain_options, read_schema};
use super::place::{CONTENT, Place, found, refused};
use super::{InstanceLock, SqliteStore, StoreError};
use crate::core::time::UnixMillis;

/// How the folder's name begins in which the new file is made; a process that is killed leaves it behind.
const STAGING: &str = ".jobtrackd-restore-";

/// A database that was put in place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub copied: Copied,
    /// Where the database before it is now; `None` when there was none.
    pub previous: Option<PathBuf>,
    /// The schema that the next start makes of it.
    pub newest: i64,
}

impl SqliteStore {
    pub(in crate::store) async fn restore(
        database: &Path,
        from: &Path,
        now: UnixMillis,
        stop: &CancellationToken,
    ) -> Result<Restored, CopyError> {
        let place = Place::behind(database)?;
        let owner = Owner::of(&place)?;
        let note = format!("pid {}, restoring since {now}", std::process::id());
        let _lock = InstanceLock::take(database, &note)?;
        owner.owns_lock(database)?;
        let from = Place::behind(from)?;
        if place.owns(&from)? {
            return Err(CopyError::Refused(format!(
                "{} is the database itself; name a backup of it",
                from.path.display()
            )));
        }
        let staging = place.staging(STAGING)?;
        let whole = staging.path().join("jobs.db");
        let copied = copy(&from, Source::Still, &whole, &place, stop).await?;
        let newest = newest(&MIGRATIONS);
        if copied.schema > newest {
            return Err(CopyError::Store(StoreError::Newer {
                found: copied.schema,
                known: newest,
            }));
        }
        owner.dress(&whole)?;
        let held = settle(&place).await?;
        if stop.is_cancelled() {
            return Err(CopyError::Stopped);
        }
        let previous = put_in_place(&place, &whole, now)?;
        if let Some(held) = held {
            drop(held.close().await);
        }
        Ok(Restored {
            copied,
            previous,
            newest,
        })
    }
}

/// Whose the new file is to be: the old one's owner, group and mode, or what the daemon would have given it.
struct Owner {
    user: u32,
    group: u32,
    mode: u32,
}

impl Owner {
    fn of(place: &Place) -> Result<Self, CopyError> {
        if let Some(old) = place.found()? {
            if !old.is_file() {
                let path = place.path.display();
                return Err(CopyError::Refused(format!(
                    "{path} is not a file; correct database.url"
                )));
            }
            return Ok(Self {
                user: old.uid(),
                group: old.gid(),
                mode: old.mode() & 0o7777,
            });
        }
        let folder = fs::metadata(&place.folder).map_err(|error| refused(&place.folder, &error))?;
        let mine = geteuid();
        Ok(Self {
            // Root does it for the daemon, to whom the folder belongs.
            user: if mine.is_root() {
                folder.uid()
            } else {
                mine.as_raw()
            },
            group: folder.gid(),
            mode: 0o660,
        })
    }

    /// A lock file that root has just made must not keep the daemon out.
    fn owns_lock(&self, database: &Path) -> Result<(), CopyError> {
        if !geteuid().is_root() {
            return Ok(());
        }
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        std::os::unix::fs::chown(&name, Some(self.user), Some(self.group))
            .map_err(|error| refused(Path::new(&name), &error))
    }

    fn dress(&self, file: &Path) -> Result<(), CopyError> {
        let dressing = || {
            let now = fs::metadata(file)?;
            if (now.uid(), now.gid()) != (self.user, self.group) {
                std::os::unix::fs::chown(file, Some(self.user), Some(self.group))?;
            }
            fs::set_permissions(file, fs::Permissions::from_mode(self.mode))
        };
        dressing().map_err(|error: std::io::Error| {
            CopyError::Refused(format!(
                "the database cannot be given to user {} and group {}: {error}; run it as that user, or as root",
                self.user, self.group
            ))
        })
    }
}

/// Folds the log of the database into its file and keeps everybody else out as long as the connection lives. Of a
/// database that SQLite can make nothing of the connection lives as well: closing it would take the log away. `None` when
/// there is no database.
async fn settle(place: &Place) -> Result<Option<SqliteConnection>, CopyError> {
    let path = &place.path;
    if place.found()?.is_none() {
        return Ok(None);
    }
    accessat(
        CWD,
        path,
        Access::READ_OK | Access::WRITE_OK,
        AtFlags::EACCESS,
    )
    .map_err(|error| refused(path, &error.into()))?;
    let mut connection = SqliteConnection::connect_with(&plain_options(path))
        .await
        .map_err(StoreError::from)?;
    let error = match fold(&mut connection, path).await {
        Ok(()) | Err(StoreError::Damaged(_)) => return Ok(Some(connection)),
        Err(error) => error,
    };
    drop(connection.close().await);
    Err(match error {
        StoreError::Busy => CopyError::Refused(format!(
            "another program has {path} open; what it wrote later would be lost: find it with fuser -v {path}, end it, \
             and try again",
            path = path.display()
        )),
        StoreError::Foreign(path) => CopyError::Refused(format!(
            "{} is a database of another program; correct database.url",
            path.display()
        )),
        other => other.into(),
    })
}

async fn fold(connection: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    match read_schema(connection, path).await {
        // Tables that are gone are a reason to restore, and none against folding the log.
        Ok(_) | Err(StoreError::Other(_)) => {}
        Err(error) => return Err(error),
    }
    let mode: String = sqlx::query("PRAGMA journal_mode = DELETE")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    if mode != "delete" {
        return Err(StoreError::Busy);
    }
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(connection).await?;
    Ok(())
}

fn put_in_place(
    place: &Place,
    whole: &Path,
    now: UnixMillis,
) -> Result<Option<PathBuf>, CopyError> {
    let time = now.rfc3339().replace(['-', ':'], "");
    let aside = Place {
        folder: place.folder.clone(),
        path: place.beside(&format!(".before-restore-{time}")),
    };
    let old = place.found()?.is_some();
    if old {
        fs::hard_link(&place.path, &aside.path).map_err(|error| refused(&aside.path, &error))?;
    }
    for ending in CONTENT {
        let beside = place.beside(ending);
        if found(&beside)?.is_some() {
            fs::rename(&beside, aside.beside(ending)).map_err(|error| refused(&beside, &error))?;
        }
    }
    let index = place.beside("-shm");
    if found(&index)?.is_some() {
        fs::remove_file(&index).map_err(|error| refused(&index, &error))?;
    }
    place.flush_folder()?;
    place.take(whole, true)?;
    Ok(old.then_some(aside.path))
}
