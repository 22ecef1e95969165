//! Copies of SQLite files, and how they are checked: of the database while it is in use, and of a file that is not.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio_util::sync::CancellationToken;

use super::files::check_names;
use super::open::{plain_options, read_schema};
use super::shortage::judge;
use super::staging::{At, CopyError, Entry, Staging, refusal};
use super::store::{execute, integer, query, value};
use crate::{Result, StoreError};

/// How often SQLite checks whether to stop, in steps of its virtual machine.
const STEPS: i32 = 10_000;

/// One row with "ok", or the first thing that is wrong.
const INTEGRITY: &str = "PRAGMA integrity_check(1)";

const JOBS: &str = "SELECT count(*) FROM jobs";

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

/// Copies the database in use at `from` into `staged`, while others have it open, checks the copy and flushes it to the
/// disk. It is one file, which only its owner can read. Errors call it `target`, the name it will get.
pub(super) async fn copy(
    from: &Entry,
    staged: &Staging,
    target: &Path,
    stop: &CancellationToken,
) -> Result<Copied, CopyError> {
    let (from_path, target_path) = (from.path.display(), target.display());
    let original = options_of(from)?;
    let examined = examine(&original, &from.path, false, stop).await;
    let (schema, _) = examined.map_err(explained(&from.path, target, |reason| {
        format!("{from_path} is damaged: {reason}; restore a backup with: jobtrackd restore FILE")
    }))?;
    let into = &staged.file.path;
    let file = staged.create("")?;
    let copied = vacuum(&original, into, stop).await;
    copied.map_err(explained(&from.path, target, |reason| {
        format!("cannot copy {from_path} to {target_path}: {reason}; check both disks")
    }))?;
    let examined = examine(&plain_options(into).read_only(true), into, true, stop).await;
    let (found, jobs) = examined.map_err(explained(&from.path, target, |reason| {
        format!("the copy for {target_path} is damaged: {reason}; check its disk, and try again")
    }))?;
    if found != schema {
        return Err(refusal!(
            "the schema of {from_path} changed from {schema} to {found} meanwhile; try again"
        ));
    }
    let flushed = file.sync_all().and_then(|()| file.metadata());
    Ok(Copied {
        bytes: flushed.at(into)?.len(),
        jobs,
        schema,
    })
}

fn options_of(from: &Entry) -> Result<SqliteConnectOptions, CopyError> {
    let path = &from.path;
    match from.found()? {
        None => return Err(StoreError::Absent(path.clone()).into()),
        Some(found) if !found.is_file() => {
            return Err(refusal!("{} is not a file", path.display()));
        }
        Some(_) => check_names(path)?,
    }
    accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS).at(path)?;
    Ok(plain_options(path))
}

/// Folds the log of the staged copy of `from` into its file, and checks that it is a complete database of jobtrackd. Errors
/// name `from`, and `target`, the name it will get.
pub(super) async fn settle_copy(
    staged: &Staging,
    from: &Path,
    target: &Path,
    stop: &CancellationToken,
) -> Result<Copied, CopyError> {
    let damaged = |reason: &str| {
        format!(
            "{} is damaged: {reason}; name another backup",
            from.display()
        )
    };
    let file = &staged.file.path;
    let options = plain_options(file);
    let alone = async {
        let (schema, jobs) = examine(&options, from, true, stop).await?;
        let folding = async |connection: &mut SqliteConnection| {
            sqlx::raw_sql("PRAGMA journal_mode = DELETE")
                .execute(connection)
                .await?;
            Ok(())
        };
        with(&options, stop, folding).await?;
        Ok((schema, jobs))
    };
    let alone = alone.await;
    let (schema, jobs) = alone.map_err(explained(from, target, damaged))?;
    let file = staged.file.open()?;
    let flushed = file.sync_all().and_then(|()| file.metadata());
    Ok(Copied {
        bytes: flushed.at(from)?.len(),
        jobs,
        schema,
    })
}

/// The schema's number and the number of jobs, if it is a database of jobtrackd in which SQLite finds no damage.
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
            let found: String = value(connection, query!(INTEGRITY)).await?;
            if found != "ok" {
                return Err(StoreError::Damaged(found));
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
        return Err(refusal!("{path} is not UTF-8; name another file"));
    };
    let copying = async |connection: &mut SqliteConnection| {
        execute(connection, query!("VACUUM INTO ?1", name)).await?;
        Ok(())
    };
    with(options, stop, copying).await
}

/// Runs `work` on a new connection, until it is done or `stop` is cancelled.
async fn with<T>(
    options: &SqliteConnectOptions,
    stop: &CancellationToken,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T>,
) -> Result<T, CopyError> {
    let working = async {
        let mut connection = SqliteConnection::connect_with(options).await?;
        let stop = stop.clone();
        connection
            .lock_handle()
            .await?
            .set_progress_handler(STEPS, move || !stop.is_cancelled());
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
    Ok(done.map_err(|error| judge(error, options.get_filename(), false))?)
}

/// The error with the files' names and a remedy; `damaged` is the text for the reasons that SQLite gives.
fn explained(
    from: &Path,
    target: &Path,
    damaged: impl FnOnce(&str) -> String,
) -> impl FnOnce(CopyError) -> CopyError {
    let (from, target) = (from.display(), target.display());
    move |error| match error {
        CopyError::Store(StoreError::Busy) => refusal!(
            "{from} is locked by another program; find it with fuser -v {from}, and try again"
        ),
        CopyError::Store(StoreError::Full) => refusal!(
            "cannot write {target}: the disk is full; make space there, or use another disk"
        ),
        CopyError::Store(StoreError::Short(shortage)) => {
            refusal!("cannot write {target}: {shortage}")
        }
        CopyError::Store(StoreError::Damaged(reason) | StoreError::Other(reason)) => {
            CopyError::Refused(damaged(&reason))
        }
        other => other,
    }
}
