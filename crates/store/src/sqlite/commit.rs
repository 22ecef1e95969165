//! Recording many jobs' changes in one transaction. Each statement takes many rows as one JSON parameter.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::bulk::{Row as Piece, execute, execute_in_pieces};
use super::deliveries::record_attempts;
use super::expiry::record_expiries;
use super::lanes::{Lane, promote_heads};
use super::store::Store;
use super::users::record_users;
use crate::{Batch, Committed, Recordable, ScheduleUpdate, StoreError};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// What is written of a [`ScheduleRow`].
macro_rules! schedule_columns {
    () => {
        "
        polls = max(polls, v.value ->> 'polls'),
        quiet_polls = v.value ->> 'quiet_polls',
        consecutive_errors = v.value ->> 'consecutive_errors',
        last_error = v.value ->> 'last_error',
        last_polled_at = v.value ->> 'last_polled_at',
        next_poll_at = v.value ->> 'next_poll_at',
        not_found_since = v.value ->> 'not_found_since',
        queued = v.value ->> 'queued'"
    };
}

/// The `+` keeps SQLite from going through all unfinished jobs by their state instead of looking up these by their id.
pub(super) const RECORD_JOBS: &str = concat!(
    "UPDATE jobs SET
        state = v.value ->> 'state',
        failure = v.value ->> 'failure',
        resource = coalesce(?2, v.value ->> 'resource', resource),
        finished_at = v.value ->> 'finished_at',
        event_bytes = event_bytes + (v.value ->> 'event_bytes'),
        limited = v.value ->> 'limited',
        revision = revision + 1,",
    schedule_columns!(),
    "
    FROM json_each(?1) AS v
    WHERE jobs.id = v.value ->> 'id'
      AND jobs.revision = v.value ->> 'revision'
      AND +jobs.state IN ('pending', 'in-progress')
    RETURNING jobs.id"
);

/// A step is updated exactly when it has a transition: a result whose text alone differs is kept, but is no update.
pub(super) const RECORD_STEPS: &str = "
    INSERT INTO steps (job_id, title, occurrence, position, status, result, first_seen_at, updated_at, delayed,
                       challenge, challenge_expires_at, challenge_response_url)
    SELECT v.value ->> 'job_id', v.value ->> 'title', v.value ->> 'occurrence', v.value ->> 'position',
           v.value ->> 'status', coalesce(?2, v.value ->> 'result'), v.value ->> 'at',
           CASE WHEN v.value ->> 'changed' THEN v.value ->> 'at' ELSE coalesce(known.updated_at, v.value ->> 'at') END,
           v.value ->> 'delayed', v.value ->> 'challenge', v.value ->> 'expires_at', v.value ->> 'response_url'
    FROM json_each(?1) AS v LEFT JOIN steps AS known ON known.job_id = v.value ->> 'job_id'
     AND known.title = v.value ->> 'title' AND known.occurrence = v.value ->> 'occurrence'
    WHERE true
    ON CONFLICT (job_id, title, occurrence) DO UPDATE SET
        position = excluded.position,
        status = excluded.status,
        result = excluded.result,
        delayed = excluded.delayed,
        challenge = excluded.challenge,
        challenge_expires_at = excluded.challenge_expires_at,
        challenge_response_url = excluded.challenge_response_url,
        updated_at = excluded.updated_at
    WHERE steps.position <> excluded.position OR steps.status IS NOT excluded.status
       OR steps.result IS NOT excluded.result OR steps.delayed <> excluded.delayed
       OR steps.challenge IS NOT excluded.challenge";

pub(super) const RECORD_TRANSITIONS: &str = "
    INSERT INTO transitions
        (job_id, seq, position, title, occurrence, from_status, to_status, result, observed_at, remote_updated)
    SELECT value ->> 'job_id', value ->> 'seq', value ->> 'position', value ->> 'title', value ->> 'occurrence',
           value ->> 'from', value ->> 'to', coalesce(?2, value ->> 'result'), value ->> 'at', value ->> 'remote_updated'
    FROM json_each(?1)";

