//! The end of a demo: a table of its jobs, sums, and a few checks of what the daemon promises.
//!
//! The checks compare the simulator's and the receiver's own records with the database.

use std::fmt::Write as _;

use super::jobs::{AUDIT, BILLING, DemoJob, jobs};
use super::sandbox::Sandbox;
use crate::cli::columns::{Cell, table};
use crate::cli::screen::View;
use crate::cli::steps;
use crate::cli::style::Tone;
use crate::core::delivery::DeliveryState;
use crate::core::job::{FailureKind, JobId, JobState};
use crate::simulator::{Ending, Received, Totals};
use crate::store::{JobDetail, Store};

/// The most lines printed of one check that failed.
const MAX_PROBLEMS: usize = 10;

/// Narrower screens have no room for what a job is about, nor for its steps.
const WIDE: usize = 130;

/// One promise, and what breaks it.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) promise: &'static str,
    pub(super) problems: Vec<String>,
}

/// What is known of the jobs when the daemon has stopped.
#[derive(Debug)]
pub(super) struct Report {
    cases: Vec<Case>,
    totals: Totals,
    received: Vec<Received>,
}

#[derive(Debug)]
struct Case {
    job: DemoJob,
    /// `None` when its row was never inserted.
    detail: Option<JobDetail>,
    /// How it ended at the API.
    ending: Option<Ending>,
    /// What the API was asked about it.
    requests: usize,
    /// What reached the webhooks about it.
    received: Vec<Received>,
}

impl Report {
    pub(super) async fn gather(sandbox: &Sandbox, store: &Store) -> anyhow::Result<Self> {
        let control = sandbox.simulator.control();
        let (requests, received) = (control.requests(), sandbox.receiver.inbox().received());
        let mut cases = Vec::new();
        for job in jobs() {
            let remote = job.remote_id();
            let of_job = requests
                .iter()
                .filter(|request| request.job.as_deref() == Some(remote));
            let received = received.iter().filter(|request| request.job == job.id);
            cases.push(Case {
                detail: store.detail(&JobId::parse(job.id)?).await?,
                ending: control.truth(remote).and_then(|truth| truth.ending()),
                requests: of_job.count(),
                received: received.cloned().collect(),
                job,
            });
        }
        Ok(Self {
            cases,
            totals: control.totals(),
            received,
        })
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let each = |promise, problems: fn(&Case) -> Vec<String>| Check {
            promise,
            problems: self
                .cases
                .iter()
                .flat_map(|case| {
                    let problems = problems(case).into_iter();
                    problems.map(|problem| format!("{}: {problem}", case.job.id))
                })
                .collect(),
        };
        let wrong = self.received.iter().filter_map(|request| {
            let error = request.signature.err()?;
            Some(format!("{} at {}: {error}", request.id, request.hook))
        });
        vec![
            each("every job came to the end the API gave it, once", end),
            each("every event was delivered, in order", delivered),
            Check {
                promise: "every signature is right",
                problems: wrong.collect(),
            },
        ]
    }

    pub(super) fn text(&self, checks: &[Check], view: &View) -> String {
        let is_wide = view.width >= WIDE;
        let headings = [
            "JOB",
            "KIND",
            "END",
            "STEPS",
            "TRANSITIONS",
            "POLLS",
            "EVENTS",
            "DELIVERED",
            "VERIFIED",
        ];
        let kept = |index: &usize| is_wide || !matches!(index, 1 | 3);
        let rows: Vec<Vec<Cell>> = self
            .cases
            .iter()
            .map(|case| {
                let cells = case.cells().into_iter().enumerate();
                cells
                    .filter(|(index, _)| kept(index))
                    .map(|(_, cell)| cell)
                    .collect()
            })
            .collect();
        let headings = headings.into_iter().enumerate();
        let headings: Vec<&str> = headings
            .filter(|(index, _)| kept(index))
            .map(|(_, heading)| heading)
            .collect();
        let details = || self.cases.iter().filter_map(|case| case.detail.as_ref());
        let sum = |of: fn(&JobDetail) -> usize| details().map(of).sum::<usize>();
        let (deliveries, attempts) = (sum(deliveries), sum(|detail| detail.attempts.len()));
        let verified = self
            .received
            .iter()
            .filter(|request| request.signature.is_ok());
        let mut text = table(&headings, &rows, view);
        // Writing to a String never fails.
        let _ = writeln!(
            text,
            "\n{} jobs, {} transitions, {} events; {} requests to the API with {} tokens\n\
             {deliveries} deliveries in {attempts} attempts ({} refused and tried again), {} of {} signatures verified\n",
            self.cases.len(),
            sum(|detail| detail.transitions.len()),
            sum(|detail| detail.events.len()),
            self.totals.requests,
            self.totals.tokens,
            attempts.saturating_sub(deliveries),
            verified.count(),
            self.received.len(),
        );
        for Check { promise, problems } in checks {
            let mark = match problems.is_empty() {
                true => view.paint(Tone::Good, "✓"),
                false => view.paint(Tone::Bad, "✗"),
            };
            let _ = writeln!(text, "{mark} {promise}");
            for problem in problems.iter().take(MAX_PROBLEMS) {
                let _ = writeln!(text, "    {problem}");
            }
            if problems.len() > MAX_PROBLEMS {
                let _ = writeln!(text, "    and {} more", problems.len() - MAX_PROBLEMS);
            }
        }
        text
    }
}

