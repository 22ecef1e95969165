//! One frame of the screen: a line with totals, and one or two for each job.

use std::time::Duration;

use strum::{EnumIter, IntoEnumIterator as _, IntoStaticStr};

use crate::cli::screen::View;
use crate::cli::style::Tone;
use crate::cli::{list, steps, text};
use crate::core::job::{JobId, JobState};
use crate::store::{DeliveryCounts, JobProgress, Overview};

/// Shown while no daemon runs.
pub(super) const NO_DAEMON: &str =
    "no daemon follows this database; start it with: systemctl start jobtrackd";

/// Blanks between two columns.
const GAP: usize = 2;

/// Columns of the widest bar, in a terminal of usual width and in a wide one.
const BAR: usize = 12;
const WIDE_BAR: usize = 24;

/// A terminal with this many columns is wide.
const WIDE: usize = 120;

/// Columns of the widest progress.
const MAX_PROGRESS: usize = 60;

/// Longest name or error that is shown, in characters.
const TEXT_CHARS: usize = 300;

/// The content of a frame.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// The jobs that were named on the command line; empty for all that run.
    pub(super) ids: Vec<JobId>,
    pub(super) jobs: Vec<JobProgress>,
    pub(super) overview: Overview,
    /// Whether no daemon follows them.
    pub(super) no_daemon: bool,
}

impl Frame {
    /// How many of the jobs are in such a state.
    pub(super) fn count(&self, wanted: impl Fn(JobState) -> bool) -> usize {
        let states = self.jobs.iter().map(|job| job.summary.row.state);
        states.filter(|state| wanted(*state)).count()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, IntoStaticStr)]
enum Column {
    #[strum(serialize = "  JOB")]
    Job,
    #[strum(serialize = "")]
    Bar,
    #[strum(serialize = "STEP")]
    Progress,
    #[strum(serialize = "FOR")]
    Since,
    #[strum(serialize = "NEXT POLL")]
    NextPoll,
    #[strum(serialize = "POLLS")]
    Polls,
    #[strum(serialize = "SENT")]
    Deliveries,
}

/// What is cut in a narrow terminal, in this order, down to this many columns; 0: it is left out.
const YIELDS: [(Column, usize); 12] = [
    (Column::Bar, 12),
    (Column::Progress, 34),
    (Column::Polls, 0),
    (Column::Progress, 26),
    (Column::Bar, 8),
    (Column::Job, 16),
    (Column::Progress, 18),
    (Column::Bar, 0),
    (Column::Deliveries, 0),
    (Column::Since, 0),
    (Column::NextPoll, 0),
    (Column::Job, 8),
];

/// The lines of a frame, at most `height`, none wider than the view.
pub(super) fn draw(frame: &Frame, view: &View, height: usize) -> Vec<String> {
    let fitted = |text: &str, tone| view.paint(tone, &text::fit(text, view.width));
    let mut lines = vec![fitted(&summary(frame), Tone::Strong)];
    if frame.no_daemon {
        lines.push(fitted(NO_DAEMON, Tone::Warn));
    }
    lines.push(String::new());
    let columns = columns(&frame.jobs, view);
    let mut left = frame.jobs.len();
    if frame.jobs.is_empty() {
        lines.push(fitted("no job runs", Tone::Dim));
    } else {
        lines.push(row(&columns, |column, width| {
            view.dim(&aligned(column, column.into(), width))
        }));
    }
    for job in &frame.jobs {
        let of_job = of_job(job, &columns, view);
        // The last line is for those that do not fit.
        let reserved = usize::from(left > 1);
        if lines.len() + of_job.len() + reserved > height {
            break;
        }
        lines.extend(of_job);
        left -= 1;
    }
    if left > 0 {
        lines.push(fitted(&format!("… and {left} more"), Tone::Dim));
    }
    lines.truncate(height);
    lines
}

fn summary(frame: &Frame) -> String {
    let overview = &frame.overview;
    let mut summary = if frame.ids.is_empty() {
        let (running, ended) = (overview.running, overview.ended);
        format!("{running} running, {ended} ended in the last minute")
    } else {
        let ended = frame.count(JobState::is_final);
        let all = text::count(frame.ids.len() as u64, "job");
        let mut summary = format!("{ended} of {all} ended");
        let is_there = |id: &JobId| frame.jobs.iter().any(|job| job.summary.row.id == *id);
        let absent = frame.ids.iter().filter(|id| !is_there(id));
        let absent: Vec<&str> = absent.map(JobId::as_str).collect();
        if !absent.is_empty() {
            summary.push_str(&format!(", not in the database: {}", absent.join(" ")));
        }
        summary
    };
    let deliveries = if overview.pending == 1 { "y" } else { "ies" };
    summary.push_str(&format!(
        ", {} deliver{deliveries} pending",
        overview.pending
    ));
    for (names, state) in [
        (&overview.failing, "failing"),
        (&overview.disabled, "disabled"),
    ] {
        if !names.is_empty() {
            let count = text::count(names.len() as u64, "webhook");
            let names = names.iter().map(|name| text::outside(name, TEXT_CHARS));
            let names = names.collect::<Vec<_>>().join(" ");
            summary.push_str(&format!(", {count} {state}: {names}"));
        }
    }
    summary
}

