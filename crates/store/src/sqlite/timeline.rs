//! A job's history in one order, in pages.

use sqlx::Row;

use super::jobs::EXISTS_JOB;
use super::rows::{FromRow, Reading};
use super::store::{Store, fetch_all, query};
use crate::{
    DeliveryRow, EventRow, PAGE_BYTES, Result, TimelineEntry, TimelineItem, TimelineKey,
    TimelinePage, Timelines, TransitionRow,
};
use jobtrackd_core::delivery::Attempt;
use jobtrackd_core::job::JobId;

/// First the keys of all entries of the job, which are small, each with about the bytes that it takes in JSON; then the rows
/// of those on the page.
pub(super) const TIMELINE: &str = "
    SELECT page.at, page.rank, page.n AS seq, page.n AS sequence, page.webhook, page.number, page.event_id,
           page.event_id AS id, page.cursor, page.type, page.at AS created_at, ?1 AS job_id,
           t.position, t.title, t.occurrence, t.from_status, t.to_status, t.class, t.result, t.observed_at, t.remote_updated,
           d.state, d.attempts, d.next_attempt_at, d.delivered_at, d.last_status, d.last_error, d.expired_at, d.fallback_for,
           a.started_at, a.duration_ms, a.status, a.error, a.\"trigger\", a.answer, a.answer_cut, page.up_to
    FROM (
        SELECT *, sum(bytes) OVER (ORDER BY at, rank, n, webhook, number) AS up_to
        FROM (
            SELECT * FROM (
                SELECT observed_at AS at, 0 AS rank, seq AS n, '' AS webhook, 0 AS number, NULL AS event_id,
                       NULL AS cursor, NULL AS type, 300 + octet_length(title) + octet_length(to_status)
                       + coalesce(octet_length(from_status), 0) + coalesce(octet_length(result), 0)
                       + coalesce(octet_length(remote_updated), 0) AS bytes
                FROM transitions WHERE job_id = ?1
                UNION ALL
                SELECT created_at, 1, sequence, '', 0, id, cursor, type, 300 FROM events WHERE job_id = ?1
                UNION ALL
                SELECT e.created_at, 2, d.sequence, d.webhook, 0, d.event_id, e.cursor, e.type, 1000
                FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id WHERE e.job_id = ?1
                UNION ALL
                SELECT a.started_at, 3, e.sequence, a.webhook, a.number, e.id, NULL, NULL,
                       300 + coalesce(octet_length(a.error), 0) + coalesce(octet_length(a.answer), 0)
                FROM events AS e CROSS JOIN attempts AS a ON a.event_id = e.id WHERE e.job_id = ?1
            )
            WHERE (at, rank, n, webhook, number) > (?2, ?3, ?4, ?5, ?6)
            ORDER BY at, rank, n, webhook, number LIMIT ?7
        )
    ) AS page
    LEFT JOIN transitions AS t ON page.rank = 0 AND t.job_id = ?1 AND t.seq = page.n
    LEFT JOIN deliveries AS d ON page.rank = 2 AND d.event_id = page.event_id AND d.webhook = page.webhook
    LEFT JOIN attempts AS a ON page.rank = 3 AND a.event_id = page.event_id AND a.webhook = page.webhook
     AND a.number = page.number
    WHERE page.up_to - page.bytes < ?8
    ORDER BY page.at, page.rank, page.n, page.webhook, page.number";

impl Timelines for Store {
    async fn timeline(
        &self,
        id: &JobId,
        after: Option<&TimelineKey>,
        limit: u32,
    ) -> Result<Option<TimelinePage>> {
        // Without `after` the bound is below every entry. One entry more than wanted is read.
        let query = query!(
            TIMELINE,
            id.as_str(),
            after.map_or(i64::MIN, |key| key.at.0),
            after.map_or(0, |key| key.rank),
            after.map_or(0, |key| key.n),
            after.map_or("", |key| key.webhook.as_str()),
            after.map_or(0, |key| key.number),
            i64::from(limit) + 1,
            PAGE_BYTES
        );
        let (known, rows) = self
            .snapshot(async |snapshot| {
                let known = query!(EXISTS_JOB, id.as_str())
                    .fetch_optional(&mut *snapshot)
                    .await?;
                Ok((known.is_some(), fetch_all(snapshot, query).await?))
            })
            .await?;
        if !known {
            return Ok(None);
        }
        let wanted = limit as usize;
        let entries = rows.iter().take(wanted).map(TimelineEntry::from_row);
        let bytes: Option<i64> = rows.last().map(|row| row.try_get("up_to")).transpose()?;
        let is_full = bytes.is_some_and(|bytes| bytes >= i64::from(PAGE_BYTES));
        Ok(Some(TimelinePage {
            entries: entries.collect::<Result<_, _>>()?,
            more: rows.len() > wanted || is_full,
        }))
    }
}

impl FromRow for TimelineEntry {
    const TABLE: &'static str = "timeline";
    const KEY: &'static str = "job_id";

    fn read(r: &Reading<'_>) -> Result<Self> {
        let rank: u8 = r.get("rank")?;
        Ok(Self {
            item: match rank {
                0 => TimelineItem::Transition(TransitionRow::from_row(r.row)?),
                1 => TimelineItem::Event(EventRow::from_row(r.row)?),
                2 => TimelineItem::Delivery(DeliveryRow::from_row(r.row)?),
                _ => TimelineItem::Attempt(Attempt::from_row(r.row)?),
            },
            key: TimelineKey {
                at: r.get("at")?,
                rank,
                n: r.get("seq")?,
                webhook: r.get("webhook")?,
                number: r.get("number")?,
            },
        })
    }
}
