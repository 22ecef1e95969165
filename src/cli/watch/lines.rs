//! A line for each change: of a job, of a step, of what a webhook answered.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::Sight;
use crate::cli::screen::Screen;
use crate::cli::{steps, text};
use crate::core::delivery::{DeliveryState, WebhookName};
use crate::core::job::{Failure, JobId, JobState};
use crate::core::time::UnixMillis;
use crate::store::{Attempt, DeliveryCounts, JobDetail, JobProgress, Store, TransitionRow};

/// Most jobs that have ended and are still looked at, since a webhook is still to be told of them.
const MOST_OPEN: usize = 1000;

/// Longest error that is shown, in characters.
const ERROR_CHARS: usize = 300;

/// One change. The keys are part of what users rely on.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Change<'a> {
    Job {
        at: String,
        job_id: &'a JobId,
        state: JobState,
        steps_done: usize,
        steps: usize,
        failure: Option<&'a Failure>,
        last_error: Option<&'a str>,
    },
    Step {
        at: String,
        job_id: &'a JobId,
        seq: u32,
        position: u32,
        title: &'a str,
        from: Option<&'a str>,
        to: &'a str,
    },
    Delivery {
        at: String,
        job_id: &'a JobId,
        event_id: &'a str,
        event: &'a str,
        sequence: u32,
        webhook: &'a str,
        attempt: u32,
        state: &'static str,
        status: Option<u16>,
        error: Option<&'a str>,
    },
}

/// What was told of a job already.
#[derive(Debug)]
struct Known {
    state: JobState,
    last_error: Option<String>,
    last_seq: u32,
    told: DeliveryCounts,
    attempts: HashSet<(String, WebhookName, u32)>,
}

/// What was told so far.
#[derive(Debug)]
pub(super) struct Lines {
    json: bool,
    began_at: UnixMillis,
    known: HashMap<JobId, Known>,
}

impl Lines {
    pub(super) fn new(json: bool, began_at: UnixMillis) -> Self {
        Self {
            json,
            began_at,
            known: HashMap::new(),
        }
    }

    /// Jobs that are to be looked at although they are no longer lively: a webhook is still to be told of them.
    pub(super) fn open(&self) -> Vec<JobId> {
        let open = self.known.iter().filter(|(_, known)| is_open(known));
        open.map(|(id, _)| id.clone()).take(MOST_OPEN).collect()
    }

    /// Writes what has changed since the last time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn tell(
        &mut self,
        store: &Store,
        sight: &Sight,
        now: UnixMillis,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        for job in &sight.jobs {
            let id = &job.summary.row.id;
            let known = self.known.get(id);
            let is_new_inside = known
                .is_none_or(|known| known.last_seq != job.last_seq || known.told != job.deliveries);
            let inside =
                is_new_inside && (job.last_seq > 0 || job.deliveries != DeliveryCounts::default());
            let detail = if inside {
                store.detail(id).await?
            } else {
                None
            };
            let lines = self.changes(job, detail.as_ref(), now);
            for change in &lines {
                if self.json {
                    screen.json(change)?;
                } else {
                    screen.line(&plain(change));
                }
            }
            self.remember(job, detail.as_ref());
        }
        let seen: HashSet<&JobId> = sight.jobs.iter().map(|job| &job.summary.row.id).collect();
        self.known
            .retain(|id, known| seen.contains(id) || !known.state.is_final() || is_open(known));
        Ok(())
    }

    fn changes<'a>(
        &self,
        job: &'a JobProgress,
        detail: Option<&'a JobDetail>,
        now: UnixMillis,
    ) -> Vec<Change<'a>> {
        let id = &job.summary.row.id;
        let known = self.known.get(id);
        let mut changes = Vec::new();
        // Of a job that is seen for the first time only what happened since then is news.
        let is_new = |at: UnixMillis| known.is_some() || at >= self.began_at;
        if let Some(detail) = detail {
            let last = known.map_or(0, |known| known.last_seq);
            let steps = detail.transitions.iter();
            let steps = steps.filter(|each| each.seq > last && is_new(each.observed_at));
            changes.extend(steps.map(|each| step(id, each)));
        }
        let row = &job.summary.row;
        let last_error = last_error(job);
        let same = known.is_some_and(|known| {
            known.state == row.state && known.last_error.is_some() == last_error.is_some()
        });
        if !same {
            let (steps_done, steps) = steps::done_of(&job.summary);
            let of_job = Change::Job {
                at: job.summary.finished_at.unwrap_or(now).rfc3339(),
                job_id: id,
                state: row.state,
                steps_done,
                steps,
                failure: job.summary.failure.as_ref(),
                last_error,
            };
            // What was there when the watching began comes before what happens.
            let place = if known.is_none() && !row.state.is_final() {
                0
            } else {
                changes.len()
            };
            changes.insert(place, of_job);
        }
        if let Some(detail) = detail {
            let attempts = detail.attempts.iter();
            let attempts = attempts.filter(|each| {
                is_new(each.started_at)
                    && known.is_none_or(|known| !known.attempts.contains(&key(each)))
            });
            changes.extend(attempts.filter_map(|each| delivery(id, each, detail)));
        }
        changes
    }

    fn remember(&mut self, job: &JobProgress, detail: Option<&JobDetail>) {
        let row = &job.summary.row;
        let before = self.known.remove(&row.id);
        let mut attempts = before.map(|known| known.attempts).unwrap_or_default();
        let (mut last_seq, mut told) = (job.last_seq, job.deliveries);
        if let Some(detail) = detail {
            attempts.extend(detail.attempts.iter().map(key));
            // The details are younger than the rest, and are what was told.
            last_seq = detail.transitions.last().map_or(0, |last| last.seq);
            told.attempts = attempts.len() as u64;
        }
        let known = Known {
            state: row.state,
            last_error: last_error(job).map(str::to_owned),
            last_seq,
            told,
            attempts,
        };
        self.known.insert(row.id.clone(), known);
    }
}

