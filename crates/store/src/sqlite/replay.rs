//! Events sent again: found in windows, made pending in pages.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::json;
use super::events::NEWEST_EVENT;
use super::rows::Reading;
use super::store::{Store, integer};
use crate::{Replay, ReplayFilter, ReplayPage, Replayable, StoreError};
use jobtrackd_core::delivery::DeliveryState;
use jobtrackd_core::time::UnixMillis;

/// Deliveries made pending in one transaction. An event told to more webhooks than that is not parted.
const PAGE: usize = 500;

/// Most events that one look goes through.
const WINDOW: i64 = 10_000;

macro_rules! replayable {
    ($condition:literal) => {
        concat!(
            "SELECT e.cursor, e.id, e.job_id, e.type, e.created_at, d.webhook, d.state,
                    w.disabled_at IS NOT NULL AS is_disabled
             FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
             LEFT JOIN webhooks AS w ON w.name = d.webhook
             WHERE ",
            $condition,
            " AND (?3 IS NULL OR d.webhook = ?3)
              AND (?4 IS NULL OR e.created_at >= ?4) AND (?5 IS NULL OR e.created_at <= ?5)
              AND (?6 IS NULL OR e.type = ?6) AND (NOT ?7 OR d.state = 'exhausted')
             ORDER BY e.cursor, d.webhook LIMIT ?8"
        )
    };
}

pub(super) const REPLAYABLE: &str = replayable!("e.cursor > ?1 AND e.cursor <= ?2");

/// A job's events have their cursors in the order of their sequence, and there are few enough to be sorted.
pub(super) const REPLAYABLE_OF_JOB: &str =
    replayable!("e.job_id = ?9 AND +e.cursor > ?1 AND +e.cursor <= ?2");

pub(super) const REPLAYABLE_OF_EVENT: &str =
    replayable!("e.id = ?9 AND +e.cursor > ?1 AND +e.cursor <= ?2");

/// Where a search by time may begin. The clock may have been set back meanwhile, so the events themselves decide. The `+`
/// keeps SQLite from walking through all earlier events.
pub(super) const FIRST_SINCE: &str =
    "SELECT coalesce(min(+cursor), 0) FROM events WHERE created_at >= ?1";

const BEGIN: &str = "
    INSERT INTO replays (asked, started_at, reached) VALUES (?1, ?2, ?3) RETURNING id";

const MOVE_ON: &str = "
    UPDATE replays SET reached = ?3, finished_at = ?4
    WHERE id = ?1 AND reached = ?2 AND finished_at IS NULL";

const COUNT: &str = "UPDATE replays SET deliveries = deliveries + ?2 WHERE id = ?1";

const UNFINISHED: &str = "
    SELECT id, asked, started_at, reached, deliveries FROM replays WHERE finished_at IS NULL ORDER BY id DESC";

/// Whatever its state: what is sent again has its whole schedule before it, and expires no more.
pub(super) const MAKE_PENDING: &str = "
    UPDATE deliveries SET state = 'pending', \"trigger\" = 'manual', retries_used = 0, rested_ms = 0, next_attempt_at = NULL,
        delivered_at = NULL, expired_at = NULL, expires_at = NULL
    FROM json_each(?1) AS v
    WHERE deliveries.event_id = v.value ->> 'event_id' AND deliveries.webhook = v.value ->> 'webhook'
      AND deliveries.state = v.value ->> 'state' AND deliveries.state <> 'disabled'
      AND NOT EXISTS (SELECT 1 FROM webhooks AS w WHERE w.name = deliveries.webhook AND w.disabled_at IS NOT NULL)
    RETURNING deliveries.webhook, deliveries.job_id";

/// Heads get due times in the order of the replay, so that other lanes keep it too.
pub(super) const LINE_UP: &str = "
    UPDATE deliveries SET next_attempt_at = CASE WHEN deliveries.sequence = lane.first THEN lane.at END
    FROM (
        SELECT v.value ->> 'webhook' AS webhook, v.value ->> 'job_id' AS job_id, v.value ->> 'at' AS at,
               (SELECT min(d.sequence) FROM deliveries AS d
                WHERE d.webhook = v.value ->> 'webhook' AND d.job_id = v.value ->> 'job_id'
                  AND d.state = 'pending') AS first
        FROM json_each(?1) AS v
    ) AS lane
    WHERE deliveries.webhook = lane.webhook AND deliveries.job_id = lane.job_id AND deliveries.state = 'pending'
      AND (deliveries.next_attempt_at IS NULL) = (deliveries.sequence = lane.first)";

