//! A line for each change of a job, a step or a delivery.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;

use crate::cli::screen::Screen;
use crate::cli::{steps, text};
use crate::core::delivery::{DeliveryState, WebhookName};
use crate::core::job::{Failure, JobId, JobState};
use crate::core::time::UnixMillis;
use crate::store::{Attempt, DeliveryCounts, JobDetail, JobProgress, Store, TransitionRow};

/// Most jobs that have ended and are still read, since they have pending deliveries.
const MAX_OPEN: usize = 1000;

/// Longest error that is shown, in characters.
const ERROR_CHARS: usize = 300;

/// One change. The keys are part of what users rely on.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Change<'a> {
    Job(JobChange<'a>),
    Step(StepChange<'a>),
    Delivery(DeliveryChange<'a>),
}

#[derive(Debug, Serialize)]
struct JobChange<'a> {
    at: String,
    job_id: &'a JobId,
    state: JobState,
    steps_done: usize,
    steps: usize,
    failure: Option<&'a Failure>,
    last_error: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct StepChange<'a> {
    at: String,
    job_id: &'a JobId,
    seq: u32,
    position: u32,
    title: &'a str,
    from: Option<&'a str>,
    to: &'a str,
}

#[derive(Debug, Serialize)]
struct DeliveryChange<'a> {
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
}

/// What was printed about a job.
#[derive(Debug)]
struct Printed {
    state: JobState,
    last_error: Option<String>,
    last_seq: u32,
    deliveries: DeliveryCounts,
    attempts: HashSet<(String, WebhookName, u32)>,
}

impl Printed {
    fn is_open(&self) -> bool {
        self.deliveries.pending > 0
    }
}

/// What was printed so far.
#[derive(Debug)]
pub(in crate::cli) struct Lines {
    json: bool,
    began_at: UnixMillis,
    printed: HashMap<JobId, Printed>,
}

impl Lines {
    pub(in crate::cli) fn new(json: bool, began_at: UnixMillis) -> Self {
        Self {
            json,
            began_at,
            printed: HashMap::new(),
        }
    }

    /// Jobs with pending deliveries, which are read although they may have ended long ago.
    pub(super) fn open(&self) -> Vec<JobId> {
        let open = self.printed.iter().filter(|(_, printed)| printed.is_open());
        open.map(|(id, _)| id.clone()).take(MAX_OPEN).collect()
    }

