//! What is on the screen at one moment: a line on the whole, and one or two for each job.

use std::time::Duration;

use crate::cli::screen::View;
use crate::cli::style::Tone;
use crate::cli::{steps, table, text};
use crate::core::job::{JobId, JobState};
use crate::store::{DeliveryCounts, JobProgress, Overview};

/// What is said when nobody follows the jobs.
pub(super) const LONELY: &str =
    "no daemon follows this database; start it with: systemctl start jobtrackd";

/// Blanks between two columns.
const GAP: usize = 2;

/// Columns of the widest bar, in a terminal of usual and of large width.
const BAR: usize = 12;
const LARGE_BAR: usize = 24;

/// A terminal of this many columns is large.
const LARGE: usize = 120;

/// Columns of the widest progress.
const LARGEST_PROGRESS: usize = 60;

/// Longest name or error that is shown, in characters.
const TEXT_CHARS: usize = 300;

/// What is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    /// The jobs that were asked for; empty for all that run.
    pub(super) ids: &'a [JobId],
    pub(super) jobs: &'a [JobProgress],
    pub(super) overview: &'a Overview,
    /// No daemon follows them.
    pub(super) lonely: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Job,
    Bar,
    Progress,
    Since,
    NextPoll,
    Polls,
    Told,
}

type Cell = (String, Tone);

/// What gives way in a narrow terminal, in this order, down to so many columns; to none, it is left out.
const YIELDS: [(Column, usize); 12] = [
    (Column::Bar, 12),
    (Column::Progress, 34),
    (Column::Polls, 0),
    (Column::Progress, 26),
    (Column::Bar, 8),
    (Column::Job, 16),
    (Column::Progress, 18),
    (Column::Bar, 0),
    (Column::Told, 0),
    (Column::Since, 0),
    (Column::NextPoll, 0),
    (Column::Job, 8),
];

/// The lines of a frame, at most `height`, none wider than the view.
pub(super) fn draw(frame: &Frame<'_>, view: &View, height: usize) -> Vec<String> {
    let mut lines = vec![fitting(&summary(frame), Tone::Strong, view)];
    if frame.lonely {
        lines.push(fitting(LONELY, Tone::Warn, view));
    }
    lines.push(String::new());
    if frame.jobs.is_empty() {
        lines.push(fitting("no job runs", Tone::Dim, view));
        lines.truncate(height);
        return lines;
    }
    let columns = columns(frame.jobs, view);
    let headings = columns.iter().map(|(column, width)| {
        let heading = placed(*column, column.heading(), *width);
        (heading, Tone::Dim)
    });
    lines.push(joined(headings, view));
    let mut left = frame.jobs.len();
    for job in frame.jobs {
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
        let more = format!("… and {left} more");
        lines.push(fitting(&more, Tone::Dim, view));
    }
    lines.truncate(height);
    lines
}

fn fitting(said: &str, tone: Tone, view: &View) -> String {
    view.paint(tone, &text::fit(said, view.width))
}

fn summary(frame: &Frame<'_>) -> String {
    let overview = frame.overview;
    let mut said = if frame.ids.is_empty() {
        let ended = overview.ended;
        format!(
            "{} running, {ended} ended in the last minute",
            overview.running
        )
    } else {
        let ended = frame.jobs.iter();
        let ended = ended.filter(|job| job.summary.row.state.is_final()).count();
        let all = frame.ids.len();
        let mut said = format!("{ended} of {} ended", text::count(all as u64, "job"));
        let there = |id: &JobId| frame.jobs.iter().any(|job| job.summary.row.id == *id);
        let absent: Vec<&str> = frame
            .ids
            .iter()
            .filter(|id| !there(id))
            .map(JobId::as_str)
            .collect();
        if !absent.is_empty() {
            said.push_str(&format!(", not in the database: {}", absent.join(" ")));
        }
        said
    };
    let pending = u64::from(overview.pending);
    let deliveries = if pending == 1 {
        "delivery"
    } else {
        "deliveries"
    };
    said.push_str(&format!(", {pending} {deliveries} pending"));
    for (names, what) in [
        (&overview.failing, "failing"),
        (&overview.disabled, "disabled"),
    ] {
        if !names.is_empty() {
            let count = text::count(names.len() as u64, "webhook");
            let names: Vec<String> = names
                .iter()
                .map(|name| text::outside(name, TEXT_CHARS))
                .collect();
            said.push_str(&format!(", {count} {what}: {}", names.join(" ")));
        }
    }
    said
}

