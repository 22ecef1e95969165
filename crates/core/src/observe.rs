//! The heart of the tracker: what follows from what was seen of a job.

use std::time::Duration;

use serde_json::value::RawValue;

use super::event::{Event, Subject, Tale, event};
use super::job::{Failure, FailureKind, JobId, JobState};
use super::json::same_value;
use super::resource::{
    ApiError, Challenge, Snapshot, StepStatus, challenge_of, error_of, is_queued, updated_of,
};
use super::time::UnixMillis;
use super::transition::{Diff, KnownChallenge, KnownStep, MISSING, Transition, diff};

/// Most transitions of a job (docs/jobs.md, "Bounds of one job").
pub const MAX_TRANSITIONS: usize = 10_000;

/// Most events of a job, its end included (docs/jobs.md, "Bounds of one job").
pub const MAX_EVENTS: usize = 10_000;

/// Most steps that have vanished from the API's answers and are remembered (docs/jobs.md, "Bounds of one job").
pub const MAX_MISSING: usize = 1000;

/// Most bytes of all events of a job, its end aside (64 MiB).
pub const MAX_EVENT_BYTES: u64 = 64 << 20;

/// Most bytes of the events of one answer (8 MiB): each challenge and each queued step has one that holds the whole answer.
pub const MAX_BYTES_AT_ONCE: usize = 8 << 20;

/// A job as it was last recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub state: JobState,
    /// Counts the recorded observations; the next one is recorded only if it is still the same.
    pub revision: i64,
    /// When the row was inserted.
    pub created_at: UnixMillis,
    /// The enqueuer's metadata, verbatim.
    pub metadata: Option<String>,
    /// The remote job as last seen, verbatim.
    pub resource: Option<String>,
    /// The steps, those that are missing now included.
    pub steps: Vec<KnownStep>,
    /// Number of the last transition, 0 when there is none.
    pub last_seq: u32,
    /// Sequence of the last event, 0 when there is none.
    pub last_sequence: u32,
    /// Bytes of its events' bodies, those that were pruned included.
    pub event_bytes: u64,
    /// Whether it has passed a bound.
    pub limited: bool,
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The API answered with the job.
    Snapshot(Snapshot),
    /// The tracker ends the job by itself.
    End(Failure),
}

/// Everything that is to be recorded of one sighting, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The job.
    pub job_id: JobId,
    /// The revision it was decided upon.
    pub revision: i64,
    /// When it was observed.
    pub at: UnixMillis,
    /// The state from now on.
    pub state: JobState,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// The remote job, when it was seen.
    pub resource: Option<String>,
    /// The API's own time of the last change, verbatim.
    pub remote_updated: Option<String>,
    /// What changed.
    pub transitions: Vec<Transition>,
    /// The steps from now on; only when the job was seen.
    pub steps: Vec<KnownStep>,
    /// What webhooks are told, in order.
    pub events: Vec<Event>,
    /// Whether a step waits in the API's retry queue, so that polling can be slow.
    pub queued: bool,
    /// Whether the job has passed a bound, now or before, so that only its end is recorded.
    pub limited: bool,
    /// Whether more than results has changed, so that polling is to be quick.
    pub moved: bool,
}

impl Observation {
    /// Whether a step waits for the user.
    #[must_use]
    pub fn has_challenge(&self) -> bool {
        self.steps.iter().any(KnownStep::has_challenge)
    }
}

/// Whether an answer comes from a replica that lags behind the one that gave the last recorded answer (docs/jobs.md,
/// "Stale answers").
#[must_use]
pub fn is_stale(job: &Tracked, snapshot: &Snapshot) -> bool {
    let theirs = snapshot.remote_updated.as_deref();
    let theirs = theirs.and_then(UnixMillis::parse_rfc3339);
    let recorded = job.resource.as_deref().and_then(updated_of);
    theirs
        .zip(recorded)
        .is_some_and(|(theirs, recorded)| theirs < recorded)
}

