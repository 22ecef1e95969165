//! What was recorded of each job, against what the API has shown.

use jobtrackd_core::job::{FailureKind, JobState};
use jobtrackd_store::JobDetail;
use serde_json::Value;

use super::ends::failed_step;
use super::polls::{same_result, title};
use super::{Facts, Oracle, Row, attempts, broken, once};
use crate::database::Database;
use crate::fakes::api::{Served, Shown};
use crate::fakes::truth::{Step, Verdict};
use crate::time::Time;
use crate::world::Violation;

/// A transition as its event has it.
#[derive(Debug)]
struct Change {
    seq: u64,
    /// Tells two steps with one title apart.
    position: u64,
    title: &'static str,
    to: String,
    result: Value,
    /// When it was observed.
    at: String,
}

/// What the events of a job say.
struct Events {
    changes: Vec<Change>,
    /// Of challenges and delays.
    said: Vec<once::Said>,
}

/// A step as the transitions have it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    title: &'static str,
    status: String,
    result: Option<String>,
}

impl Oracle {
    pub(super) fn check_histories(
        &self,
        database: &Database,
        facts: &Facts<'_>,
    ) -> Result<(), Violation> {
        for (id, rows) in &self.rows {
            for (number, row) in rows.iter().enumerate() {
                let detail = match &row.ended {
                    Some((_, detail)) => Some(detail.as_ref().clone()),
                    None if row.deleted.is_some() => None,
                    None => database.detail(id).map_err(broken)?,
                };
                if let Some(detail) = detail {
                    let of_job = |error| format!("{error} (job {id})");
                    self.check_polls(row, &detail).map_err(of_job)?;
                    let events = self.check_events(number, &detail).map_err(of_job)?;
                    self.check_history(facts, row, &detail, &events)
                        .map_err(of_job)?;
                }
            }
            // Also those that were made after the end.
            let last = database.detail(id).map_err(broken)?;
            if let Some(last) = last.filter(|last| last.pruned.is_none()) {
                attempts::check_rows(&last.attempts, facts.receivers)?;
            }
        }
        Ok(())
    }

    /// Every request counts as a poll, also in the row, unless the process was killed meanwhile.
    fn check_polls(&self, row: &Row, detail: &JobDetail) -> Result<(), Violation> {
        let (polls, requests) = (detail.summary.row.progress.polls, row.requests);
        let is_whole = row.ended.is_some() && self.up.is_some_and(|up| up < row.inserted);
        match polls > requests || is_whole && polls < requests {
            true => Err(format!(
                "polls: {polls} are recorded, and there were {requests} requests"
            )),
            false => Ok(()),
        }
    }

    /// Each transition has its event, and each event its fact.
    fn check_events(&self, row: usize, detail: &JobDetail) -> Result<Events, Violation> {
        let id = &detail.summary.row.id;
        let events = self.events.values();
        let mut events: Vec<_> = events
            .filter(|event| event.job == *id && event.row == row)
            .collect();
        events.sort_unstable_by_key(|event| event.sequence);
        let ends = events
            .iter()
            .filter(|event| super::is_end(event.kind))
            .count();
        if ends != usize::from(detail.summary.row.state.is_final()) {
            let state = detail.summary.row.state;
            return Err(format!(
                "one end: there are {ends} of a job that is {state}"
            ));
        }
        let mut changes = Vec::new();
        let mut said = Vec::new();
        for event in events {
            let body: Value =
                serde_json::from_str(&event.body).map_err(|error| format!("bytes: {error}"))?;
            let data = &body["data"];
            let is_right = data["job_id"] == id.as_str()
                && data["sequence"] == event.sequence
                && body["type"] == event.kind;
            if !is_right {
                return Err(format!(
                    "bytes: the event {} says something else",
                    event.sequence
                ));
            }
            said.extend(once::said(event.kind, data));
            if event.kind == "job.step_changed" {
                let transition = &data["transition"];
                changes.push(Change {
                    seq: transition["seq"].as_u64().unwrap_or(0),
                    position: transition["position"].as_u64().unwrap_or(u64::MAX),
                    title: title(transition["title"].as_str().unwrap_or_default()),
                    to: transition["to"].as_str().unwrap_or_default().to_owned(),
                    result: transition["result"].clone(),
                    at: body["timestamp"].as_str().unwrap_or_default().to_owned(),
                });
            }
        }
        let is_same = changes.len() == detail.transitions.len()
            && changes
                .iter()
                .zip(&detail.transitions)
                .all(|(change, row)| {
                    change.seq == u64::from(row.seq)
                        && change.position == u64::from(row.position)
                        && change.title == title(&row.title)
                        && change.to == row.to
                        && change.at == row.observed_at.rfc3339()
                });
        match is_same {
            true => Ok(Events { changes, said }),
            false => Err(format!(
                "together: the events say {changes:?}, the transitions are {:?}",
                detail.transitions
            )),
        }
    }

