//! Steps, failures and deliveries in words, symbols and tones.

use super::{self as text, Tone};
use crate::core::delivery::DeliveryState;
use crate::core::job::{Failure, FailureKind, JobState};
use crate::core::snapshot::StepClass;
use crate::store::{JobSummary, StepRow};

/// Longest title or status of a step that is shown, in characters.
const NAME_CHARS: usize = 200;

/// The state of a step, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepState {
    /// Success.
    Done,
    /// Not needed.
    Skipped,
    /// In progress.
    Running,
    /// In progress, with a challenge that waits for the user.
    NeedsAnswer,
    /// Pending.
    Waiting,
    /// Pending in the API's own retry queue.
    Queued,
    /// Failed.
    Failed,
    /// No longer in the API's answer.
    Missing,
    /// An unknown status.
    Unknown,
}

impl StepState {
    /// The state of a step of a job in this state.
    pub(crate) fn of(step: &StepRow, job: JobState) -> Self {
        match step.class {
            StepClass::Done => Self::Done,
            StepClass::Skipped => Self::Skipped,
            StepClass::Failed => Self::Failed,
            StepClass::Waiting if !job.is_final() => Self::NeedsAnswer,
            StepClass::Running | StepClass::Waiting => Self::Running,
            StepClass::Queued if !job.is_final() => Self::Queued,
            StepClass::Pending | StepClass::Queued => Self::Waiting,
            StepClass::Unknown => Self::Unknown,
            StepClass::Missing => Self::Missing,
        }
    }

    /// Its symbol, one column wide, and its tone.
    pub(crate) fn mark(self) -> (&'static str, Tone) {
        match self {
            Self::Done => ("✓", Tone::Good),
            Self::Skipped => ("–", Tone::Dim),
            Self::Running => ("◐", Tone::Busy),
            Self::NeedsAnswer => ("?", Tone::Warn),
            Self::Waiting => ("○", Tone::Dim),
            Self::Queued => ("◷", Tone::Warn),
            Self::Failed => ("✗", Tone::Bad),
            Self::Missing => ("·", Tone::Dim),
            Self::Unknown => ("◇", Tone::Warn),
        }
    }

    fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }
}

/// A step's title, or a substitute for one that is empty or blank.
pub(crate) fn title(step: &str) -> String {
    match step.trim() {
        "" => "(no title)".to_owned(),
        _ => text::outside(step, NAME_CHARS),
    }
}

/// A step's status as the API wrote it.
pub(crate) fn status(step: &StepRow) -> String {
    match step.status.trim() {
        "" => "(none)".to_owned(),
        _ => text::outside(&step.status, NAME_CHARS),
    }
}

/// What changed of a step: `title: from → to`.
pub(crate) fn transition(step: &str, from: Option<&str>, to: &str) -> String {
    let from = from.map_or(String::new(), |from| format!("{} → ", text::error(from)));
    format!("{}: {from}{}", title(step), text::error(to))
}

/// The symbol of a job's state, one column wide, and its tone.
pub(crate) fn state_mark(state: JobState) -> (&'static str, Tone) {
    match state {
        JobState::Pending => ("○", Tone::Dim),
        JobState::InProgress => ("◐", Tone::Busy),
        JobState::Success => ("✓", Tone::Good),
        JobState::Failed => ("✗", Tone::Bad),
    }
}

/// The symbol of a delivery, one column wide, and its tone; `has_failed`: an attempt.
pub(crate) fn delivery_mark(state: DeliveryState, has_failed: bool) -> (&'static str, Tone) {
    match state {
        DeliveryState::Delivered => ("✓", Tone::Good),
        DeliveryState::Pending if has_failed => ("↻", Tone::Warn),
        DeliveryState::Pending => ("○", Tone::Busy),
        DeliveryState::Exhausted => ("✗", Tone::Bad),
        DeliveryState::Disabled => ("–", Tone::Dim),
    }
}

/// How many steps of the latest answer are done, and how many there are.
pub(crate) fn done_of(job: &JobSummary) -> (usize, usize) {
    let present = states(job).filter(|(_, state)| *state != StepState::Missing);
    present.fold((0, 0), |(done, all), (_, state)| {
        (done + usize::from(state.is_done()), all + 1)
    })
}

/// The step that matters most: one that failed, one that needs an answer, or the first that is not done.
pub(crate) fn current(job: &JobSummary) -> Option<(&StepRow, StepState)> {
    let find = |wanted: fn(StepState) -> bool| states(job).find(|(_, state)| wanted(*state));
    find(|state| state == StepState::Failed)
        .or_else(|| find(|state| state == StepState::NeedsAnswer))
        .or_else(|| find(|state| !state.is_done() && state != StepState::Missing))
}

fn states(job: &JobSummary) -> impl Iterator<Item = (&StepRow, StepState)> {
    let state = job.row.state;
    job.steps
        .iter()
        .map(move |step| (step, StepState::of(step, state)))
}

/// A failure in one line: code and title, or at least its kind.
pub(crate) fn failure_line(failure: &Failure) -> String {
    let words = [&failure.code, &failure.title].into_iter();
    let words: Vec<String> = words.filter_map(|part| text::raw(part.raw())).collect();
    let (kind, words) = (failure.kind, words.join(": "));
    match kind {
        _ if words.is_empty() => kind.as_str().to_owned(),
        FailureKind::Step => words,
        _ => format!("{}: {words}", kind.as_str()),
    }
}
