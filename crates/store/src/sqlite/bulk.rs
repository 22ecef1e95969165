//! Many rows in one statement, as one JSON parameter.
//!
//! What is handed over as JSON is in memory several times over, and takes SQLite long to read. So rows go a piece at a time,
//! and each long text goes beside them: a text that is a parameter of its own is just copied.

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::store::{fetch_all, query};
use crate::StoreError;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Longest text that is part of the JSON, in bytes (4 KiB).
const LONG: usize = 4 << 10;

/// Most bytes of rows in the JSON of one statement (512 KiB), unless a single row has more.
const PIECE: usize = 512 << 10;

/// Something that was observed of a job, with one text that may be long.
#[derive(Serialize)]
pub(super) struct Observed<'a, T> {
    pub(super) job_id: &'a JobId,
    pub(super) at: UnixMillis,
    pub(super) text: Option<&'a str>,
    /// About how many bytes the rest has.
    #[serde(skip)]
    pub(super) bytes: usize,
    #[serde(flatten)]
    pub(super) fact: T,
}

/// Runs the statement for all rows, in order; answers with what it returns. The rows are `?1`; if there is only one, and its
/// text is long, that is `?2` and not in the row, else `?2` is NULL.
pub(super) async fn execute_in_pieces<'a, T: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: impl Iterator<Item = Observed<'a, T>>,
) -> Result<Vec<SqliteRow>, StoreError> {
    let mut returned = Vec::new();
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for mut row in rows {
        let text = row.text.take_if(|text| text.len() > LONG);
        let more = row.text.map_or(0, str::len) + row.bytes;
        if text.is_some() || bytes + more > PIECE {
            returned.extend(run(connection, sql, &piece, None).await?);
            (piece, bytes) = (Vec::new(), 0);
        }
        if text.is_some() {
            returned.extend(run(connection, sql, &[row], text).await?);
        } else {
            piece.push(row);
            bytes += more;
        }
    }
    returned.extend(run(connection, sql, &piece, None).await?);
    Ok(returned)
}

async fn run<R: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: &[R],
    text: Option<&str>,
) -> Result<Vec<SqliteRow>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    Ok(fetch_all(connection, query!(sql, json(rows)?, text)).await?)
}

/// A parameter that SQLite reads with `json_each`.
pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::Other(error.to_string()))
}
