//! Events in the order of their commits, for receivers that catch up.

use super::rows::{FromRow, Reading, read_all, read_columns};
use super::store::{Store, fetch_all, integer, query};
use crate::{
    EventFilter, EventPage, EventRow, Events, LatestEvents, LatestPage, RecordedEvent, Result,
};
use jobtrackd_core::event::EventType;

/// Most events that one search for a type goes through.
const WINDOW: i64 = 10_000;

/// SQLite uses a cursor again when its transaction was rolled back, but never one that was committed.
pub(super) const NEWEST_EVENT: &str = "SELECT coalesce(max(cursor), 0) FROM events";

/// What distinguishes an event from others of its type.
macro_rules! detail {
    () => {
        "substr(
             CASE e.type
             WHEN 'job.failed' THEN (
                 SELECT coalesce(nullif(trim(failure ->> 'code'), ''), failure ->> 'kind') FROM jobs
                 WHERE id = e.job_id AND json_valid(failure))
             WHEN 'job.step_changed' THEN (
                 SELECT title || ': ' || to_status FROM transitions
                 WHERE job_id = e.job_id AND seq = e.transition_seq)
             ELSE e.step END, 1, 200)"
    };
}

/// The bodies are read only of those that fit.
macro_rules! page_of_events {
    ($keys:literal) => {
        concat!(
            "SELECT e.cursor, e.id, e.job_id, e.sequence, e.type, e.created_at, e.body, iif(?5, ",
            detail!(),
            ", NULL) AS detail
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
     WHERE cursor > ?1 AND cursor <= ?2 AND type = ?6 ORDER BY cursor LIMIT ?3"
);

/// A job's events have their cursors in the order of their sequence.
pub(super) const EVENTS_OF_JOB: &str = page_of_events!(
    "SELECT cursor, octet_length(body) AS bytes FROM events
     WHERE job_id = ?7 AND +cursor > ?1 AND +cursor <= ?2 AND (?6 IS NULL OR type = ?6) ORDER BY sequence LIMIT ?3"
);

/// A search goes through a window of events before ?1.
pub(super) const LATEST_EVENTS: &str = concat!(
    "SELECT e.cursor, e.id, e.job_id, e.sequence, e.type, e.created_at, '' AS body, ",
    detail!(),
    " AS detail FROM events AS e
     WHERE e.cursor < ?1 AND e.cursor >= ?2 AND (?3 IS NULL OR e.type = ?3) ORDER BY e.cursor DESC LIMIT ?4"
);

const HAS_EVENT: &str = "SELECT EXISTS (SELECT 1 FROM events WHERE id = ?1)";

impl Events for Store {
    async fn newest_event(&self) -> Result<i64> {
        self.value(query!(NEWEST_EVENT)).await
    }

    async fn has_event(&self, id: &str) -> Result<bool> {
        self.value(query!(HAS_EVENT, id)).await
    }

    async fn latest_events(&self, wanted: &LatestEvents) -> Result<LatestPage> {
        let kind = wanted.kind.map(EventType::as_str);
        let (rows, first) = self
            .snapshot(async |snapshot| {
                let newest = integer(snapshot, NEWEST_EVENT).await?;
                let before = wanted.before.unwrap_or(i64::MAX).min(newest + 1);
                let first = (before - WINDOW).max(0);
                let query = query!(LATEST_EVENTS, before, first, kind, wanted.limit);
                Ok((fetch_all(snapshot, query).await?, first))
            })
            .await?;
        let events: Vec<RecordedEvent> = read_all(&rows)?;
        Ok(LatestPage::of(events, first, wanted.limit))
    }

    async fn events(&self, filter: &EventFilter) -> Result<EventPage> {
        let kind = filter.kind.map(EventType::as_str);
        let (rows, newest, last) = self
            .snapshot(async |snapshot| {
                let newest = integer(snapshot, NEWEST_EVENT).await?;
                let last = match (&filter.job, kind) {
                    (None, Some(_)) => newest.min(filter.after.saturating_add(WINDOW)),
                    _ => newest,
                };
                let (limit, bytes, detail) = (filter.limit, filter.bytes, filter.detail);
                let page = |sql| query!(sql, filter.after, last, limit, bytes, detail);
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

impl FromRow for RecordedEvent {
    const TABLE: &'static str = "events";
    const KEY: &'static str = "id";

    fn read(r: &Reading<'_>) -> Result<Self> {
        Ok(Self {
            cursor: r.get("cursor")?,
            id: r.get("id")?,
            job_id: r.get("job_id")?,
            sequence: r.get("sequence")?,
            kind: r.get("type")?,
            created_at: r.get("created_at")?,
            // Whatever other programs have made of the job's row, the event is read.
            detail: r.lossy_text("detail")?,
            body: r.get("body")?,
        })
    }
}
