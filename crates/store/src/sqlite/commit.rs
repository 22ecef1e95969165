//! Recording many jobs' changes in one transaction. Each statement takes many rows as one JSON parameter.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::attempts::record_attempts;
use super::bulk::{Observed, execute_in_chunks, execute_rows};
use super::expiry::record_expiries;
use super::lanes::{Lane, promote_heads};
use super::store::{Store, execute, query};
use super::users::record_users;
use crate::{Batch, Commits, Committed, Recordable, Result};
use jobtrackd_core::cadence::Progress;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::event::Event;
use jobtrackd_core::job::{JobId, JobState};
use jobtrackd_core::time::UnixMillis;
use jobtrackd_core::transition::{RecordedStep, Transition};

/// The columns of a [`ScheduleUpdate`](crate::ScheduleUpdate).
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
        resource = iif(v.value ->> 'remote', coalesce(?2, v.value ->> 'text'), resource),
        remote_updated = iif(v.value ->> 'remote', v.value ->> 'remote_updated', remote_updated),
        remote_user = iif(v.value ->> 'remote', v.value ->> 'remote_user', remote_user),
        finished_at = v.value ->> 'finished_at',
        event_bytes = event_bytes + (v.value ->> 'event_bytes'),
        limited = v.value ->> 'is_limited',
        revision = revision + 1,",
    schedule_columns!(),
    "
    FROM json_each(?1) AS v
    WHERE jobs.id = v.value ->> 'job_id'
      AND jobs.revision = v.value ->> 'revision'
      AND +jobs.state IN ('pending', 'in-progress')
    RETURNING jobs.id"
);

/// A step is updated exactly when it has a transition: a result that differs only in its text is stored, but is not an update.
pub(super) const RECORD_STEPS: &str = "
    INSERT INTO steps (job_id, title, occurrence, position, status, class, result, error, first_seen_at, updated_at, delayed,
                       challenge, challenge_expires_at, challenge_expiry_ms, challenge_response_url)
    SELECT v.value ->> 'job_id', v.value ->> 'title', v.value ->> 'occurrence', v.value ->> 'position',
           v.value ->> 'status', v.value ->> 'class', coalesce(?2, v.value ->> 'text'), v.value ->> 'error',
           v.value ->> 'at',
           CASE WHEN v.value ->> 'changed' THEN v.value ->> 'at' ELSE coalesce(known.updated_at, v.value ->> 'at') END,
           v.value ->> 'delayed', v.value ->> '$.challenge.identity', v.value ->> '$.challenge.expires_at',
           v.value ->> '$.challenge.expiry_ms', v.value ->> '$.challenge.response_url'
    FROM json_each(?1) AS v LEFT JOIN steps AS known ON known.job_id = v.value ->> 'job_id'
     AND known.title = v.value ->> 'title' AND known.occurrence = v.value ->> 'occurrence'
    WHERE true
    ON CONFLICT (job_id, title, occurrence) DO UPDATE SET
        position = excluded.position,
        status = excluded.status,
        class = excluded.class,
        result = excluded.result,
        error = excluded.error,
        delayed = excluded.delayed,
        challenge = excluded.challenge,
        challenge_expires_at = excluded.challenge_expires_at,
        challenge_expiry_ms = excluded.challenge_expiry_ms,
        challenge_response_url = excluded.challenge_response_url,
        updated_at = excluded.updated_at
    WHERE steps.position <> excluded.position OR steps.status IS NOT excluded.status
       OR steps.result IS NOT excluded.result OR steps.delayed <> excluded.delayed
       OR steps.challenge IS NOT excluded.challenge OR steps.class IS NOT excluded.class";

pub(super) const RECORD_TRANSITIONS: &str = "
    INSERT INTO transitions
        (job_id, seq, position, title, occurrence, from_status, to_status, class, result, observed_at, remote_updated)
    SELECT value ->> 'job_id', value ->> 'seq', value ->> 'position', value ->> 'title', value ->> 'occurrence',
           value ->> 'from', value ->> 'to', value ->> 'class', coalesce(?2, value ->> 'text'), value ->> 'at', value ->> 'remote_updated'
    FROM json_each(?1)";

