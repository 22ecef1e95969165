//! The changes between the recorded steps and a snapshot.

use hashbrown::HashMap;

use serde::Serialize;

use super::planted::{self, Bug};
use super::snapshot::{ApiError, Challenge, Snapshot, StepClass, same_result};
use super::time::UnixMillis;

/// The word recorded for a step that vanished from the API's answer (docs/jobs.md, "What is recorded"). Ours, not the
/// API's.
pub const MISSING: &str = "missing";

/// A step as it was last recorded. Serialized without its result, which may be large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedStep {
    /// Its title, verbatim.
    pub title: String,
    /// 0 for the first step with this title, 1 for the second …
    pub occurrence: u32,
    /// Index in the API's array when the step was last seen.
    pub position: u32,
    /// The API's word, or [`MISSING`].
    pub status: String,
    /// What the status means.
    pub class: StepClass,
    /// The result's JSON, verbatim.
    #[serde(skip)]
    pub result: Option<String>,
    /// The API's error of a step that is queued.
    pub error: Option<ApiError>,
    /// Whether it has had its `job.delayed` event.
    pub delayed: bool,
    /// The challenge of its last `job.action_required` event, as long as the step shows it.
    pub challenge: Option<RecordedChallenge>,
}

/// A challenge that has had its `job.action_required` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedChallenge {
    /// [`Challenge::identity`](super::snapshot::Challenge::identity).
    pub identity: String,
    /// How long the user has, in milliseconds, as the API wrote it.
    pub expiry_ms: Option<u64>,
    /// When it expires, counted from when it was first seen.
    pub expires_at: Option<UnixMillis>,
    /// Absolute URL for the answers.
    pub response_url: Option<String>,
}

impl RecordedChallenge {
    /// What was recorded of it, to be shown and answered.
    ///
    /// # Errors
    /// When it cannot be read back, which only a damaged database can cause.
    pub fn challenge(&self) -> Result<Challenge, serde_json::Error> {
        Challenge::recorded(&self.identity, self.expiry_ms)
    }
}

/// A change of one step's status or result. Append-only once recorded. Serialized without its result, which may be large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// 1, 2, 3 … per job, without gaps.
    pub seq: u32,
    /// Index in the API's array, from 0.
    pub position: u32,
    /// The step's title.
    pub title: String,
    /// The step's occurrence.
    pub occurrence: u32,
    /// The status before; `None` for a new step.
    pub from: Option<String>,
    /// The status after.
    pub to: String,
    /// What the status after means.
    pub class: StepClass,
    /// The result after, verbatim.
    #[serde(skip)]
    pub result: Option<String>,
}

impl Transition {
    /// Whether the status changed, and not the result alone.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.from.as_deref() != Some(self.to.as_str())
    }
}

/// The changes, and the steps from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff<'a> {
    /// In the order of the answer, then the steps that vanished.
    pub transitions: Vec<Transition>,
    /// In the order of the answer, then the steps that are missing.
    pub steps: Vec<RecordedStep>,
    /// What is recorded of each of them, in the same order; `None` of a new one.
    before: Vec<Option<&'a RecordedStep>>,
}

impl Diff<'_> {
    /// The steps that are not recorded as they are now.
    #[must_use]
    pub fn unrecorded(self) -> Vec<RecordedStep> {
        let steps = self.steps.into_iter().zip(self.before);
        let unrecorded = steps.filter(|(now, before)| *before != Some(now));
        unrecorded.map(|(now, _)| now).collect()
    }
}

/// Compares the recorded steps with a snapshot. `last_seq` is the number of the last transition, 0 before the first.
///
/// A mere reorder moves positions and is not a transition (docs/jobs.md, "What is recorded").
#[must_use]
pub fn diff<'a>(recorded: &'a [RecordedStep], snapshot: &Snapshot, last_seq: u32) -> Diff<'a> {
    let mut diff = Diff {
        transitions: Vec::new(),
        steps: Vec::with_capacity(snapshot.steps.len()),
        before: Vec::with_capacity(snapshot.steps.len()),
    };
    let mut seq = last_seq;
    let mut unseen: HashMap<(&str, u32), &RecordedStep> = recorded
        .iter()
        .map(|step| ((step.title.as_str(), step.occurrence), step))
        .collect();
    for step in &snapshot.steps {
        let before = unseen.remove(&(step.title.as_str(), step.occurrence));
        let unchanged = before.is_some_and(|before| {
            before.status == step.status
                && same_result(before.result.as_deref(), step.result.as_deref())
        });
        let now = RecordedStep {
            title: step.title.clone(),
            occurrence: step.occurrence,
            position: step.position,
            status: step.status.clone(),
            class: step.class,
            result: step.result.clone(),
            error: step
                .error
                .clone()
                .filter(|_| step.class == StepClass::Queued),
            delayed: before.is_some_and(|before| before.delayed),
            challenge: before.and_then(|before| before.challenge.clone()),
        };
        if !unchanged {
            seq += 1;
            diff.transitions.push(transition(seq, before, &now));
        }
        diff.steps.push(now);
        diff.before.push(before);
    }
    if planted::is(Bug::LostTransition) {
        diff.transitions.truncate(1);
    }
    let is_gone =
        |step: &&RecordedStep| unseen.contains_key(&(step.title.as_str(), step.occurrence));
    for before in recorded.iter().filter(is_gone) {
        let gone = RecordedStep {
            status: MISSING.to_owned(),
            class: StepClass::Missing,
            result: None,
            error: None,
            ..before.clone()
        };
        if before.class != StepClass::Missing {
            seq += 1;
            diff.transitions.push(transition(seq, Some(before), &gone));
        }
        diff.steps.push(gone);
        diff.before.push(Some(before));
    }
    diff
}