fn is_open(known: &Known) -> bool {
    known.told.pending > 0
}

/// Why the latest poll failed.
fn last_error(job: &JobProgress) -> Option<&str> {
    let progress = &job.summary.row.progress;
    let error = progress.last_error.as_deref();
    error.filter(|_| progress.consecutive_errors > 0)
}

fn key(attempt: &Attempt) -> (String, WebhookName, u32) {
    let (event, webhook) = (attempt.event_id.clone(), attempt.webhook.clone());
    (event, webhook, attempt.number)
}

fn step<'a>(job_id: &'a JobId, transition: &'a TransitionRow) -> Change<'a> {
    Change::Step {
        at: transition.observed_at.rfc3339(),
        job_id,
        seq: transition.seq,
        position: transition.position,
        title: &transition.title,
        from: transition.from.as_deref(),
        to: &transition.to,
    }
}

fn delivery<'a>(
    job_id: &'a JobId,
    attempt: &'a Attempt,
    detail: &'a JobDetail,
) -> Option<Change<'a>> {
    let delivery = detail
        .deliveries
        .iter()
        .find(|each| each.event_id == attempt.event_id && each.webhook == attempt.webhook)?;
    let event = detail
        .events
        .iter()
        .find(|each| each.id == attempt.event_id)?;
    // After an attempt that was not the last one it waited for the next.
    let state = if attempt.number < delivery.attempts {
        DeliveryState::Pending
    } else {
        delivery.state
    };
    Some(Change::Delivery {
        at: attempt.ended_at().rfc3339(),
        job_id,
        event_id: &attempt.event_id,
        event: event.kind.as_str(),
        sequence: event.sequence,
        webhook: attempt.webhook.as_str(),
        attempt: attempt.number,
        state: state.as_str(),
        status: attempt.status,
        error: attempt.error.as_deref(),
    })
}

/// A change as a line for people.
fn plain(change: &Change<'_>) -> String {
    let outside = |said: &str| text::outside(said, ERROR_CHARS);
    match change {
        Change::Job {
            at,
            job_id,
            state,
            steps_done,
            steps,
            failure,
            last_error,
        } => {
            let mut said = format!("{at}  {job_id}  {state} {steps_done}/{steps}");
            if let Some(failure) = failure {
                said.push_str(&format!(": {}", steps::failure_line(failure)));
            } else if let Some(error) = last_error {
                said.push_str(&format!(": {}", outside(error)));
            }
            said
        }
        Change::Step {
            at,
            job_id,
            title,
            from,
            to,
            ..
        } => {
            let from = from.map_or(String::new(), |from| format!("{} → ", outside(from)));
            let (title, to) = (steps::title(title), outside(to));
            format!("{at}  {job_id}  {title}: {from}{to}")
        }
        Change::Delivery {
            at,
            job_id,
            event,
            webhook,
            attempt,
            state,
            status,
            error,
            ..
        } => {
            let webhook = outside(webhook);
            let mut said =
                format!("{at}  {job_id}  {event} to {webhook}: {state}, attempt {attempt}");
            match (error, status) {
                (Some(error), _) => said.push_str(&format!(": {}", outside(error))),
                (None, Some(status)) => said.push_str(&format!(": {status}")),
                (None, None) => {}
            }
            said
        }
    }
}