fn of_job(job: &JobProgress, columns: &[(Column, usize)], view: &View) -> Vec<String> {
    let mut lines = vec![row(columns, |column, width| match column {
        Column::Bar => bar(job, width, view),
        column => {
            let (text, tone) = column.cell(job, view, width);
            view.paint(tone, &aligned(column, &text, width))
        }
    })];
    if let Some(trouble) = trouble(job) {
        let trouble = text::fit(&trouble, view.width.saturating_sub(4));
        lines.push(format!("    {}", view.paint(Tone::Warn, &trouble)));
    }
    lines
}

fn row(columns: &[(Column, usize)], cell: impl Fn(Column, usize) -> String) -> String {
    let cells = columns.iter().map(|(column, width)| cell(*column, *width));
    let line = cells.collect::<Vec<_>>().join(&" ".repeat(GAP));
    line.trim_end().to_owned()
}

/// Why the latest polls failed.
fn trouble(job: &JobProgress) -> Option<String> {
    let row = &job.summary.row;
    let error = row.progress.last_error.as_deref()?;
    let error = text::outside(error, TEXT_CHARS);
    match row.progress.consecutive_errors {
        _ if row.state.is_final() => None,
        0 => None,
        1 => Some(error),
        many => Some(format!("{error} ({many} in a row)")),
    }
}

fn bar(job: &JobProgress, width: usize, view: &View) -> String {
    let (done, all) = steps::done_of(&job.summary);
    let full = (done * width).checked_div(all).unwrap_or_default();
    let tone = match job.summary.row.state {
        JobState::Pending => Tone::Busy,
        state => steps::state_mark(state).1,
    };
    let rest = view.dim(&"─".repeat(width - full));
    view.paint(tone, &"━".repeat(full)) + &rest
}

/// How many deliveries are delivered, still to come, refused so far, exhausted, disabled.
fn deliveries(counts: &DeliveryCounts) -> (String, Tone) {
    let marked = [
        (counts.delivered, "✓"),
        (counts.pending - counts.refused, "○"),
        (counts.refused, "↻"),
        (counts.exhausted, "✗"),
        (counts.disabled, "–"),
    ];
    let marked = marked.iter().filter(|(count, _)| *count > 0);
    let marked: Vec<String> = marked
        .map(|(count, mark)| format!("{count}{mark}"))
        .collect();
    let tone = match counts {
        _ if counts.exhausted > 0 => Tone::Bad,
        _ if counts.refused + counts.disabled > 0 => Tone::Warn,
        _ => Tone::Plain,
    };
    (marked.join(" "), tone)
}

impl Column {
    fn cell(self, job: &JobProgress, view: &View, width: usize) -> (String, Tone) {
        let summary = &job.summary;
        let row = &summary.row;
        match self {
            Self::Job => {
                let (symbol, tone) = steps::state_mark(row.state);
                (format!("{symbol} {}", row.id), tone)
            }
            Self::Bar => (String::new(), Tone::Plain),
            Self::Progress => match &summary.failure {
                Some(failure) => (steps::failure_line(failure), Tone::Bad),
                None if row.state == JobState::Success => {
                    let (done, all) = steps::done_of(summary);
                    (format!("{done}/{all} success"), Tone::Good)
                }
                None => steps::progress(summary, width),
            },
            Self::Since => {
                let step = steps::current(summary);
                let since = step.map_or(row.created_at, |(step, _)| step.updated_at);
                let took = match summary.finished_at {
                    Some(end) => end.since(row.created_at),
                    None => view.now.since(since),
                };
                // Without tenths of seconds, which would flicker.
                let whole = Duration::from_secs(took.as_secs());
                let took = if whole.is_zero() { took } else { whole };
                (text::brief(took), Tone::Plain)
            }
            Self::NextPoll => match summary.finished_at {
                Some(end) => (
                    format!("ended {}", text::ago(view.now.since(end))),
                    Tone::Dim,
                ),
                None => list::next_poll(row, view),
            },
            Self::Polls => (row.progress.polls.to_string(), Tone::Plain),
            Self::Deliveries => deliveries(&job.deliveries),
        }
    }
}

/// The columns that fit, with the width of each.
fn columns(jobs: &[JobProgress], view: &View) -> Vec<(Column, usize)> {
    let natural = |column: Column| match column {
        Column::Bar if view.width >= WIDE => WIDE_BAR,
        Column::Bar => BAR,
        column => {
            let cells = jobs.iter().map(|job| column.cell(job, view, MAX_PROGRESS));
            let widest = cells.map(|(text, _)| text::columns(&text)).max();
            // A column that is empty for every job is left out.
            match widest.unwrap_or_default().min(MAX_PROGRESS) {
                0 => 0,
                widest => widest.max(<&str>::from(column).len()),
            }
        }
    };
    let columns = Column::iter().map(|column| (column, natural(column)));
    let mut columns: Vec<_> = columns.filter(|(_, width)| *width > 0).collect();
    for (yielding, least) in YIELDS {
        let wide: usize = columns.iter().map(|(_, width)| width + GAP).sum();
        let excess = wide.saturating_sub(GAP + view.width);
        if excess == 0 {
            break;
        }
        for (_, width) in columns.iter_mut().filter(|(column, _)| *column == yielding) {
            *width = match least {
                0 => 0,
                least => width.saturating_sub(excess).max(least.min(*width)),
            };
        }
        columns.retain(|(_, width)| *width > 0);
    }
    columns
}

fn aligned(column: Column, text: &str, width: usize) -> String {
    let text = text::fit(text, width);
    let blanks = " ".repeat(width.saturating_sub(text::columns(&text)));
    match column {
        Column::Since | Column::Polls => blanks + &text,
        _ => text + &blanks,
    }
}
