//! When the steps of a job were worked on, as far as it was seen.

use std::collections::HashMap;

use super::steps::StepState;
use crate::core::job::JobState;
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

/// What was seen of a job's steps, found by step: there may be ten thousand of both.
pub(crate) struct Histories<'a> {
    seen: HashMap<(&'a str, u32), Vec<&'a TransitionRow>>,
    state: JobState,
    open_end: UnixMillis,
}

impl<'a> Histories<'a> {
    /// Those of a job; `now` is the end of what has not ended.
    pub(crate) fn of(detail: &'a JobDetail, now: UnixMillis) -> Self {
        let mut seen: HashMap<_, Vec<_>> = HashMap::new();
        for each in &detail.transitions {
            let of = seen.entry((each.title.as_str(), each.occurrence));
            of.or_default().push(each);
        }
        let job = &detail.summary;
        Self {
            seen,
            state: job.row.state,
            open_end: job.finished_at.unwrap_or(now),
        }
    }

    /// The transitions of one step.
    pub(crate) fn seen(&self, step: &'a StepRow) -> &[&'a TransitionRow] {
        let found = self.seen.get(&(step.title.as_str(), step.occurrence));
        found.map_or(&[], Vec::as_slice)
    }

    /// When a step was worked on, as far as it was seen; `None` for one that waits, was skipped, or was done when it was first
    /// seen.
    pub(crate) fn span(&self, step: &'a StepRow) -> Option<Span> {
        span(step, self.seen(step), self.state, self.open_end)
    }
}

fn span(
    step: &StepRow,
    seen: &[&TransitionRow],
    job: JobState,
    open_end: UnixMillis,
) -> Option<Span> {
    let mut transitions = seen.iter();
    let began = transitions.find(|each| !is_idle(each.class) && !is_over(each.class));
    let began = began.map(|began| began.observed_at);
    let ended = seen.iter().enumerate().rev().find(|(at, transition)| {
        let before = at.checked_sub(1).and_then(|before| seen.get(before));
        is_over(transition.class) && before.is_none_or(|before| !is_over(before.class))
    });
    let ended = ended.map(|(_, transition)| transition);
    let (start, end, at_most) = match StepState::of(step, job) {
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

fn is_idle(class: StepClass) -> bool {
    matches!(
        class,
        StepClass::Missing | StepClass::Pending | StepClass::Queued
    )
}

fn is_over(class: StepClass) -> bool {
    class.is_done() || class == StepClass::Failed
}