pub(super) const RECORD_EVENTS: &str = "
    INSERT INTO events (id, job_id, sequence, type, created_at, body)
    SELECT value ->> 'id', value ->> 'job_id', value ->> 'sequence', value ->> 'type', value ->> 'at',
           coalesce(?2, value ->> 'body')
    FROM json_each(?1)";

pub(super) const RECORD_DELIVERIES: &str = "
    INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, expires_at)
    SELECT v.value ->> 'event_id', v.value ->> 'webhook', v.value ->> 'job_id', v.value ->> 'sequence',
           CASE WHEN w.disabled_at IS NULL THEN 'pending' ELSE 'disabled' END, v.value ->> 'expires_at'
    FROM json_each(?1) AS v LEFT JOIN webhooks AS w ON w.name = v.value ->> 'webhook'";

pub(super) const RECORD_SCHEDULES: &str = concat!(
    "UPDATE jobs SET",
    schedule_columns!(),
    "
    FROM json_each(?1) AS v
    WHERE jobs.id = v.value ->> 'id' AND +jobs.state IN ('pending', 'in-progress')"
);

pub(super) const TAKE_POLL_REQUESTS: &str = "UPDATE jobs SET poll_requested = 0 WHERE id IN (SELECT value FROM json_each(?1)) AND poll_requested = 1";

pub(super) const FORGET_CHANGES: &str = "DELETE FROM job_changes WHERE seq <= ?1";

pub(super) const PAUSE_UPSTREAM: &str = "
    INSERT INTO upstreams (origin, paused_until) VALUES (?1, ?2)
    ON CONFLICT (origin) DO UPDATE SET paused_until = excluded.paused_until";

impl Store {
    /// Commits everything in the batch in one transaction.
    ///
    /// # Errors
    /// Nothing of the batch is recorded then. [`StoreError::is_temporary`] says whether trying again makes sense.
    pub async fn commit(&self, batch: &Batch) -> Result<Committed, StoreError> {
        self.write(async |connection| {
            let now = batch.now.unwrap_or(self.shared.clock.now());
            let mut committed = record_observations(connection, &batch.observations, now).await?;
            let attempts = record_attempts(connection, &batch.attempts).await?;
            committed.strange_attempts = attempts.strange;
            let mut lanes = attempts.lanes;
            lanes.extend(record_expiries(connection, &batch.expiries, now).await?);
            promote_heads(connection, &lanes, now).await?;
            committed
                .webhooks
                .extend(lanes.into_iter().map(|lane| lane.webhook));
            if !batch.schedules.is_empty() {
                let rows: Vec<ScheduleRow<'_>> =
                    batch.schedules.iter().map(ScheduleRow::new).collect();
                execute(connection, RECORD_SCHEDULES, &rows).await?;
            }
            if !batch.poll_requests_taken.is_empty() {
                execute(connection, TAKE_POLL_REQUESTS, &batch.poll_requests_taken).await?;
            }
            if let Some(seen) = batch.changes_seen {
                sqlx::query(FORGET_CHANGES)
                    .bind(seen)
                    .execute(&mut *connection)
                    .await?;
            }
            if let Some((origin, until)) = &batch.upstream_paused {
                let pause = sqlx::query(PAUSE_UPSTREAM).bind(origin).bind(until.0);
                pause.execute(&mut *connection).await?;
            }
            Ok(committed)
        })
        .await
    }
}

