//! Challenges and delays: one event each, as the recorded answers show them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::numbered;
use super::polls::title;
use crate::fakes::truth::Step;
use crate::world::Violation;

/// The kind of an event, the title of its step, and what it is about: a challenge's description, or a reason's code.
pub(super) type Said = (&'static str, &'static str, String);

/// The events that the recorded answers ask for, in order: a challenge when the step was last shown without it or with
/// another one, and the first delay of each step.
fn expected<'a>(answers: impl Iterator<Item = &'a [Step]>) -> Vec<Said> {
    let mut open: BTreeMap<(&'static str, usize), String> = BTreeMap::new();
    let mut delayed = BTreeSet::new();
    let mut said = Vec::new();
    for steps in answers {
        // The API shows delays and challenges of different steps in one answer only by chance; their order is by step.
        for (key, step) in numbered(steps, |step| step.title) {
            let result = step.result.as_deref().map(serde_json::from_str::<Value>);
            let result = result.and_then(Result::ok).unwrap_or_default();
            let is_challenge = step.status == "in-progress" && result["type"] == "mfa";
            if is_challenge {
                let what = result["description"].as_str().unwrap_or_default();
                let known = open.insert(key, what.to_owned());
                if known.as_deref() != Some(what) {
                    said.push(("job.action_required", key.0, what.to_owned()));
                }
            } else {
                open.remove(&key);
            }
            let code = result["code"].as_str().unwrap_or_default();
            if step.status == "pending" && code.ends_with("-queued") && delayed.insert(key) {
                said.push(("job.delayed", key.0, code.to_owned()));
            }
        }
    }
    said
}

/// What an event of these kinds says.
pub(super) fn said(kind: &'static str, data: &Value) -> Option<Said> {
    let (step, what) = match kind {
        "job.action_required" => (
            &data["challenge"]["step"],
            &data["challenge"]["description"],
        ),
        "job.delayed" => (&data["step"], &data["reason"]["code"]),
        _ => return None,
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some((kind, title(&text(step)), text(what)))
}

/// Whether the events are those.
pub(super) fn check<'a>(
    answers: impl Iterator<Item = &'a [Step]>,
    said: &[Said],
) -> Result<(), Violation> {
    let expected = expected(answers);
    match expected == said {
        true => Ok(()),
        false => Err(format!(
            "once: the events are {said:?}, and the recorded answers show {expected:?}"
        )),
    }
}
