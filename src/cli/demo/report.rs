//! The end of a demo: totals, and some checks of the daemon's promises.
//!
//! The checks compare the simulator's and the receiver's own records with the database.

use super::jobs::{AUDIT, BILLING, DemoJob, jobs};
use super::sandbox::Sandbox;
use crate::cli::screen::{Tone, View};
use crate::core::delivery::DeliveryState;
use crate::core::event::EventType;
use crate::core::job::{FailureKind, JobId, JobState};
use crate::simulator::{Ending, Received, Totals};
use crate::store::{DeliveryRow, EventRow, JobDetail, Jobs as _, Store};

/// Most lines that are printed about one check that failed.
const MAX_PROBLEMS: usize = 10;

/// One promise, and what breaks it.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) promise: &'static str,
    pub(super) problems: Vec<String>,
}

/// The jobs after the daemon has stopped.
#[derive(Debug)]
pub(super) struct Report {
    cases: Vec<Case>,
    totals: Totals,
    received: Vec<Received>,
    /// Jobs whose row was never inserted.
    absent: Vec<String>,
}

#[derive(Debug)]
struct Case {
    job: DemoJob,
    detail: JobDetail,
    /// How it ended at the API.
    ending: Option<Ending>,
    /// What reached the webhooks about it.
    received: Vec<Received>,
}

impl Report {
    pub(super) async fn gather(sandbox: &Sandbox, store: &Store) -> anyhow::Result<Self> {
        let control = sandbox.simulator.control();
        let mut report = Self {
            cases: Vec::new(),
            totals: control.totals(),
            received: sandbox.receiver.inbox().received(),
            absent: Vec::new(),
        };
        for job in jobs() {
            let Some(detail) = store.detail(&JobId::parse(job.id)?).await? else {
                report.absent.push(format!("{}: was not enqueued", job.id));
                continue;
            };
            let mut received = report.received.clone();
            received.retain(|request| request.job == job.id);
            let truth = control.truth(job.remote_id());
            report.cases.push(Case {
                detail,
                ending: truth.and_then(|truth| truth.ending()),
                received,
                job,
            });
        }
        Ok(report)
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        let mut ends = self.absent.clone();
        let mut deliveries = Vec::new();
        for case in &self.cases {
            let named = |problem| format!("{}: {problem}", case.job.id);
            ends.extend(end(case).map(named));
            deliveries.extend(undelivered(case).into_iter().map(named));
        }
        let wrong = self.received.iter().filter_map(|request| {
            let error = request.signature.err()?;
            Some(format!("{} at {}: {error}", request.id, request.hook))
        });
        let check = |promise, problems| Check { promise, problems };
        vec![
            check("every job came to the end the API gave it, once", ends),
            check("every event was delivered, in order", deliveries),
            check("every signature is right", wrong.collect()),
        ]
    }

    pub(super) fn text(&self, checks: &[Check], view: &View) -> String {
        let sum = |of: fn(&JobDetail) -> usize| -> usize {
            self.cases.iter().map(|case| of(&case.detail)).sum()
        };
        let is_delivered = |delivery: &&DeliveryRow| delivery.state == DeliveryState::Delivered;
        let deliveries = self.cases.iter().flat_map(|case| &case.detail.deliveries);
        let delivered = deliveries.filter(is_delivered).count();
        let attempts = sum(|detail| detail.attempts.len());
        let received = self.received.iter();
        let verified = received.filter(|request| request.signature.is_ok());
        let mut text = format!(
            "\n{} jobs, {} transitions, {} events; {} requests to the API with {} tokens\n\
             {delivered} deliveries in {attempts} attempts ({} refused and tried again), {} of {} signatures verified\n\n",
            self.cases.len(),
            sum(|detail| detail.transitions.len()),
            sum(|detail| detail.events.len()),
            self.totals.requests,
            self.totals.tokens,
            attempts.saturating_sub(delivered),
            verified.count(),
            self.received.len(),
        );
        for Check { promise, problems } in checks {
            let (tone, mark) = match problems.is_empty() {
                true => (Tone::Good, "✓"),
                false => (Tone::Bad, "✗"),
            };
            text += &format!("{}\n", view.marked(tone, mark, promise));
            for problem in problems.iter().take(MAX_PROBLEMS) {
                text += &format!("    {problem}\n");
            }
            if problems.len() > MAX_PROBLEMS {
                text += &format!("    and {} more\n", problems.len() - MAX_PROBLEMS);
            }
        }
        text
    }
}

fn end(case: &Case) -> Option<String> {
    let (detail, failed) = (&case.detail, JobState::Failed);
    let kind = detail.summary.failure.as_ref().map(|failure| failure.kind);
    let is = (detail.summary.row.state, kind);
    let expected = match (case.job.end, case.ending) {
        (Some(kind), _) => (failed, Some(kind)),
        (None, Some(Ending::Success)) => (JobState::Success, None),
        (None, Some(Ending::Failed)) => (failed, Some(FailureKind::Step)),
        (None, None) => return Some("is running at the API".to_owned()),
    };
    let word = |(state, kind): (JobState, Option<FailureKind>)| match kind {
        Some(kind) => format!("{state} ({})", kind.as_str()),
        None => state.to_string(),
    };
    let is_end = |event: &&EventRow| matches!(event.kind, EventType::Completed | EventType::Failed);
    let ends = detail.events.iter().filter(is_end).count();
    if is != expected {
        Some(format!("is {}, not {}", word(is), word(expected)))
    } else if ends != 1 || !detail.events.last().is_some_and(|last| is_end(&last)) {
        Some(format!("has {ends} events of its end, or others after it"))
    } else {
        None
    }
}

fn undelivered(case: &Case) -> Vec<String> {
    let detail = &case.detail;
    let is_delivered = |delivery: &&DeliveryRow| delivery.state == DeliveryState::Delivered;
    let open = detail.deliveries.iter().filter(|each| !is_delivered(each));
    let open = open.map(
        |DeliveryRow {
             kind,
             webhook,
             state,
             ..
         }| { format!("{kind} for {webhook} is {}", state.as_str()) },
    );
    let mut problems: Vec<String> = open.collect();
    for hook in [AUDIT, BILLING] {
        let is_taken = |request: &&Received| request.is_taken() && !request.again;
        let taken = case.received.iter().filter(is_taken);
        let taken = taken.filter(|request| request.hook == hook);
        let due = detail.deliveries.iter().filter(is_delivered);
        let due = due.filter(|delivery| delivery.webhook == hook);
        let ids = taken.map(|request| &request.id);
        if !ids.eq(due.map(|delivery| &delivery.event_id)) {
            problems.push(format!(
                "{hook} did not take what was delivered, once and in order"
            ));
        }
    }
    problems
}
