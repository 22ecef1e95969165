//! The central decision: which state, transitions, steps and events follow from a snapshot, or when we end the job.

use std::time::Duration;

use serde_json::value::RawValue;

use super::event::{Event, EventContent, EventIds, Subject, event};
use super::job::{Failure, JobId, JobState};
use super::json::same_value;
use super::planted::{self, Bug};
use super::snapshot::{ApiError, Challenge, Snapshot, Step, StepClass, Verdict};
use super::time::UnixMillis;
use super::transition::{Diff, RecordedChallenge, RecordedStep, Transition, diff};
use super::user::{JobUser, UserId};

/// Most transitions of a job (docs/jobs.md, "Bounds of one job").
pub const MAX_TRANSITIONS: usize = 10_000;

/// Most events of a job, its end included (docs/jobs.md, "Bounds of one job").
pub const MAX_EVENTS: usize = 10_000;

/// Most recorded steps that are missing from the API's answers (docs/jobs.md, "Bounds of one job").
pub const MAX_MISSING: usize = 1000;

/// Most bytes of all events of a job, its end aside (64 MiB).
pub const MAX_EVENT_BYTES: u64 = 64 << 20;

/// Most bytes of the events of one answer (8 MiB): the event of each challenge and of each queued step holds the whole answer.
pub const MAX_BYTES_AT_ONCE: usize = 8 << 20;

/// A job as it was last recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// Its id.
    pub id: JobId,
    /// Its state.
    pub state: JobState,
    /// Number of recorded observations; the next one is recorded only if this has not changed.
    pub revision: i64,
    /// When the row was inserted.
    pub created_at: UnixMillis,
    /// The enqueuer's metadata, verbatim.
    pub metadata: Option<String>,
    /// The remote job as last seen, verbatim.
    pub resource: Option<String>,
    /// The API's time of the last change in it, verbatim.
    pub remote_updated: Option<String>,
    /// The steps, including those that are missing now.
    pub steps: Vec<RecordedStep>,
    /// Number of the last transition, 0 before the first.
    pub last_seq: u32,
    /// Sequence of the last event, 0 before the first.
    pub last_sequence: u32,
    /// Bytes of its events' bodies, including pruned ones.
    pub event_bytes: u64,
    /// Whether it has passed a bound.
    pub limited: bool,
}

impl Tracked {
    /// A job without metadata of which nothing is recorded.
    #[must_use]
    pub fn blank(id: JobId, created_at: UnixMillis) -> Self {
        Self {
            id,
            state: JobState::Pending,
            revision: 0,
            created_at,
            metadata: None,
            resource: None,
            remote_updated: None,
            steps: Vec::new(),
            last_seq: 0,
            last_sequence: 0,
            event_bytes: 0,
            limited: false,
        }
    }

    /// The job as it is recorded after this observation of it.
    #[must_use]
    pub fn after(mut self, seen: &Observation) -> Self {
        self.state = seen.state;
        self.revision += 1;
        if let Some(remote) = &seen.remote {
            self.resource.clone_from(&remote.resource);
            self.remote_updated.clone_from(&remote.updated);
        }
        for step in &seen.steps {
            let is_it = |known: &&mut RecordedStep| {
                known.occurrence == step.occurrence && known.title == step.title
            };
            match self.steps.iter_mut().find(is_it) {
                Some(known) => known.clone_from(step),
                None => self.steps.push(step.clone()),
            }
        }
        // As they are read, so that those that vanish together do so in one order.
        self.steps.sort_by(|one, other| {
            let order = |step: &RecordedStep| (step.position, step.occurrence);
            order(one)
                .cmp(&order(other))
                .then_with(|| one.title.cmp(&other.title))
        });
        let transition = seen.transitions.last();
        self.last_seq = transition.map_or(self.last_seq, |last| last.seq);
        let event = seen.events.last();
        self.last_sequence = event.map_or(self.last_sequence, |last| last.sequence);
        let bodies = seen.events.iter().map(|event| event.body.len() as u64);
        self.event_bytes += bodies.sum::<u64>();
        self.limited = seen.limited;
        self
    }

    /// Bytes of memory it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = [&self.metadata, &self.resource].into_iter().flatten();
        let steps = self.steps.iter().map(|step| {
            let challenge = step.challenge.as_ref().map(|it| it.identity.len());
            let result = step.result.as_ref().map_or(0, String::len);
            step.title.len() + step.status.len() + result + challenge.unwrap_or_default()
        });
        size_of::<Self>()
            + size_of_val(self.steps.as_slice())
            + steps.sum::<usize>()
            + texts.map(String::len).sum::<usize>()
    }
}

/// What an observation is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The API answered with the job.
    Snapshot(Snapshot),
    /// The tracker ends the job by itself.
    End(Failure),
}