async fn record_observations(
    connection: &mut SqliteConnection,
    observations: &[Recordable],
    now: UnixMillis,
) -> Result<Committed, StoreError> {
    if observations.is_empty() {
        return Ok(Committed::default());
    }
    let jobs = observations.iter().map(RecordedJob::new);
    let returned = execute_in_pieces(connection, RECORD_JOBS, jobs).await?;
    let mut recorded: HashSet<JobId> = HashSet::with_capacity(returned.len());
    for row in &returned {
        let id: String = row.try_get(0)?;
        recorded.extend(JobId::parse(&id).ok());
    }
    let fresh = || {
        observations
            .iter()
            .filter(|each| recorded.contains(&each.observation.job_id))
    };
    record_users(connection, fresh()).await?;
    execute_in_pieces(connection, RECORD_STEPS, fresh().flat_map(steps_of)).await?;
    let transitions = fresh().flat_map(transitions_of);
    execute_in_pieces(connection, RECORD_TRANSITIONS, transitions).await?;
    execute_in_pieces(connection, RECORD_EVENTS, fresh().flat_map(events_of)).await?;
    let deliveries: Vec<DeliveryRow<'_>> = fresh().flat_map(deliveries_of).collect();
    let lanes: HashSet<Lane> = deliveries.iter().map(DeliveryRow::lane).collect();
    let webhooks: HashSet<WebhookName> = lanes.iter().map(|lane| lane.webhook.clone()).collect();
    if !deliveries.is_empty() {
        execute(connection, RECORD_DELIVERIES, &deliveries).await?;
    }
    promote_heads(connection, &lanes, now).await?;
    Ok(Committed {
        recorded,
        webhooks,
        ..Committed::default()
    })
}

#[derive(Serialize)]
struct ScheduleRow<'a> {
    id: &'a str,
    polls: u64,
    quiet_polls: u32,
    consecutive_errors: u32,
    last_error: Option<&'a str>,
    last_polled_at: Option<UnixMillis>,
    next_poll_at: Option<UnixMillis>,
    not_found_since: Option<UnixMillis>,
    queued: u8,
}

impl<'a> ScheduleRow<'a> {
    fn new(schedule: &'a ScheduleUpdate) -> Self {
        let progress = &schedule.progress;
        Self {
            id: schedule.job_id.as_str(),
            polls: progress.polls,
            quiet_polls: progress.quiet_polls,
            consecutive_errors: progress.consecutive_errors,
            last_error: progress.last_error.as_deref(),
            last_polled_at: progress.last_polled_at,
            next_poll_at: schedule.next_poll_at,
            not_found_since: progress.not_found_since,
            queued: u8::from(progress.queued),
        }
    }
}

#[derive(Serialize)]
struct RecordedJob<'a> {
    revision: i64,
    state: &'static str,
    failure: Option<String>,
    resource: Option<&'a str>,
    finished_at: Option<UnixMillis>,
    event_bytes: usize,
    limited: u8,
    #[serde(flatten)]
    schedule: ScheduleRow<'a>,
}

impl<'a> RecordedJob<'a> {
    fn new(each: &'a Recordable) -> Self {
        let seen = &each.observation;
        let ended = seen.state.is_final();
        let mut schedule = ScheduleRow::new(&each.schedule);
        if ended {
            schedule.next_poll_at = None;
        }
        Self {
            revision: seen.revision,
            state: seen.state.as_str(),
            failure: seen
                .failure
                .as_ref()
                .and_then(|failure| serde_json::to_string(failure).ok()),
            resource: seen.resource.as_deref(),
            finished_at: ended.then_some(seen.at),
            event_bytes: seen.events.iter().map(|event| event.body.len()).sum(),
            limited: u8::from(seen.limited),
            schedule,
        }
    }
}

impl<'a> Piece<'a> for RecordedJob<'a> {
    fn text(&mut self) -> &mut Option<&'a str> {
        &mut self.resource
    }

    fn others(&self) -> usize {
        self.failure.as_ref().map_or(0, String::len)
    }
}

#[derive(Serialize)]
struct StepRow<'a> {
    job_id: &'a str,
    title: &'a str,
    occurrence: u32,
    position: u32,
    status: &'a str,
    result: Option<&'a str>,
    at: UnixMillis,
    changed: u8,
    delayed: u8,
    challenge: Option<&'a str>,
    expires_at: Option<UnixMillis>,
    response_url: Option<&'a str>,
}