/// Decides what follows from a sighting. `api_origin` (`https://host[:port]`) makes relative response URLs absolute.
///
/// # Errors
/// When recorded JSON cannot be read back, which only a damaged database can cause.
pub fn observe(
    job: &Tracked,
    sighting: &Evidence,
    at: UnixMillis,
    api_origin: &str,
) -> Result<Observation, serde_json::Error> {
    match sighting {
        Evidence::Snapshot(snapshot) => seen(job, snapshot, at, api_origin),
        Evidence::End(failure) => ended(job, failure, at),
    }
}

fn seen(
    job: &Tracked,
    snapshot: &Snapshot,
    at: UnixMillis,
    api_origin: &str,
) -> Result<Observation, serde_json::Error> {
    let mut change = diff(&job.steps, snapshot, job.last_seq);
    let (state, failure) = verdict(snapshot);
    let delays = new_delays(&mut change.steps);
    let challenges = new_challenges(&mut change.steps, at, api_origin);
    let limited = job.limited || {
        let telling = delays.len() + challenges.len();
        passes_a_bound(job, &change, telling, snapshot.body.len())
    };
    let moved = job.state == JobState::Pending
        || !(delays.is_empty() && challenges.is_empty())
        || change.transitions.iter().any(Transition::moves);
    let mut teller = Teller::new(job, state, Some(&snapshot.body), at)?;
    if limited {
        change = Diff::default();
    } else {
        for transition in &change.transitions {
            teller.tell(&Tale::StepChanged(transition))?;
        }
        for (index, error) in &delays {
            let step = &change.steps[*index].title;
            teller.tell(&Tale::Delayed { step, error })?;
        }
        for (index, challenge) in &challenges {
            let step = &change.steps[*index];
            let known = step.challenge.as_ref();
            teller.tell(&Tale::ActionRequired {
                step: &step.title,
                challenge,
                expires_at: known.and_then(|known| known.expires_at),
                response_url: known.and_then(|known| known.response_url.clone()),
            })?;
        }
    }
    match (&failure, state) {
        (Some(failure), _) => teller.tell(&Tale::Failed(failure))?,
        (None, JobState::Success) => teller.tell(&Tale::Completed)?,
        _ => {}
    }
    Ok(Observation {
        job_id: job.id.clone(),
        revision: job.revision,
        at,
        state,
        failure,
        resource: Some(snapshot.body.clone()),
        remote_updated: snapshot.remote_updated.clone(),
        transitions: change.transitions,
        queued: snapshot
            .steps
            .iter()
            .any(|step| is_queued(&step.status, step.result.as_deref())),
        steps: change.steps,
        events: teller.events,
        limited,
        moved: moved && !limited,
    })
}

fn ended(
    job: &Tracked,
    failure: &Failure,
    at: UnixMillis,
) -> Result<Observation, serde_json::Error> {
    let mut teller = Teller::new(job, JobState::Failed, job.resource.as_deref(), at)?;
    teller.tell(&Tale::Failed(failure))?;
    Ok(Observation {
        job_id: job.id.clone(),
        revision: job.revision,
        at,
        state: JobState::Failed,
        failure: Some(failure.clone()),
        resource: None,
        remote_updated: None,
        transitions: Vec::new(),
        steps: Vec::new(),
        events: teller.events,
        queued: false,
        limited: job.limited,
        moved: false,
    })
}

/// Whether recording this would take the job beyond one of its bounds; `telling` of its events hold the whole body.
fn passes_a_bound(job: &Tracked, change: &Diff, telling: usize, body: usize) -> bool {
    let length = |text: Option<&String>| text.map_or(0, String::len);
    let (transitions, metadata) = (change.transitions.len(), length(job.metadata.as_ref()));
    let results = change.transitions.iter();
    let results: usize = results.map(|each| length(each.result.as_ref())).sum();
    let bytes = telling * body + results + (telling + transitions) * metadata;
    let missing = change.steps.iter().filter(|step| step.status == MISSING);
    let events = job.last_sequence as usize + transitions + telling;
    job.last_seq as usize + transitions > MAX_TRANSITIONS
        // One more is its end.
        || events >= MAX_EVENTS
        || missing.count() > MAX_MISSING
        || bytes > MAX_BYTES_AT_ONCE
        || job.event_bytes.saturating_add(bytes as u64) > MAX_EVENT_BYTES
}

