//! Recording many jobs' changes in one transaction. Each statement takes many rows.

use std::collections::{BTreeSet, HashSet};

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::attempts::record_attempts;
use super::bulk::{Bulk, Value, execute_rows, joined};
use super::expiry::record_expiries;
use super::lanes::promote_heads;
use super::store::{Store, execute, query};
use super::users::record_users;
use crate::{Batch, Commits, Committed, Recordable, Result, ScheduleUpdate};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Observation;
use jobtrackd_core::time::UnixMillis;
use jobtrackd_core::transition::Transition;

/// The columns of a [`ScheduleUpdate`], as `v` has them, and as they are set. `created_at` tells rows of one id apart.
macro_rules! schedule {
    (columns) => {
        "created_at, polls, quiet_polls, consecutive_errors, last_error, last_polled_at, next_poll_at, not_found_since,
         queued"
    };
    (set) => {
        "polls = max(jobs.polls, v.polls), quiet_polls = v.quiet_polls, consecutive_errors = v.consecutive_errors,
         last_error = v.last_error, last_polled_at = v.last_polled_at, next_poll_at = v.next_poll_at,
         not_found_since = v.not_found_since, queued = v.queued"
    };
}

/// What an observation changes in its job's row. A column that is set has its indexes written anew, changed or not. So `$more`,
/// what has an index, is set only where it changes. The `+` keeps SQLite from going through all unfinished jobs by their state
/// instead of looking up these by their id.
macro_rules! record_jobs {
    ($columns:literal, $more:literal) => {
        Bulk::new(concat!(
            "WITH v (job_id, revision, remote, resource, remote_updated, remote_user, event_bytes, limited, ",
            schedule!(columns),
            $columns,
            ") AS (VALUES {rows})
             UPDATE jobs SET ",
            $more,
            "resource = iif(v.remote, v.resource, jobs.resource),
                remote_updated = iif(v.remote, v.remote_updated, jobs.remote_updated),
                remote_user = iif(v.remote, v.remote_user, jobs.remote_user),
                event_bytes = jobs.event_bytes + v.event_bytes,
                limited = v.limited,
                revision = jobs.revision + 1,",
            schedule!(set),
            "
             FROM v
             WHERE jobs.id = v.job_id AND +jobs.created_at = v.created_at AND jobs.revision = v.revision
                AND +jobs.state IN ('pending', 'in-progress')
             RETURNING jobs.id"
        ))
    };
}

/// Jobs that go on in the state they had.
pub(super) static RECORD_ONGOING: Bulk<17> = record_jobs!("", "");

/// Jobs that were seen for the first time and go on.
pub(super) static RECORD_BEGUN: Bulk<18> = record_jobs!(", state", "state = v.state, ");

/// Jobs that have ended.
pub(super) static RECORD_ENDED: Bulk<20> = record_jobs!(
    ", state, failure, finished_at",
    "state = v.state, failure = v.failure, finished_at = v.finished_at, "
);

/// A step is updated exactly when it has a transition: a result that differs only in its text is stored, but is not an update.
macro_rules! record_steps {
    ($updated:literal) => {
        Bulk::new(concat!(
            "INSERT INTO steps (job_id, title, occurrence, position, status, class, result, error, first_seen_at,
                                updated_at, delayed, challenge, challenge_expires_at, challenge_expiry_ms,
                                challenge_response_url)
             SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL
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
                updated_at = ",
            $updated,
            ".updated_at"
        ))
    };
}

pub(super) static RECORD_CHANGED_STEPS: Bulk<15> = record_steps!("excluded");

pub(super) static RECORD_OTHER_STEPS: Bulk<15> = record_steps!("steps");

pub(super) static RECORD_TRANSITIONS: Bulk<11> = Bulk::new(
    "INSERT INTO transitions
        (job_id, seq, position, title, occurrence, from_status, to_status, class, result, observed_at, remote_updated)
     SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL",
);

pub(super) static RECORD_EVENTS: Bulk<8> = Bulk::new(
    "INSERT INTO events (id, job_id, sequence, type, created_at, step, transition_seq, body)
     SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL",
);

