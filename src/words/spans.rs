//! When the steps of a job were worked on, as far as it was seen.

use super::steps::StepState;
use crate::core::snapshot::StepClass;
use crate::core::time::UnixMillis;
use crate::store::{JobDetail, StepRow, TransitionRow};

/// When a step was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: UnixMillis,
    pub(crate) end: UnixMillis,
    /// The start was not seen: it took this long or less.
    pub(crate) at_most: bool,
}

/// When a step was worked on, as far as it was seen; `None` for one that waits, was skipped, or was done when it was first
/// seen.
pub(crate) fn span(step: &StepRow, detail: &JobDetail, now: UnixMillis) -> Option<Span> {
    let job = &detail.summary;
    let open_end = job.finished_at.unwrap_or(now);
    let seen = history(step, detail);
    let mut transitions = seen.iter();
    let began = transitions.find(|each| !is_idle(each.class) && !is_over(each.class));
    let began = began.map(|began| began.observed_at);
    let ended = seen.iter().enumerate().rev().find(|(at, transition)| {
        let before = at.checked_sub(1).and_then(|before| seen.get(before));
        is_over(transition.class) && before.is_none_or(|before| !is_over(before.class))
    });
    let ended = ended.map(|(_, transition)| transition);
    let (start, end, at_most) = match StepState::of(step, job.row.state) {
        StepState::Queued => (step.updated_at, open_end, false),
        StepState::Running | StepState::NeedsAnswer | StepState::Unknown => {
            (began.unwrap_or(step.first_seen_at), open_end, false)
        }
        StepState::Done | StepState::Failed => match (began, ended?) {
            (Some(began), ended) => (began, ended.observed_at, false),
            // It was over when it was first seen: how long it took is not known.
            (None, ended) if ended.from.is_none() => return None,
            (None, ended) => (step.first_seen_at, ended.observed_at, true),
        },
        StepState::Skipped | StepState::Waiting | StepState::Missing => return None,
    };
    Some(Span {
        start,
        end: end.max(start),
        at_most,
    })
}

/// The transitions of one step. A transition does not say which of several steps of one title it belongs to; then the
/// position tells them apart.
fn history<'a>(step: &StepRow, detail: &'a JobDetail) -> Vec<&'a TransitionRow> {
    let steps = detail.summary.steps.iter();
    let is_alone = steps.filter(|other| other.title == step.title).count() == 1;
    let is_its = |transition: &&TransitionRow| {
        transition.title == step.title && (is_alone || transition.position == step.position)
    };
    detail.transitions.iter().filter(is_its).collect()
}

fn is_idle(class: StepClass) -> bool {
    matches!(
        class,
        StepClass::Missing | StepClass::Pending | StepClass::Queued
    )
}

fn is_over(class: StepClass) -> bool {
    class.is_done() || class == StepClass::Failed
}