fn of_job(job: &JobProgress, columns: &[(Column, usize)], view: &View) -> Vec<String> {
    let cells = columns.iter().map(|(column, width)| match column {
        Column::Bar => (String::new(), Tone::Plain),
        column => {
            let (said, tone) = column.cell(job, view, *width);
            (placed(*column, &said, *width), tone)
        }
    });
    let mut line = String::new();
    for ((column, width), (said, tone)) in columns.iter().zip(cells) {
        if !line.is_empty() {
            line.push_str(&" ".repeat(GAP));
        }
        match column {
            Column::Bar => line.push_str(&bar(job, *width, view)),
            _ => line.push_str(&view.paint(tone, &said)),
        }
    }
    let mut lines = vec![line.trim_end().to_owned()];
    if let Some(trouble) = trouble(job) {
        let room = view.width.saturating_sub(4);
        let trouble = text::fit(&trouble, room);
        lines.push(format!("    {}", view.paint(Tone::Warn, &trouble)));
    }
    lines
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
        state => Tone::of_state(state),
    };
    let rest = "─".repeat(width - full);
    format!(
        "{}{}",
        view.paint(tone, &"━".repeat(full)),
        view.paint(Tone::Dim, &rest)
    )
}

/// What was told: delivered, still to come, given up.
fn told(told: &DeliveryCounts) -> Cell {
    let parts: Vec<String> = [
        (told.delivered, "✓"),
        (told.pending - told.refused, "○"),
        (told.refused, "↻"),
        (told.exhausted, "✗"),
        (told.disabled, "–"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, mark)| format!("{count}{mark}"))
    .collect();
    let tone = match told {
        told if told.exhausted > 0 => Tone::Bad,
        told if told.refused + told.disabled > 0 => Tone::Warn,
        _ => Tone::Plain,
    };
    (parts.join(" "), tone)
}

impl Column {
    const ALL: [Self; 7] = [
        Self::Job,
        Self::Bar,
        Self::Progress,
        Self::Since,
        Self::NextPoll,
        Self::Polls,
        Self::Told,
    ];

    fn heading(self) -> &'static str {
        match self {
            Self::Job => "  JOB",
            Self::Bar => "",
            Self::Progress => "STEP",
            Self::Since => "FOR",
            Self::NextPoll => "NEXT POLL",
            Self::Polls => "POLLS",
            Self::Told => "TOLD",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Since | Self::Polls)
    }

    fn cell(self, job: &JobProgress, view: &View, width: usize) -> Cell {
        let summary = &job.summary;
        let row = &summary.row;
        match self {
            Self::Job => (
                format!("{} {}", steps::state_symbol(row.state), row.id),
                Tone::of_state(row.state),
            ),
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
                // Tenths would only flicker.
                let whole = Duration::from_secs(took.as_secs());
                let took = if whole.is_zero() { took } else { whole };
                (text::brief(took), Tone::Plain)
            }
            Self::NextPoll => match summary.finished_at {
                Some(end) => {
                    let ago = text::ago(view.now.since(end));
                    (format!("ended {ago}"), Tone::Dim)
                }
                None => table::next_poll(row, view),
            },
            Self::Polls => (row.progress.polls.to_string(), Tone::Plain),
            Self::Told => told(&job.deliveries),
        }
    }
}

/// The columns that fit, with the width of each.
fn columns(jobs: &[JobProgress], view: &View) -> Vec<(Column, usize)> {
    let natural = |column: Column| match column {
        Column::Bar if view.width >= LARGE => LARGE_BAR,
        Column::Bar => BAR,
        column => {
            let cells = jobs
                .iter()
                .map(|job| column.cell(job, view, LARGEST_PROGRESS));
            let widest = cells.map(|(said, _)| text::columns(&said)).max();
            let widest = widest.unwrap_or_default().min(LARGEST_PROGRESS);
            // A column that says nothing of any job is left out.
            match widest {
                0 => 0,
                widest => widest.max(text::columns(column.heading())),
            }
        }
    };
    let mut columns: Vec<(Column, usize)> = Column::ALL
        .into_iter()
        .map(|column| (column, natural(column)))
        .filter(|(_, width)| *width > 0)
        .collect();
    for (yielding, least) in YIELDS {
        let wide: usize = columns.iter().map(|(_, width)| width + GAP).sum();
        let excess = wide.saturating_sub(GAP + view.width);
        if excess == 0 {
            break;
        }
        for (column, width) in &mut columns {
            if *column == yielding {
                *width = match least {
                    0 => 0,
                    least => width.saturating_sub(excess).max(least.min(*width)),
                };
            }
        }
        columns.retain(|(_, width)| *width > 0);
    }
    columns
}

fn placed(column: Column, said: &str, width: usize) -> String {
    let said = text::fit(said, width);
    let blanks = " ".repeat(width.saturating_sub(text::columns(&said)));
    if column.is_number() {
        blanks + &said
    } else {
        said + &blanks
    }
}

fn joined(cells: impl Iterator<Item = Cell>, view: &View) -> String {
    let cells: Vec<String> = cells.map(|(said, tone)| view.paint(tone, &said)).collect();
    cells.join(&" ".repeat(GAP)).trim_end().to_owned()
}
