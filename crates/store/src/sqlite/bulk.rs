//! Many rows in one statement, as one JSON parameter.
//!
//! JSON is in memory several times, and SQLite reads it slowly. So each statement takes a limited number of rows, and a
//! long text is a separate parameter, which is just copied.

use std::mem::{replace, take};

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::store::{execute, fetch_all, query};
use crate::{Recordable, Result, StoreError};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Longest text that is part of the JSON, in bytes (4 KiB).
const LONG: usize = 4 << 10;

/// Most bytes of rows in the JSON of one statement (512 KiB), unless a single row has more.
const CHUNK: usize = 512 << 10;

/// Something that was observed about a job, with one text that may be long.
#[derive(Serialize)]
pub(super) struct Observed<'a, T> {
    job_id: &'a JobId,
    at: UnixMillis,
    text: Option<&'a str>,
    #[serde(flatten)]
    fact: T,
}

impl<'a, T> Observed<'a, T> {
    pub(super) fn of(recordable: &'a Recordable, fact: T, text: Option<&'a str>) -> Self {
        Self {
            job_id: &recordable.observation.job_id,
            at: recordable.observation.at,
            text,
            fact,
        }
    }
}

/// Runs the statement for all rows, in order, and returns what it returns. The rows are `?1`; if there is only one, and its
/// text is long, that is `?2` and not in the row, else `?2` is NULL.
pub(super) async fn execute_in_chunks<'a, T: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: impl Iterator<Item = Observed<'a, T>>,
) -> Result<Vec<SqliteRow>> {
    let (mut returned, mut chunk) = (Vec::new(), Vec::new());
    for mut row in rows {
        let text = row.text.take_if(|text| text.len() > LONG);
        let before = chunk.len();
        chunk.push(if before == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut chunk, &row).map_err(not_json)?;
        if before > 0 && (text.is_some() || chunk.len() > CHUNK) {
            let mut next = chunk.split_off(before);
            next[0] = b'[';
            let full = replace(&mut chunk, next);
            returned.extend(run(connection, sql, full, None).await?);
        }
        if text.is_some() {
            returned.extend(run(connection, sql, take(&mut chunk), text).await?);
        }
    }
    returned.extend(run(connection, sql, chunk, None).await?);
    Ok(returned)
}

async fn run(
    connection: &mut SqliteConnection,
    sql: &'static str,
    mut rows: Vec<u8>,
    text: Option<&str>,
) -> Result<Vec<SqliteRow>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    rows.push(b']');
    let rows = String::from_utf8(rows).map_err(|error| StoreError::Other(error.to_string()))?;
    Ok(fetch_all(connection, query!(sql, rows, text)).await?)
}

/// Runs the statement for these rows, which are `?1`, if there are any; how many rows it changed.
pub(super) async fn execute_rows<T: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: &[T],
) -> Result<u64> {
    match rows {
        [] => Ok(0),
        rows => Ok(execute(connection, query!(sql, json(rows)?)).await?),
    }
}

/// A parameter that SQLite reads with `json_each`.
pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(not_json)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_json(error: serde_json::Error) -> StoreError {
    StoreError::Other(error.to_string())
}