fn steps_of(each: &Recordable) -> impl Iterator<Item = StepRow<'_>> {
    let seen = &each.observation;
    let changed: HashSet<(&str, u32)> = seen
        .transitions
        .iter()
        .map(|transition| (transition.title.as_str(), transition.occurrence))
        .collect();
    seen.steps.iter().map(move |step| StepRow {
        challenge: step.challenge.as_ref().map(|known| known.identity.as_str()),
        expires_at: step.challenge.as_ref().and_then(|known| known.expires_at),
        response_url: step
            .challenge
            .as_ref()
            .and_then(|known| known.response_url.as_deref()),
        job_id: seen.job_id.as_str(),
        title: &step.title,
        occurrence: step.occurrence,
        position: step.position,
        status: &step.status,
        result: step.result.as_deref(),
        at: seen.at,
        changed: u8::from(changed.contains(&(step.title.as_str(), step.occurrence))),
        delayed: u8::from(step.delayed),
    })
}

impl<'a> Piece<'a> for StepRow<'a> {
    fn text(&mut self) -> &mut Option<&'a str> {
        &mut self.result
    }

    fn others(&self) -> usize {
        self.title.len() + self.status.len()
    }
}

#[derive(Serialize)]
struct TransitionRow<'a> {
    job_id: &'a str,
    seq: u32,
    position: u32,
    title: &'a str,
    occurrence: u32,
    from: Option<&'a str>,
    to: &'a str,
    result: Option<&'a str>,
    at: UnixMillis,
    remote_updated: Option<&'a str>,
}

fn transitions_of(each: &Recordable) -> impl Iterator<Item = TransitionRow<'_>> {
    let seen = &each.observation;
    seen.transitions.iter().map(|transition| TransitionRow {
        job_id: seen.job_id.as_str(),
        seq: transition.seq,
        position: transition.position,
        title: &transition.title,
        occurrence: transition.occurrence,
        from: transition.from.as_deref(),
        to: &transition.to,
        result: transition.result.as_deref(),
        at: seen.at,
        remote_updated: seen.remote_updated.as_deref(),
    })
}

impl<'a> Piece<'a> for TransitionRow<'a> {
    fn text(&mut self) -> &mut Option<&'a str> {
        &mut self.result
    }

    fn others(&self) -> usize {
        let maybe = |text: Option<&str>| text.map_or(0, str::len);
        self.title.len() + self.to.len() + maybe(self.from) + maybe(self.remote_updated)
    }
}

#[derive(Serialize)]
struct EventRow<'a> {
    id: &'a str,
    job_id: &'a str,
    sequence: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    at: UnixMillis,
    body: Option<&'a str>,
}

impl<'a> Piece<'a> for EventRow<'a> {
    fn text(&mut self) -> &mut Option<&'a str> {
        &mut self.body
    }

    fn others(&self) -> usize {
        0
    }
}

fn events_of(each: &Recordable) -> impl Iterator<Item = EventRow<'_>> {
    let seen = &each.observation;
    seen.events.iter().map(|event| EventRow {
        id: &event.id,
        job_id: seen.job_id.as_str(),
        sequence: event.sequence,
        kind: event.kind.as_str(),
        at: event.created_at,
        body: Some(&event.body),
    })
}

#[derive(Serialize)]
struct DeliveryRow<'a> {
    event_id: &'a str,
    webhook: &'a str,
    job_id: &'a JobId,
    sequence: u32,
    expires_at: Option<UnixMillis>,
    #[serde(skip)]
    name: &'a WebhookName,
}

impl DeliveryRow<'_> {
    fn lane(&self) -> Lane {
        Lane {
            webhook: self.name.clone(),
            job_id: self.job_id.clone(),
        }
    }
}

fn deliveries_of(each: &Recordable) -> impl Iterator<Item = DeliveryRow<'_>> {
    each.deliveries.iter().map(|delivery| DeliveryRow {
        event_id: &delivery.event_id,
        webhook: delivery.webhook.as_str(),
        job_id: &each.observation.job_id,
        sequence: delivery.sequence,
        expires_at: delivery.expires_at,
        name: &delivery.webhook,
    })
}
