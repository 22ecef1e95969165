//! Reads rows as types of this crate. A value that this program never writes is an error that names the table, the column
//! and the row.

use std::str::FromStr;
use std::time::Duration;

use serde_json::value::RawValue;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, ValueRef};

use crate::{Result, StoreError};
use jobtrackd_core::answer::Cut;
use jobtrackd_core::delivery::{DeliveryState, Trigger, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::{Failure, JobId, JobState};
use jobtrackd_core::time::UnixMillis;

/// A type that rows of one statement are read as.
pub(super) trait FromRow: Sized {
    /// The table's name in an error, and the column that names the row.
    const TABLE: &'static str;
    const KEY: &'static str;

    fn read(r: &Reading<'_>) -> Result<Self>;

    fn from_row(row: &SqliteRow) -> Result<Self> {
        Self::read(&Reading::new(row, Self::TABLE, Self::KEY))
    }
}

/// Reads a type from columns of the same names, or of the names beside them.
macro_rules! read_columns {
    ($type:ty, $table:literal by $key:literal { $($field:ident $(= $column:literal)?),* $(,)? }) => {
        impl $crate::sqlite::rows::FromRow for $type {
            const TABLE: &'static str = $table;
            const KEY: &'static str = $key;

            fn read(r: &$crate::sqlite::rows::Reading<'_>) -> Result<Self, $crate::StoreError> {
                Ok(Self {
                    $($field: r.get($crate::sqlite::rows::column!($field $($column)?))?,)*
                })
            }
        }
    };
}
pub(super) use read_columns;

macro_rules! column {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $column:literal) => {
        $column
    };
}
pub(super) use column;

/// All rows as one type.
pub(super) fn read_all<T: FromRow>(rows: &[SqliteRow]) -> Result<Vec<T>> {
    rows.iter().map(T::from_row).collect()
}

/// One row that is read, with its table's name for errors.
pub(super) struct Reading<'a> {
    pub(super) row: &'a SqliteRow,
    table: &'static str,
    pub(super) name: String,
}

impl<'a> Reading<'a> {
    pub(super) fn new(row: &'a SqliteRow, table: &'static str, key: &'static str) -> Self {
        let name = row
            .try_get(key)
            .unwrap_or_else(|_| "a row without a key".to_owned());
        Self { row, table, name }
    }

    pub(super) fn broken(&self, column: &'static str) -> StoreError {
        StoreError::Inconsistent {
            table: self.table,
            column,
            row: self.name.clone(),
        }
    }

    pub(super) fn get<T: Column>(&self, column: &'static str) -> Result<T> {
        T::of(self.row, column).ok_or_else(|| self.broken(column))
    }

    /// A text that another program wrote. SQLite accepts bytes that are not UTF-8; they become U+FFFD, so that such a job is
    /// followed like any other.
    pub(super) fn lossy_text(&self, column: &'static str) -> Result<Option<String>> {
        let bytes: Option<&[u8]> = self.row.try_get(column).map_err(|_| self.broken(column))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// The enqueuer's metadata. If it is not JSON despite the schema, the job is followed without it.
    pub(super) fn metadata(&self) -> Result<Option<String>> {
        let text = self.lossy_text("metadata")?;
        Ok(text.filter(|text| {
            let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
            if !is_json {
                tracing::error!(
                    job_id = self.name,
                    "the job's metadata is not JSON; it is left out"
                );
            }
            is_json
        }))
    }
}

/// The value of a column. `None`: another type, or a value that this program never writes.
pub(super) trait Column: Sized {
    fn of(row: &SqliteRow, column: &str) -> Option<Self>;
}

impl<T: Column> Column for Option<T> {
    fn of(row: &SqliteRow, column: &str) -> Option<Self> {
        match row.try_get_raw(column).ok()?.is_null() {
            true => Some(None),
            false => T::of(row, column).map(Some),
        }
    }
}

macro_rules! columns {
    ($($column:ty: $stored:ty => $read:expr;)*) => {$(
        impl Column for $column {
            fn of(row: &SqliteRow, column: &str) -> Option<Self> {
                row.try_get::<$stored, _>(column).ok().and_then($read)
            }
        }
    )*};
}

columns! {
    i64: i64 => Some;
    u8: i64 => |number| number.try_into().ok();
    u16: i64 => |number| number.try_into().ok();
    u32: i64 => |number| number.try_into().ok();
    u64: i64 => |number| number.try_into().ok();
    bool: i64 => |number| Some(number != 0);
    UnixMillis: i64 => |millis| Some(UnixMillis(millis));
    Duration: i64 => |millis| Some(Duration::from_millis(millis.try_into().ok()?));
    String: String => Some;
    WebhookName: &str => |name| Some(WebhookName::new(name));
    JobId: &str => |id| JobId::parse(id).ok();
    JobState: &str => word;
    DeliveryState: &str => word;
    EventType: &str => word;
    Trigger: &str => word;
    Cut: &str => word;
    Failure: &str => |json| serde_json::from_str(json).ok();
}

fn word<T: FromStr>(word: &str) -> Option<T> {
    word.parse().ok()
}

/// A duration as whole milliseconds, as columns hold it.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
