//! Deliveries in pages, those of the newest events first.

use sqlx::sqlite::SqliteRow;

use super::events::NEWEST_EVENT;
use super::rows::{self, Reading};
use super::store::{Store, integer};
use crate::{DeliveryFilter, DeliveryPage, ListedDelivery, StoreError};
use jobtrackd_core::delivery::DeliveryState;

/// Most events that one look goes through.
const WINDOW: i64 = 10_000;

macro_rules! listed {
    ($condition:literal) => {
        concat!(
            "SELECT e.cursor, e.type, e.created_at, d.*
             FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
             WHERE ",
            $condition,
            " AND (?3 IS NULL OR d.webhook = ?3) AND (?4 IS NULL OR d.state = ?4)
              AND (?5 IS NULL OR e.type = ?5)
             ORDER BY e.cursor DESC, d.webhook LIMIT ?6"
        )
    };
}

pub(super) const LIST_DELIVERIES: &str = listed!("e.cursor < ?1 AND e.cursor >= ?2");

pub(super) const DELIVERIES_OF_JOB: &str =
    listed!("e.job_id = ?7 AND +e.cursor < ?1 AND +e.cursor >= ?2");

impl Store {
    /// A page of deliveries, those of the newest events first. One look goes through 10,000 events at most.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<DeliveryPage, StoreError> {
        let (found, first) = self
            .read(async {
                let mut snapshot = self.shared.readers.begin().await?;
                let newest = integer(&mut snapshot, NEWEST_EVENT).await?;
                let before = filter.before.unwrap_or(newest + 1);
                let (sql, first) = match filter.job {
                    Some(_) => (DELIVERIES_OF_JOB, 0),
                    None => (LIST_DELIVERIES, before.saturating_sub(WINDOW).max(0)),
                };
                let mut query = sqlx::query(sql)
                    .bind(before)
                    .bind(first)
                    .bind(&filter.webhook)
                    .bind(filter.state.map(DeliveryState::as_str))
                    .bind(filter.kind.map(|kind| kind.as_str()))
                    .bind(filter.limit);
                if let Some(job) = &filter.job {
                    query = query.bind(job.as_str());
                }
                let found = query.fetch_all(&mut *snapshot).await?;
                snapshot.commit().await?;
                Ok((found, first))
            })
            .await?;
        let (mut deliveries, mut unreadable) = (Vec::new(), Vec::new());
        for row in &found {
            match listed(row) {
                Ok(delivery) => deliveries.push(delivery),
                Err(error) => unreadable.push(error.to_string()),
            }
        }
        Ok(DeliveryPage {
            deliveries,
            unreadable,
            // Cursors begin with 1.
            stopped: (first > 1).then_some(first),
        })
    }
}

fn listed(row: &SqliteRow) -> Result<ListedDelivery, StoreError> {
    let r = Reading::new(row, "deliveries", "event_id");
    Ok(ListedDelivery {
        cursor: r.integer("cursor")?,
        job_id: r.job_id("job_id")?,
        kind: r.text("type")?,
        created_at: r.time("created_at")?,
        delivery: rows::delivery(row)?,
    })
}
