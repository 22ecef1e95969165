//! Jobs one by one, for the tracker, the commands and the status server.

use std::collections::HashMap;
use std::slice;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::bulk::json;
use super::rows::{FromRow, Reading, read_all, read_columns};
use super::store::{Store, execute, fetch_all, query};
use super::together::{self, job_columns};
use crate::{
    Enqueued, JobChallenge, JobDetail, JobResource, JobRow, JobSummary, Jobs, NewJob, Result,
    StepRow, StoreError, TransitionRow,
};
use jobtrackd_core::cadence::Progress;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::dialect::Basiq;
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::snapshot::StepClass;
use jobtrackd_core::transition::{RecordedChallenge, RecordedStep};
use jobtrackd_core::user::UserId;

/// The columns of `jobs` that a [`JobSummary`] is read from; its steps come beside.
macro_rules! summary_columns {
    () => {
        concat!(job_columns!(), ", j.metadata, j.failure, j.finished_at")
    };
}
pub(super) use summary_columns;

pub(super) const RESOURCE: &str = "SELECT id, state, resource FROM jobs WHERE id = ?1";

pub(super) const SUMMARY: &str = concat!(
    "SELECT ",
    summary_columns!(),
    " FROM jobs AS j WHERE j.id = ?1"
);

pub(super) const STEPS: &str =
    "SELECT * FROM steps WHERE job_id = ?1 ORDER BY position, occurrence";

pub(super) const ENQUEUE: &str = "
    INSERT INTO jobs (id, url, metadata, webhook, priority, deadline_at, not_before)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)";

pub(super) const CANCEL: &str =
    "UPDATE jobs SET cancel_requested = 1 WHERE id = ?1 AND state IN ('pending', 'in-progress')";

pub(super) const POLL: &str =
    "UPDATE jobs SET poll_requested = 1 WHERE id = ?1 AND state IN ('pending', 'in-progress')";

pub(super) const EXISTS_JOB: &str = "SELECT 1 FROM jobs WHERE id = ?1";

pub(super) const DETAIL: &str = concat!(
    "SELECT ",
    summary_columns!(),
    ", j.resource, j.pruned FROM jobs AS j WHERE j.id = ?1"
);

pub(super) const STEPS_THAT_WAIT: &str = "
    SELECT * FROM steps WHERE job_id = ?1 AND class = 'waiting' ORDER BY position, occurrence";

pub(super) const USER: &str = "SELECT state, remote_user FROM jobs WHERE id = ?1";

pub(super) const TRANSITIONS: &str = "
    SELECT job_id, seq, position, title, occurrence, from_status, to_status, class, NULL AS result, observed_at, remote_updated
    FROM transitions WHERE job_id = ?1 ORDER BY seq";

pub(super) const EVENTS: &str =
    "SELECT id, sequence, type, created_at FROM events WHERE job_id = ?1 ORDER BY sequence";

pub(super) const DELIVERIES: &str = "
    SELECT e.cursor, e.type, e.created_at, d.*
    FROM events AS e CROSS JOIN deliveries AS d ON d.event_id = e.id
    WHERE e.job_id = ?1 ORDER BY e.sequence, d.webhook";

pub(super) const ATTEMPTS: &str = "
    SELECT a.event_id, a.webhook, a.number, a.started_at, a.duration_ms, a.status, a.error, a.\"trigger\",
           NULL AS answer, a.answer_cut
    FROM attempts AS a JOIN events AS e ON e.id = a.event_id
    WHERE e.job_id = ?1 ORDER BY a.started_at, e.sequence, a.number";

pub(super) const UNKNOWN_WEBHOOKS: &str = "
    SELECT webhook, count(*) AS jobs FROM jobs
    WHERE finished_at IS NULL AND webhook IS NOT NULL
      AND webhook NOT IN (SELECT value FROM json_each(?1))
    GROUP BY webhook ORDER BY webhook";

impl Jobs for Store {
    async fn tracked(&self, id: &JobId) -> Result<Option<Tracked>> {
        only(together::tracked(self, slice::from_ref(id)).await?)
    }

    async fn all_tracked(&self, ids: &[JobId]) -> Result<Vec<Result<Option<Tracked>>>> {
        together::tracked(self, ids).await
    }

    async fn all_jobs(&self, ids: &[JobId]) -> Result<Vec<Result<Option<JobRow>>>> {
        together::jobs(self, ids).await
    }

    async fn job(&self, id: &JobId) -> Result<Option<JobRow>> {
        only(together::jobs(self, slice::from_ref(id)).await?)
    }

    async fn resource(&self, id: &JobId) -> Result<Option<JobResource>> {
        self.optional(query!(RESOURCE, id.as_str())).await
    }

    async fn summary(&self, id: &JobId) -> Result<Option<JobSummary>> {
        let (job, steps) = self.with_steps(SUMMARY, STEPS, id).await?;
        let steps = read_all(&steps)?;
        job.map(|row| summary(&row, steps)).transpose()
    }

