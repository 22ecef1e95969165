//! What the daemon promises, held against the evidence.

use std::time::Duration;

use serde_json::Value;

use super::evidence::{Case, Evidence};
use super::history;
use super::paint::{holds_challenge, kind_word};
use super::plan::{AUDIT, BILLING, User};
use crate::core::delivery::DeliveryState;
use crate::core::job::{FailureKind, JobState};
use crate::simulator::{Ending, Received};
use crate::store::JobDetail;

/// A request that was on its way when the tracker itself ended the job arrives so long after that at most.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// The fewest tokens the daemon must have asked for: the first lives only for a part of the demo.
const TOKENS: u64 = 2;

/// One promise and what is missing to its fulfilment.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) promise: &'static str,
    pub(super) missing: Vec<String>,
}

impl Check {
    pub(super) fn of(promise: &'static str, find: impl FnOnce(&mut Vec<String>)) -> Self {
        let mut missing = Vec::new();
        find(&mut missing);
        Self { promise, missing }
    }

    fn each(
        promise: &'static str,
        evidence: &Evidence,
        problems: impl Fn(&Case) -> Vec<String>,
    ) -> Self {
        Self::of(promise, |missing| {
            for case in &evidence.cases {
                let named = |problem| format!("{}: {problem}", case.role.id);
                missing.extend(problems(case).into_iter().map(named));
            }
        })
    }
}

/// Every check there is.
pub(super) fn all(evidence: &Evidence) -> Vec<Check> {
    vec![
        Check::each("every job came to the end the API gave it", evidence, end),
        Check::each(
            "every transition the API showed to a poll is recorded, in order",
            evidence,
            history::problems,
        ),
        Check::each("no job was polled after its end", evidence, late_polls),
        Check::each("what was polled is what was counted", evidence, counted),
        Check::each("every transition is one event", evidence, step_events),
        Check::each(
            "every challenge was told exactly once",
            evidence,
            challenges,
        ),
        Check::each("every job has exactly one last event", evidence, last_event),
        Check::each("every event was delivered, in order", evidence, |case| {
            [AUDIT, BILLING]
                .iter()
                .flat_map(|hook| deliveries(case, hook))
                .collect()
        }),
        Check::of("every signature is right", |missing| {
            for request in evidence.received() {
                if let Err(error) = request.signature {
                    missing.push(format!("{} at {}: {error}", request.id, request.hook));
                }
            }
        }),
        Check::of("every fault struck and was survived", |missing| {
            for fault in &evidence.faults_left {
                let job = fault.rule.job.as_deref().unwrap_or("any job");
                missing.push(format!("{} did not strike {job}", fault.rule.fault.name()));
            }
            for refusal in &evidence.refusals_left {
                let event = refusal.event.as_deref().unwrap_or("events");
                let often = refusal
                    .times
                    .map_or("for ever", |_| "less often than planned");
                missing.push(format!(
                    "{event} was refused with {} {often}",
                    refusal.status
                ));
            }
        }),
        Check::of("an expired token was replaced", |missing| {
            let tokens = evidence.totals.tokens;
            if tokens < TOKENS {
                missing.push(format!("{tokens} asked for"));
            }
            let mut requests = evidence.cases.iter().flat_map(|case| &case.requests);
            if !requests.any(|request| request.status == Some(403)) {
                missing.push("no request met an expired one".to_owned());
            }
        }),
    ]
}

fn end(case: &Case) -> Vec<String> {
    let Some(detail) = &case.detail else {
        return vec!["was not enqueued".to_owned()];
    };
    let (state, failure) = (detail.summary.row.state, detail.summary.failure.as_ref());
    let is = match failure {
        Some(failure) => format!("failed ({})", kind_word(failure.kind)),
        None => state.to_string(),
    };
    let expected = match (
        case.role.end,
        case.truth
            .as_ref()
            .and_then(crate::simulator::Truth::ending),
    ) {
        (Some(kind), _) => format!("failed ({})", kind_word(kind)),
        (None, Some(Ending::Success)) => JobState::Success.to_string(),
        (None, Some(Ending::Failed)) => format!("failed ({})", kind_word(FailureKind::Step)),
        (None, None) => "running at the API".to_owned(),
    };
    if is != expected {
        return vec![format!("is {is}, not {expected}")];
    }
    let told = failure.filter(|failure| failure.kind == FailureKind::Step);
    let shown = case.truth.as_ref().and_then(|truth| {
        let body: Value = serde_json::from_str(truth.moments.last()?.body.as_deref()?).ok()?;
        let steps = body["steps"].as_array()?;
        let step = steps.iter().find(|step| step["status"] == "failed")?;
        let result = match &step["result"] {
            Value::Array(items) => items.first().cloned().unwrap_or_default(),
            result => result.clone(),
        };
        Some((step["title"].as_str()?.to_owned(), result["code"].clone()))
    });
    match (told, shown) {
        (Some(told), Some((step, code)))
            if told.step.as_ref() != Some(&step) || *told.code.raw().get() != *code.to_string() =>
        {
            vec![format!(
                "failed at {step} with {code}, which is not what was recorded"
            )]
        }
        _ => Vec::new(),
    }
}

