//! Jobs one by one, for the tracker, the commands and the status server.

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::rows::{self, Reading, job_columns};
use super::store::Store;
use crate::{
    Asking, Enqueued, JobDetail, JobRow, JobSummary, Mirrored, NewJob, StepView, StoreError,
};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::retention::Stage;

pub(super) const TRACKED: &str = "
    SELECT id, state, revision, created_at, metadata, resource, event_bytes, limited,
           (SELECT coalesce(max(seq), 0) FROM transitions WHERE job_id = jobs.id) AS last_seq,
           (SELECT coalesce(max(sequence), 0) FROM events WHERE job_id = jobs.id) AS last_sequence
    FROM jobs WHERE id = ?1";

const JOB: &str = concat!("SELECT ", job_columns!(), " FROM jobs AS j WHERE j.id = ?1");

pub(super) const MIRRORED: &str = "SELECT id, state, resource FROM jobs WHERE id = ?1";

pub(super) const SUMMARY: &str = concat!(
    "SELECT ",
    job_columns!(),
    ", j.metadata, j.failure, j.finished_at FROM jobs AS j WHERE j.id = ?1"
);

pub(super) const STEPS: &str = "
    SELECT title, occurrence, position, status, result, first_seen_at, updated_at, delayed,
           challenge, challenge_expires_at, challenge_response_url
    FROM steps WHERE job_id = ?1 ORDER BY position, occurrence";

pub(super) const ENQUEUE: &str = "
    INSERT INTO jobs (id, url, metadata, webhook, priority, deadline_at, not_before)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM jobs WHERE id = ?1)";

pub(super) const CANCEL: &str =
    "UPDATE jobs SET cancel_requested = 1 WHERE id = ?1 AND state IN ('pending', 'in-progress')";

pub(super) const POLL: &str =
    "UPDATE jobs SET poll_requested = 1 WHERE id = ?1 AND state IN ('pending', 'in-progress')";

const STATE: &str = "SELECT id, state FROM jobs WHERE id = ?1";

pub(super) const DETAIL: &str = concat!(
    "SELECT ",
    job_columns!(),
    ", j.metadata, j.failure, j.finished_at, j.resource, j.pruned FROM jobs AS j WHERE j.id = ?1"
);

pub(super) const STEPS_OF_MANY: &str = "
    SELECT job_id, title, occurrence, position, status, result, first_seen_at, updated_at,
           challenge_expires_at, challenge_response_url
    FROM steps WHERE job_id IN (SELECT value FROM json_each(?1)) ORDER BY job_id, position, occurrence";

pub(super) const STEPS_IN_PROGRESS: &str = "
    SELECT title, occurrence, position, status, result, first_seen_at, updated_at,
           challenge_expires_at, challenge_response_url
    FROM steps WHERE job_id = ?1 AND status = 'in-progress' ORDER BY position, occurrence";

pub(super) const TRANSITIONS: &str = "
    SELECT job_id, seq, position, title, from_status, to_status, NULL AS result, observed_at, remote_updated
    FROM transitions WHERE job_id = ?1 ORDER BY seq";

pub(super) const EVENTS: &str =
    "SELECT id, sequence, type, created_at FROM events WHERE job_id = ?1 ORDER BY sequence";

pub(super) const DELIVERIES: &str =
    "SELECT * FROM deliveries WHERE job_id = ?1 ORDER BY sequence, webhook";

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

