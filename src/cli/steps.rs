//! Steps and failures in words, symbols and tones, for tables and timelines.

use super::screen::Tone;
use super::text;
use crate::core::delivery::DeliveryState;
use crate::core::job::{Failure, FailureKind, JobState};
use crate::core::snapshot::StepClass;
use crate::store::{JobSummary, StepRow};

/// Longest title or status of a step that is shown, in characters.
const NAME_CHARS: usize = 200;

/// Columns below which a cut title is of no use.
const MIN_TITLE: usize = 5;

/// The state of a step, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StepState {
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
    pub(super) fn of(step: &StepRow, job: JobState) -> Self {
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
    pub(super) fn mark(self) -> (&'static str, Tone) {
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
pub(super) fn title(step: &str) -> String {
    match step.trim() {
        "" => "(no title)".to_owned(),
        _ => text::outside(step, NAME_CHARS),
    }
}

/// A step's status as the API wrote it.
pub(super) fn status(step: &StepRow) -> String {
    match step.status.trim() {
        "" => "(none)".to_owned(),
        _ => text::outside(&step.status, NAME_CHARS),
    }
}

/// What changed of a step: `title: from → to`.
pub(super) fn transition(step: &str, from: Option<&str>, to: &str) -> String {
    let from = from.map_or(String::new(), |from| format!("{} → ", text::error(from)));
    format!("{}: {from}{}", title(step), text::error(to))
}

/// The symbol of a job's state, one column wide, and its tone.
pub(super) fn state_mark(state: JobState) -> (&'static str, Tone) {
    match state {
        JobState::Pending => ("○", Tone::Dim),
        JobState::InProgress => ("◐", Tone::Busy),
        JobState::Success => ("✓", Tone::Good),
        JobState::Failed => ("✗", Tone::Bad),
    }
}

/// The symbol of a delivery, one column wide, and its tone; `has_failed`: an attempt.
pub(super) fn delivery_mark(state: DeliveryState, has_failed: bool) -> (&'static str, Tone) {
    match state {
        DeliveryState::Delivered => ("✓", Tone::Good),
        DeliveryState::Pending if has_failed => ("↻", Tone::Warn),
        DeliveryState::Pending => ("○", Tone::Busy),
        DeliveryState::Exhausted => ("✗", Tone::Bad),
        DeliveryState::Disabled => ("–", Tone::Dim),
    }
}

/// How many steps of the latest answer are done, and how many there are.
pub(super) fn done_of(job: &JobSummary) -> (usize, usize) {
    let present = states(job).filter(|(_, state)| *state != StepState::Missing);
    present.fold((0, 0), |(done, all), (_, state)| {
        (done + usize::from(state.is_done()), all + 1)
    })
}

/// A job's progress in a few words: `2/3 retrieve-accounts in-progress`. If it is wider than `width` columns, the title is
/// cut, then the rest.
pub(super) fn progress(job: &JobSummary, width: usize) -> (String, Tone) {
    let (done, all) = done_of(job);
    if all == 0 {
        return ("–".to_owned(), Tone::Dim);
    }
    let Some((step, state)) = current(job) else {
        return (format!("{done}/{all}"), Tone::Good);
    };
    let word = match state {
        StepState::NeedsAnswer => "needs an answer".to_owned(),
        StepState::Queued => "queued".to_owned(),
        _ => status(step),
    };
    let tone = match state {
        StepState::Waiting | StepState::Running => Tone::Plain,
        other => other.mark().1,
    };
    let counts = format!("{done}/{all}");
    let short = format!("{counts} {word}");
    let room = width.saturating_sub(text::columns(&short) + 1);
    let text = if room >= MIN_TITLE {
        format!("{counts} {} {word}", text::fit(&title(&step.title), room))
    } else if text::columns(&short) <= width {
        short
    } else {
        counts
    };
    (text, tone)
}

/// The step that matters most: one that failed, one that needs an answer, or the first that is not done.
pub(super) fn current(job: &JobSummary) -> Option<(&StepRow, StepState)> {
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
pub(super) fn failure_line(failure: &Failure) -> String {
    let words = [&failure.code, &failure.title].into_iter();
    let words: Vec<String> = words.filter_map(|part| text::raw(part.raw())).collect();
    let (kind, words) = (failure.kind, words.join(": "));
    match kind {
        _ if words.is_empty() => kind.as_str().to_owned(),
        FailureKind::Step => words,
        _ => format!("{}: {words}", kind.as_str()),
    }
}