fn late_polls(case: &Case) -> Vec<String> {
    let Some(end) = case
        .detail
        .as_ref()
        .and_then(|detail| detail.summary.finished_at)
    else {
        return Vec::new();
    };
    let end = match case.role.end {
        Some(_) => end.plus(ON_ITS_WAY),
        None => end,
    };
    let late = case.requests.iter().filter(|request| request.at > end);
    match late.count() {
        0 => Vec::new(),
        late => vec![format!("{late} requests")],
    }
}

/// The API may have counted one more: a poll that was given up because the job was ended meanwhile.
fn counted(case: &Case) -> Vec<String> {
    let Some(detail) = &case.detail else {
        return Vec::new();
    };
    let polls = detail.summary.row.progress.polls;
    let requests = u64::try_from(case.requests.len()).unwrap_or(u64::MAX);
    let given_up = u64::from(case.role.end.is_some());
    if (polls..=polls + given_up).contains(&requests) {
        Vec::new()
    } else {
        vec![format!("{requests} requests, {polls} counted")]
    }
}

fn number_of(detail: &JobDetail, kind: &str) -> usize {
    detail
        .events
        .iter()
        .filter(|event| event.kind.as_str() == kind)
        .count()
}

fn step_events(case: &Case) -> Vec<String> {
    let Some(detail) = &case.detail else {
        return Vec::new();
    };
    let (events, steps) = (
        number_of(detail, "job.step_changed"),
        detail.transitions.len(),
    );
    if events == steps {
        Vec::new()
    } else {
        vec![format!("{steps} transitions, {events} events")]
    }
}

/// Every challenge the API posed was answered once by its user, except by the silent one.
fn challenges(case: &Case) -> Vec<String> {
    let (Some(detail), Some(truth)) = (&case.detail, &case.truth) else {
        return Vec::new();
    };
    let posed = match case.role.user {
        User::Silent => {
            let asks = |transition: &&crate::store::TransitionRow| {
                transition.to == "in-progress"
                    && transition.result.as_deref().is_some_and(holds_challenge)
            };
            case.transitions.iter().filter(asks).count()
        }
        User::Knows | User::Mistypes | User::Guesses => {
            usize::try_from(truth.counts.answers).unwrap_or(usize::MAX)
        }
    };
    let told = number_of(detail, "job.action_required");
    let mut problems = Vec::new();
    if told != posed {
        problems.push(format!("{posed} posed, {told} told"));
    }
    if case.role.user != User::Silent && posed == 0 {
        problems.push("none was posed".to_owned());
    }
    problems
}

fn last_event(case: &Case) -> Vec<String> {
    let Some(detail) = &case.detail else {
        return Vec::new();
    };
    let wanted = match detail.summary.row.state {
        JobState::Success => "job.completed",
        JobState::Failed => "job.failed",
        JobState::Pending | JobState::InProgress => return vec!["has not ended".to_owned()],
    };
    let ends = number_of(detail, "job.completed") + number_of(detail, "job.failed");
    let last = detail
        .events
        .last()
        .map_or("nothing", |event| event.kind.as_str());
    if ends == 1 && last == wanted {
        Vec::new()
    } else {
        vec![format!(
            "{ends} ends, the last event is {last}, not {wanted}"
        )]
    }
}

fn deliveries(case: &Case, hook: &str) -> Vec<String> {
    let Some(detail) = &case.detail else {
        return Vec::new();
    };
    let mut problems = Vec::new();
    let due = case.due_at(hook);
    let taken: Vec<&Received> = case
        .received_at(hook)
        .filter(|request| request.is_taken() && !request.again)
        .collect();
    for event in &due {
        let requests = case
            .received_at(hook)
            .filter(|request| request.id == event.id);
        let made = detail
            .attempts
            .iter()
            .filter(|attempt| attempt.webhook.as_str() == hook && attempt.event_id == event.id);
        let (requests, made) = (requests.count(), made.count());
        if requests != made {
            let kind = &event.kind;
            problems.push(format!(
                "{kind} at {hook}: {requests} requests, {made} attempts recorded"
            ));
        }
        let row = detail
            .deliveries
            .iter()
            .find(|row| row.webhook.as_str() == hook && row.event_id == event.id);
        let state = row.map_or("not there", |row| row.state.as_str());
        if state != DeliveryState::Delivered.as_str() {
            problems.push(format!("{} for {hook} is {state}", event.kind));
        }
    }
    let right = taken.len() == due.len()
        && taken.iter().zip(&due).all(|(request, event)| {
            request.id == event.id
                && request.sequence == u64::from(event.sequence)
                && request.event == event.kind.as_str()
                && request.body == event.body.as_bytes()
        });
    if !right {
        problems.push(format!(
            "{hook} took {} of {} events as they were recorded",
            taken.len(),
            due.len()
        ));
    }
    let orderly = case
        .received_at(hook)
        .zip(case.received_at(hook).skip(1))
        .all(|(one, next)| one.sequence <= next.sequence);
    if !orderly {
        problems.push(format!("{hook} was told out of order"));
    }
    problems
}
