//! How much there is of everything. Each statement is bounded, by an index and a number of rows.

use std::fs;
use std::path::Path;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use strum::IntoEnumIterator;

use super::files::beside;
use super::store::{Store, query};
use crate::{Counts, MOST_COUNTED, StoreError, WebhookCounts};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobState;
use jobtrackd_core::time::UnixMillis;

/// Heads of lanes that are searched for the oldest event, and latest events that are searched for those given up: both
/// are in no index.
const SEARCHED: i64 = 10_000;

pub(super) const JOBS_OF_STATE: &str =
    "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = ?1 LIMIT ?2)";

pub(super) const PENDING_OF_WEBHOOK: &str = "
    SELECT count(*) FROM
        (SELECT 1 FROM deliveries WHERE webhook = ?1 AND state = 'pending' LIMIT ?2)";

/// The first of each lane is the oldest of it.
pub(super) const OLDEST_OF_WEBHOOK: &str = "
    SELECT min(e.created_at) FROM
        (SELECT event_id FROM deliveries
         WHERE webhook = ?1 AND state = 'pending' AND next_attempt_at IS NOT NULL
         ORDER BY next_attempt_at LIMIT ?2) AS head
    JOIN events AS e ON e.id = head.event_id";

pub(super) const UNDELIVERED_OF_WEBHOOK: &str = "
    SELECT coalesce(sum(d.state = 'exhausted'), 0), coalesce(sum(d.state = 'disabled'), 0)
    FROM events AS e JOIN deliveries AS d ON d.event_id = e.id AND d.webhook = ?1
    WHERE e.cursor > (SELECT coalesce(max(cursor), 0) FROM events) - ?2";

impl Store {
    /// How much there is, of these webhooks too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn counts(&self, webhooks: &[WebhookName]) -> Result<Counts, StoreError> {
        let mut jobs = Vec::new();
        for state in JobState::iter() {
            let count = query!(JOBS_OF_STATE, state.as_str(), MOST_COUNTED);
            jobs.push((state, self.value::<i64>(count).await?.unsigned_abs()));
        }
        let mut of_webhooks = Vec::new();
        for webhook in webhooks {
            let health = self.webhook_health(webhook).await?;
            let count = async |snapshot: &mut _| of_webhook(snapshot, webhook).await;
            of_webhooks.push(WebhookCounts {
                is_held: health.health.hold().is_some(),
                is_disabled: health.disabled.is_some(),
                paused_until: health.paused_until,
                ..self.snapshot(count).await?
            });
        }
        let file = self.shared.files.database();
        Ok(Counts {
            jobs,
            webhooks: of_webhooks,
            database_bytes: bytes_of(file),
            wal_bytes: bytes_of(&beside(file, "-wal")),
        })
    }
}

async fn of_webhook(
    connection: &mut SqliteConnection,
    name: &WebhookName,
) -> Result<WebhookCounts, sqlx::Error> {
    let pending = query!(PENDING_OF_WEBHOOK, name.as_str(), MOST_COUNTED);
    let pending = pending.fetch_one(&mut *connection).await?;
    let oldest = query!(OLDEST_OF_WEBHOOK, name.as_str(), SEARCHED);
    let oldest = oldest.fetch_one(&mut *connection).await?;
    let undelivered = query!(UNDELIVERED_OF_WEBHOOK, name.as_str(), SEARCHED);
    let undelivered = undelivered.fetch_one(connection).await?;
    Ok(WebhookCounts {
        name: name.clone(),
        pending: pending.try_get::<i64, _>(0)?.unsigned_abs(),
        oldest_pending: oldest.try_get::<Option<i64>, _>(0)?.map(UnixMillis),
        exhausted: undelivered.try_get::<i64, _>(0)?.unsigned_abs(),
        disabled: undelivered.try_get::<i64, _>(1)?.unsigned_abs(),
        is_held: false,
        is_disabled: false,
        paused_until: None,
    })
}

/// A file that is not there, as the log may be, has none.
fn bytes_of(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |data| data.len())
}