/// The next probe of a held webhook comes at once.
const ASK: &str = "
    INSERT INTO webhooks (name, asks) VALUES (?1, 1)
    ON CONFLICT (name) DO UPDATE SET asks = asks + 1, probe_at = NULL";

impl Store {
    /// What a replay would send, behind the event `after`. One look goes through 10,000 events at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn replayable(
        &self,
        filter: &ReplayFilter,
        after: i64,
    ) -> Result<ReplayPage, StoreError> {
        let (sql, only) = match (&filter.event, &filter.job) {
            (Some(event), _) => (REPLAYABLE_OF_EVENT, Some(event.as_str())),
            (None, Some(job)) => (REPLAYABLE_OF_JOB, Some(job.as_str())),
            (None, None) => (REPLAYABLE, None),
        };
        let (found, newest, last) = self
            .read(async {
                let mut snapshot = self.shared.readers.begin().await?;
                let newest = integer(&mut snapshot, NEWEST_EVENT).await?;
                let after = match filter.since {
                    Some(since) if only.is_none() && after == 0 => {
                        after.max(first_since(&mut snapshot, since).await? - 1)
                    }
                    _ => after,
                };
                let last = match only {
                    None => newest.min(after.saturating_add(WINDOW)),
                    Some(_) => newest,
                };
                let mut query = sqlx::query(sql)
                    .bind(after)
                    .bind(last)
                    .bind(&filter.webhook)
                    .bind(filter.since.map(|at| at.0))
                    .bind(filter.until.map(|at| at.0))
                    .bind(&filter.kind)
                    .bind(filter.failed_only)
                    .bind(i64::try_from(PAGE).unwrap_or(i64::MAX));
                if let Some(only) = only {
                    query = query.bind(only);
                }
                let found = query.fetch_all(&mut *snapshot).await?;
                snapshot.commit().await?;
                Ok((found, newest, last))
            })
            .await?;
        let mut deliveries: Vec<Replayable> =
            found.iter().map(replayable).collect::<Result<_, _>>()?;
        let mut reached = last;
        if deliveries.len() >= PAGE
            && let Some(end) = deliveries.last().map(|last| last.cursor)
        {
            // The last event may have more of them, so it waits for the next page, unless it fills this one.
            let whole = deliveries.iter().position(|each| each.cursor == end);
            if let Some(whole) = whole.filter(|whole| *whole > 0) {
                deliveries.truncate(whole);
            }
            reached = deliveries.last().map_or(last, |last| last.cursor);
        }
        Ok(ReplayPage {
            deliveries,
            reached,
            is_last: reached >= newest,
        })
    }

    /// Writes down that a replay begins.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_replay(&self, filter: &ReplayFilter) -> Result<Replay, StoreError> {
        let started_at = self.shared.clock.now();
        let asked = json(filter)?;
        let id = self
            .write(async |connection| {
                let begun = sqlx::query(BEGIN)
                    .bind(asked)
                    .bind(started_at.0)
                    .bind(0_i64);
                Ok(begun.fetch_one(connection).await?.try_get(0)?)
            })
            .await?;
        Ok(Replay {
            id,
            filter: filter.clone(),
            started_at,
            reached: 0,
            deliveries: 0,
        })
    }

    /// Makes the deliveries of a page pending, and moves the replay on. `None` when it is not where it was: another
    /// program goes on with it.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the page is done then.
    pub async fn replay(
        &self,
        replay: &Replay,
        page: &ReplayPage,
    ) -> Result<Option<Replay>, StoreError> {
        self.write(async |connection| {
            let now = self.shared.clock.now();
            let moved = sqlx::query(MOVE_ON)
                .bind(replay.id)
                .bind(replay.reached)
                .bind(page.reached)
                .bind(page.is_last.then_some(now.0))
                .execute(&mut *connection)
                .await?;
            if moved.rows_affected() == 0 {
                return Ok(None);
            }
            let made = make_pending(connection, replay, &page.deliveries).await?;
            let count = sqlx::query(COUNT).bind(replay.id);
            let count = count.bind(i64::try_from(made).unwrap_or(i64::MAX));
            count.execute(connection).await?;
            Ok(Some(Replay {
                reached: page.reached,
                deliveries: replay.deliveries + made,
                ..replay.clone()
            }))
        })
        .await
    }

    /// Replays that have been begun and not finished, the newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unfinished_replays(&self) -> Result<Vec<Replay>, StoreError> {
        let rows = self
            .read(sqlx::query(UNFINISHED).fetch_all(&self.shared.readers))
            .await?;
        let read = rows.iter().map(|row| {
            let r = Reading::new(row, "replays", "asked");
            let filter = serde_json::from_str(&r.text("asked")?);
            Ok(Replay {
                id: r.integer("id")?,
                filter: filter.map_err(|error| StoreError::Other(error.to_string()))?,
                started_at: r.time("started_at")?,
                reached: r.integer("reached")?,
                deliveries: r.number("deliveries")?,
            })
        });
        read.collect()
    }
}