pub(super) const RECORD_EVENTS: &str = "
    INSERT INTO events (id, job_id, sequence, type, created_at, step, transition_seq, body)
    SELECT value ->> 'id', value ->> 'job_id', value ->> 'sequence', value ->> 'type', value ->> 'created_at',
           value ->> 'step', value ->> 'transition_seq', coalesce(?2, value ->> 'text')
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
    WHERE jobs.id = v.value ->> 'job_id' AND +jobs.state IN ('pending', 'in-progress')"
);

/// A change that was not read yet may be a second request. They are few, since a request is taken when all were read.
pub(super) const TAKE_POLL_REQUESTS: &str = "
    UPDATE jobs SET poll_requested = 0
    WHERE id IN (
        SELECT v.value ->> 0 FROM json_each(?1) AS v
        WHERE NOT EXISTS (
            SELECT 1 FROM job_changes WHERE seq > v.value ->> 1 AND job_id = v.value ->> 0
        )
    ) AND poll_requested = 1";

pub(super) const FORGET_CHANGES: &str = "DELETE FROM job_changes WHERE seq <= ?1";

pub(super) const PAUSE_UPSTREAM: &str = "
    INSERT INTO upstreams (origin, paused_until) VALUES (?1, ?2)
    ON CONFLICT (origin) DO UPDATE SET paused_until = excluded.paused_until";