/// What is recorded of an answer as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its JSON body, verbatim; `None` where it had none.
    pub resource: Option<String>,
    /// The API's own time of the last change, verbatim.
    pub updated: Option<String>,
    /// The user whose token the answers to a challenge are sent with.
    pub user: Option<UserId>,
    /// The users that the job belongs to.
    pub users: Vec<JobUser>,
}

/// Everything that follows from one piece of evidence; recorded in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The job.
    pub job_id: JobId,
    /// When its row was inserted: another row with this id is another job.
    pub created_at: UnixMillis,
    /// The revision of the job on which it is based.
    pub revision: i64,
    /// When it was observed.
    pub at: UnixMillis,
    /// The state until now.
    pub before: JobState,
    /// The state from now on.
    pub state: JobState,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// The remote job as it was answered; `None` for an end of our own.
    pub remote: Option<Remote>,
    /// What changed.
    pub transitions: Vec<Transition>,
    /// The steps that are not recorded as they are from now on; none when we end the job ourselves.
    pub steps: Vec<RecordedStep>,
    /// The events to be sent, in order.
    pub events: Vec<Event>,
    /// Whether a step waits in the API's retry queue, so that polling can be slow.
    pub queued: bool,
    /// Whether a step waits for the user.
    pub has_challenge: bool,
    /// Whether the job has passed a bound, now or before, so that only its end is recorded.
    pub limited: bool,
    /// Whether more than results has changed, so that the next poll comes soon.
    pub moved: bool,
}

/// Whether an answer comes from a replica that lags behind the one that gave the last recorded answer (docs/jobs.md,
/// "Stale answers").
#[must_use]
pub fn is_stale(job: &Tracked, snapshot: &Snapshot) -> bool {
    let time = |updated: &Option<String>| UnixMillis::parse_rfc3339(updated.as_deref()?);
    time(&snapshot.remote_updated)
        .zip(time(&job.remote_updated))
        .is_some_and(|(theirs, recorded)| theirs < recorded)
}

/// Decides what follows from the evidence. `api_origin` (`https://host[:port]`) makes relative response URLs absolute.
///
/// # Errors
/// When recorded JSON cannot be read back, which only a damaged database can cause.
pub fn observe(
    job: &Tracked,
    evidence: &Evidence,
    at: UnixMillis,
    api_origin: &str,
) -> Result<Observation, serde_json::Error> {
    match evidence {
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
    let (state, failure) = match &snapshot.verdict {
        Verdict::Running => (JobState::InProgress, None),
        Verdict::Success => (JobState::Success, None),
        Verdict::Failed(failure) => (JobState::Failed, Some(failure.clone())),
    };
    let delays = new_delays(&mut change.steps, &snapshot.steps);
    let challenges = new_challenges(&mut change.steps, &snapshot.steps, at, api_origin);
    let limited = job.limited || {
        let with_body = delays.len() + challenges.len();
        passes_a_bound(
            job,
            &change,
            with_body,
            snapshot.body.as_ref().map_or(0, String::len),
        )
    };
    let moved = job.state == JobState::Pending
        || !(delays.is_empty() && challenges.is_empty())
        || change.transitions.iter().any(Transition::moves);
    let mut events = Events::new(job, state, snapshot.body.as_deref(), at)?;
    if limited {
        change = Diff::default();
    } else {
        for transition in &change.transitions {
            events.add(&EventContent::StepChanged(transition))?;
        }
        for (index, error) in &delays {
            let step = &change.steps[*index].title;
            events.add(&EventContent::Delayed { step, error })?;
        }
        for (index, challenge) in &challenges {
            let step = &change.steps[*index];
            let recorded = step.challenge.as_ref();
            events.add(&EventContent::ActionRequired {
                step: &step.title,
                challenge,
                expires_at: recorded.and_then(|recorded| recorded.expires_at),
                response_url: recorded.and_then(|recorded| recorded.response_url.clone()),
            })?;
        }
    }
    match (&failure, state) {
        (Some(failure), _) => events.add(&EventContent::Failed(failure))?,
        (None, JobState::Success) => events.add(&EventContent::Completed)?,
        _ => {}
    }
    Ok(Observation {
        job_id: job.id.clone(),
        created_at: job.created_at,
        revision: job.revision,
        at,
        before: job.state,
        state,
        failure,
        remote: Some(Remote {
            resource: snapshot.body.clone(),
            updated: snapshot.remote_updated.clone(),
            user: snapshot.user.clone(),
            users: snapshot.users.clone(),
        }),
        transitions: std::mem::take(&mut change.transitions),
        queued: snapshot.is_queued(),
        has_challenge: change.steps.iter().any(RecordedStep::has_challenge),
        steps: change.unrecorded(),
        events: events.made,
        limited,
        moved: moved && !limited,
    })
}

fn ended(
    job: &Tracked,
    failure: &Failure,
    at: UnixMillis,
) -> Result<Observation, serde_json::Error> {
    let mut events = Events::new(job, JobState::Failed, job.resource.as_deref(), at)?;
    events.add(&EventContent::Failed(failure))?;
    Ok(Observation {
        job_id: job.id.clone(),
        created_at: job.created_at,
        revision: job.revision,
        at,
        before: job.state,
        state: JobState::Failed,
        failure: Some(failure.clone()),
        remote: None,
        transitions: Vec::new(),
        steps: Vec::new(),
        events: events.made,
        queued: false,
        has_challenge: false,
        limited: job.limited,
        moved: false,
    })
}

/// Whether the job would pass one of its bounds if this were recorded. `with_body` events hold the whole body, of this
/// many bytes.
fn passes_a_bound(job: &Tracked, change: &Diff<'_>, with_body: usize, body: usize) -> bool {
    let length = |text: Option<&String>| text.map_or(0, String::len);
    let (transitions, metadata) = (change.transitions.len(), length(job.metadata.as_ref()));
    let results = change.transitions.iter();
    let results: usize = results.map(|each| length(each.result.as_ref())).sum();
    let bytes = with_body * body + results + (with_body + transitions) * metadata;
    let missing = change
        .steps
        .iter()
        .filter(|step| step.class == StepClass::Missing);
    let events = job.last_sequence as usize + transitions + with_body;
    job.last_seq as usize + transitions > MAX_TRANSITIONS
        // One is left for its end.
        || events >= MAX_EVENTS
        || missing.count() > MAX_MISSING
        || bytes > MAX_BYTES_AT_ONCE
        || job.event_bytes.saturating_add(bytes as u64) > MAX_EVENT_BYTES
}

/// Steps that the API has queued and that had no `job.delayed` yet; marks them as delayed. The steps of the answer come
/// first in `steps`, in its order.
fn new_delays<'a>(steps: &mut [RecordedStep], seen: &'a [Step]) -> Vec<(usize, &'a ApiError)> {
    let mut delays = Vec::new();
    for (index, (step, seen)) in steps.iter_mut().zip(seen).enumerate() {
        if seen.class == StepClass::Queued && !step.delayed {
            delays.extend(seen.error.as_ref().map(|error| (index, error)));
            step.delayed = !planted::is(Bug::DelayedTwice);
        }
    }
    delays
}