impl Store {
    /// A job as it was last recorded; `None` when its row is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tracked(&self, id: &JobId) -> Result<Option<Tracked>, StoreError> {
        let rows = self
            .read(async {
                // One read transaction, so that steps and counters belong together.
                let mut snapshot = self.shared.readers.begin().await?;
                let job = sqlx::query(TRACKED)
                    .bind(id.as_str())
                    .fetch_optional(&mut *snapshot)
                    .await?;
                let steps = many(&mut snapshot, STEPS, id).await?;
                snapshot.commit().await?;
                Ok((job, steps))
            })
            .await?;
        let (Some(job), steps) = rows else {
            return Ok(None);
        };
        let r = Reading::new(&job, "jobs", "id");
        Ok(Some(Tracked {
            id: id.clone(),
            state: r.job_state()?,
            revision: r.integer("revision")?,
            created_at: r.time("created_at")?,
            metadata: r.metadata()?,
            resource: r.maybe_text("resource")?,
            steps: steps
                .iter()
                .map(rows::known_step)
                .collect::<Result<_, _>>()?,
            last_seq: r.number("last_seq")?,
            last_sequence: r.number("last_sequence")?,
            event_bytes: r.number("event_bytes")?,
            limited: r.flag("limited")?,
        }))
    }

    /// The remote job as last seen; `None` when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn mirrored(&self, id: &JobId) -> Result<Option<Mirrored>, StoreError> {
        let query = sqlx::query(MIRRORED).bind(id.as_str());
        let row = self
            .read(query.fetch_optional(&self.shared.readers))
            .await?;
        row.map(|row| {
            let r = Reading::new(&row, "jobs", "id");
            Ok(Mirrored {
                state: r.job_state()?,
                resource: r.maybe_text("resource")?,
            })
        })
        .transpose()
    }

    /// One job as it stands in a list.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn summary(&self, id: &JobId) -> Result<Option<JobSummary>, StoreError> {
        let (job, steps) = self
            .read(async {
                let mut snapshot = self.shared.readers.begin().await?;
                let job = sqlx::query(SUMMARY)
                    .bind(id.as_str())
                    .fetch_optional(&mut *snapshot)
                    .await?;
                let steps = many(&mut snapshot, STEPS, id).await?;
                snapshot.commit().await?;
                Ok((job, steps))
            })
            .await?;
        let steps = steps.iter().map(rows::step).collect::<Result<_, _>>()?;
        job.map(|row| summary(&row, steps)).transpose()
    }

    /// One row; `None` when it is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn job(&self, id: &JobId) -> Result<Option<JobRow>, StoreError> {
        let query = sqlx::query(JOB).bind(id.as_str());
        let row = self
            .read(query.fetch_optional(&self.shared.readers))
            .await?;
        row.as_ref().map(rows::job).transpose()
    }

    /// Inserts a job; `false` when the id is there already.
    ///
    /// # Errors
    /// [`StoreError::Refused`] with the reason when the row may not be inserted.
    pub async fn enqueue(&self, job: &NewJob) -> Result<bool, StoreError> {
        self.write(async |connection| Ok(insert(connection, job).await?))
            .await
    }

    /// Inserts jobs in one transaction and says of each what became of it, in order. A refused one keeps none of the
    /// others out.
    ///
    /// # Errors
    /// When the database cannot be written; none of them is inserted then.
    pub async fn enqueue_all(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, StoreError> {
        self.write(async |connection| {
            let mut outcomes = Vec::with_capacity(jobs.len());
            for job in jobs {
                // The triggers undo the refused statement only; the transaction goes on.
                let inserted = insert(&mut *connection, job).await;
                outcomes.push(match inserted.map_err(StoreError::from) {
                    Ok(true) => Enqueued::New,
                    Ok(false) => Enqueued::Known,
                    Err(StoreError::Refused(reason)) => Enqueued::Refused(reason),
                    Err(error) => return Err(error),
                });
            }
            Ok(outcomes)
        })
        .await
    }

    /// Asks for the end of a job's tracking; `None` when there is no such job, `Some(false)` when it has ended already.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn request_cancel(&self, id: &JobId) -> Result<Option<bool>, StoreError> {
        self.request(CANCEL, id).await
    }

    /// Asks for a poll of a job at once; `None` when there is no such job, `Some(false)` when it has ended already.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn request_poll(&self, id: &JobId) -> Result<Option<bool>, StoreError> {
        self.request(POLL, id).await
    }

    async fn request(&self, sql: &'static str, id: &JobId) -> Result<Option<bool>, StoreError> {
        self.write(async |connection| {
            let requested = sqlx::query(sql)
                .bind(id.as_str())
                .execute(&mut *connection)
                .await?;
            if requested.rows_affected() == 1 {
                return Ok(Some(true));
            }
            let row = sqlx::query(STATE)
                .bind(id.as_str())
                .fetch_optional(connection)
                .await?;
            Ok(row.map(|_| false))
        })
        .await
    }

    /// What answering a job's challenge needs; `None` when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn asking(&self, id: &JobId) -> Result<Option<Asking>, StoreError> {
        let (job, steps) = self
            .read(async {
                let mut snapshot = self.shared.readers.begin().await?;
                let job = sqlx::query(MIRRORED).bind(id.as_str());
                let job = job.fetch_optional(&mut *snapshot).await?;
                let steps = many(&mut snapshot, STEPS_IN_PROGRESS, id).await?;
                snapshot.commit().await?;
                Ok((job, steps))
            })
            .await?;
        let Some(job) = job else {
            return Ok(None);
        };
        let r = Reading::new(&job, "jobs", "id");
        Ok(Some(Asking {
            state: r.job_state()?,
            resource: r.maybe_text("resource")?,
            steps: steps.iter().map(rows::step).collect::<Result<_, _>>()?,
        }))
    }

    /// What is known of one job, but for what may be large.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn detail(&self, id: &JobId) -> Result<Option<JobDetail>, StoreError> {
        let found = self
            .read(async {
                let mut snapshot = self.shared.readers.begin().await?;
                let job = sqlx::query(DETAIL)
                    .bind(id.as_str())
                    .fetch_optional(&mut *snapshot)
                    .await?;
                let mut parts = Vec::new();
                for sql in [STEPS, TRANSITIONS, EVENTS, DELIVERIES, ATTEMPTS] {
                    parts.push(many(&mut snapshot, sql, id).await?);
                }
                snapshot.commit().await?;
                Ok((job, parts))
            })
            .await?;
        let (Some(job), parts) = found else {
            return Ok(None);
        };
        let mut parts = parts.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let r = Reading::new(&job, "jobs", "id");
        Ok(Some(JobDetail {
            summary: summary(
                &job,
                next().iter().map(rows::step).collect::<Result<_, _>>()?,
            )?,
            resource: r.maybe_text("resource")?,
            pruned: match r.integer("pruned")? {
                0 => None,
                1 => Some(Stage::Attempts),
                _ => Some(Stage::Events),
            },
            transitions: next()
                .iter()
                .map(rows::transition)
                .collect::<Result<_, _>>()?,
            events: next().iter().map(rows::event).collect::<Result<_, _>>()?,
            deliveries: next()
                .iter()
                .map(rows::delivery)
                .collect::<Result<_, _>>()?,
            attempts: next().iter().map(rows::attempt).collect::<Result<_, _>>()?,
        }))
    }

    /// Names in `jobs.webhook` of unfinished jobs that are not in `known`, with the number of those jobs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unknown_webhooks(
        &self,
        known: &[WebhookName],
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let names: Vec<&str> = known.iter().map(WebhookName::as_str).collect();
        let names = super::bulk::json(&names)?;
        let query = sqlx::query(UNKNOWN_WEBHOOKS).bind(names);
        let rows = self.read(query.fetch_all(&self.shared.readers)).await?;
        rows.iter()
            .map(|row| {
                let r = Reading::new(row, "jobs", "webhook");
                Ok((
                    r.foreign_text("webhook")?.unwrap_or_default(),
                    r.number("jobs")?,
                ))
            })
            .collect()
    }
}

/// Inserts a job's row; `false` when its id is there already.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    job: &NewJob,
) -> Result<bool, sqlx::Error> {
    let insert = sqlx::query(ENQUEUE)
        .bind(&job.id)
        .bind(&job.url)
        .bind(&job.metadata)
        .bind(&job.webhook)
        .bind(job.priority)
        .bind(job.deadline_at.map(|at| at.0))
        .bind(job.not_before.map(|at| at.0));
    Ok(insert.execute(connection).await?.rows_affected() == 1)
}

async fn many(
    connection: &mut SqliteConnection,
    sql: &'static str,
    id: &JobId,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    sqlx::query(sql)
        .bind(id.as_str())
        .fetch_all(connection)
        .await
}

pub(super) fn summary(row: &SqliteRow, steps: Vec<StepView>) -> Result<JobSummary, StoreError> {
    let r = Reading::new(row, "jobs", "id");
    Ok(JobSummary {
        row: rows::job(row)?,
        metadata: r.metadata()?,
        failure: r.failure()?,
        finished_at: r.maybe_time("finished_at")?,
        steps,
    })
}