    fn check_history(
        &self,
        facts: &Facts<'_>,
        row: &Row,
        detail: &JobDetail,
        events: &Events,
    ) -> Result<(), Violation> {
        let ended = row.ended.as_ref().map(|(at, _)| *at);
        let until = row.deleted.or(ended).unwrap_or(Time::MAX);
        let served: Vec<&Served> = facts
            .api
            .served
            .iter()
            .filter(|it| {
                it.job == row.number && it.request.started >= row.inserted && it.at <= until
            })
            .collect();
        let recorded = legal(&events.changes, &served)?;
        once::check(recorded.iter().map(|it| it.shown.steps()), &events.said)?;
        let last = recorded.last();
        let summary = &detail.summary;
        match (summary.row.state, &summary.failure) {
            (JobState::Pending | JobState::InProgress, _) => Ok(()),
            (JobState::Success, _) => match last.map(|served| &served.shown) {
                Some(Shown::Job {
                    verdict: Verdict::Success,
                    ..
                }) => Ok(()),
                other => Err(format!(
                    "end: success, and the last recorded answer is {other:?}"
                )),
            },
            (JobState::Failed, Some(failure)) => match failure.kind {
                FailureKind::Step => {
                    let shown = last.map(|served| &served.shown);
                    failed_step(facts, shown, failure)
                }
                FailureKind::Cancelled => match row.cancelled {
                    Some(_) => Ok(()),
                    None => Err("end: cancelled, and nobody asked for it".to_owned()),
                },
                FailureKind::Rejected => {
                    let foreign = facts.plan.jobs[row.number].row.url.as_deref();
                    let foreign = foreign.is_some_and(|url| !url.starts_with('/'));
                    match foreign || served.iter().any(|it| it.shown == Shown::Rejected) {
                        true => Ok(()),
                        false => Err("end: rejected, and the API never said so".to_owned()),
                    }
                }
                FailureKind::NotFound => self.not_found(facts, &served, ended),
                FailureKind::Expired => self.expired(facts, row, detail, &served, ended),
            },
            (JobState::Failed, None) => Err("end: failed, without a failure".to_owned()),
        }
    }
}

/// Each group of transitions is exactly the difference between what was recorded and an answer, and the answers are in the
/// order in which they were shown. Returns the answer of each group.
fn legal<'a>(transitions: &[Change], served: &[&'a Served]) -> Result<Vec<&'a Served>, Violation> {
    let mut recorded: Vec<Seen> = Vec::new();
    let mut answers = served.iter();
    let mut found_all = Vec::new();
    let mut rest = transitions;
    for (n, transition) in (1..).zip(transitions) {
        if transition.seq != n {
            return Err(format!(
                "history: transition {} after {}",
                transition.seq,
                n - 1
            ));
        }
    }
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|it| it.at == first.at).count();
        // Two observations may have one time: a job waits for its `not_before` again after the clock was set back.
        let (group, _) = rest.split_at(count);
        let found = answers.find_map(|served| match &served.shown {
            Shown::Job { steps, .. } => Some((served, difference(&recorded, steps, group)?)),
            _ => None,
        });
        let Some((found, count)) = found else {
            return Err(format!(
                "history: the API never showed transitions {} to {} (from {recorded:?}: {group:?})",
                first.seq,
                first.seq + count as u64 - 1
            ));
        };
        if let Shown::Job { steps, .. } = &found.shown {
            recorded = seen(steps);
        }
        rest = rest.get(count..).unwrap_or_default();
        found_all.push(*found);
    }
    Ok(found_all)
}

fn seen(steps: &[Step]) -> Vec<Seen> {
    let seen = |step: &Step| Seen {
        title: step.title,
        status: step.status.clone(),
        result: step.result.clone(),
    };
    steps.iter().map(seen).collect()
}

/// With the number of the step among those of its title.
pub(super) fn numbered<T>(
    steps: &[T],
    title: impl Fn(&T) -> &'static str,
) -> Vec<((&'static str, usize), &T)> {
    let mut numbered: Vec<((&'static str, usize), &T)> = Vec::new();
    for step in steps {
        let title = title(step);
        let count = numbered
            .iter()
            .filter(|((other, _), _)| *other == title)
            .count();
        numbered.push(((title, count), step));
    }
    numbered
}

/// The title, status, result and position of a step that differs; one that is missing has no position.
type Expected = (&'static str, String, Option<String>, Option<u64>);

/// How many of the first transitions are all that differs, each once; `None` if they are not.
fn difference(recorded: &[Seen], steps: &[Step], group: &[Change]) -> Option<usize> {
    let before = numbered(recorded, |it| it.title);
    let after = numbered(steps, |it| it.title);
    let find = |list: &[((&'static str, usize), &Seen)], key| {
        list.iter()
            .find(|(it, _)| *it == key)
            .map(|(_, it)| (*it).clone())
    };
    let mut expected: Vec<Expected> = Vec::new();
    for (position, (key, step)) in (0..).zip(&after) {
        let known = find(&before, *key);
        let is_same = known.is_some_and(|known| {
            known.status == step.status
                && same_result(known.result.as_deref(), step.result.as_deref())
        });
        if !is_same {
            let (status, result) = (step.status.clone(), step.result.clone());
            expected.push((key.0, status, result, Some(position)));
        }
    }
    for (key, _) in &before {
        if !after.iter().any(|(it, _)| it == key) {
            expected.push((key.0, "missing".to_owned(), None, None));
        }
    }
    let is_of = |transition: &Change, it: &Expected| {
        let result = it.2.as_deref().map_or(Value::Null, |result| {
            serde_json::from_str(result).unwrap_or_default()
        });
        transition.title == it.0
            && transition.to == it.1
            && (it.1 == "missing" || transition.result == result)
            && it.3.is_none_or(|position| transition.position == position)
    };
    let count = expected.len();
    let is_all = group.get(..count)?.iter().all(|transition| {
        let found = expected.iter().position(|it| is_of(transition, it));
        found.map(|at| expected.remove(at)).is_some()
    });
    (is_all && count > 0).then_some(count)
}
