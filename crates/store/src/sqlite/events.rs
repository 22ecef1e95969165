//! Events in the order of their commits, for receivers that catch up.

use super::rows::{read_all, read_columns};
use super::store::{Store, fetch_all, integer, query};
use crate::{EventFilter, EventPage, EventRow, RecordedEvent, Result};
use jobtrackd_core::event::EventType;

/// Most events that one search for a type goes through.
const WINDOW: i64 = 10_000;

/// SQLite uses a cursor again when its transaction was rolled back, but never one that was committed.
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

const HAS_EVENT: &str = "SELECT EXISTS (SELECT 1 FROM events WHERE id = ?1)";

impl Store {
    /// The cursor of the newest event, 0 when there is none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn newest_event(&self) -> Result<i64> {
        self.value(query!(NEWEST_EVENT)).await
    }

    /// Whether there is an event of this id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_event(&self, id: &str) -> Result<bool> {
        self.value(query!(HAS_EVENT, id)).await
    }

    /// A page of events in order of their commits, which ends with the one that reaches the wanted bytes. A search for one
    /// type goes through at most 10,000 events and returns how far it came.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn events(&self, filter: &EventFilter) -> Result<EventPage> {
        let kind = filter.kind.map(EventType::as_str);
        let (rows, newest, last) = self
            .snapshot(async |snapshot| {
                let newest = integer(snapshot, NEWEST_EVENT).await?;
                let last = match (&filter.job, kind) {
                    (None, Some(_)) => newest.min(filter.after.saturating_add(WINDOW)),
                    _ => newest,
                };
                let page = |sql| query!(sql, filter.after, last, filter.limit, filter.bytes);
                let query = match (&filter.job, kind) {
                    (Some(job), _) => page(EVENTS_OF_JOB).bind(kind).bind(job.as_str()),
                    (None, Some(_)) => page(EVENTS_OF_TYPE).bind(kind),
                    (None, None) => page(EVENTS_AFTER),
                };
                Ok((fetch_all(snapshot, query).await?, newest, last))
            })
            .await?;
        let events: Vec<RecordedEvent> = read_all(&rows)?;
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

read_columns!(EventRow, "events" by "id" {
    id, sequence, kind = "type", created_at,
});

read_columns!(RecordedEvent, "events" by "id" {
    cursor, id, job_id, sequence, kind = "type", created_at, body,
});
