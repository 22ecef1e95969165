//! How long jobs and steps usually take, from the latest that ended, and which jobs wait for an answer: read from time to time
//! and shared by all pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::marks::took;
use crate::core::event::EventType;
use crate::core::job::{JobId, JobState};
use crate::core::snapshot::StepClass;
use crate::core::time::{UnixMillis, millis};
use crate::status::Parts;
use crate::store::{
    Events as _, JobProgress, JobSummary, LatestEvents, Store, StoreError, Watching as _,
};
use crate::words::steps;

/// The latest jobs with success from which durations follow.
const JOBS: u32 = 100;

/// The latest challenges whose jobs may still wait.
pub(super) const CHALLENGES: u32 = 100;

/// They are read at most this often.
const FRESH: Duration = Duration::from_secs(5);

/// And not again for this many times as long as it took.
const PAUSE_FACTOR: u32 = 50;

/// Most kinds that are listed.
const KINDS: usize = 5;

/// Fewest durations that say what is usual.
const FEWEST: usize = 3;

/// A job that waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) id: JobId,
    pub(super) step: String,
    pub(super) since: UnixMillis,
}

/// What was read last.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) waiting: Vec<Waiting>,
    /// Durations by the title of a step, in milliseconds, sorted.
    steps: BTreeMap<String, Vec<u64>>,
    /// Durations by kind of job, in milliseconds, sorted.
    kinds: BTreeMap<String, Vec<u64>>,
}

/// The last reading. It is renewed by the first request that finds it old, one at a time.
#[derive(Debug, Default)]
pub(super) struct Usual(Mutex<(Option<Instant>, Arc<Read>)>);

impl Usual {
    pub(super) async fn now(&self, parts: &Parts) -> Arc<Read> {
        let mut last = self.0.lock().await;
        let began = Instant::now();
        if last.0.is_none_or(|next_at| next_at <= began) {
            match read(&parts.store).await {
                Ok(read) => last.1 = Arc::new(read),
                Err(error) => tracing::debug!(%error, "how long jobs take cannot be read just now"),
            }
            last.0 = Some(Instant::now() + FRESH.max(began.elapsed() * PAUSE_FACTOR));
        }
        Arc::clone(&last.1)
    }
}

async fn read(store: &Store) -> Result<Read, StoreError> {
    let ids = async |kind, limit| {
        let wanted = LatestEvents {
            before: None,
            kind: Some(kind),
            limit,
        };
        let page = store.latest_events(&wanted).await?;
        let mut ids: Vec<JobId> = page.events.into_iter().map(|event| event.job_id).collect();
        ids.sort_unstable();
        ids.dedup();
        store.progress(&ids).await
    };
    let mut read = Read::default();
    for job in ids(EventType::Completed, JOBS).await? {
        read.add(&job.summary);
    }
    for durations in read.steps.values_mut().chain(read.kinds.values_mut()) {
        durations.sort_unstable();
    }
    let challenged = ids(EventType::ActionRequired, CHALLENGES).await?;
    read.waiting = challenged.iter().filter_map(waits).collect();
    read.waiting.sort_by_key(|each| each.since);
    Ok(read)
}

fn waits(job: &JobProgress) -> Option<Waiting> {
    let summary = &job.summary;
    let running = summary.row.state == JobState::InProgress;
    let step = summary
        .steps
        .iter()
        .find(|step| step.class == StepClass::Waiting)?;
    running.then(|| Waiting {
        id: summary.row.id.clone(),
        step: steps::title(&step.title),
        since: step.updated_at,
    })
}

/// What jobs of one kind have in common: the titles of their steps.
fn kind(job: &JobSummary) -> String {
    let titles: Vec<String> = job
        .steps
        .iter()
        .map(|step| steps::title(&step.title))
        .collect();
    crate::words::outside(&titles.join(" → "), 120)
}

impl Read {
    /// A step begins when the one before it ends, or when it is first seen, if that is later.
    fn add(&mut self, job: &JobSummary) {
        let Some(end) = job.finished_at else {
            return;
        };
        let all = millis(end.since(job.row.created_at));
        self.kinds.entry(kind(job)).or_default().push(all);
        let mut before = job.row.created_at;
        for step in job
            .steps
            .iter()
            .filter(|step| step.class == StepClass::Done)
        {
            let began = step.first_seen_at.max(before);
            let took = millis(step.updated_at.since(began));
            // Of one that began and ended between two polls it is not known how long it took.
            if took > 0 {
                self.steps.entry(step.title.clone()).or_default().push(took);
            }
            before = before.max(step.updated_at);
        }
    }

    /// How long a step of this title usually takes: half of them within the first, nine of ten within the second.
    pub(super) fn of_step(&self, title: &str) -> Option<(u64, u64)> {
        middle(self.steps.get(title)?)
    }

    /// The kinds of jobs that take longest.
    pub(super) fn slowest(&self) -> Markup {
        let kinds = self.kinds.iter();
        let mut kinds: Vec<_> = kinds
            .filter_map(|(kind, all)| Some((kind, all.len(), middle(all)?)))
            .collect();
        kinds.sort_by_key(|(_, _, (median, _))| std::cmp::Reverse(*median));
        html! { @if !kinds.is_empty() {
            section aria-labelledby="h-kinds" {
                h2 #h-kinds { "Slowest kinds of job" }
                div.scroll { table {
                    thead { tr { th scope="col" { "Steps" } th.number scope="col" { "Jobs" } th.number scope="col" { "Half within" } th.number scope="col" { "90 % within" } } }
                    tbody { @for (kind, jobs, (median, most)) in kinds.iter().take(KINDS) {
                        tr { td data-label="Steps" { (kind) } td.number data-label="Jobs" { (jobs) }
                            td.number data-label="Half within" { (took(*median)) } td.number data-label="90 % within" { (took(*most)) } }
                    } }
                } }
                p.dim { "Of the latest " (JOBS) " jobs with success." }
            }
        } }
    }
}

/// The median and the ninth tenth of sorted durations, when there are enough.
fn middle(sorted: &[u64]) -> Option<(u64, u64)> {
    let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len() - 1));
    (sorted.len() >= FEWEST)
        .then(|| Some((*at(50)?, *at(90)?)))
        .flatten()
}
