//! What the daemon promises of one job.

use std::time::Duration;

use jobtrackd::cli::demo::{AUDIT, BILLING, User};
use jobtrackd::core::delivery::DeliveryState;
use jobtrackd::core::job::{FailureKind, JobState};
use jobtrackd::simulator::{Ending, Received, Truth};
use serde_json::Value;

use super::end_to_end::Case;
use super::history;

/// A request that was on its way when the daemon itself ended the job arrives so long after that at most.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// What is wrong with this job.
pub(super) fn problems(case: &Case) -> Vec<String> {
    let mut problems = history::problems(case);
    for check in [
        end,
        failure,
        late_polls,
        counted_polls,
        step_events,
        challenges,
        last_event,
    ] {
        problems.extend(check(case));
    }
    for hook in [AUDIT, BILLING] {
        problems.extend(deliveries(case, hook));
    }
    let named = |problem| format!("{}: {problem}", case.job.id);
    problems.into_iter().map(named).collect()
}

fn unless(is_right: bool, problem: impl FnOnce() -> String) -> Option<String> {
    (!is_right).then(problem)
}

/// It came to the end the API gave it.
fn end(case: &Case) -> Option<String> {
    let summary = &case.detail.summary;
    let is = (
        summary.row.state,
        summary.failure.as_ref().map(|failure| failure.kind),
    );
    let expected = match (case.job.end, case.truth.as_ref().and_then(Truth::ending)) {
        (Some(kind), _) => (JobState::Failed, Some(kind)),
        (None, Some(Ending::Success)) => (JobState::Success, None),
        (None, Some(Ending::Failed)) => (JobState::Failed, Some(FailureKind::Step)),
        (None, None) => (JobState::InProgress, None),
    };
    unless(is == expected, || format!("is {is:?}, not {expected:?}"))
}

/// The failure names the step and the code of the API.
fn failure(case: &Case) -> Option<String> {
    let failure = case.detail.summary.failure.as_ref();
    let failure = failure.filter(|failure| failure.kind == FailureKind::Step)?;
    let last = case.truth.as_ref()?.moments.last()?.body.as_deref()?;
    let last: Value = serde_json::from_str(last).unwrap();
    let mut steps = last["steps"].as_array()?.iter();
    let step = steps.find(|step| step["status"] == "failed")?;
    let result = match &step["result"] {
        Value::Array(items) => items.first().cloned().unwrap_or_default(),
        result => result.clone(),
    };
    let (title, code) = (step["title"].as_str()?, result["code"].to_string());
    let is_right = failure.step.as_deref() == Some(title) && *failure.code.raw().get() == *code;
    unless(is_right, || {
        format!("failed at {title} with {code}, which was not recorded")
    })
}

/// No poll after its end.
fn late_polls(case: &Case) -> Option<String> {
    let end = case.detail.summary.finished_at?;
    let end = match case.job.end {
        Some(_) => end.plus(ON_ITS_WAY),
        None => end,
    };
    let late = case
        .requests
        .iter()
        .filter(|request| request.at > end)
        .count();
    unless(late == 0, || format!("{late} requests after its end"))
}

/// The API may have counted one more: a poll that was given up because the job was ended meanwhile.
fn counted_polls(case: &Case) -> Option<String> {
    let polls = case.detail.summary.row.progress.polls;
    let requests = case.requests.len() as u64;
    let given_up = u64::from(case.job.end.is_some());
    let is_right = (polls..=polls + given_up).contains(&requests);
    unless(is_right, || format!("{requests} requests, {polls} counted"))
}

/// Every transition is one event.
fn step_events(case: &Case) -> Option<String> {
    let (events, steps) = (case.count("job.step_changed"), case.transitions.len());
    unless(events == steps, || {
        format!("{steps} transitions, {events} events")
    })
}

/// Every challenge is one event; it was answered once by its user, except by the silent one.
fn challenges(case: &Case) -> Option<String> {
    let truth = case.truth.as_ref()?;
    let posed = match case.job.user {
        User::Silent => {
            let transitions = case.transitions.iter();
            let asks = transitions.filter(|each| {
                each.to == "in-progress" && each.result.as_deref().is_some_and(holds_challenge)
            });
            asks.count()
        }
        User::Knows | User::Mistypes | User::Guesses => {
            usize::try_from(truth.counts.answers).unwrap()
        }
    };
    let events = case.count("job.action_required");
    let is_right = events == posed && (posed > 0 || case.job.user == User::Silent);
    unless(is_right, || format!("{posed} challenges, {events} events"))
}

fn holds_challenge(result: &str) -> bool {
    let is_mfa = |value: &Value| value["type"] == "mfa";
    match serde_json::from_str(result).unwrap() {
        Value::Array(items) => items.iter().any(is_mfa),
        value => is_mfa(&value),
    }
}

/// Exactly one event of its end, the last one.
fn last_event(case: &Case) -> Option<String> {
    let wanted = match case.detail.summary.row.state {
        JobState::Success => "job.completed",
        JobState::Failed => "job.failed",
        JobState::Pending | JobState::InProgress => return Some("has not ended".to_owned()),
    };
    let ends = case.count("job.completed") + case.count("job.failed");
    let last = case.events.last().map(|event| event.kind.as_str());
    let is_right = ends == 1 && last == Some(wanted);
    unless(is_right, || {
        format!("{ends} ends, the last event is {last:?}")
    })
}

/// Every event that a webhook wants is delivered to it, in order, as it was recorded, and every request is an attempt.
fn deliveries(case: &Case, hook: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let due = case.due_at(hook);
    for event in &due {
        let kind = &event.kind;
        let requests = case
            .received_at(hook)
            .filter(|request| request.id == event.id)
            .count();
        let attempts = case.detail.attempts.iter();
        let attempts = attempts
            .filter(|attempt| attempt.webhook == hook && attempt.event_id == event.id)
            .count();
        if requests != attempts {
            problems.push(format!(
                "{kind} at {hook}: {requests} requests, {attempts} attempts"
            ));
        }
        let mut rows = case.detail.deliveries.iter();
        let row = rows.find(|row| row.webhook == hook && row.event_id == event.id);
        let state = row.map(|row| row.state);
        if state != Some(DeliveryState::Delivered) {
            problems.push(format!("{kind} for {hook} is {state:?}"));
        }
    }
    let taken = case
        .received_at(hook)
        .filter(|request| request.is_taken() && !request.again);
    let taken: Vec<&Received> = taken.collect();
    let is_right = taken.len() == due.len()
        && taken.iter().zip(&due).all(|(request, event)| {
            request.id == event.id
                && request.sequence == u64::from(event.sequence)
                && request.event == event.kind.as_str()
                && request.body == event.body.as_bytes()
        });
    if !is_right {
        problems.push(format!(
            "{hook} took {} of {} events as recorded",
            taken.len(),
            due.len()
        ));
    }
    if !case
        .received_at(hook)
        .map(|request| request.sequence)
        .is_sorted()
    {
        problems.push(format!("{hook} received events out of order"));
    }
    problems
}