impl Commits for Store {
    async fn commit(&self, batch: &Batch) -> Result<Committed> {
        self.write(async |connection| {
            let now = batch.now.unwrap_or(self.shared.clock.now());
            let mut committed = record_observations(connection, &batch.observations, now).await?;
            let attempts = record_attempts(connection, &batch.attempts).await?;
            committed.unexpected_attempts = attempts.unexpected;
            let mut lanes = attempts.lanes;
            lanes.extend(record_expiries(connection, &batch.expiries, now).await?);
            promote_heads(connection, &lanes, now).await?;
            let webhooks = lanes.into_iter().map(|lane| lane.webhook);
            committed.webhooks.extend(webhooks);
            execute_rows(connection, RECORD_SCHEDULES, &batch.schedules).await?;
            execute_rows(connection, TAKE_POLL_REQUESTS, &batch.poll_requests_taken).await?;
            if let Some(seen) = batch.changes_seen {
                execute(connection, query!(FORGET_CHANGES, seen)).await?;
            }
            if let Some((origin, until)) = &batch.upstream_paused {
                execute(connection, query!(PAUSE_UPSTREAM, origin, until.0)).await?;
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
) -> Result<Committed> {
    if observations.is_empty() {
        return Ok(Committed::default());
    }
    let jobs = observations.iter().map(job);
    let returned = execute_in_chunks(connection, RECORD_JOBS, jobs).await?;
    let mut recorded: HashSet<JobId> = HashSet::with_capacity(returned.len());
    for row in &returned {
        recorded.extend(JobId::parse(row.try_get(0)?).ok());
    }
    let changed = || {
        observations
            .iter()
            .filter(|each| recorded.contains(&each.observation.job_id))
    };
    record_users(connection, changed()).await?;
    execute_in_chunks(connection, RECORD_STEPS, changed().flat_map(steps)).await?;
    execute_in_chunks(
        connection,
        RECORD_TRANSITIONS,
        changed().flat_map(transitions),
    )
    .await?;
    execute_in_chunks(connection, RECORD_EVENTS, changed().flat_map(events)).await?;
    execute_in_chunks(
        connection,
        RECORD_DELIVERIES,
        changed().flat_map(deliveries),
    )
    .await?;
    let lanes: BTreeSet<Lane> = changed().flat_map(lanes).collect();
    let webhooks: BTreeSet<WebhookName> = lanes.iter().map(|lane| lane.webhook.clone()).collect();
    promote_heads(connection, &lanes, now).await?;
    Ok(Committed {
        recorded,
        webhooks,
        ..Committed::default()
    })
}

#[derive(Serialize)]
struct ObservedJob<'a> {
    revision: i64,
    state: JobState,
    failure: Option<String>,
    remote: bool,
    remote_updated: Option<&'a str>,
    remote_user: Option<&'a str>,
    finished_at: Option<UnixMillis>,
    event_bytes: usize,
    is_limited: bool,
    next_poll_at: Option<UnixMillis>,
    #[serde(flatten)]
    progress: &'a Progress,
}

fn job(each: &Recordable) -> Observed<'_, ObservedJob<'_>> {
    let (seen, schedule) = (&each.observation, &each.schedule);
    let ended = seen.state.is_final();
    let (failure, remote) = (seen.failure.as_ref(), seen.remote.as_ref());
    let fact = ObservedJob {
        revision: seen.revision,
        state: seen.state,
        failure: failure.and_then(|failure| serde_json::to_string(failure).ok()),
        remote: remote.is_some(),
        remote_updated: remote.and_then(|remote| remote.updated.as_deref()),
        remote_user: remote.and_then(|remote| Some(remote.user.as_ref()?.as_str())),
        finished_at: ended.then_some(seen.at),
        event_bytes: seen.events.iter().map(|event| event.body.len()).sum(),
        is_limited: seen.limited,
        next_poll_at: schedule.next_poll_at.filter(|_| !ended),
        progress: &schedule.progress,
    };
    let resource = remote.and_then(|remote| remote.resource.as_deref());
    Observed::of(each, fact, resource)
}

#[derive(Serialize)]
struct ObservedStep<'a> {
    changed: bool,
    #[serde(flatten)]
    step: &'a RecordedStep,
}

fn steps(each: &Recordable) -> impl Iterator<Item = Observed<'_, ObservedStep<'_>>> {
    let seen = &each.observation;
    let changed = seen.transitions.iter();
    let changed: HashSet<(&str, u32)> = changed
        .map(|transition| (transition.title.as_str(), transition.occurrence))
        .collect();
    seen.steps.iter().map(move |step| {
        let changed = changed.contains(&(step.title.as_str(), step.occurrence));
        let fact = ObservedStep { changed, step };
        Observed::of(each, fact, step.result.as_deref())
    })
}

#[derive(Serialize)]
struct ObservedTransition<'a> {
    remote_updated: Option<&'a str>,
    #[serde(flatten)]
    transition: &'a Transition,
}

fn transitions(each: &Recordable) -> impl Iterator<Item = Observed<'_, ObservedTransition<'_>>> {
    let remote = each.observation.remote.as_ref();
    let remote_updated = remote.and_then(|remote| remote.updated.as_deref());
    each.observation.transitions.iter().map(move |transition| {
        let fact = ObservedTransition {
            remote_updated,
            transition,
        };
        Observed::of(each, fact, transition.result.as_deref())
    })
}

fn events(each: &Recordable) -> impl Iterator<Item = Observed<'_, &Event>> {
    let events = each.observation.events.iter();
    events.map(|event| Observed::of(each, event, Some(&event.body)))
}

#[derive(Serialize)]
struct NewDelivery<'a> {
    event_id: &'a str,
    sequence: u32,
    webhook: &'a WebhookName,
    expires_at: Option<UnixMillis>,
}

fn deliveries(each: &Recordable) -> impl Iterator<Item = Observed<'_, NewDelivery<'_>>> {
    let events = each.observation.events.iter().zip(&each.webhooks);
    events.flat_map(move |(event, webhooks)| {
        webhooks.iter().map(move |webhook| {
            let fact = NewDelivery {
                event_id: &event.id,
                sequence: event.sequence,
                webhook,
                expires_at: event.expires_at,
            };
            Observed::of(each, fact, None)
        })
    })
}

fn lanes(each: &Recordable) -> impl Iterator<Item = Lane> {
    let webhooks = each.webhooks.iter().flatten();
    webhooks.map(|webhook| Lane::of(webhook, &each.observation.job_id))
}
