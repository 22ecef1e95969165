//! Replaces the database by a backup.
//!
//! In this order, so that a crash at any point leaves a complete database, the old one or the new one, with one name, and
//! never one beside the log of the other:
//!
//! 1. The instance lock is taken: no daemon starts meanwhile.
//! 2. The backup, which may belong to another user and is only read, is copied into a folder beside the database, checked,
//!    given the old file's owner and mode, and flushed.
//! 3. The old database's log is folded into its file, and the file is locked to the end: SQLite grants that only if no
//!    other program has it open. A program that opens it now waits, and its writes fail, since the file has moved.
//! 4. If the file is too damaged for step 3, its log and journal are moved to its future name, and flushed.
//! 5. The old file and the new one are exchanged at once, and the old one gets its new name. Where the file system cannot
//!    exchange files, a copy of the old file gets the new name, and the new file is renamed over the old one.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::geteuid;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio_util::sync::CancellationToken;

use super::copy::{Copied, settle_copy};
use super::files::check_names;
use super::filesystem::DatabaseFile;
use super::lock::InstanceLock;
use super::migrate::{MIGRATIONS, newest};
use super::open::{plain_options, read_schema};
use super::shortage::judge;
use super::staging::{At, CONTENT, CopyError, Entry, Staging, refusal};
use super::store::{Store, query, value};
use crate::{Result, StoreError};
use jobtrackd_clock::Clock;
use jobtrackd_core::time::UnixMillis;

/// Prefix of the folder in which the new file is made; a process that is killed leaves it behind.
const STAGING: &str = ".jobtrackd-restore-";

/// How much is copied before other tasks get a turn, in bytes (8 MiB).
const CHUNK: u64 = 8 << 20;

/// A file to restore, and the log or journal beside it, if there are any: open, so that another user can copy them.
#[derive(Debug)]
pub struct BackupFile {
    entry: Entry,
    parts: Vec<(&'static str, File)>,
}

impl BackupFile {
    /// Opens the file that `path` leads to. Nothing is read yet.
    ///
    /// # Errors
    /// When there is no such file, or it cannot be read.
    pub fn open(path: &Path) -> Result<Self, CopyError> {
        let entry = Entry::behind(path)?;
        let mut parts = Vec::new();
        for ending in [""].into_iter().chain(CONTENT) {
            let part = entry.beside(ending);
            match part.found()? {
                Some(found) if found.is_file() => parts.push((ending, part.open()?)),
                Some(_) => {
                    return Err(refusal!("{} is not a file", part.path.display()));
                }
                None if ending.is_empty() => {
                    return Err(refusal!(
                        "there is no file {}; name a file that jobtrackd backup has made",
                        part.path.display()
                    ));
                }
                None => {}
            }
        }
        Ok(Self { entry, parts })
    }

    /// Copies the files unchanged.
    async fn copy_into(&self, staged: &Staging, stop: &CancellationToken) -> Result<(), CopyError> {
        let before = self.moments()?;
        for (ending, part) in &self.parts {
            let mut copy = staged.create(ending)?;
            let from = &self.entry.beside(ending).path;
            while io::copy(&mut part.take(CHUNK), &mut copy).at(from)? > 0 {
                if stop.is_cancelled() {
                    return Err(CopyError::Stopped);
                }
                tokio::task::yield_now().await;
            }
        }
        if self.moments()? != before {
            return Err(refusal!(
                "{} was written to while it was copied; end the program that does that, or make a backup of it with: jobtrackd \
                 backup FILE",
                self.entry.path.display()
            ));
        }
        Ok(())
    }

    /// The sizes, and when something was last written.
    fn moments(&self) -> Result<Vec<(u64, i64, i64)>, CopyError> {
        let moment = |found: Metadata| (found.len(), found.mtime(), found.mtime_nsec());
        let parts = self.parts.iter();
        let found: io::Result<_> = parts.map(|(_, part)| part.metadata().map(moment)).collect();
        found.at(&self.entry.path)
    }
}

/// A database that has replaced another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What it holds.
    pub copied: Copied,
    /// Where the old database is now; `None` when there was none.
    pub previous: Option<PathBuf>,
    /// The schema that it will have after the next start.
    pub newest: i64,
}

impl Store {
    /// Replaces the database in `database` by a copy of `from`, and keeps it under another name. The schema of the copy is
    /// not changed. Ends early, with nothing changed, once `stop` is cancelled.
    ///
    /// # Errors
    /// When a daemon or another program has the database open, or `from` is not a complete database of jobtrackd, or its
    /// schema is newer.
    pub async fn restore(
        database: DatabaseFile<'_>,
        from: &BackupFile,
        clock: &Clock,
        stop: &CancellationToken,
    ) -> Result<Restored, CopyError> {
        database.check()?;
        let restoring = Self::restore_at(database.path, from, clock.now(), stop);
        clock.held(restoring).await
    }

