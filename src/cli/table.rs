//! The table of jobs.

use comfy_table::{Attribute, Cell, LineStyle, Table, TableStyle};

use super::screen::View;
use super::steps;
use super::style::Tone;
use super::text;
use crate::store::{JobRow, JobSummary};

/// Blanks between two columns: one that the table draws, and the padding.
const GAP: usize = 2;

/// Least columns of the two columns that give way to the others.
const LEAST_FLEXIBLE: usize = 20;

/// Columns of the widest progress.
const LARGEST_CELL: usize = 60;

/// Columns of an id that is not cut while there is anything else to cut.
const UUID: usize = 36;

/// Longest error that is worth a line, in characters.
const ERROR_CHARS: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Id,
    State,
    Steps,
    Age,
    Polls,
    NextPoll,
    LastError,
}

impl Column {
    const ALL: [Self; 7] = [
        Self::Id,
        Self::State,
        Self::Steps,
        Self::Age,
        Self::Polls,
        Self::NextPoll,
        Self::LastError,
    ];

    /// Columns that a narrow terminal goes without, the first of them first.
    const DISPENSABLE: [Self; 4] = [Self::Polls, Self::LastError, Self::Age, Self::NextPoll];

    fn heading(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::State => "STATE",
            Self::Steps => "STEPS",
            Self::Age => "AGE",
            Self::Polls => "POLLS",
            Self::NextPoll => "NEXT POLL",
            Self::LastError => "LAST ERROR",
        }
    }

    fn is_flexible(self) -> bool {
        matches!(self, Self::Steps | Self::LastError)
    }

    fn is_number(self) -> bool {
        matches!(self, Self::Age | Self::Polls)
    }

    fn cell(self, job: &JobSummary, view: &View, width: usize) -> (String, Tone) {
        let row = &job.row;
        match self {
            Self::Id => (row.id.to_string(), Tone::Plain),
            Self::State => (
                format!("{} {}", steps::state_symbol(row.state), row.state),
                Tone::of_state(row.state),
            ),
            Self::Steps => steps::progress(job, width),
            Self::Age => (text::brief(view.now.since(row.created_at)), Tone::Plain),
            Self::Polls => (row.progress.polls.to_string(), Tone::Plain),
            Self::NextPoll => next_poll(row, view),
            Self::LastError => last_error(job),
        }
    }
}

/// When a job is polled next: `in 12s`.
pub(super) fn next_poll(row: &JobRow, view: &View) -> (String, Tone) {
    if row.state.is_final() {
        return (String::new(), Tone::Plain);
    }
    if row.cancel_requested {
        return ("cancelling".to_owned(), Tone::Warn);
    }
    let at = row.next_poll_at.max(row.not_before);
    match at.map(|at| at.since(view.now)) {
        Some(wait) if !wait.is_zero() => (format!("in {}", text::brief(wait)), Tone::Plain),
        _ => ("due".to_owned(), Tone::Plain),
    }
}

fn last_error(job: &JobSummary) -> (String, Tone) {
    match (&job.failure, &job.row.progress.last_error) {
        (Some(failure), _) => (steps::failure_line(failure), Tone::Bad),
        (None, Some(error)) if job.row.progress.consecutive_errors > 0 => {
            (text::outside(error, ERROR_CHARS), Tone::Warn)
        }
        (None, Some(error)) => (text::outside(error, ERROR_CHARS), Tone::Dim),
        (None, None) => (String::new(), Tone::Plain),
    }
}

/// The jobs as a table that fits the view, one line each.
pub(super) fn jobs(jobs: &[JobSummary], view: &View) -> String {
    let layout = layout(jobs, view);

    let mut table = Table::new();
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    if view.style.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let shown = |column: Column, text: &str, width: usize| {
        let text = text::fit(text, width);
        let blanks = width.saturating_sub(text::columns(&text));
        match column.is_number() {
            true => " ".repeat(blanks) + &text,
            false => text,
        }
    };
    table.set_header(layout.iter().map(|(column, width)| {
        let heading = shown(*column, column.heading(), *width);
        Cell::new(heading).add_attribute(Attribute::Bold)
    }));
    for job in jobs {
        let row = layout.iter().map(|(column, width)| {
            let (text, tone) = column.cell(job, view, *width);
            let cell = Cell::new(shown(*column, &text, *width));
            match tone {
                Tone::Plain => cell,
                tone => cell.fg(tone.color()),
            }
        });
        table.add_row(row.collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    if let Some(last) = table.column_iter_mut().last() {
        last.set_padding((0, 0));
    }
    table.trim_fmt() + "\n"
}

/// The columns that fit, with the width of each.
fn layout(jobs: &[JobSummary], view: &View) -> Vec<(Column, usize)> {
    let width = view.width;
    let mut columns: Vec<(Column, usize)> = Column::ALL
        .into_iter()
        .filter_map(|column| {
            let widths = jobs.iter().map(|job| {
                let (text, _) = column.cell(job, view, LARGEST_CELL);
                text::columns(&text)
            });
            let widest = widths.max()?;
            // A column that says nothing of any job is left out.
            (widest > 0).then(|| (column, widest.max(column.heading().len())))
        })
        .collect();
    let needed = |columns: &[(Column, usize)], of: fn(Column, usize) -> usize| -> usize {
        let wide: usize = columns
            .iter()
            .map(|(column, wide)| of(*column, *wide))
            .sum();
        wide + GAP * columns.len().saturating_sub(1)
    };
    let least = |column: Column, wide: usize| match column.is_flexible() {
        true => wide.min(LEAST_FLEXIBLE),
        false => wide,
    };
    for dispensable in Column::DISPENSABLE {
        if needed(&columns, least) > width {
            columns.retain(|(column, _)| *column != dispensable);
        }
    }
    // What is too much is taken from the errors first, then from the steps, then from the ids.
    let mut excess = needed(&columns, |_, wide| wide).saturating_sub(width);
    for (column, floor) in [
        (Column::LastError, LEAST_FLEXIBLE),
        (Column::Steps, LEAST_FLEXIBLE),
        (Column::Id, UUID),
        (Column::Steps, 5),
        (Column::Id, 12),
    ] {
        if let Some((_, wide)) = columns.iter_mut().find(|(found, _)| *found == column) {
            let taken = wide.saturating_sub(floor).min(excess);
            *wide -= taken;
            excess -= taken;
        }
    }
    columns
}

#[cfg(test)]
mod tests;
