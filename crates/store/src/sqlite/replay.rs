//! Repeats deliveries: events are searched in windows, deliveries made pending in pages.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use sqlx::sqlite::SqliteConnection;

use super::bulk::json;
use super::deliveries::{WINDOW, deliveries_of, listed};
use super::events::NEWEST_EVENT;
use super::lanes::Lane;
use super::rows::{FromRow, Reading};
use super::store::{Store, execute, fetch_all, integer, query, value};
use super::webhooks::name;
use crate::{DeliveryRow, Replay, ReplayFilter, ReplayPage, Replays, Result, StoreError};
use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Deliveries made pending in one transaction. Those of one event are not split.
const PAGE: usize = 500;

pub(super) const REPLAYABLE: &str = deliveries_of!("e.cursor > ?1 AND e.cursor <= ?2", "e.cursor");

/// A job's events have their cursors in the order of their sequence, and there are few enough to be sorted.
pub(super) const REPLAYABLE_OF_JOB: &str = deliveries_of!(
    "e.job_id = ?9 AND +e.cursor > ?1 AND +e.cursor <= ?2",
    "e.cursor"
);

pub(super) const REPLAYABLE_OF_EVENT: &str = deliveries_of!(
    "e.id = ?9 AND +e.cursor > ?1 AND +e.cursor <= ?2",
    "e.cursor"
);

const DISABLED: &str = "SELECT name FROM webhooks WHERE disabled_at IS NOT NULL";

/// Where a search by time may begin. The clock may have been set back meanwhile, so the events themselves decide. The `+`
/// keeps SQLite from walking through all earlier events.
pub(super) const FIRST_SINCE: &str =
    "SELECT coalesce(min(+cursor), 0) FROM events WHERE created_at >= ?1";

const BEGIN: &str = "
    INSERT INTO replays (asked, started_at, reached) VALUES (?1, ?2, 0) RETURNING id";

const MOVE_ON: &str = "
    UPDATE replays SET reached = ?3, finished_at = ?4
    WHERE id = ?1 AND reached = ?2 AND finished_at IS NULL";

const COUNT: &str = "UPDATE replays SET deliveries = deliveries + ?2 WHERE id = ?1";

const UNFINISHED: &str = "
    SELECT id, asked, started_at, reached, deliveries FROM replays WHERE finished_at IS NULL ORDER BY id DESC";

/// Whatever its state: a delivery that is repeated begins its schedule anew and does not expire.
pub(super) const MAKE_PENDING: &str = "
    UPDATE deliveries SET state = 'pending', \"trigger\" = 'manual', retries_used = 0, rested_ms = 0, next_attempt_at = NULL,
        delivered_at = NULL, expired_at = NULL, expires_at = NULL
    FROM json_each(?1) AS v
    WHERE deliveries.event_id = v.value ->> 'event_id' AND deliveries.webhook = v.value ->> 'webhook'
      AND deliveries.state = v.value ->> 'state' AND deliveries.state <> 'disabled'
      AND NOT EXISTS (SELECT 1 FROM webhooks AS w WHERE w.name = deliveries.webhook AND w.disabled_at IS NOT NULL)
    RETURNING deliveries.webhook, deliveries.job_id";

/// Heads get due times in the order of the replay, which so holds across lanes.
pub(super) const SCHEDULE_LANES: &str = "
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
const PROBE_AT_ONCE: &str = "
    INSERT INTO webhooks (name, asks) VALUES (?1, 1)
    ON CONFLICT (name) DO UPDATE SET asks = asks + 1, probe_at = NULL";

impl Replays for Store {
    async fn replayable(&self, filter: &ReplayFilter, after: i64) -> Result<ReplayPage> {
        let (sql, only) = match (&filter.event, &filter.job) {
            (Some(event), _) => (REPLAYABLE_OF_EVENT, Some(event.as_str())),
            (None, Some(job)) => (REPLAYABLE_OF_JOB, Some(job.as_str())),
            (None, None) => (REPLAYABLE, None),
        };
        let (found, disabled, newest, last) = self
            .snapshot(async |snapshot| {
                let newest = integer(snapshot, NEWEST_EVENT).await?;
                let after = match filter.since {
                    Some(since) if only.is_none() && after == 0 => {
                        after.max(first_since(snapshot, since).await? - 1)
                    }
                    _ => after,
                };
                let last = match only {
                    None => newest.min(after.saturating_add(WINDOW)),
                    Some(_) => newest,
                };
                let query = query!(
                    sql,
                    after,
                    last,
                    &filter.webhook,
                    filter
                        .failed_only
                        .then_some(DeliveryState::Exhausted.as_str()),
                    filter.kind.map(EventType::as_str),
                    filter.since.map(|at| at.0),
                    filter.until.map(|at| at.0),
                    PAGE as i64,
                    only
                );
                let found = fetch_all(snapshot, query).await?;
                let disabled = fetch_all(snapshot, query!(DISABLED)).await?;
                Ok((found, disabled, newest, last))
            })
            .await?;
        let (mut deliveries, unreadable) = listed(&found);
        let mut reached = last;
        if found.len() >= PAGE
            && let Some(end) = found.last()
        {
            reached = Reading::new(end, "deliveries", "event_id").get("cursor")?;
            // The last event may have more deliveries, so it is left to the next page, unless it fills this one.
            let whole = deliveries.iter().position(|each| each.cursor == reached);
            if let Some(whole) = whole.filter(|whole| *whole > 0) {
                deliveries.truncate(whole);
                reached = deliveries.last().map_or(reached, |last| last.cursor);
            }
        }
        Ok(ReplayPage {
            deliveries,
            unreadable,
            disabled: disabled.iter().map(name).collect::<Result<_, _>>()?,
            reached,
            is_last: reached >= newest,
        })
    }

