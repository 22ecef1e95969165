//! One frame of the screen: a line with totals, and one or two for each job.

use std::time::Duration;

use crate::cli::screen::{Tone, View};
use crate::cli::table::{self, Cell, Columns, plain};
use crate::cli::{list, steps, text};
use crate::core::job::{JobId, JobState};
use crate::store::{DeliveryCounts, JobProgress, Overview};

/// Shown while no daemon runs.
pub(super) const NO_DAEMON: &str =
    "no daemon follows this database; start it with: systemctl start jobtrackd";

/// Columns of the widest bar, in a terminal of usual width and in a wide one.
const USUAL_BAR: usize = 12;
const WIDE_BAR: usize = 24;

/// A terminal with this many columns is wide.
const WIDE: usize = 120;

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

const JOB: usize = 0;
const BAR: usize = 1;
const STEP: usize = 2;
const SINCE: usize = 3;
const NEXT_POLL: usize = 4;
const POLLS: usize = 5;
const SENT: usize = 6;

const COLUMNS: Columns<'_> = Columns {
    headings: &["  JOB", "", "STEP", "FOR", "NEXT POLL", "POLLS", "SENT"],
    tone: Tone::Dim,
    numbers: &[SINCE, POLLS],
    bars: &[BAR],
    yields: &[
        (BAR, 12),
        (STEP, 34),
        (POLLS, 0),
        (STEP, 26),
        (BAR, 8),
        (JOB, 16),
        (STEP, 18),
        (BAR, 0),
        (SENT, 0),
        (SINCE, 0),
        (NEXT_POLL, 0),
        (JOB, 8),
    ],
    ..Columns::PLAIN
};

/// The lines of a frame, at most `height`, none wider than the view.
pub(super) fn draw(frame: &Frame, view: &View, height: usize) -> Vec<String> {
    let fitted = |text: &str, tone| view.paint(tone, &text::fit(text, view.width));
    let mut lines = vec![fitted(&summary(frame), Tone::Strong)];
    if frame.no_daemon {
        lines.push(fitted(NO_DAEMON, Tone::Warn));
    }
    lines.push(String::new());
    let mut left = frame.jobs.len();
    let cell = |job: &JobProgress, column, width| cell(job, column, width, view);
    let table = table::draw(&COLUMNS, &frame.jobs, cell, view);
    let mut rows = table.lines();
    match rows.next() {
        Some(headings) if left > 0 => lines.push(headings.to_owned()),
        _ => lines.push(fitted("no job runs", Tone::Dim)),
    }
    for (job, row) in frame.jobs.iter().zip(rows) {
        let trouble = trouble(job).map(|trouble| {
            let trouble = text::fit(&trouble, view.width.saturating_sub(4));
            format!("    {}", view.paint(Tone::Warn, &trouble))
        });
        let of_job = [Some(row.to_owned()), trouble].into_iter().flatten();
        // The last line is for those that do not fit.
        let reserved = usize::from(left > 1);
        if lines.len() + of_job.clone().count() + reserved > height {
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
            let names = names.iter().map(|name| text::error(name));
            let names = names.collect::<Vec<_>>().join(" ");
            summary.push_str(&format!(", {count} {state}: {names}"));
        }
    }
    summary
}

/// Why the latest polls failed.
fn trouble(job: &JobProgress) -> Option<String> {
    let row = &job.summary.row;
    let error = row.progress.last_error.as_deref()?;
    let error = text::error(error);
    match row.progress.consecutive_errors {
        _ if row.state.is_final() => None,
        0 => None,
        1 => Some(error),
        many => Some(format!("{error} ({many} in a row)")),
    }
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

fn cell(job: &JobProgress, column: usize, width: usize, view: &View) -> Cell {
    let summary = &job.summary;
    let row = &summary.row;
    let (symbol, tone) = steps::state_mark(row.state);
    let (done, all) = steps::done_of(summary);
    let (text, tone) = match column {
        JOB => (format!("{symbol} {}", row.id), tone),
        BAR => {
            let widest = if view.width >= WIDE {
                WIDE_BAR
            } else {
                USUAL_BAR
            };
            let width = width.min(widest);
            let full = (done * width).checked_div(all).unwrap_or_default();
            let tone = if tone == Tone::Dim { Tone::Busy } else { tone };
            ("━".repeat(full) + &"─".repeat(width - full), tone)
        }
        STEP => match &summary.failure {
            Some(failure) => (steps::failure_line(failure), Tone::Bad),
            None if row.state == JobState::Success => (format!("{done}/{all} success"), Tone::Good),
            None => steps::progress(summary, width),
        },
        SINCE => {
            let step = steps::current(summary);
            let since = step.map_or(row.created_at, |(step, _)| step.updated_at);
            let took = match summary.finished_at {
                Some(end) => end.since(row.created_at),
                None => view.now.since(since),
            };
            // Without tenths of seconds, which would flicker.
            let whole = Duration::from_secs(took.as_secs());
            plain(text::brief(if whole.is_zero() { took } else { whole }))
        }
        NEXT_POLL => match summary.finished_at {
            Some(end) => (format!("ended {}", view.ago(end)), Tone::Dim),
            None => list::next_poll(row, view),
        },
        POLLS => plain(row.progress.polls.to_string()),
        _ => deliveries(&job.deliveries),
    };
    (text::fit(&text, width), tone)
}
