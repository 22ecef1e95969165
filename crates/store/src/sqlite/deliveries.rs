//! Deliveries: which are due, and lists of them.

use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::bulk::json;
use super::events::NEWEST_EVENT;
use super::rows::{FromRow, Reading, read_columns};
use super::store::{Store, fetch_all, integer, query};
use crate::{
    Deliveries, DeliveryFilter, DeliveryPage, DeliveryRow, DueDeliveries, DueDelivery, Result,
};
use jobtrackd_core::delivery::{DeliveryState, Trigger, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Most heads that are searched for rows that cannot be read.
const MOST_HEADS: u32 = 10_000;

/// What a [`DueDelivery`] is read from, of all heads that meet the condition. Bodies of more than 4 KiB are left out: a page
/// of them is more than is sent at once.
macro_rules! due {
    ($condition:literal) => {
        due!(
            "CASE WHEN octet_length(e.body) <= 4096 THEN e.body END",
            $condition
        )
    };
    ($body:literal, $condition:literal) => {
        concat!(
            "SELECT d.event_id, d.job_id, d.attempts, d.retries_used, d.expires_at, d.\"trigger\",
                    d.next_attempt_at, d.rested_ms, d.last_error IS NOT NULL AS failed_before,
                    e.type, e.created_at, ",
            $body,
            " AS body
             FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
             WHERE d.webhook = ?1 AND d.state = 'pending' AND ",
            $condition
        )
    };
}

pub(super) const DUE: &str = due!(
    "d.next_attempt_at <= ?2 AND d.event_id NOT IN (SELECT value FROM json_each(?4))
     ORDER BY d.next_attempt_at LIMIT ?3"
);

/// The condition on the state is that of the index; the `+` keeps SQLite from going through all that is due.
pub(super) const DUE_AND_EXPIRING: &str = due!(
    "+d.next_attempt_at <= ?2 AND d.state IN ('pending', 'disabled') AND d.expires_at > ?2
     ORDER BY d.next_attempt_at LIMIT ?3"
);

/// Due or not: a held webhook is probed at its own pace. Those that were never tried come first.
pub(super) const TO_PROBE: &str = due!(
    "d.next_attempt_at IS NOT NULL AND (d.expires_at IS NULL OR d.expires_at > ?2)
     ORDER BY d.last_attempt_at, d.next_attempt_at LIMIT ?3"
);

pub(super) const HEADS: &str = due!(
    "NULL",
    "d.next_attempt_at IS NOT NULL ORDER BY d.next_attempt_at LIMIT ?2"
);

pub(super) const BODY: &str = "
    SELECT e.body FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
    WHERE d.event_id = ?1 AND d.webhook = ?2 AND d.state = 'pending' AND d.next_attempt_at IS NOT NULL";

pub(super) const NEXT: &str = "
    SELECT min(next_attempt_at) FROM deliveries
    WHERE webhook = ?1 AND state = 'pending' AND next_attempt_at > ?2";

/// Each reading stops at the limit: the number is for people.
pub(super) const PENDING: &str =
    "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'pending' LIMIT ?1)";

/// Most events that one search for deliveries goes through.
pub(super) const WINDOW: i64 = 10_000;

/// Deliveries with their events, of the events after `?1` up to `?2`.
macro_rules! deliveries_of {
    ($events:literal, $order:literal) => {
        concat!(
            "SELECT e.cursor, e.type, e.created_at, d.*
             FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
             WHERE ",
            $events,
            " AND (?3 IS NULL OR d.webhook = ?3) AND (?4 IS NULL OR d.state = ?4)
              AND (?5 IS NULL OR e.type = ?5)
              AND (?6 IS NULL OR e.created_at >= ?6) AND (?7 IS NULL OR e.created_at <= ?7)
             ORDER BY ",
            $order,
            ", d.webhook LIMIT ?8"
        )
    };
}
pub(super) use deliveries_of;

pub(super) const LIST_DELIVERIES: &str =
    deliveries_of!("e.cursor > ?1 AND e.cursor <= ?2", "e.cursor DESC");

pub(super) const DELIVERIES_OF_JOB: &str = deliveries_of!(
    "e.job_id = ?9 AND +e.cursor > ?1 AND +e.cursor <= ?2",
    "e.cursor DESC"
);

impl Deliveries for Store {
    async fn deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        except: &[String],
        limit: u32,
    ) -> Result<DueDeliveries> {
        let query = query!(DUE, webhook.as_str(), now.0, limit, json(except)?);
        Ok(readable(&self.rows(query).await?))
    }

    async fn expiring_deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries> {
        self.due(DUE_AND_EXPIRING, webhook, now, limit).await
    }

    async fn deliveries_to_probe(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries> {
        self.due(TO_PROBE, webhook, now, limit).await
    }

    async fn unreadable_deliveries(&self, webhook: &WebhookName) -> Result<Vec<(String, String)>> {
        let rows = self
            .rows(query!(HEADS, webhook.as_str(), MOST_HEADS))
            .await?;
        Ok(readable(&rows).unreadable)
    }

    async fn body_to_send(&self, webhook: &WebhookName, event_id: &str) -> Result<Option<Vec<u8>>> {
        let rows = self.rows(query!(BODY, event_id, webhook.as_str())).await?;
        // As bytes: the body is sent as it is, UTF-8 or not.
        Ok(rows
            .first()
            .map(|row| row.try_get_unchecked(0))
            .transpose()?)
    }

    async fn next_delivery(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>> {
        let next: Option<i64> = self.value(query!(NEXT, webhook.as_str(), now.0)).await?;
        Ok(next.map(UnixMillis))
    }

    async fn pending_deliveries(&self, limit: u32) -> Result<u32> {
        self.value(query!(PENDING, limit)).await
    }

    async fn list_deliveries(&self, filter: &DeliveryFilter) -> Result<DeliveryPage> {
        let job = filter.job.as_ref().map(JobId::as_str);
        let (found, first) = self
            .snapshot(async |snapshot| {
                let last = match filter.before {
                    Some(before) => before.saturating_sub(1),
                    None => integer(snapshot, NEWEST_EVENT).await?,
                };
                let (sql, first) = match job {
                    Some(_) => (DELIVERIES_OF_JOB, 0),
                    None => (LIST_DELIVERIES, (last + 1).saturating_sub(WINDOW).max(0)),
                };
                let query = query!(
                    sql,
                    first - 1,
                    last,
                    &filter.webhook,
                    filter.state.map(DeliveryState::as_str),
                    filter.kind.map(EventType::as_str),
                    None::<i64>,
                    None::<i64>,
                    filter.limit,
                    job
                );
                Ok((fetch_all(snapshot, query).await?, first))
            })
            .await?;
        let (deliveries, unreadable) = listed(&found);
        Ok(DeliveryPage {
            deliveries,
            unreadable,
            // Cursors begin with 1.
            stopped: (first > 1).then_some(first),
        })
    }
}

impl Store {
    async fn due(
        &self,
        sql: &'static str,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries> {
        let query = query!(sql, webhook.as_str(), now.0, limit);
        Ok(readable(&self.rows(query).await?))
    }
}

/// The deliveries that can be read, and why the others cannot.
pub(super) fn listed(rows: &[SqliteRow]) -> (Vec<DeliveryRow>, Vec<String>) {
    let (mut deliveries, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        match DeliveryRow::from_row(row) {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => unreadable.push(error.to_string()),
        }
    }
    (deliveries, unreadable)
}

/// A row that another program has changed must not hold up the other deliveries.
fn readable(rows: &[SqliteRow]) -> DueDeliveries {
    let mut found = DueDeliveries::default();
    for row in rows {
        match DueDelivery::from_row(row) {
            Ok(delivery) => found.deliveries.push(delivery),
            Err(error) => {
                let event = Reading::new(row, "deliveries", "event_id").name;
                found.unreadable.push((event, error.to_string()));
            }
        }
    }
    found
}

impl FromRow for DueDelivery {
    const TABLE: &'static str = "deliveries";
    const KEY: &'static str = "event_id";

    fn read(r: &Reading<'_>) -> Result<Self> {
        Ok(Self {
            event_id: r.get("event_id")?,
            job_id: r.get("job_id")?,
            attempts: r.get("attempts")?,
            retries_used: r.get("retries_used")?,
            kind: r.get("type")?,
            body: r.row.try_get_unchecked("body")?,
            created_at: r.get("created_at")?,
            expires_at: r.get("expires_at")?,
            due: r.get("next_attempt_at")?,
            paused: r.get::<Duration>("rested_ms")?,
            failed_before: r.get("failed_before")?,
            is_replay: r.get::<Trigger>("trigger")? == Trigger::Manual,
        })
    }
}

read_columns!(DeliveryRow, "deliveries" by "event_id" {
    cursor, event_id, job_id, sequence, kind = "type", created_at, webhook, state, attempts, next_attempt_at,
    delivered_at, last_status, last_error, expired_at, fallback_for
});
