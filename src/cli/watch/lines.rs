//! A line for each change of a job, a step or a delivery.

use std::collections::{BTreeMap, HashSet};

use crate::cli::screen::Screen;
use crate::cli::{steps, text};
use crate::core::delivery::WebhookName;
use crate::core::job::{JobId, JobState};
use crate::core::time::UnixMillis;
use crate::record::watch::Change;
use crate::store::{Attempt, DeliveryCounts, JobDetail, JobProgress, Jobs as _, Store};

/// Most jobs that have ended and are still read, since they have pending deliveries.
const MAX_OPEN: usize = 1000;

/// Longest error that is shown, in characters.
const ERROR_CHARS: usize = 300;

/// What was printed about a job.
#[derive(Debug)]
struct Printed {
    state: JobState,
    /// Whether its latest poll had failed.
    has_error: bool,
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
    printed: BTreeMap<JobId, Printed>,
}

impl Lines {
    pub(in crate::cli) fn new(json: bool, began_at: UnixMillis) -> Self {
        Self {
            json,
            began_at,
            printed: BTreeMap::new(),
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
            changes.extend(steps.map(|each| Change::step(id, each)));
        }
        let row = &job.summary.row;
        let is_same = printed.is_some_and(|printed| {
            printed.state == row.state && printed.has_error == job.latest_error().is_some()
        });
        if !is_same {
            let of_job = Change::job(job, steps::done_of(&job.summary), now);
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
            changes.extend(attempts.filter_map(|each| Change::delivery(each, detail)));
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
            has_error: job.latest_error().is_some(),
            last_seq,
            deliveries,
            attempts,
        };
        self.printed.insert(row.id.clone(), printed);
    }
}

fn key(attempt: &Attempt) -> (String, WebhookName, u32) {
    let (event, webhook) = (attempt.event_id.clone(), attempt.webhook.clone());
    (event, webhook, attempt.number)
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
            let (event, webhook, state) = (of.event, outside(of.webhook), of.state.as_str());
            let what = format!("{event} to {webhook}: {state}, attempt {}", of.attempt);
            format!("{}  {}  {what}{answer}", of.at, of.job_id)
        }
    }
}
