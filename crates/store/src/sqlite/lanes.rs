//! Lanes: the deliveries of one job to one webhook. Of the pending ones only the first, the head, has a due time.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::json;
use super::rows::{FromRow as _, read_columns};
use super::store::{execute, query};
use crate::Result;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// Pending deliveries of these lanes; `?1` has the lanes, and `first` is the lowest sequence that is pending in one.
macro_rules! change_lanes {
    ($change:literal, $which:literal) => {
        concat!(
            "UPDATE deliveries SET next_attempt_at = ",
            $change,
            " AND (event_id, webhook) IN (
                SELECT d.event_id, d.webhook
                FROM json_each(?1) AS lane
                JOIN deliveries AS d ON d.webhook = lane.value ->> 'webhook' AND d.job_id = lane.value ->> 'job_id'
                WHERE d.state = 'pending' AND d.sequence ",
            $which,
            " (SELECT min(first.sequence) FROM deliveries AS first
               WHERE first.webhook = lane.value ->> 'webhook' AND first.job_id = lane.value ->> 'job_id'
                 AND first.state = 'pending'))"
        )
    };
}

/// Gives the first pending delivery of each lane a due time, unless it has one.
pub(super) const PROMOTE: &str = change_lanes!(
    "?2 WHERE state = 'pending' AND next_attempt_at IS NULL",
    "="
);

/// A delivery after the first pending one of its lane has no due time, even if that one was inserted later.
pub(super) const DEMOTE: &str = change_lanes!(
    "NULL WHERE state = 'pending' AND next_attempt_at IS NOT NULL",
    ">"
);

/// The deliveries of one job to one webhook, sent in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
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
}

/// The lanes of these rows. A row that another program has changed is in none.
pub(super) fn lanes_of(rows: &[SqliteRow]) -> HashSet<Lane> {
    let lanes = rows.iter().filter_map(|row| Lane::from_row(row).ok());
    lanes.collect()
}

read_columns!(Lane, "deliveries" by "webhook" {
    webhook, job_id,
});

/// Makes the first pending delivery of each lane due at `now`, unless it waits for a retry.
pub(super) async fn promote_heads(
    connection: &mut SqliteConnection,
    lanes: &HashSet<Lane>,
    now: UnixMillis,
) -> Result<()> {
    if !lanes.is_empty() {
        execute(connection, query!(PROMOTE, json(lanes)?, now.0)).await?;
    }
    Ok(())
}

/// Clears the due time of every pending delivery that is not the first of its lane.
pub(super) async fn demote_others(
    connection: &mut SqliteConnection,
    lanes: &HashSet<Lane>,
) -> Result<()> {
    execute(connection, query!(DEMOTE, json(lanes)?)).await?;
    Ok(())
}
