//! A consistent copy of one SQLite file, whoever is writing to it meanwhile, and what is looked at before it is trusted.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};
use tokio_util::sync::CancellationToken;

use super::open::{plain_options, read_schema};
use super::place::{Place, flush, private_file, refused};
use super::{LockError, StoreError, integer};

/// So often, in steps of SQLite's virtual machine, it asks whether to go on.
const STEPS: i32 = 10_000;

/// One row with "ok", or the first thing that is wrong.
const INTEGRITY: &str = "PRAGMA integrity_check(1)";

const JOBS: &str = "SELECT count(*) FROM jobs";

/// Why a database was not copied or restored. Nothing was changed, and no file is left behind.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A daemon has the database, or its lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file or folder cannot be used in this way; the text says why and how to go on.
    #[error("{0}")]
    Refused(String),
    /// Somebody asked for the end.
    #[error("stopped by a signal before it was done; nothing was changed, type it again")]
    Stopped,
}

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The size of the copy.
    pub bytes: u64,
    /// The jobs in it, ended ones included.
    pub jobs: i64,
    /// The number of its schema.
    pub schema: i64,
}

/// What a file is copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The database in use, beside whoever has it open.
    Live,
    /// A file that nobody uses; it is not trusted before it is looked at, and nothing is written beside it.
    Still,
}

/// Copies `from` into the new file `into`, which only its owner can read, looks whether it is whole and makes it outlast
/// a power cut. The copy is one file: nothing of it is in a log. Errors call it `target`, which it is to become.
pub(super) async fn copy(
    from: &Place,
    source: Source,
    into: &Path,
    target: &Place,
    stop: &CancellationToken,
) -> Result<Copied, CopyError> {
    let (from_path, target_path) = (from.path.display(), target.path.display());
    let original = options_of(from, source)?;
    let (schema, _) = examine(&original, &from.path, source == Source::Still, stop)
        .await
        .map_err(|error| {
            told(error, from, target, |reason| match source {
                Source::Live => format!(
                    "{from_path} is damaged: {reason}; restore a backup with: jobtrackd restore FILE"
                ),
                Source::Still => {
                    format!("{from_path} is damaged: {reason}; name another backup")
                }
            })
        })?;
    private_file(into)?;
    vacuum(&original, into, stop).await.map_err(|error| {
        told(error, from, target, |reason| {
            format!("cannot copy {from_path} to {target_path}: {reason}; look at both disks")
        })
    })?;
    let copied = plain_options(into).read_only(true);
    let (found, jobs) = examine(&copied, into, true, stop).await.map_err(|error| {
        told(error, from, target, |reason| {
            format!(
                "the copy for {target_path} is not whole: {reason}; look at its disk, and try again"
            )
        })
    })?;
    if found != schema {
        return Err(CopyError::Refused(format!(
            "the schema of {from_path} changed from {schema} to {found} meanwhile; try again"
        )));
    }
    flush(into)?;
    let bytes = std::fs::metadata(into).map_err(|error| refused(into, &error))?;
    Ok(Copied {
        bytes: bytes.len(),
        jobs,
        schema,
    })
}

fn options_of(from: &Place, source: Source) -> Result<SqliteConnectOptions, CopyError> {
    let path = &from.path;
    match from.found()? {
        None if source == Source::Live => return Err(StoreError::Absent(path.clone()).into()),
        None => {
            return Err(CopyError::Refused(format!(
                "there is no file {}; name a file that jobtrackd backup has made",
                path.display()
            )));
        }
        Some(found) if !found.is_file() => {
            return Err(CopyError::Refused(format!(
                "{} is not a file",
                path.display()
            )));
        }
        Some(_) => {}
    }
    accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)
        .map_err(|error| refused(path, &error.into()))?;
    let options = plain_options(path);
    Ok(match source {
        Source::Live => options,
        // Without a log there is nothing beside the file to be read, and so nothing has to be made there.
        Source::Still => {
            let alone = from.has_content_beside()?.is_none();
            options.read_only(true).immutable(alone)
        }
    })
}

/// The schema's number and the number of jobs, if it is a database of ours, and whole as far as SQLite can tell.
async fn examine(
    options: &SqliteConnectOptions,
    path: &Path,
    thoroughly: bool,
    stop: &CancellationToken,
) -> Result<(i64, i64), CopyError> {
    let examining = async |connection: &mut SqliteConnection| {
        let schema = read_schema(connection, path).await?;
        if schema == 0 {
            return Err(StoreError::Foreign(path.to_owned()));
        }
        if thoroughly {
            let said: String = sqlx::query(INTEGRITY)
                .fetch_one(&mut *connection)
                .await?
                .try_get(0)?;
            if said != "ok" {
                return Err(StoreError::Damaged(said));
            }
        }
        Ok((schema, integer(connection, JOBS).await?))
    };
    with(options, stop, examining).await
}

async fn vacuum(
    options: &SqliteConnectOptions,
    into: &Path,
    stop: &CancellationToken,
) -> Result<(), CopyError> {
    let Some(name) = into.to_str() else {
        let path = into.display();
        return Err(CopyError::Refused(format!(
            "{path} is not UTF-8; name another file"
        )));
    };
    let copying = async |connection: &mut SqliteConnection| {
        sqlx::query("VACUUM INTO ?1")
            .bind(name)
            .execute(connection)
            .await?;
        Ok(())
    };
    with(options, stop, copying).await
}

/// Runs `work` on a connection of its own, until it is done or `stop` is cancelled.
async fn with<T>(
    options: &SqliteConnectOptions,
    stop: &CancellationToken,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, StoreError>,
) -> Result<T, CopyError> {
    let working = async {
        let mut connection = SqliteConnection::connect_with(options).await?;
        let asked = stop.clone();
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS, move || !asked.is_cancelled());
        let done = work(&mut connection).await;
        let closed = connection.close().await;
        let value = done?;
        closed?;
        Ok::<_, StoreError>(value)
    };
    let done = working.await;
    if stop.is_cancelled() {
        return Err(CopyError::Stopped);
    }
    Ok(done?)
}

/// The error with the files' names and what to do about it; `damaged` says it for the reasons that SQLite gives.
fn told(
    error: CopyError,
    from: &Place,
    target: &Place,
    damaged: impl FnOnce(&str) -> String,
) -> CopyError {
    let (from, target) = (from.path.display(), target.path.display());
    match error {
        CopyError::Store(StoreError::Busy) => CopyError::Refused(format!(
            "{from} is locked by another program; find it with fuser -v {from}, and try again"
        )),
        CopyError::Store(StoreError::Full) => CopyError::Refused(format!(
            "cannot write {target}: the disk is full; make space there, or use another disk"
        )),
        CopyError::Store(StoreError::Damaged(reason) | StoreError::Other(reason)) => {
            CopyError::Refused(damaged(&reason))
        }
        other => other,
    }
}
