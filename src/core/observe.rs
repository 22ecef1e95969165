//! The heart of the tracker: what follows from what was seen of a job.

use serde_json::Value;
use serde_json::value::RawValue;

use super::event::{Event, Subject, Tale, event};
use super::job::{Failure, FailureKind, JobId, JobState};
use super::resource::{
    Challenge, Snapshot, StepStatus, detail_of, error_object, is_queued, mfa_object,
};
use super::time::UnixMillis;
use super::transition::{KnownStep, Transition, diff};

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
}

/// What happened to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// The API answered with the job.
    Seen(Snapshot),
    /// The tracker ends the job by itself.
    Ended(Failure),
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
}

impl Observation {
    /// Whether a step waits for the user.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.steps.iter().any(|step| open_challenge(step).is_some())
    }
}

/// Decides what follows from a sighting. `api_origin` (`https://host[:port]`) makes relative response URLs absolute.
///
/// # Errors
/// When recorded JSON cannot be read back, which only a damaged database can cause.
pub fn observe(
    job: &Tracked,
    sighting: &Sighting,
    at: UnixMillis,
    api_origin: &str,
) -> Result<Observation, serde_json::Error> {
    match sighting {
        Sighting::Seen(snapshot) => seen(job, snapshot, at, api_origin),
        Sighting::Ended(failure) => ended(job, failure, at),
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
    let metadata = raw(job.metadata.as_deref())?;
    let mut teller = Teller {
        subject: Subject {
            job_id: &job.id,
            inserted_at: job.created_at,
            state,
            metadata,
            job: raw(Some(&snapshot.body))?,
            at,
        },
        last_sequence: job.last_sequence,
        events: Vec::new(),
    };
    for transition in &change.transitions {
        teller.tell(&Tale::StepChanged(transition))?;
    }
    for step in &mut change.steps {
        if step.delayed
            || !step
                .remote_status()
                .is_some_and(|status| is_queued(&status, step.result.as_deref()))
        {
            continue;
        }
        if let Some(error) = error_object(step.result.as_deref()) {
            teller.tell(&Tale::Delayed {
                step: &step.title,
                error: &error,
            })?;
            step.delayed = true;
        }
    }
    for (step, mfa) in new_challenges(&job.steps, &change.steps) {
        let challenge = Challenge::read(&mfa);
        teller.tell(&Tale::ActionRequired {
            step: &step.title,
            challenge: &challenge,
            expires_at: challenge
                .expiry_ms
                .map(|ms| at.plus(std::time::Duration::from_millis(ms))),
            response_url: challenge
                .response
                .as_deref()
                .and_then(|url| absolute(api_origin, url)),
        })?;
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
    })
}

fn ended(
    job: &Tracked,
    failure: &Failure,
    at: UnixMillis,
) -> Result<Observation, serde_json::Error> {
    let mut teller = Teller {
        subject: Subject {
            job_id: &job.id,
            inserted_at: job.created_at,
            state: JobState::Failed,
            metadata: raw(job.metadata.as_deref())?,
            job: raw(job.resource.as_deref())?,
            at,
        },
        last_sequence: job.last_sequence,
        events: Vec::new(),
    };
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
    })
}

/// The terminal rules of the contract, section 4: any step failed, or at least one step and all of them done.
fn verdict(snapshot: &Snapshot) -> (JobState, Option<Failure>) {
    if let Some(step) = snapshot
        .steps
        .iter()
        .find(|step| step.status == StepStatus::Failed)
    {
        let error = error_object(step.result.as_deref()).unwrap_or(Value::Null);
        let field = |key: &str| error.get(key).cloned().unwrap_or(Value::Null);
        let failure = Failure {
            kind: FailureKind::Step,
            step: Some(step.title.clone()),
            code: field("code"),
            title: field("title"),
            detail: detail_of(&error),
        };
        return (JobState::Failed, Some(failure));
    }
    if !snapshot.steps.is_empty() && snapshot.steps.iter().all(|step| step.status.is_done()) {
        return (JobState::Success, None);
    }
    (JobState::InProgress, None)
}

/// The challenge that a step waits with.
fn open_challenge(step: &KnownStep) -> Option<Value> {
    let waits = step.remote_status() == Some(StepStatus::InProgress);
    waits.then(|| mfa_object(step.result.as_deref())).flatten()
}

/// Challenges that were not there, or were different, when the step was last seen (contract, section 9).
fn new_challenges<'a>(before: &[KnownStep], now: &'a [KnownStep]) -> Vec<(&'a KnownStep, Value)> {
    now.iter()
        .filter_map(|step| {
            let mfa = open_challenge(step)?;
            let known = before
                .iter()
                .find(|known| known.title == step.title && known.occurrence == step.occurrence)
                .and_then(open_challenge);
            (known.as_ref() != Some(&mfa)).then_some((step, mfa))
        })
        .collect()
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

impl Teller<'_> {
    fn tell(&mut self, tale: &Tale<'_>) -> Result<(), serde_json::Error> {
        self.last_sequence += 1;
        self.events
            .push(event(&self.subject, self.last_sequence, tale)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
