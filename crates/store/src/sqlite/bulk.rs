//! Rows on their way into the database: as JSON, a piece of them at a time, and each long text beside it.
//!
//! What is handed over as JSON is in memory several times over, and takes SQLite long to read. A text that is a parameter of
//! its own is just copied.

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::StoreError;

/// Longest text that is part of the JSON, in bytes (4 KiB).
const LONG: usize = 4 << 10;

/// Most bytes of rows in the JSON of one statement (512 KiB), unless a single row has more.
const PIECE: usize = 512 << 10;

/// A row with one text that may be long.
pub(super) trait Row<'a>: Serialize {
    /// That text.
    fn text(&mut self) -> &mut Option<&'a str>;

    /// Bytes of its other texts.
    fn others(&self) -> usize;
}

/// Runs the statement for all rows, in order; answers with what it returns. The rows are `?1`; if there is only one, and its
/// text is long, that is `?2` and not in the row, else `?2` is NULL.
pub(super) async fn execute_in_pieces<'a, R: Row<'a>>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: impl Iterator<Item = R>,
) -> Result<Vec<SqliteRow>, StoreError> {
    let mut returned = Vec::new();
    let (mut piece, mut bytes) = (Vec::new(), 0);
    for mut row in rows {
        let text = row.text().take_if(|text| text.len() > LONG);
        let more = row.text().map_or(0, str::len) + row.others();
        if text.is_some() || bytes + more > PIECE {
            returned.extend(execute_piece(connection, sql, &piece, None).await?);
            (piece, bytes) = (Vec::new(), 0);
        }
        if text.is_some() {
            returned.extend(execute_piece(connection, sql, &[row], text).await?);
        } else {
            piece.push(row);
            bytes += more;
        }
    }
    returned.extend(execute_piece(connection, sql, &piece, None).await?);
    Ok(returned)
}

async fn execute_piece<R: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: &[R],
    text: Option<&str>,
) -> Result<Vec<SqliteRow>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let query = sqlx::query(sql).bind(json(rows)?).bind(text);
    Ok(query.fetch_all(connection).await?)
}

pub(super) async fn execute<T: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: &[T],
) -> Result<u64, StoreError> {
    let done = sqlx::query(sql)
        .bind(json(rows)?)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::Other(error.to_string()))
}
