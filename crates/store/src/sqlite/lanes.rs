//! Lanes: the deliveries of one job to one webhook. Of the pending ones only the first, the head, has a due time.

use std::collections::BTreeSet;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::{Bulk, Value};
use super::rows::{FromRow as _, read_columns};
use crate::Result;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Pending deliveries of these lanes.
macro_rules! change_lanes {
    ($change:literal, $which:literal) => {
        Bulk::new(concat!(
            "WITH lane (webhook, job_id, now) AS (VALUES {rows})
             UPDATE deliveries SET next_attempt_at = ",
            $change,
            "
             FROM lane
             WHERE deliveries.webhook = lane.webhook AND deliveries.job_id = lane.job_id AND deliveries.state = 'pending'
               AND deliveries.next_attempt_at IS ",
            $which,
            " (SELECT min(first.sequence) FROM deliveries AS first
                WHERE first.webhook = lane.webhook AND first.job_id = lane.job_id AND first.state = 'pending')"
        ))
    };
}

/// Gives the first pending delivery of each lane a due time, unless it has one.
pub(super) static PROMOTE: Bulk<3> = change_lanes!("lane.now", "NULL AND deliveries.sequence =");

/// A delivery after the first pending one of its lane has no due time, even if that one was inserted later.
pub(super) static DEMOTE: Bulk<3> = change_lanes!("NULL", "NOT NULL AND deliveries.sequence >");

/// The deliveries of one job to one webhook, sent in order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Lane {
    pub(super) webhook: WebhookName,
    pub(super) job_id: JobId,
}

impl Lane {
    pub(super) fn of(webhook: &WebhookName, job_id: &JobId) -> Self {
        Self {
            webhook: webhook.clone(),
            job_id: job_id.clone(),
        }
    }

    fn row(&self, now: Option<UnixMillis>) -> [Value<'_>; 3] {
        [(&self.webhook).into(), (&self.job_id).into(), now.into()]
    }
}

/// The lanes of these rows. A row that another program has changed is in none.
pub(super) fn lanes_of(rows: &[SqliteRow]) -> BTreeSet<Lane> {
    let lanes = rows.iter().filter_map(|row| Lane::from_row(row).ok());
    lanes.collect()
}

read_columns!(Lane, "deliveries" by "webhook" {
    webhook, job_id,
});

/// Makes the first pending delivery of each lane due at `now`, unless it waits for a retry.
pub(super) async fn promote_heads(
    connection: &mut SqliteConnection,
    lanes: &BTreeSet<Lane>,
    now: UnixMillis,
) -> Result<()> {
    let rows = lanes.iter().map(|lane| lane.row(Some(now)));
    PROMOTE.run(connection, rows).await.map(drop)
}

/// Clears the due time of every pending delivery that is not the first of its lane.
pub(super) async fn demote_others(
    connection: &mut SqliteConnection,
    lanes: &BTreeSet<Lane>,
) -> Result<()> {
    let rows = lanes.iter().map(|lane| lane.row(None));
    DEMOTE.run(connection, rows).await.map(drop)
}