/// The first one of a lane in which nothing is pending is its head, and due at once.
pub(super) static RECORD_DELIVERIES: Bulk<6> = Bulk::new(
    "WITH v (event_id, webhook, job_id, sequence, expires_at, due) AS (VALUES {rows})
     INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, expires_at, next_attempt_at)
     SELECT v.event_id, v.webhook, v.job_id, v.sequence, iif(w.disabled_at IS NULL, 'pending', 'disabled'), v.expires_at,
            iif(w.disabled_at IS NULL AND NOT EXISTS (
                SELECT 1 FROM deliveries AS before
                WHERE before.webhook = v.webhook AND before.job_id = v.job_id AND before.state = 'pending'
            ), v.due, NULL)
     FROM v LEFT JOIN webhooks AS w ON w.name = v.webhook
     WHERE v.event_id IS NOT NULL",
);

pub(super) static RECORD_SCHEDULES: Bulk<10> = Bulk::new(concat!(
    "WITH v (job_id, ",
    schedule!(columns),
    ") AS (VALUES {rows})
     UPDATE jobs SET ",
    schedule!(set),
    "
     FROM v
     WHERE jobs.id = v.job_id AND +jobs.created_at = v.created_at AND +jobs.state IN ('pending', 'in-progress')"
));

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
            RECORD_SCHEDULES
                .run(connection, batch.schedules.iter().map(schedule))
                .await?;
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
    let recorded = record_jobs(connection, observations).await?;
    let mut changed: Vec<&Recordable> = observations.iter().collect();
    changed.retain(|each| recorded.contains(&each.observation.job_id));
    let changed = || changed.iter().copied();
    record_users(connection, changed()).await?;
    let (updated, others): (Vec<_>, Vec<_>) = changed().flat_map(steps).partition(|each| each.0);
    for (steps, record) in [
        (updated, &RECORD_CHANGED_STEPS),
        (others, &RECORD_OTHER_STEPS),
    ] {
        let rows = steps.into_iter().map(|(_, row)| row);
        record.run(connection, rows).await?;
    }
    RECORD_TRANSITIONS
        .run(connection, changed().flat_map(transitions))
        .await?;
    RECORD_EVENTS
        .run(connection, changed().flat_map(events))
        .await?;
    RECORD_DELIVERIES
        .run(connection, changed().flat_map(|each| deliveries(each, now)))
        .await?;
    let webhooks = changed().flat_map(|each| each.webhooks.iter().flatten());
    let webhooks: BTreeSet<WebhookName> = webhooks.cloned().collect();
    Ok(Committed {
        recorded,
        webhooks,
        ..Committed::default()
    })
}

/// Which of them are recorded: their rows are those that the decisions were based on.
async fn record_jobs(
    connection: &mut SqliteConnection,
    observations: &[Recordable],
) -> Result<HashSet<JobId>> {
    let (ended, going): (Vec<&Recordable>, Vec<&Recordable>) = observations
        .iter()
        .partition(|each| each.observation.state.is_final());
    let (ongoing, begun): (Vec<&Recordable>, Vec<&Recordable>) = going
        .into_iter()
        .partition(|each| each.observation.before == each.observation.state);
    let ongoing = ongoing.into_iter().map(job);
    let mut rows = RECORD_ONGOING.run(connection, ongoing).await?;
    let begun = begun
        .into_iter()
        .map(|each| joined(job(each), [each.observation.state.into()]));
    rows.extend(RECORD_BEGUN.run(connection, begun).await?);
    let ended = ended
        .into_iter()
        .map(|each| joined(job(each), end(&each.observation)));
    rows.extend(RECORD_ENDED.run(connection, ended).await?);
    let mut recorded = HashSet::with_capacity(rows.len());
    for row in &rows {
        recorded.extend(JobId::parse(row.try_get(0)?).ok());
    }
    Ok(recorded)
}

fn job(each: &Recordable) -> [Value<'_>; 17] {
    let (seen, schedule) = (&each.observation, &each.schedule);
    let remote = seen.remote.as_ref();
    let event_bytes: usize = seen.events.iter().map(|event| event.body.len()).sum();
    let next_poll_at = schedule.next_poll_at.filter(|_| !seen.state.is_final());
    let row = [
        (&seen.job_id).into(),
        seen.revision.into(),
        remote.is_some().into(),
        remote.and_then(|remote| remote.resource.as_ref()).into(),
        remote.and_then(|remote| remote.updated.as_ref()).into(),
        remote.and_then(|remote| remote.user.as_ref()).into(),
        event_bytes.into(),
        seen.limited.into(),
    ];
    joined(row, progress(schedule, next_poll_at))
}

