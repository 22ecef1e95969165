//! Numbers of jobs and deliveries. Each statement is bounded, by an index and a number of rows.

use std::fs;
use std::path::Path;

use strum::IntoEnumIterator;

use super::files::beside;
use super::rows::Reading;
use super::store::{Store, query, value};
use crate::{Counting, Counts, MOST_COUNTED, Result, WebhookCounts, Webhooks as _};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobState;
use jobtrackd_core::time::UnixMillis;

/// How many heads of lanes are searched for the oldest event, and how many of the latest events for those given up: no
/// index has either.
const SEARCHED: i64 = 10_000;

pub(super) const JOBS_OF_STATE: &str =
    "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = ?1 LIMIT ?2)";

pub(super) const PENDING_OF_WEBHOOK: &str = "
    SELECT count(*) FROM
        (SELECT 1 FROM deliveries WHERE webhook = ?1 AND state = 'pending' LIMIT ?2)";

/// The head of a lane is its oldest delivery.
pub(super) const OLDEST_OF_WEBHOOK: &str = "
    SELECT min(e.created_at) FROM
        (SELECT event_id FROM deliveries
         WHERE webhook = ?1 AND state = 'pending' AND next_attempt_at IS NOT NULL
         ORDER BY next_attempt_at LIMIT ?2) AS head
    JOIN events AS e ON e.id = head.event_id";

pub(super) const UNDELIVERED_OF_WEBHOOK: &str = "
    SELECT coalesce(sum(d.state = 'exhausted'), 0) AS exhausted, coalesce(sum(d.state = 'disabled'), 0) AS disabled,
           max(CASE WHEN d.state = 'exhausted' THEN e.created_at END) AS latest
    FROM events AS e JOIN deliveries AS d ON d.event_id = e.id AND d.webhook = ?1
    WHERE e.cursor > (SELECT coalesce(max(cursor), 0) FROM events) - ?2";

impl Counting for Store {
    async fn counts(&self, webhooks: &[WebhookName]) -> Result<Counts> {
        let mut jobs = Vec::new();
        for state in JobState::iter() {
            let count = query!(JOBS_OF_STATE, state.as_str(), MOST_COUNTED);
            jobs.push((state, self.value::<i64>(count).await?.unsigned_abs()));
        }
        let mut of_webhooks = Vec::new();
        for webhook in webhooks {
            let counts = self.count(webhook, MOST_COUNTED.into(), SEARCHED);
            of_webhooks.push(counts.await?);
        }
        let file = self.shared.files.database();
        Ok(Counts {
            jobs,
            webhooks: of_webhooks,
            database_bytes: bytes_of(file),
            wal_bytes: bytes_of(&beside(file, "-wal")),
        })
    }

    async fn backlog(&self, webhook: &WebhookName) -> Result<WebhookCounts> {
        self.count(webhook, i64::MAX, i64::MAX).await
    }
}

impl Store {
    async fn count(
        &self,
        webhook: &WebhookName,
        pending: i64,
        heads: i64,
    ) -> Result<WebhookCounts> {
        let health = self.webhook_health(webhook).await?;
        let name = webhook.as_str();
        let (pending, oldest, undelivered) = self
            .snapshot(async |snapshot| {
                let undelivered = query!(UNDELIVERED_OF_WEBHOOK, name, SEARCHED);
                Ok((
                    value(snapshot, query!(PENDING_OF_WEBHOOK, name, pending)).await?,
                    value(snapshot, query!(OLDEST_OF_WEBHOOK, name, heads)).await?,
                    undelivered.fetch_one(snapshot).await?,
                ))
            })
            .await?;
        let (pending, oldest): (i64, Option<i64>) = (pending, oldest);
        let r = Reading::new(&undelivered, "deliveries", "webhook");
        Ok(WebhookCounts {
            name: webhook.clone(),
            pending: pending.unsigned_abs(),
            oldest_pending: oldest.map(UnixMillis),
            exhausted: r.get("exhausted")?,
            latest_exhausted: r.get("latest")?,
            disabled: r.get("disabled")?,
            health,
        })
    }
}

/// The size of a file; 0 when it does not exist, as the log may not.
fn bytes_of(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |data| data.len())
}
