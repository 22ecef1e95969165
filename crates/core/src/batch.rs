//! What one transaction records, and what it did.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use serde::Serialize;

use super::cadence::Progress;
use super::delivery::{AfterAttempt, Attempt, WebhookName};
use super::job::JobId;
use super::observe::Observation;
use super::rows::WebhookHealth;
use super::time::UnixMillis;

/// Many jobs' changes, recorded together. Holds at most one observation per job. Of the attempts at one delivery only the
/// one with the next number is recorded.
#[derive(Debug, Default)]
pub struct Batch {
    /// What was seen of jobs.
    pub observations: Vec<Recordable>,
    /// Bookkeeping that is only informative.
    pub schedules: Vec<ScheduleUpdate>,
    /// Attempts at deliveries, with what follows from them.
    pub attempts: Vec<FinishedAttempt>,
    /// Events that have expired undelivered.
    pub expiries: Vec<Undelivered>,
    /// Jobs whose `poll_requested` has been noticed, each with the newest change that had been read by then. A later change of
    /// the job may be another request, so that this one is not reset.
    pub poll_requests_taken: Vec<(JobId, i64)>,
    /// Changes up to this number have been noticed and may be forgotten.
    pub changes_seen: Option<i64>,
    /// Until when the API at this origin requested a pause.
    pub upstream_paused: Option<(String, UnixMillis)>,
    /// When the batch is committed; new heads of lanes are due then.
    pub now: Option<UnixMillis>,
}

/// An observation, and who gets its events.
#[derive(Debug, Clone)]
pub struct Recordable {
    /// What was seen and decided.
    pub observation: Observation,
    /// The webhooks that get each of its events, in the order of these.
    pub webhooks: Vec<Vec<WebhookName>>,
    /// The schedule after the poll that saw it.
    pub schedule: ScheduleUpdate,
}

impl Recordable {
    /// Bytes of memory it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let seen = &self.observation;
        let transitions = seen.transitions.iter().flat_map(|each| {
            let texts = [Some(&each.title), Some(&each.to)];
            texts
                .into_iter()
                .chain([each.from.as_ref(), each.result.as_ref()])
        });
        let steps = seen.steps.iter().flat_map(|each| {
            let challenge = each.challenge.as_ref();
            let identity = challenge.map(|challenge| &challenge.identity);
            let url = challenge.and_then(|challenge| challenge.response_url.as_ref());
            [
                Some(&each.title),
                Some(&each.status),
                each.result.as_ref(),
                identity,
                url,
            ]
        });
        let events = seen.events.iter();
        let events = events.flat_map(|each| [Some(&each.body), each.step.as_ref()]);
        let texts: usize = transitions.chain(steps).chain(events).map(length).sum();
        let failure = seen.failure.iter();
        let failure = failure.map(|it| [&it.code, &it.title, &it.detail]);
        let errors = seen.steps.iter().filter_map(|each| each.error.as_ref());
        let errors = errors.map(|it| [&it.code, &it.title, &it.detail]);
        let errors = failure.chain(errors).flatten();
        let errors: usize = errors.map(|part| part.raw().get().len()).sum();
        let rows = size_of_val(seen.transitions.as_slice())
            + size_of_val(seen.steps.as_slice())
            + size_of_val(seen.events.as_slice())
            + size_of_val(self.webhooks.as_slice());
        let names = self.webhooks.iter();
        let names: usize = names.map(|each| size_of_val(each.as_slice())).sum();
        let remote = seen.remote.as_ref().map_or(0, |remote| {
            length(remote.resource.as_ref()) + size_of_val(remote.users.as_slice())
        });
        size_of::<Self>() + rows + names + texts + errors + remote
    }
}

fn length(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

/// The poll schedule of a job, for people and for the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScheduleUpdate {
    /// The job.
    pub job_id: JobId,
    /// When its row was inserted: another row with this id is another job.
    pub created_at: UnixMillis,
    /// The outcomes of its polls so far.
    #[serde(flatten)]
    pub progress: Progress,
    /// When it is polled next; `None` once it has ended.
    pub next_poll_at: Option<UnixMillis>,
}

/// One attempt, and what follows from it.
#[derive(Debug, Clone)]
pub struct FinishedAttempt {
    /// The attempt itself.
    pub attempt: Attempt,
    /// The event's job.
    pub job_id: JobId,
    /// What follows for the event.
    pub after: AfterAttempt,
    /// How long the webhook is paused, because it requested that.
    pub pause: Option<Duration>,
    /// Why nothing more is to be sent to the webhook, if so.
    pub disables: Option<&'static str>,
    /// The webhook that gets the event instead, when this one will not.
    pub fallback: Option<WebhookName>,
    /// The webhook's health after it, if that has changed: its health, empty pauses, revision and generation.
    pub health: Option<WebhookHealth>,
}

impl FinishedAttempt {
    /// Bytes of memory it takes, roughly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + length(self.attempt.answer.as_ref())
    }
}

/// An event that expired before a webhook got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undelivered {
    /// The event.
    pub event_id: String,
    /// Its job.
    pub job_id: JobId,
    /// The webhook that did not get it.
    pub webhook: WebhookName,
    /// The webhook that gets it instead.
    pub fallback: Option<WebhookName>,
}

/// What a commit did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// The jobs whose observation was recorded. The others had changed meanwhile and are to be polled again.
    pub recorded: HashSet<JobId>,
    /// Webhooks that have new deliveries to make.
    pub webhooks: BTreeSet<WebhookName>,
    /// Attempts that were not the next ones of their deliveries, because another program changed the rows: event, webhook,
    /// number.
    pub unexpected_attempts: HashSet<(String, WebhookName, u32)>,
}

impl Batch {
    /// How many changes it holds: observations, attempts and bookkeeping.
    #[must_use]
    pub fn changes(&self) -> usize {
        let attempts = self.attempts.len() + self.expiries.len();
        let rows = self.observations.len() + attempts + self.schedules.len();
        let noted = self.changes_seen.is_some() || self.upstream_paused.is_some();
        rows + self.poll_requests_taken.len() + usize::from(noted)
    }

    /// Whether there is nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes() == 0
    }
}