/// Steps that the API has queued and that nobody was told of; from now on they are told.
fn new_delays(steps: &mut [KnownStep]) -> Vec<(usize, ApiError)> {
    let mut delays = Vec::new();
    for (index, step) in steps
        .iter_mut()
        .enumerate()
        .filter(|(_, step)| !step.delayed)
    {
        let result = step.result.as_deref();
        let queued = |status: StepStatus| is_queued(&status, result);
        if step.remote_status().is_some_and(queued) {
            delays.extend(error_of(result).map(|error| (index, error)));
            step.delayed = true;
        }
    }
    delays
}

/// Challenges that were not there, or were different, when the step was last seen (docs/jobs.md, "What is recorded");
/// from now on they are
/// known. One whose step is missing meanwhile stays known, as nothing was seen of it.
fn new_challenges(
    steps: &mut [KnownStep],
    at: UnixMillis,
    api_origin: &str,
) -> Vec<(usize, Challenge)> {
    let mut challenges = Vec::new();
    for (index, step) in steps.iter_mut().enumerate() {
        let Some(status) = step.remote_status() else {
            continue;
        };
        let asks = status == StepStatus::InProgress;
        let challenge = asks.then(|| challenge_of(step.result.as_deref())).flatten();
        let Some(challenge) = challenge else {
            step.challenge = None;
            continue;
        };
        let link = challenge.response.as_deref();
        let response_url = link.and_then(|link| absolute(api_origin, link));
        let identity = challenge.identity(response_url.as_deref().or(link));
        let same = |known: &KnownChallenge| {
            same_value(&known.identity, &identity)
                // Taken over from a database without identities, where links are as the API wrote them.
                || same_value(&known.identity, &challenge.identity(link))
        };
        if step.challenge.as_ref().is_some_and(same) {
            continue;
        }
        let expiry = challenge.expiry_ms.map(Duration::from_millis);
        step.challenge = Some(KnownChallenge {
            identity,
            expires_at: expiry.map(|expiry| at.plus(expiry)),
            response_url,
        });
        challenges.push((index, challenge));
    }
    challenges
}

/// How a job ends (docs/jobs.md, "How a job ends"): any step failed, or at least one step and all of them done.
fn verdict(snapshot: &Snapshot) -> (JobState, Option<Failure>) {
    if let Some(step) = snapshot
        .steps
        .iter()
        .find(|step| step.status == StepStatus::Failed)
    {
        let error = error_of(step.result.as_deref()).unwrap_or_default();
        let failure = Failure {
            kind: FailureKind::Step,
            step: Some(step.title.clone()),
            code: error.code,
            title: error.title,
            detail: error.detail,
        };
        return (JobState::Failed, Some(failure));
    }
    if !snapshot.steps.is_empty() && snapshot.steps.iter().all(|step| step.status.is_done()) {
        return (JobState::Success, None);
    }
    (JobState::InProgress, None)
}

/// An absolute URL for a link of the API: itself, or the origin and the path; `None` for anything else.
fn absolute(api_origin: &str, link: &str) -> Option<String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        Some(link.to_owned())
    } else if link.starts_with('/') && !link.starts_with("//") {
        Some(format!("{api_origin}{link}"))
    } else {
        None
    }
}

fn raw(text: Option<&str>) -> Result<Option<&RawValue>, serde_json::Error> {
    text.map(serde_json::from_str).transpose()
}

struct Teller<'a> {
    subject: Subject<'a>,
    last_sequence: u32,
    events: Vec<Event>,
}

impl<'a> Teller<'a> {
    fn new(
        job: &'a Tracked,
        state: JobState,
        resource: Option<&'a str>,
        at: UnixMillis,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            subject: Subject {
                job_id: &job.id,
                inserted_at: job.created_at,
                state,
                metadata: raw(job.metadata.as_deref())?,
                job: raw(resource)?,
                at,
            },
            last_sequence: job.last_sequence,
            events: Vec::new(),
        })
    }

    fn tell(&mut self, tale: &Tale<'_>) -> Result<(), serde_json::Error> {
        self.last_sequence += 1;
        self.events
            .push(event(&self.subject, self.last_sequence, tale)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