fn transition(seq: u32, before: Option<&RecordedStep>, now: &RecordedStep) -> Transition {
    Transition {
        seq,
        position: now.position,
        title: now.title.clone(),
        occurrence: now.occurrence,
        from: before.map(|before| before.status.clone()),
        to: now.status.clone(),
        class: now.class,
        result: now.result.clone(),
    }
}

impl RecordedStep {
    /// Whether it waits for the user.
    #[must_use]
    pub fn has_challenge(&self) -> bool {
        self.challenge.is_some() && self.class != StepClass::Missing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::Basiq;

    fn snapshot(steps: &[(&str, &str, Option<&str>)]) -> Snapshot {
        let items: Vec<String> = steps
            .iter()
            .map(|(title, status, result)| {
                format!(
                    r#"{{"title":"{title}","status":"{status}","result":{}}}"#,
                    result.unwrap_or("null")
                )
            })
            .collect();
        Basiq::snapshot(&format!(r#"{{"steps":[{}]}}"#, items.join(",")), None).unwrap()
    }

    fn summary<'a>(diff: &'a Diff<'_>) -> Vec<(u32, u32, &'a str, Option<&'a str>, &'a str)> {
        let brief = |t: &'_ Transition| (t.seq, t.position);
        diff.transitions
            .iter()
            .map(|t| {
                (
                    brief(t).0,
                    brief(t).1,
                    t.title.as_str(),
                    t.from.as_deref(),
                    t.to.as_str(),
                )
            })
            .collect()
    }

    #[test]
    fn first_sight_changes_and_results_are_transitions() {
        let first = diff(
            &[],
            &snapshot(&[("a", "success", Some("{}")), ("b", "pending", None)]),
            0,
        );
        assert_eq!(
            summary(&first),
            [(1, 0, "a", None, "success"), (2, 1, "b", None, "pending")]
        );
        let second = diff(
            &first.steps,
            &snapshot(&[("a", "success", Some("[1]")), ("b", "pending", None)]),
            2,
        );
        assert_eq!(summary(&second), [(3, 0, "a", Some("success"), "success")]);
        let back = diff(
            &second.steps,
            &snapshot(&[("a", "pending", None), ("b", "Nobody Knows", None)]),
            3,
        );
        assert_eq!(
            summary(&back),
            [
                (4, 0, "a", Some("success"), "pending"),
                (5, 1, "b", Some("pending"), "Nobody Knows")
            ]
        );
    }

    #[test]
    fn a_reorder_moves_positions_and_is_not_a_transition() {
        let first = diff(
            &[],
            &snapshot(&[("a", "success", None), ("b", "pending", None)]),
            0,
        );
        let moved = diff(
            &first.steps,
            &snapshot(&[("b", "pending", None), ("a", "success", None)]),
            2,
        );
        assert_eq!(moved.transitions, []);
        let positions: Vec<_> = moved
            .steps
            .iter()
            .map(|s| (s.title.as_str(), s.position))
            .collect();
        assert_eq!(positions, [("b", 0), ("a", 1)]);
    }

    #[test]
    fn a_step_that_vanishes_is_missing_once_and_comes_back_from_missing() {
        let first = diff(
            &[],
            &snapshot(&[("a", "success", None), ("b", "pending", None)]),
            0,
        );
        let gone = diff(&first.steps, &snapshot(&[("a", "success", None)]), 2);
        assert_eq!(summary(&gone), [(3, 1, "b", Some("pending"), "missing")]);
        let still = diff(&gone.steps, &snapshot(&[("a", "success", None)]), 3);
        assert_eq!(still.transitions, []);
        let back = diff(
            &still.steps,
            &snapshot(&[("a", "success", None), ("b", "pending", None)]),
            3,
        );
        assert_eq!(summary(&back), [(4, 1, "b", Some("missing"), "pending")]);
    }

    #[test]
    fn equal_titles_are_distinguished_by_occurrence() {
        let first = diff(
            &[],
            &snapshot(&[("a", "success", None), ("a", "pending", None)]),
            0,
        );
        let next = diff(
            &first.steps,
            &snapshot(&[("a", "success", None), ("a", "failed", None)]),
            2,
        );
        assert_eq!(summary(&next), [(3, 1, "a", Some("pending"), "failed")]);
    }

    fn any_snapshot() -> impl Strategy<Value = Vec<(String, String, Option<String>)>> {
        let step = (
            "[abc]",
            "pending|in-progress|success|failed|skipped|odd",
            proptest::option::of("[12]|\\{\\}"),
        );
        proptest::collection::vec(step, 0..6)
    }

    proptest! {
        #[test]
        fn numbers_have_no_gaps_and_the_same_answer_twice_changes_nothing(history in proptest::collection::vec(any_snapshot(), 1..8)) {
            let (mut recorded, mut last) = (Vec::new(), 0);
            for steps in &history {
                let steps: Vec<_> = steps.iter().map(|(t, s, r)| (t.as_str(), s.as_str(), r.as_deref())).collect();
                let seen = snapshot(&steps);
                let change = diff(&recorded, &seen, last);
                for transition in &change.transitions {
                    prop_assert_eq!(transition.seq, last + 1);
                    last = transition.seq;
                    let before = recorded.iter().find(|k: &&RecordedStep| k.title == transition.title && k.occurrence == transition.occurrence);
                    prop_assert_eq!(before.map(|k| k.status.clone()), transition.from.clone());
                }
                prop_assert_eq!(&diff(&change.steps, &seen, last).transitions, &[]);
                let present = change.steps.iter().filter(|s| s.class != StepClass::Missing).count();
                prop_assert_eq!(present, steps.len());
                recorded = change.steps;
            }
        }
    }
}