fn end(seen: &Observation) -> [Value<'_>; 3] {
    let failure = seen.failure.as_ref();
    let failure = failure.and_then(|failure| serde_json::to_string(failure).ok());
    [seen.state.into(), failure.into(), seen.at.into()]
}

fn schedule(update: &ScheduleUpdate) -> [Value<'_>; 10] {
    let id = Value::from(&update.job_id);
    joined([id], progress(update, update.next_poll_at))
}

fn progress(update: &ScheduleUpdate, next_poll_at: Option<UnixMillis>) -> [Value<'_>; 9] {
    let progress = &update.progress;
    [
        update.created_at.into(),
        progress.polls.into(),
        progress.quiet_polls.into(),
        progress.consecutive_errors.into(),
        progress.last_error.as_ref().into(),
        progress.last_polled_at.into(),
        next_poll_at.into(),
        progress.not_found_since.into(),
        progress.queued.into(),
    ]
}

/// The steps, and whether each was updated.
fn steps(each: &Recordable) -> impl Iterator<Item = (bool, [Value<'_>; 15])> {
    let seen = &each.observation;
    // Both are in the order of the answer, then of the steps that vanished.
    let mut changed = seen.transitions.iter().peekable();
    seen.steps.iter().map(move |step| {
        let challenge = step.challenge.as_ref();
        let error = step.error.as_ref();
        let row = [
            (&seen.job_id).into(),
            (&step.title).into(),
            step.occurrence.into(),
            step.position.into(),
            (&step.status).into(),
            step.class.into(),
            step.result.as_ref().into(),
            error
                .and_then(|error| serde_json::to_string(error).ok())
                .into(),
            seen.at.into(),
            seen.at.into(),
            step.delayed.into(),
            challenge.map(|challenge| &challenge.identity).into(),
            challenge.and_then(|challenge| challenge.expires_at).into(),
            challenge.and_then(|challenge| challenge.expiry_ms).into(),
            challenge
                .and_then(|challenge| challenge.response_url.as_ref())
                .into(),
        ];
        let key = (step.title.as_str(), step.occurrence);
        let is_changed = |next: &&Transition| (next.title.as_str(), next.occurrence) == key;
        (changed.next_if(is_changed).is_some(), row)
    })
}

fn transitions(each: &Recordable) -> impl Iterator<Item = [Value<'_>; 11]> {
    let seen = &each.observation;
    let remote = seen.remote.as_ref();
    let remote_updated = remote.and_then(|remote| remote.updated.as_ref());
    seen.transitions.iter().map(move |transition| {
        [
            (&seen.job_id).into(),
            transition.seq.into(),
            transition.position.into(),
            (&transition.title).into(),
            transition.occurrence.into(),
            transition.from.as_ref().into(),
            (&transition.to).into(),
            transition.class.into(),
            transition.result.as_ref().into(),
            seen.at.into(),
            remote_updated.into(),
        ]
    })
}

fn events(each: &Recordable) -> impl Iterator<Item = [Value<'_>; 8]> {
    let seen = &each.observation;
    seen.events.iter().map(|event| {
        [
            (&event.id).into(),
            (&seen.job_id).into(),
            event.sequence.into(),
            event.kind.into(),
            event.created_at.into(),
            event.step.as_ref().into(),
            event.transition_seq.into(),
            (&event.body).into(),
        ]
    })
}

fn deliveries(each: &Recordable, now: UnixMillis) -> impl Iterator<Item = [Value<'_>; 6]> {
    let seen = &each.observation;
    let mut lanes: Vec<&WebhookName> = Vec::new();
    let pairs = seen.events.iter().zip(&each.webhooks);
    let pairs =
        pairs.flat_map(|(event, webhooks)| webhooks.iter().map(move |webhook| (event, webhook)));
    pairs.map(move |(event, webhook)| {
        let is_first = !lanes.contains(&webhook);
        if is_first {
            lanes.push(webhook);
        }
        [
            (&event.id).into(),
            webhook.into(),
            (&seen.job_id).into(),
            event.sequence.into(),
            event.expires_at.into(),
            is_first.then_some(now).into(),
        ]
    })
}