    async fn challenge(&self, id: &JobId) -> Result<Option<JobChallenge>> {
        let (job, steps) = self.with_steps(USER, STEPS_THAT_WAIT, id).await?;
        let Some(job) = job else {
            return Ok(None);
        };
        let r = Reading::new(&job, "jobs", "id");
        let user: Option<String> = r.get("remote_user")?;
        Ok(Some(JobChallenge {
            state: r.get("state")?,
            user: user.as_deref().and_then(UserId::parse),
            steps: read_all(&steps)?,
        }))
    }

    async fn detail(&self, id: &JobId) -> Result<Option<JobDetail>> {
        let id = id.as_str();
        let (job, steps, transitions, events, deliveries, attempts) = self
            .snapshot(async |snapshot| {
                Ok((
                    query!(DETAIL, id).fetch_optional(&mut *snapshot).await?,
                    fetch_all(snapshot, query!(STEPS, id)).await?,
                    fetch_all(snapshot, query!(TRANSITIONS, id)).await?,
                    fetch_all(snapshot, query!(EVENTS, id)).await?,
                    fetch_all(snapshot, query!(DELIVERIES, id)).await?,
                    fetch_all(snapshot, query!(ATTEMPTS, id)).await?,
                ))
            })
            .await?;
        let Some(job) = job else {
            return Ok(None);
        };
        let r = Reading::new(&job, "jobs", "id");
        Ok(Some(JobDetail {
            summary: summary(&job, read_all(&steps)?)?,
            resource: r.get("resource")?,
            pruned: match r.get::<u8>("pruned")? {
                0 => None,
                1 => Some(Stage::Attempts),
                2 => Some(Stage::Events),
                _ => return Err(r.broken("pruned")),
            },
            transitions: read_all(&transitions)?,
            events: read_all(&events)?,
            deliveries: read_all(&deliveries)?,
            attempts: read_all(&attempts)?,
        }))
    }

    async fn enqueue(&self, job: &NewJob) -> Result<bool> {
        self.write(async |connection| Ok(insert(connection, job).await?))
            .await
    }

    async fn enqueue_all(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>> {
        self.write(async |connection| {
            let mut outcomes = Vec::with_capacity(jobs.len());
            for job in jobs {
                // The triggers undo the refused statement only; the transaction goes on.
                let inserted = insert(&mut *connection, job).await;
                outcomes.push(match inserted.map_err(StoreError::from) {
                    Ok(true) => Enqueued::New,
                    Ok(false) => Enqueued::Exists,
                    Err(StoreError::Refused(reason)) => Enqueued::Refused(reason),
                    Err(error) => return Err(error),
                });
            }
            Ok(outcomes)
        })
        .await
    }

    async fn request_cancel(&self, id: &JobId) -> Result<Option<bool>> {
        self.request(CANCEL, id).await
    }

    async fn request_cancel_of_all(&self, ids: &[JobId]) -> Result<Vec<JobId>> {
        self.write(async |connection| {
            let mut requested = Vec::new();
            for id in ids {
                if execute(&mut *connection, query!(CANCEL, id.as_str())).await? == 1 {
                    requested.push(id.clone());
                }
            }
            Ok(requested)
        })
        .await
    }

    async fn request_poll(&self, id: &JobId) -> Result<Option<bool>> {
        self.request(POLL, id).await
    }

    async fn unknown_webhooks(&self, known: &[WebhookName]) -> Result<Vec<(String, u64)>> {
        let rows = self.rows(query!(UNKNOWN_WEBHOOKS, json(known)?)).await?;
        rows.iter()
            .map(|row| {
                let r = Reading::new(row, "jobs", "webhook");
                Ok((r.lossy_text("webhook")?.unwrap_or_default(), r.get("jobs")?))
            })
            .collect()
    }
}

/// What was read of a single job.
fn only<T>(read: Vec<Result<Option<T>>>) -> Result<Option<T>> {
    read.into_iter().next().unwrap_or(Ok(None))
}

impl Store {
    /// A row of the job and its steps, read together.
    async fn with_steps(
        &self,
        job: &'static str,
        steps: &'static str,
        id: &JobId,
    ) -> Result<(Option<SqliteRow>, Vec<SqliteRow>)> {
        self.snapshot(async |snapshot| {
            let job = query!(job, id.as_str())
                .fetch_optional(&mut *snapshot)
                .await?;
            let steps = fetch_all(snapshot, query!(steps, id.as_str())).await?;
            Ok((job, steps))
        })
        .await
    }