    async fn restore_at(
        database: &Path,
        from: &BackupFile,
        now: UnixMillis,
        stop: &CancellationToken,
    ) -> Result<Restored, CopyError> {
        let entry = Entry::behind(database)?;
        let owner = Owner::of(&entry)?;
        check_names(&entry.path)?;
        let note = format!("pid {}, restoring since {now}", std::process::id());
        let _lock = InstanceLock::take(&entry.path, &note)?;
        if entry.owns(&from.entry)? {
            return Err(refusal!(
                "{} is the database itself; name a backup of it",
                from.entry.path.display()
            ));
        }
        let staged = entry.staging(STAGING)?;
        from.copy_into(&staged, stop).await?;
        let copied = settle_copy(&staged, &from.entry.path, &entry.path, stop).await?;
        let newest = newest(&MIGRATIONS);
        if copied.schema > newest {
            return Err(CopyError::Store(StoreError::Newer {
                found: copied.schema,
                known: newest,
            }));
        }
        owner.apply(&staged.file.open()?)?;
        let held = settle(&entry).await?;
        if stop.is_cancelled() {
            return Err(CopyError::Stopped);
        }
        let previous = put_in_place(&entry, staged, &owner, now)?;
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

/// The owner, group and mode of the new file: the old one's, or those that the daemon would have given it.
struct Owner {
    user: u32,
    group: u32,
    mode: u32,
}

impl Owner {
    fn of(entry: &Entry) -> Result<Self, CopyError> {
        let (folder, me) = (entry.folder()?, geteuid());
        let keeper = if me.is_root() {
            folder.uid()
        } else {
            me.as_raw()
        };
        let new = Self {
            user: keeper,
            group: folder.gid(),
            mode: 0o660,
        };
        match entry.found()? {
            None => Ok(new),
            Some(old) if !old.is_file() => Err(refusal!(
                "{path} is not a file; correct database.url",
                path = entry.path.display()
            )),
            // Another user who may write the folder has put it there; it becomes the folder owner's.
            Some(old) if !me.is_root() && keeper == folder.uid() && old.uid() != keeper => Ok(new),
            Some(old) => {
                let trusted = [0, folder.uid(), keeper].contains(&old.uid());
                Ok(Self {
                    user: old.uid(),
                    group: old.gid(),
                    mode: old.mode() & if trusted { 0o666 } else { 0o660 },
                })
            }
        }
    }

    fn apply(&self, file: &File) -> Result<(), CopyError> {
        let applying = || {
            let now = file.metadata()?;
            if (now.uid(), now.gid()) != (self.user, self.group) {
                fchown(file, Some(self.user), Some(self.group))?;
            }
            file.set_permissions(Permissions::from_mode(self.mode))
        };
        applying().map_err(|error: io::Error| {
            refusal!(
                "the database cannot be given to user {} and group {}: {error}; run it as that user, or as root",
                self.user, self.group
            )
        })
    }
}

/// Folds the log of the database into its file and locks it as long as the connection is open. The connection is returned
/// even if SQLite cannot read the database: closing it would remove the log. `None` when there is no database.
async fn settle(entry: &Entry) -> Result<Option<SqliteConnection>, CopyError> {
    let path = &entry.path;
    if entry.found()?.is_none() {
        return Ok(None);
    }
    accessat(
        CWD,
        path,
        Access::READ_OK | Access::WRITE_OK,
        AtFlags::EACCESS,
    )
    .at(path)?;
    let mut connection = SqliteConnection::connect_with(&plain_options(path))
        .await
        .map_err(|error| judge(error.into(), path, false))?;
    let folded = fold(&mut connection, path).await;
    let error = match folded.map_err(|error| judge(error, path, true)) {
        Ok(()) | Err(StoreError::Damaged(_)) => return Ok(Some(connection)),
        Err(error) => error,
    };
    drop(connection.close().await);
    Err(match error {
        StoreError::Busy => refusal!(
            "another program has {path} open; what it wrote later would be lost: find it with fuser -v {path}, end it, \
             and try again",
            path = path.display()
        ),
        StoreError::Foreign(path) => refusal!(
            "{} is a database of another program; correct database.url",
            path.display()
        ),
        other => other.into(),
    })
}

async fn fold(connection: &mut SqliteConnection, path: &Path) -> Result<()> {
    match read_schema(connection, path).await {
        // Missing tables are a reason to restore, not one against folding the log.
        Ok(_) | Err(StoreError::Other(_)) => {}
        Err(error) => return Err(error),
    }
    let mode: String = value(connection, query!("PRAGMA journal_mode = DELETE")).await?;
    if mode != "delete" {
        return Err(StoreError::Busy);
    }
    sqlx::raw_sql("BEGIN EXCLUSIVE").execute(connection).await?;
    Ok(())
}

fn put_in_place(
    entry: &Entry,
    mut staged: Staging,
    owner: &Owner,
    now: UnixMillis,
) -> Result<Option<PathBuf>, CopyError> {
    let time = now.rfc3339().replace(['-', ':'], "");
    let aside = entry.beside(&format!(".before-restore-{time}"));
    for ending in CONTENT {
        let beside = entry.beside(ending);
        if beside.found()?.is_some() {
            beside.give_name(&aside.beside(ending))?;
        }
    }
    let index = entry.beside("-shm");
    if index.found()?.is_some() {
        index.remove()?;
    }
    entry.flush_folder()?;
    if entry.found()?.is_none() {
        entry.take(&staged, false)?;
        return Ok(None);
    }
    if !entry.exchange(&staged)? {
        replace_with_copy(entry, &staged, owner, &aside)?;
        return Ok(Some(aside.path));
    }
    // This is the old file now, which must not be removed with the folder if it cannot get its name.
    let old = &staged.file;
    let previous = match old.give_name(&aside) {
        Ok(()) => aside.path,
        Err(_) => old.path.clone(),
    };
    staged.stay();
    entry.flush_folder()?;
    Ok(Some(previous))
}

/// The same in steps: a copy of the old file gets the new name before the new file takes its place.
fn replace_with_copy(
    entry: &Entry,
    staged: &Staging,
    owner: &Owner,
    aside: &Entry,
) -> Result<(), CopyError> {
    // Closing it ends the locks that SQLite has on it in this process, so it stays open until it is replaced.
    let mut old = entry.open()?;
    let mut copy = staged.create("-old")?;
    let copied = io::copy(&mut old, &mut copy).and_then(|_| copy.sync_all());
    copied.at(&aside.path)?;
    owner.apply(&copy)?;
    staged.file.beside("-old").give_name(aside)?;
    entry.take(staged, true)
}