impl Case {
    fn cells(&self) -> [Cell; 9] {
        let plain = |text: String| (text, Tone::Plain);
        let detail = self.detail.as_ref();
        let count = |of: fn(&JobDetail) -> usize| detail.map(of).unwrap_or_default();
        let end = match detail.map(|detail| (&detail.summary.failure, detail.summary.row.state)) {
            None => ("not enqueued".to_owned(), Tone::Bad),
            Some((Some(failure), _)) => (format!("failed: {}", failure.kind.as_str()), Tone::Warn),
            Some((None, state)) => (state.to_string(), Tone::of_state(state)),
        };
        let (done, all) = detail
            .map(|detail| steps::done_of(&detail.summary))
            .unwrap_or_default();
        let verified = self
            .received
            .iter()
            .filter(|request| request.signature.is_ok());
        [
            plain(self.job.id.to_owned()),
            plain(self.job.about.to_owned()),
            end,
            plain(format!("{done}/{all}")),
            plain(count(|detail| detail.transitions.len()).to_string()),
            plain(self.requests.to_string()),
            plain(count(|detail| detail.events.len()).to_string()),
            plain(format!(
                "{}/{}",
                count(deliveries),
                count(|detail| detail.deliveries.len())
            )),
            plain(format!("{}/{}", verified.count(), self.received.len())),
        ]
    }
}

/// How many are delivered.
fn deliveries(detail: &JobDetail) -> usize {
    let states = detail.deliveries.iter().map(|delivery| delivery.state);
    states
        .filter(|state| *state == DeliveryState::Delivered)
        .count()
}

fn end(case: &Case) -> Vec<String> {
    let Some(detail) = &case.detail else {
        return vec!["was not enqueued".to_owned()];
    };
    let failed = |kind: FailureKind| format!("failed ({})", kind.as_str());
    let is = match &detail.summary.failure {
        Some(failure) => failed(failure.kind),
        None => detail.summary.row.state.to_string(),
    };
    let expected = match (case.job.end, case.ending) {
        (Some(kind), _) => failed(kind),
        (None, Some(Ending::Success)) => JobState::Success.to_string(),
        (None, Some(Ending::Failed)) => failed(FailureKind::Step),
        (None, None) => "running at the API".to_owned(),
    };
    let mut problems = Vec::new();
    if is != expected {
        problems.push(format!("is {is}, not {expected}"));
    }
    let is_end = |kind: &str| matches!(kind, "job.completed" | "job.failed");
    let ends = detail
        .events
        .iter()
        .filter(|event| is_end(&event.kind))
        .count();
    let last = detail.events.last().map_or("nothing", |event| &event.kind);
    if ends != 1 || !is_end(last) {
        problems.push(format!(
            "has {ends} events of its end, and {last} as the last event"
        ));
    }
    problems
}

fn delivered(case: &Case) -> Vec<String> {
    let Some(detail) = &case.detail else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    for delivery in &detail.deliveries {
        if delivery.state != DeliveryState::Delivered {
            let event = detail
                .events
                .iter()
                .find(|event| event.id == delivery.event_id);
            let kind = event.map_or("an event", |event| &event.kind);
            problems.push(format!(
                "{kind} for {} is {}",
                delivery.webhook,
                delivery.state.as_str()
            ));
        }
    }
    if !problems.is_empty() {
        return problems;
    }
    for hook in [AUDIT, BILLING] {
        let due = detail
            .deliveries
            .iter()
            .filter(|delivery| delivery.webhook == hook);
        let due: Vec<&str> = due.map(|delivery| delivery.event_id.as_str()).collect();
        let taken = case.received.iter().filter(|request| request.hook == hook);
        let taken = taken.filter(|request| request.is_taken() && !request.again);
        let taken: Vec<&str> = taken.map(|request| request.id.as_str()).collect();
        if taken != due {
            let (taken, due) = (taken.len(), due.len());
            problems.push(format!(
                "{hook} took {taken} of {due} events, or not in order"
            ));
        }
    }
    problems
}