/// Challenges that were not there, or were different, when the step was last seen (docs/jobs.md, "What is recorded");
/// puts them into the steps. The challenge of a missing step stays.
fn new_challenges<'a>(
    steps: &mut [RecordedStep],
    seen: &'a [Step],
    at: UnixMillis,
    api_origin: &str,
) -> Vec<(usize, &'a Challenge)> {
    let mut challenges = Vec::new();
    for (index, (step, seen)) in steps.iter_mut().zip(seen).enumerate() {
        let waits = seen.class == StepClass::Waiting;
        let Some(challenge) = seen.challenge.as_ref().filter(|_| waits) else {
            step.challenge = None;
            continue;
        };
        let link = challenge.response.as_deref();
        let response_url = link.and_then(|link| absolute(api_origin, link));
        let identity = challenge.identity(response_url.as_deref().or(link));
        let same = |recorded: &RecordedChallenge| {
            same_value(&recorded.identity, &identity)
                // Recorded by an older version, with the link as the API wrote it.
                || same_value(&recorded.identity, &challenge.identity(link))
        };
        if step.challenge.as_ref().is_some_and(same) && !planted::is(Bug::ChallengeTwice) {
            continue;
        }
        let expiry = challenge.expiry_ms.map(Duration::from_millis);
        step.challenge = Some(RecordedChallenge {
            identity,
            // As much as the table can hold.
            expiry_ms: challenge
                .expiry_ms
                .map(|millis| millis.min(i64::MAX.unsigned_abs())),
            expires_at: expiry.map(|expiry| at.plus(expiry)),
            response_url,
        });
        challenges.push((index, challenge));
    }
    challenges
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

/// Numbers and makes the events of one observation.
struct Events<'a> {
    subject: Subject<'a>,
    last_sequence: u32,
    made: Vec<Event>,
}

impl<'a> Events<'a> {
    fn new(
        job: &'a Tracked,
        state: JobState,
        resource: Option<&'a str>,
        at: UnixMillis,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            subject: Subject {
                job_id: &job.id,
                ids: EventIds::new(&job.id, job.created_at),
                state,
                metadata: raw(job.metadata.as_deref())?,
                job: raw(resource)?,
                at,
            },
            last_sequence: job.last_sequence,
            made: Vec::new(),
        })
    }

    fn add(&mut self, content: &EventContent<'_>) -> Result<(), serde_json::Error> {
        self.last_sequence += 1;
        self.made
            .push(event(&self.subject, self.last_sequence, content)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
