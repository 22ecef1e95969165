//! Several jobs by their ids, for polls that wait for them at the same time.

use std::collections::BTreeMap;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::bulk::json;
use super::rows::{FromRow as _, Reading};
use super::store::{Store, fetch_all, query};
use crate::{JobRow, Result};
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::transition::RecordedStep;

/// The columns of `jobs` that a [`JobRow`] is read from.
macro_rules! job_columns {
    () => {
        "j.id, j.url, j.webhook, j.priority, j.deadline_at, j.not_before, j.cancel_requested, j.poll_requested, \
         j.state, j.polls, j.quiet_polls, j.consecutive_errors, j.last_error, j.last_polled_at, j.next_poll_at, \
         j.not_found_since, j.queued, j.limited, j.created_at, \
         j.revision = 0 AND j.metadata IS NULL AS is_blank"
    };
}
pub(super) use job_columns;

pub(super) const STEPS_OF_MANY: &str = "
    SELECT * FROM steps WHERE job_id IN (SELECT value FROM json_each(?1)) ORDER BY job_id, position, occurrence, title";

pub(super) const TRACKED: &str = "
    SELECT id, state, revision, created_at, metadata, resource, remote_updated, event_bytes, limited,
           (SELECT coalesce(max(seq), 0) FROM transitions WHERE job_id = jobs.id) AS last_seq,
           (SELECT coalesce(max(sequence), 0) FROM events WHERE job_id = jobs.id) AS last_sequence
    FROM jobs WHERE id IN (SELECT value FROM json_each(?1))";

pub(super) const JOBS: &str = concat!(
    "SELECT ",
    job_columns!(),
    " FROM jobs AS j WHERE j.id IN (SELECT value FROM json_each(?1))"
);

/// As [`Jobs::all_tracked`](crate::Jobs::all_tracked).
pub(super) async fn tracked(store: &Store, ids: &[JobId]) -> Result<Vec<Result<Option<Tracked>>>> {
    let wanted = json(ids)?;
    let (jobs, steps) = store
        .snapshot(async |snapshot| {
            Ok((
                fetch_all(snapshot, query!(TRACKED, &wanted)).await?,
                fetch_all(snapshot, query!(STEPS_OF_MANY, &wanted)).await?,
            ))
        })
        .await?;
    let jobs = by_id(&jobs, "id")?;
    let steps = by_id(&steps, "job_id")?;
    let read = |id: &JobId| {
        let Some([job, ..]) = jobs.get(id.as_str()).map(Vec::as_slice) else {
            return Ok(None);
        };
        let steps = steps.get(id.as_str()).into_iter().flatten();
        read_tracked(
            id,
            job,
            steps
                .map(|row| RecordedStep::from_row(row))
                .collect::<Result<_>>()?,
        )
        .map(Some)
    };
    Ok(ids.iter().map(read).collect())
}

/// As [`Jobs::all_jobs`](crate::Jobs::all_jobs).
pub(super) async fn jobs(store: &Store, ids: &[JobId]) -> Result<Vec<Result<Option<JobRow>>>> {
    let wanted = json(ids)?;
    let rows = store.rows(query!(JOBS, &wanted)).await?;
    let rows = by_id(&rows, "id")?;
    let read = |id: &JobId| {
        let row = rows.get(id.as_str()).and_then(|rows| rows.first());
        row.map(|row| JobRow::from_row(row)).transpose()
    };
    Ok(ids.iter().map(read).collect())
}

/// The rows of each job, in their order.
fn by_id<'a>(
    rows: &'a [SqliteRow],
    column: &'static str,
) -> Result<BTreeMap<&'a str, Vec<&'a SqliteRow>>> {
    let mut by_id: BTreeMap<&str, Vec<&SqliteRow>> = BTreeMap::new();
    for row in rows {
        by_id.entry(row.try_get(column)?).or_default().push(row);
    }
    Ok(by_id)
}

fn read_tracked(id: &JobId, job: &SqliteRow, steps: Vec<RecordedStep>) -> Result<Tracked> {
    let r = Reading::new(job, "jobs", "id");
    Ok(Tracked {
        id: id.clone(),
        state: r.get("state")?,
        revision: r.get("revision")?,
        created_at: r.get("created_at")?,
        metadata: r.metadata()?,
        resource: r.get("resource")?,
        remote_updated: r.get("remote_updated")?,
        steps,
        last_seq: r.get("last_seq")?,
        last_sequence: r.get("last_sequence")?,
        event_bytes: r.get("event_bytes")?,
        limited: r.get("limited")?,
    })
}