async fn first_since(
    connection: &mut SqliteConnection,
    since: UnixMillis,
) -> Result<i64, sqlx::Error> {
    let first = sqlx::query(FIRST_SINCE).bind(since.0);
    let first: i64 = first.fetch_one(connection).await?.try_get(0)?;
    Ok(if first == 0 { i64::MAX } else { first })
}

fn replayable(row: &SqliteRow) -> Result<Replayable, StoreError> {
    let r = Reading::new(row, "deliveries", "id");
    let state = r.text("state")?;
    Ok(Replayable {
        cursor: r.integer("cursor")?,
        event_id: r.text("id")?,
        job_id: r.job_id("job_id")?,
        kind: r.text("type")?,
        created_at: r.time("created_at")?,
        webhook: r.text("webhook")?,
        state: DeliveryState::from_word(&state)
            .ok_or_else(|| StoreError::Other(format!("{state} is no state of a delivery")))?,
        is_disabled: r.flag("is_disabled")?,
    })
}

/// Makes deliveries pending again, and their lanes right; answers how many.
async fn make_pending(
    connection: &mut SqliteConnection,
    replay: &Replay,
    deliveries: &[Replayable],
) -> Result<u64, StoreError> {
    let rows: Vec<DeliveryRow<'_>> = deliveries.iter().map(DeliveryRow::of).collect();
    let made = sqlx::query(MAKE_PENDING)
        .bind(json(&rows)?)
        .fetch_all(&mut *connection)
        .await?;
    // Each lane is due at a moment of its own, in the order in which events are sent again, none in the future.
    let mut order: HashMap<(&str, &str), usize> = HashMap::new();
    for delivery in deliveries {
        let lane = (delivery.webhook.as_str(), delivery.job_id.as_str());
        let next = order.len();
        order.entry(lane).or_insert(next);
    }
    let begin = replay
        .started_at
        .0
        .saturating_add_unsigned(replay.deliveries);
    let begin = begin.saturating_sub_unsigned(replay.filter.limit);
    let mut webhooks: Vec<String> = Vec::new();
    let mut lanes: Vec<LaneRow> = Vec::new();
    for row in &made {
        let (webhook, job_id): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let place = order
            .get(&(webhook.as_str(), job_id.as_str()))
            .copied()
            .unwrap_or_default();
        webhooks.push(webhook.clone());
        lanes.push(LaneRow {
            webhook,
            job_id,
            at: begin + i64::try_from(place).unwrap_or(0),
        });
    }
    lanes.sort_by_key(|lane| lane.at);
    lanes.dedup_by_key(|lane| lane.at);
    let line_up = sqlx::query(LINE_UP).bind(json(&lanes)?);
    line_up.execute(&mut *connection).await?;
    webhooks.sort_unstable();
    webhooks.dedup();
    for webhook in webhooks {
        let ask = sqlx::query(ASK).bind(webhook);
        ask.execute(&mut *connection).await?;
    }
    Ok(made.len() as u64)
}

#[derive(Serialize)]
struct DeliveryRow<'a> {
    event_id: &'a str,
    webhook: &'a str,
    state: &'static str,
}

impl<'a> DeliveryRow<'a> {
    fn of(delivery: &'a Replayable) -> Self {
        Self {
            event_id: &delivery.event_id,
            webhook: &delivery.webhook,
            state: delivery.state.as_str(),
        }
    }
}

#[derive(Serialize)]
struct LaneRow {
    webhook: String,
    job_id: String,
    at: i64,
}
