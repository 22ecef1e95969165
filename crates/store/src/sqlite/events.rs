//! Events in the order of their commits, for receivers that catch up.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::rows::Reading;
use super::store::{Store, integer};
use crate::{EventFilter, EventPage, RecordedEvent, StoreError};

/// Most events that one search for a type goes through.
const WINDOW: i64 = 10_000;

/// Cursors of rows that a transaction took back come again, those of rows that anybody has seen never do.
pub(super) const NEWEST_EVENT: &str = "SELECT coalesce(max(cursor), 0) FROM events";

/// The bodies are read only of those that fit.
macro_rules! page_of_events {
    ($keys:literal) => {
        concat!(
            "SELECT e.cursor, e.id, e.job_id, e.sequence, e.type, e.created_at, e.body
             FROM (SELECT cursor, sum(bytes) OVER (ORDER BY cursor) - bytes AS before FROM (",
            $keys,
            ")) AS page CROSS JOIN events AS e ON e.cursor = page.cursor
             WHERE page.before < ?4 ORDER BY page.cursor"
        )
    };
}

pub(super) const EVENTS_AFTER: &str = page_of_events!(
    "SELECT cursor, octet_length(body) AS bytes FROM events
     WHERE cursor > ?1 AND cursor <= ?2 ORDER BY cursor LIMIT ?3"
);

pub(super) const EVENTS_OF_TYPE: &str = page_of_events!(
    "SELECT cursor, octet_length(body) AS bytes FROM events
     WHERE cursor > ?1 AND cursor <= ?2 AND type = ?5 ORDER BY cursor LIMIT ?3"
);

/// A job's events have their cursors in the order of their sequence.
pub(super) const EVENTS_OF_JOB: &str = page_of_events!(
    "SELECT cursor, octet_length(body) AS bytes FROM events
     WHERE job_id = ?6 AND +cursor > ?1 AND +cursor <= ?2 AND (?5 IS NULL OR type = ?5) ORDER BY sequence LIMIT ?3"
);

impl Store {
    /// The place of the newest event, 0 when there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_event(&self) -> Result<i64, StoreError> {
        self.read(async {
            let mut connection = self.shared.readers.acquire().await?;
            integer(&mut connection, NEWEST_EVENT).await
        })
        .await
    }

    /// A page of events in order of their commits, but none behind the one that brings it to the wanted bytes. A
    /// search for one type goes through at most 10,000 events and says how far it came.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events(&self, filter: &EventFilter) -> Result<EventPage, StoreError> {
        let kind = filter.kind.map(|kind| kind.as_str());
        let sql = match (&filter.job, kind) {
            (Some(_), _) => EVENTS_OF_JOB,
            (None, Some(_)) => EVENTS_OF_TYPE,
            (None, None) => EVENTS_AFTER,
        };
        let (rows, newest, last) = self
            .read(async {
                // One read transaction: what is up to `newest` is all there.
                let mut snapshot = self.shared.readers.begin().await?;
                let newest = integer(&mut snapshot, NEWEST_EVENT).await?;
                let last = match (&filter.job, kind) {
                    (None, Some(_)) => newest.min(filter.after.saturating_add(WINDOW)),
                    _ => newest,
                };
                let mut query = sqlx::query(sql)
                    .bind(filter.after)
                    .bind(last)
                    .bind(i64::from(filter.limit))
                    .bind(i64::from(filter.bytes));
                if sql != EVENTS_AFTER {
                    query = query.bind(kind);
                }
                if let Some(job) = &filter.job {
                    query = query.bind(job.as_str());
                }
                let rows = query.fetch_all(&mut *snapshot).await?;
                snapshot.commit().await?;
                Ok((rows, newest, last))
            })
            .await?;
        let events: Vec<RecordedEvent> = rows.iter().map(event).collect::<Result<_, _>>()?;
        let bytes: usize = events.iter().map(|event| event.body.len()).sum();
        let full = events.len() >= filter.limit as usize || bytes >= filter.bytes as usize;
        let reached = match events.last() {
            Some(last) if full => last.cursor,
            _ => last.max(filter.after),
        };
        Ok(EventPage {
            events,
            reached,
            complete: reached >= newest,
        })
    }
}

fn event(row: &SqliteRow) -> Result<RecordedEvent, StoreError> {
    let r = Reading::new(row, "events", "id");
    Ok(RecordedEvent {
        cursor: row.try_get("cursor")?,
        id: r.text("id")?,
        job_id: r.job_id("job_id")?,
        sequence: r.number("sequence")?,
        kind: r.text("type")?,
        created_at: r.time("created_at")?,
        body: r.text("body")?,
    })
}
