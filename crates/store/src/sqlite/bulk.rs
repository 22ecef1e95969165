//! Many rows in one statement.
//!
//! Their values are bound as parameters: SQLite takes those as they are, while a list of rows as JSON is written, parsed, and
//! searched for each column.

use std::sync::{Arc, OnceLock};

use serde::Serialize;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe};

use super::store::{execute, fetch_all, query};
use crate::{Result, StoreError};
use jobtrackd_core::answer::Cut;
use jobtrackd_core::delivery::{DeliveryState, Trigger, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::{JobId, JobState};
use jobtrackd_core::snapshot::StepClass;
use jobtrackd_core::time::UnixMillis;
use jobtrackd_core::user::UserId;

/// How many rows a statement may have; each is compiled once per connection.
const SIZES: [usize; 4] = [1, 4, 16, 64];

/// The last of them.
const LARGEST: usize = 64;

/// Most bytes of texts in the rows that are copied at once (512 KiB), unless a single row has more.
const CHUNK: usize = 512 << 10;

/// A statement for rows of `N` columns. `{rows}` in its text stands for the rows, as `VALUES` lists them. Some of the last ones
/// may be NULL throughout, since a statement for more rows takes less time than two statements; the first column of the
/// others is not NULL.
#[derive(Debug)]
pub(super) struct Bulk<const N: usize> {
    sql: &'static str,
    texts: [OnceLock<Arc<str>>; SIZES.len()],
}

impl<const N: usize> Bulk<N> {
    pub(super) const fn new(sql: &'static str) -> Self {
        Self {
            sql,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// The text for so many rows.
    pub(super) fn text(&self, rows: usize) -> String {
        let row = format!("({})", ["?"; N].join(", "));
        self.sql.replace("{rows}", &vec![row; rows].join(", "))
    }

    /// Runs it for all rows, in order, and returns what it returns.
    pub(super) async fn run<'a>(
        &self,
        connection: &mut SqliteConnection,
        rows: impl Iterator<Item = [Value<'a>; N]>,
    ) -> Result<Vec<SqliteRow>> {
        let (mut returned, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
        for row in rows {
            let more: usize = row.iter().map(Value::bytes).sum();
            if chunk.len() == LARGEST || (bytes + more > CHUNK && bytes > 0) {
                self.run_chunk(connection, &mut chunk, &mut returned)
                    .await?;
                bytes = 0;
            }
            bytes += more;
            chunk.push(row);
        }
        self.run_chunk(connection, &mut chunk, &mut returned)
            .await?;
        Ok(returned)
    }

    async fn run_chunk(
        &self,
        connection: &mut SqliteConnection,
        chunk: &mut Vec<[Value<'_>; N]>,
        returned: &mut Vec<SqliteRow>,
    ) -> Result<()> {
        let mut texts = self.texts.iter().zip(SIZES);
        let fitting = texts.find(|(_, size)| chunk.len() <= *size && !chunk.is_empty());
        let Some((text, size)) = fitting else {
            return Ok(());
        };
        let sql = text.get_or_init(|| self.text(size).into());
        let mut arguments = SqliteArguments::default();
        arguments.reserve(chunk.len() * N, 0);
        for value in chunk.drain(..).flatten() {
            value.bind(&mut arguments)?;
        }
        // What is not bound is NULL.
        let query = sqlx::query_with(AssertSqlSafe(Arc::clone(sql)), arguments);
        returned.extend(fetch_all(connection, query).await?);
        Ok(())
    }
}

/// One value of a row.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    /// An id, which is in many rows.
    Shared(Arc<str>),
    Own(String),
}

impl Value<'_> {
    fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) => 0,
            Self::Text(text) => text.len(),
            Self::Shared(text) => text.len(),
            Self::Own(text) => text.len(),
        }
    }

    fn bind(self, arguments: &mut SqliteArguments) -> Result<()> {
        let bound = match self {
            Self::Null => arguments.add(None::<i64>),
            Self::Integer(number) => arguments.add(number),
            // As a `&str` it would be allocated twice, once for its characters and once for who shares them.
            Self::Text(text) => arguments.add(Arc::<str>::from(text)),
            Self::Shared(text) => arguments.add(text),
            Self::Own(text) => arguments.add(text),
        };
        bound.map_err(|error| StoreError::Other(error.to_string()))
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// How a type is bound.
macro_rules! bound {
    ($($type:ty => |$value:ident| $bound:expr;)*) => {$(
        impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                $bound
            }
        }
    )*};
}

bound! {
    bool => |value| Value::Integer(i64::from(value));
    i64 => |value| Value::Integer(value);
    u8 => |value| Value::Integer(i64::from(value));
    u16 => |value| Value::Integer(i64::from(value));
    u32 => |value| Value::Integer(i64::from(value));
    // More than SQLite can hold is as much as it can hold.
    u64 => |value| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    usize => |value| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    UnixMillis => |value| Value::Integer(value.0);
    String => |value| Value::Own(value);
    &'a str => |value| Value::Text(value);
    &'a String => |value| Value::Text(value);
    &'a JobId => |value| Value::Shared(value.to_shared());
    &'a UserId => |value| Value::Shared(value.to_shared());
    &'a WebhookName => |value| Value::Shared(value.to_shared());
    JobState => |value| Value::Text(value.into());
    StepClass => |value| Value::Text(value.into());
    EventType => |value| Value::Text(value.into());
    DeliveryState => |value| Value::Text(value.into());
    Trigger => |value| Value::Text(value.into());
    Cut => |value| Value::Text(value.into());
}

/// The values of both, of which there are `N`.
pub(super) fn joined<'a, const A: usize, const B: usize, const N: usize>(
    some: [Value<'a>; A],
    more: [Value<'a>; B],
) -> [Value<'a>; N] {
    const { assert!(A + B == N) };
    let mut values = some.into_iter().chain(more);
    std::array::from_fn(|_| values.next().unwrap_or(Value::Null))
}

/// Runs a statement that reads `?1` with `json_each` for these rows, if there are any. For rows that are few.
pub(super) async fn execute_rows<T: Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    rows: &[T],
) -> Result<()> {
    if !rows.is_empty() {
        execute(connection, query!(sql, json(rows)?)).await?;
    }
    Ok(())
}

/// A parameter that SQLite reads with `json_each`.
pub(super) fn json<T: Serialize + ?Sized>(rows: &T) -> Result<String> {
    serde_json::to_string(rows).map_err(not_json)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_json(error: serde_json::Error) -> StoreError {
    StoreError::Other(error.to_string())
}