    async fn request(&self, sql: &'static str, id: &JobId) -> Result<Option<bool>> {
        self.write(async |connection| {
            let requested = execute(connection, query!(sql, id.as_str())).await?;
            if requested == 1 {
                return Ok(Some(true));
            }
            let known = query!(EXISTS_JOB, id.as_str())
                .fetch_optional(connection)
                .await?;
            Ok(known.map(|_| false))
        })
        .await
    }
}

/// Inserts a job's row; `false` when there is one with its id.
async fn insert(connection: &mut SqliteConnection, job: &NewJob) -> Result<bool, sqlx::Error> {
    Ok(execute(
        connection,
        query!(
            ENQUEUE,
            &job.id,
            &job.url,
            &job.metadata,
            &job.webhook,
            job.priority,
            job.deadline_at.map(|at| at.0),
            job.not_before.map(|at| at.0)
        ),
    )
    .await?
        == 1)
}

pub(super) fn summary(row: &SqliteRow, steps: Vec<StepRow>) -> Result<JobSummary> {
    let r = Reading::new(row, "jobs", "id");
    Ok(JobSummary {
        row: JobRow::read(&r)?,
        metadata: r.metadata()?,
        failure: r.get("failure")?,
        finished_at: r.get("finished_at")?,
        steps,
    })
}

/// Rows of several jobs, by job.
pub(super) fn by_job<T: FromRow>(rows: &[SqliteRow]) -> Result<HashMap<String, Vec<T>>> {
    let mut found: HashMap<String, Vec<T>> = HashMap::new();
    for row in rows {
        let of_job = found.entry(row.try_get("job_id")?).or_default();
        of_job.push(T::from_row(row)?);
    }
    Ok(found)
}

impl FromRow for JobRow {
    const TABLE: &'static str = "jobs";
    const KEY: &'static str = "id";

    fn read(r: &Reading<'_>) -> Result<Self> {
        Ok(Self {
            id: r.get("id")?,
            url: r.lossy_text("url")?,
            webhook: r.lossy_text("webhook")?,
            priority: r.get("priority")?,
            deadline_at: r.get("deadline_at")?,
            not_before: r.get("not_before")?,
            cancel_requested: r.get("cancel_requested")?,
            poll_requested: r.get("poll_requested")?,
            state: r.get("state")?,
            progress: Progress {
                polls: r.get("polls")?,
                quiet_polls: r.get("quiet_polls")?,
                consecutive_errors: r.get("consecutive_errors")?,
                last_error: r.get("last_error")?,
                last_polled_at: r.get("last_polled_at")?,
                not_found_since: r.get("not_found_since")?,
                queued: r.get("queued")?,
                limited: r.get("limited")?,
                ..Progress::default()
            },
            next_poll_at: r.get("next_poll_at")?,
            created_at: r.get("created_at")?,
            is_blank: r.get("is_blank")?,
        })
    }
}

read_columns!(JobResource, "jobs" by "id" {
    state, resource,
});

impl FromRow for RecordedStep {
    const TABLE: &'static str = "steps";
    const KEY: &'static str = "title";

    fn read(r: &Reading<'_>) -> Result<Self> {
        Ok(Self {
            title: r.get("title")?,
            occurrence: r.get("occurrence")?,
            position: r.get("position")?,
            status: r.get("status")?,
            class: class(r, "status")?,
            result: r.get("result")?,
            error: r.get("error")?,
            delayed: r.get("delayed")?,
            challenge: challenge(r)?,
        })
    }
}

impl FromRow for StepRow {
    const TABLE: &'static str = "steps";
    const KEY: &'static str = "title";

    fn read(r: &Reading<'_>) -> Result<Self> {
        Ok(Self {
            position: r.get("position")?,
            title: r.get("title")?,
            occurrence: r.get("occurrence")?,
            status: r.get("status")?,
            class: class(r, "status")?,
            result: r.get("result")?,
            first_seen_at: r.get("first_seen_at")?,
            updated_at: r.get("updated_at")?,
            error: r.get("error")?,
            challenge: challenge(r)?,
        })
    }
}

impl FromRow for TransitionRow {
    const TABLE: &'static str = "transitions";
    const KEY: &'static str = "job_id";

    fn read(r: &Reading<'_>) -> Result<Self> {
        Ok(Self {
            seq: r.get("seq")?,
            position: r.get("position")?,
            title: r.get("title")?,
            occurrence: r.get("occurrence")?,
            from: r.get("from_status")?,
            to: r.get("to_status")?,
            class: class(r, "to_status")?,
            result: r.get("result")?,
            observed_at: r.get("observed_at")?,
            remote_updated: r.get("remote_updated")?,
        })
    }
}

/// What a status means. Rows of versions that knew one API have no class, and its words.
fn class(r: &Reading<'_>, status: &'static str) -> Result<StepClass> {
    match r.get("class")? {
        Some(class) => Ok(class),
        None => Ok(Basiq::class_of(&r.get::<String>(status)?)),
    }
}

fn challenge(r: &Reading<'_>) -> Result<Option<RecordedChallenge>> {
    let Some(identity) = r.get("challenge")? else {
        return Ok(None);
    };
    Ok(Some(RecordedChallenge {
        identity,
        expires_at: r.get("challenge_expires_at")?,
        expiry_ms: r.get("challenge_expiry_ms")?,
        response_url: r.get("challenge_response_url")?,
    }))
}