    async fn begin_replay(&self, filter: &ReplayFilter) -> Result<Replay> {
        let started_at = self.shared.clock.now();
        let asked = json(filter)?;
        let id = self
            .write(async |connection| {
                Ok(value(connection, query!(BEGIN, asked, started_at.0)).await?)
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

    async fn replay(&self, replay: &Replay, page: &ReplayPage) -> Result<Option<Replay>> {
        self.write(async |connection| {
            let now = self.shared.clock.now();
            let (id, finished_at) = (replay.id, page.is_last.then_some(now.0));
            let move_on = query!(MOVE_ON, id, replay.reached, page.reached, finished_at);
            if execute(connection, move_on).await? == 0 {
                return Ok(None);
            }
            let made = make_pending(connection, replay, &page.deliveries).await?;
            execute(
                connection,
                query!(COUNT, replay.id, i64::try_from(made).unwrap_or(i64::MAX)),
            )
            .await?;
            Ok(Some(Replay {
                reached: page.reached,
                deliveries: replay.deliveries + made,
                ..replay.clone()
            }))
        })
        .await
    }

    async fn unfinished_replays(&self) -> Result<Vec<Replay>> {
        self.all(query!(UNFINISHED)).await
    }
}

impl FromRow for Replay {
    const TABLE: &'static str = "replays";
    const KEY: &'static str = "asked";

    fn read(r: &Reading<'_>) -> Result<Self> {
        let filter = serde_json::from_str(&r.get::<String>("asked")?);
        Ok(Self {
            id: r.get("id")?,
            filter: filter.map_err(|error| StoreError::Other(error.to_string()))?,
            started_at: r.get("started_at")?,
            reached: r.get("reached")?,
            deliveries: r.get("deliveries")?,
        })
    }
}

async fn first_since(
    connection: &mut SqliteConnection,
    since: UnixMillis,
) -> Result<i64, sqlx::Error> {
    let first: i64 = value(connection, query!(FIRST_SINCE, since.0)).await?;
    Ok(if first == 0 { i64::MAX } else { first })
}

/// Makes deliveries pending again, and corrects their lanes; returns how many.
async fn make_pending(
    connection: &mut SqliteConnection,
    replay: &Replay,
    deliveries: &[DeliveryRow],
) -> Result<u64> {
    let rows = deliveries.iter().map(|each| ReplayedRow {
        event_id: &each.event_id,
        webhook: &each.webhook,
        state: each.state,
    });
    let rows = json(&rows.collect::<Vec<_>>())?;
    let made = fetch_all(connection, query!(MAKE_PENDING, rows)).await?;
    // Each lane is due at another moment, in the order of the replay, and none in the future.
    let mut order: HashMap<(&WebhookName, &JobId), usize> = HashMap::new();
    for delivery in deliveries {
        let lane = (&delivery.webhook, &delivery.job_id);
        let next = order.len();
        order.entry(lane).or_insert(next);
    }
    let begin = replay
        .started_at
        .0
        .saturating_add_unsigned(replay.deliveries);
    let begin = begin.saturating_sub_unsigned(replay.filter.limit);
    let mut lanes: Vec<DueLane> = Vec::new();
    for row in &made {
        let lane = Lane::from_row(row)?;
        let position = order.get(&(&lane.webhook, &lane.job_id)).copied();
        lanes.push(DueLane {
            at: begin + i64::try_from(position.unwrap_or_default()).unwrap_or(0),
            lane,
        });
    }
    lanes.sort_by_key(|lane| lane.at);
    lanes.dedup_by_key(|lane| lane.at);
    execute(connection, query!(SCHEDULE_LANES, json(&lanes)?)).await?;
    let webhooks: BTreeSet<&WebhookName> = lanes.iter().map(|each| &each.lane.webhook).collect();
    for webhook in webhooks {
        execute(connection, query!(PROBE_AT_ONCE, webhook.as_str())).await?;
    }
    Ok(made.len() as u64)
}

/// Only if its state is still that of the page.
#[derive(Serialize)]
struct ReplayedRow<'a> {
    event_id: &'a str,
    webhook: &'a WebhookName,
    state: DeliveryState,
}

#[derive(Serialize)]
struct DueLane {
    #[serde(flatten)]
    lane: Lane,
    at: i64,
}