    /// Prints what has changed since the last time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn print(
        &mut self,
        store: &Store,
        jobs: &[JobProgress],
        now: UnixMillis,
        screen: &mut Screen,
    ) -> anyhow::Result<()> {
        for job in jobs {
            let id = &job.summary.row.id;
            let is_same = self.printed.get(id).is_some_and(|printed| {
                (printed.last_seq, printed.deliveries) == (job.last_seq, job.deliveries)
            });
            let has_detail = job.last_seq > 0 || job.deliveries != DeliveryCounts::default();
            let detail = match has_detail && !is_same {
                true => store.detail(id).await?,
                false => None,
            };
            for change in &self.changes(job, detail.as_ref(), now) {
                if self.json {
                    screen.json(change)?;
                } else {
                    screen.line(&plain(change));
                }
            }
            self.remember(job, detail.as_ref());
        }
        let read: HashSet<&JobId> = jobs.iter().map(|job| &job.summary.row.id).collect();
        self.printed.retain(|id, printed| {
            read.contains(id) || !printed.state.is_final() || printed.is_open()
        });
        Ok(())
    }

    fn changes<'a>(
        &self,
        job: &'a JobProgress,
        detail: Option<&'a JobDetail>,
        now: UnixMillis,
    ) -> Vec<Change<'a>> {
        let id = &job.summary.row.id;
        let printed = self.printed.get(id);
        let mut changes = Vec::new();
        // If the job is read for the first time, only changes since the start are new.
        let is_new = |at: UnixMillis| printed.is_some() || at >= self.began_at;
        if let Some(detail) = detail {
            let last = printed.map_or(0, |printed| printed.last_seq);
            let steps = detail.transitions.iter();
            let steps = steps.filter(|each| each.seq > last && is_new(each.observed_at));
            changes.extend(steps.map(|each| step(id, each)));
        }
        let row = &job.summary.row;
        let last_error = last_error(job);
        let is_same = printed.is_some_and(|printed| {
            printed.state == row.state && printed.last_error.is_some() == last_error.is_some()
        });
        if !is_same {
            let (steps_done, steps) = steps::done_of(&job.summary);
            let of_job = Change::Job(JobChange {
                at: job.summary.finished_at.unwrap_or(now).rfc3339(),
                job_id: id,
                state: row.state,
                steps_done,
                steps,
                failure: job.summary.failure.as_ref(),
                last_error,
            });
            // The state at the start comes before all changes.
            let is_first = printed.is_none() && !row.state.is_final();
            changes.insert(if is_first { 0 } else { changes.len() }, of_job);
        }
        if let Some(detail) = detail {
            let attempts = detail.attempts.iter();
            let attempts = attempts.filter(|each| {
                is_new(each.started_at)
                    && printed.is_none_or(|printed| !printed.attempts.contains(&key(each)))
            });
            changes.extend(attempts.filter_map(|each| delivery(id, each, detail)));
        }
        changes
    }

    fn remember(&mut self, job: &JobProgress, detail: Option<&JobDetail>) {
        let row = &job.summary.row;
        let before = self.printed.remove(&row.id);
        let mut attempts = before.map(|printed| printed.attempts).unwrap_or_default();
        let (mut last_seq, mut deliveries) = (job.last_seq, job.deliveries);
        if let Some(detail) = detail {
            attempts.extend(detail.attempts.iter().map(key));
            // The details were read after the rest, and were printed.
            last_seq = detail.transitions.last().map_or(0, |last| last.seq);
            deliveries.attempts = attempts.len() as u64;
        }
        let printed = Printed {
            state: row.state,
            last_error: last_error(job).map(str::to_owned),
            last_seq,
            deliveries,
            attempts,
        };
        self.printed.insert(row.id.clone(), printed);
    }
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
    Change::Step(StepChange {
        at: transition.observed_at.rfc3339(),
        job_id,
        seq: transition.seq,
        position: transition.position,
        title: &transition.title,
        from: transition.from.as_deref(),
        to: &transition.to,
    })
}

fn delivery<'a>(
    job_id: &'a JobId,
    attempt: &'a Attempt,
    detail: &'a JobDetail,
) -> Option<Change<'a>> {
    let mut deliveries = detail.deliveries.iter();
    let delivery = deliveries
        .find(|each| each.event_id == attempt.event_id && each.webhook == attempt.webhook)?;
    let mut events = detail.events.iter();
    let event = events.find(|each| each.id == attempt.event_id)?;
    // After an attempt that was not the last one it waited for the next.
    let state = match attempt.number < delivery.attempts {
        true => DeliveryState::Pending,
        false => delivery.state,
    };
    let took = Duration::from_millis(attempt.duration_ms);
    Some(Change::Delivery(DeliveryChange {
        at: attempt.started_at.plus(took).rfc3339(),
        job_id,
        event_id: &attempt.event_id,
        event: event.kind.as_str(),
        sequence: event.sequence,
        webhook: attempt.webhook.as_str(),
        attempt: attempt.number,
        state: state.as_str(),
        status: attempt.status,
        error: attempt.error.as_deref(),
    }))
}

/// A change as a line for people.
fn plain(change: &Change<'_>) -> String {
    let outside = |text: &str| text::outside(text, ERROR_CHARS);
    match change {
        Change::Job(job) => {
            let why = match (job.failure, job.last_error) {
                (Some(failure), _) => format!(": {}", steps::failure_line(failure)),
                (None, Some(error)) => format!(": {}", outside(error)),
                (None, None) => String::new(),
            };
            let (state, done, all) = (job.state, job.steps_done, job.steps);
            format!("{}  {}  {state} {done}/{all}{why}", job.at, job.job_id)
        }
        Change::Step(step) => {
            let what = steps::transition(step.title, step.from, step.to);
            format!("{}  {}  {what}", step.at, step.job_id)
        }
        Change::Delivery(of) => {
            let answer = match (of.error, of.status) {
                (Some(error), _) => format!(": {}", outside(error)),
                (None, Some(status)) => format!(": {status}"),
                (None, None) => String::new(),
            };
            let (event, webhook, state) = (of.event, outside(of.webhook), of.state);
            let what = format!("{event} to {webhook}: {state}, attempt {}", of.attempt);
            format!("{}  {}  {what}{answer}", of.at, of.job_id)
        }
    }
}
