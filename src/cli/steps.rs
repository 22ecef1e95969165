//! How far a job has come, in a column of a table.

use super::screen::Tone;
use super::text;
use crate::store::JobSummary;
pub(super) use crate::words::steps::{
    StepState, current, delivery_mark, done_of, failure_line, state_mark, status, title, transition,
};

/// Columns below which a cut title is of no use.
const MIN_TITLE: usize = 5;

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
