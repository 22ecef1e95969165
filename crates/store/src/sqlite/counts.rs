//! How much there is of everything. Each statement is bounded, by an index and a number of rows.

use std::fs;
use std::path::Path;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::store::Store;
use crate::{Figures, MOST_COUNTED, StoreError, WebhookFigures};
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

pub(super) const NOT_TOLD_OF_WEBHOOK: &str = "
    SELECT coalesce(sum(d.state = 'exhausted'), 0), coalesce(sum(d.state = 'disabled'), 0)
    FROM events AS e JOIN deliveries AS d ON d.event_id = e.id AND d.webhook = ?1
    WHERE e.cursor > (SELECT coalesce(max(cursor), 0) FROM events) - ?2";

impl Store {
    /// How much there is, of these webhooks too.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn figures(&self, webhooks: &[WebhookName]) -> Result<Figures, StoreError> {
        let (jobs, mut of_webhooks) = self
            .read(async {
                let mut connection = self.shared.readers.acquire().await?;
                let mut jobs = Vec::new();
                for state in JobState::ALL {
                    let query = sqlx::query(JOBS_OF_STATE).bind(state.as_str());
                    let row = query.bind(MOST_COUNTED).fetch_one(&mut *connection).await?;
                    jobs.push((state, row.try_get::<i64, _>(0)?.unsigned_abs()));
                }
                let mut figures = Vec::new();
                for webhook in webhooks {
                    figures.push(of_webhook(&mut connection, webhook).await?);
                }
                Ok((jobs, figures))
            })
            .await?;
        for figures in &mut of_webhooks {
            let health = self.webhook_health(&figures.name).await?;
            figures.is_held = health.health.hold().is_some();
            figures.is_disabled = health.disabled.is_some();
            figures.paused_until = health.paused_until;
        }
        let file = self.shared.options.get_filename();
        let log = file.with_file_name({
            let mut name = file.file_name().unwrap_or_default().to_owned();
            name.push("-wal");
            name
        });
        Ok(Figures {
            jobs,
            webhooks: of_webhooks,
            database_bytes: bytes_of(file),
            wal_bytes: bytes_of(&log),
        })
    }
}

async fn of_webhook(
    connection: &mut SqliteConnection,
    name: &WebhookName,
) -> Result<WebhookFigures, sqlx::Error> {
    let pending = sqlx::query(PENDING_OF_WEBHOOK).bind(name.as_str());
    let pending = pending
        .bind(MOST_COUNTED)
        .fetch_one(&mut *connection)
        .await?;
    let oldest = sqlx::query(OLDEST_OF_WEBHOOK).bind(name.as_str());
    let oldest = oldest.bind(SEARCHED).fetch_one(&mut *connection).await?;
    let not_told = sqlx::query(NOT_TOLD_OF_WEBHOOK).bind(name.as_str());
    let not_told = not_told.bind(SEARCHED).fetch_one(&mut *connection).await?;
    Ok(WebhookFigures {
        name: name.clone(),
        pending: pending.try_get::<i64, _>(0)?.unsigned_abs(),
        oldest_pending: oldest.try_get::<Option<i64>, _>(0)?.map(UnixMillis),
        exhausted: not_told.try_get::<i64, _>(0)?.unsigned_abs(),
        disabled: not_told.try_get::<i64, _>(1)?.unsigned_abs(),
        is_held: false,
        is_disabled: false,
        paused_until: None,
    })
}

/// A file that is not there, as the log may be, has none.
fn bytes_of(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |data| data.len())
}
