//! The steps of a job from top to bottom, each with how long it took and when.

use crate::cli::challenge;
use crate::cli::screen::{Fact, Tone, View, facts};
use crate::cli::steps::{self, StepState};
use crate::cli::table::{self, Cell, Columns, plain};
use crate::cli::text;
use crate::core::job::{Failure, FailureKind};
use crate::core::time::UnixMillis;
use crate::store::{JobDetail, StepRow};
use crate::words::spans::{Histories, Span};

/// Columns before a step's title.
const MARGIN: usize = 4;

/// Columns of a duration.
const DURATION_WIDTH: usize = 9;

/// Columns of the widest bar, and of the narrowest that is drawn.
const LARGEST_BAR: usize = 36;
const SMALLEST_BAR: usize = 8;

/// Columns of the longest title and status that are shown whole, and of a title that is cut.
const LARGEST_TITLE: usize = 40;
const LARGEST_STATUS: usize = 16;
const SMALLEST_TITLE: usize = 12;

/// Columns of the names before a step's facts.
const NAME_WIDTH: usize = 11;

/// Above this many steps the lines between them are left out.
const MOST_SPACED_STEPS: usize = 12;

const TITLE: usize = 0;
const STATUS: usize = 1;
const TOOK: usize = 2;
const BAR: usize = 3;

const COLUMNS: Columns<'_> = Columns {
    headings: &["", "", "", ""],
    yields: &[(BAR, SMALLEST_BAR), (TITLE, SMALLEST_TITLE), (BAR, 0)],
    ..Columns::PLAIN
};

/// One line of the timeline.
struct Line<'a> {
    step: &'a StepRow,
    state: StepState,
    title: String,
    status: String,
    span: Option<Span>,
}

/// The steps as a timeline, with the open challenge, the queue and the failure where they belong.
pub(super) fn draw(detail: &JobDetail, view: &View) -> String {
    let job = &detail.summary;
    let histories = Histories::of(detail, view.now);
    let steps = job.steps.iter().map(|step| Line {
        step,
        state: StepState::of(step, job.row.state),
        title: steps::title(&step.title),
        status: steps::status(step),
        span: histories.span(step),
    });
    let lines: Vec<Line<'_>> = steps.collect();
    let spans = || lines.iter().filter_map(|line| line.span);
    let start = spans().map(|span| span.start).min();
    let end = spans().map(|span| span.end).max();
    let all = start.zip(end).unwrap_or((view.now, view.now));
    let inside = View {
        width: view.width.saturating_sub(MARGIN),
        ..*view
    };
    let cell = |line: &Line<'_>, column, width| cell(line, column, width, all);
    let table = table::draw(&COLUMNS, &lines, cell, &inside);
    let spaced = lines.len() <= MOST_SPACED_STEPS;
    // The failure is shown below its step, or below all.
    let is_step = |failure: &&Failure| failure.kind == FailureKind::Step;
    let failed = job.failure.as_ref().filter(is_step).and_then(|failure| {
        let is_it = |line: &Line<'_>| {
            line.state == StepState::Failed && Some(&line.step.title) == failure.step.as_ref()
        };
        Some((lines.iter().position(is_it)?, failure))
    });
    let mut out = heading(detail, view);
    for (index, (line, row)) in lines.iter().zip(table.lines().skip(1)).enumerate() {
        let is_last = index + 1 == lines.len() && (failed.is_some() || job.failure.is_none());
        let rail = if is_last { " " } else { "│" };
        let (symbol, tone) = line.state.mark();
        out.push_str(&format!("  {} {row}\n", view.paint(tone, symbol)));
        let mut below = match line.state {
            StepState::NeedsAnswer => challenge::facts(line.step, view),
            StepState::Queued => queued(line.step),
            _ => Vec::new(),
        };
        if let Some((_, failure)) = failed.filter(|(failed, _)| *failed == index) {
            below.extend(failure_facts(failure));
        }
        out.push_str(&facts(&below, &format!("  {rail}   "), NAME_WIDTH, view));
        if spaced && !is_last {
            out.push_str(&format!("  {}\n", view.dim(rail)));
        }
    }
    if let Some(failure) = job.failure.as_ref().filter(|_| failed.is_none()) {
        let end = view.paint(Tone::Bad, failure.kind.as_str());
        out.push_str(&format!("  {}\n", view.marked(Tone::Bad, "✗", &end)));
        out.push_str(&facts(&failure_facts(failure), "      ", NAME_WIDTH, view));
    }
    out
}

fn heading(detail: &JobDetail, view: &View) -> String {
    let (done, all) = steps::done_of(&detail.summary);
    let note = match (all, detail.resource.is_some()) {
        (0, false) => "not seen yet".to_owned(),
        (0, true) => "the API lists none".to_owned(),
        _ => format!("{done} of {all} done"),
    };
    let (steps, note) = (view.paint(Tone::Strong, "Steps"), view.dim(&note));
    format!("{steps}  {note}\n")
}

fn cell(line: &Line<'_>, column: usize, width: usize, all: (UnixMillis, UnixMillis)) -> Cell {
    let (_, tone) = line.state.mark();
    match (column, line.span) {
        (TITLE, _) => {
            let tone = if tone == Tone::Dim { tone } else { Tone::Plain };
            (text::fit(&line.title, LARGEST_TITLE), tone)
        }
        (STATUS, _) => (text::fit(&line.status, LARGEST_STATUS), tone),
        (TOOK, Some(span)) => {
            let most = if span.at_most { "≤ " } else { "" };
            let took = format!("{most}{}", text::brief(span.end.since(span.start)));
            plain(format!("{took:>DURATION_WIDTH$}"))
        }
        (_, Some(span)) => (bar(span, all, width.min(LARGEST_BAR)), tone),
        (_, None) => plain(""),
    }
}

/// A span as a part of the time between `start` and `end`, in at most `width` columns.
fn bar(span: Span, (start, end): (UnixMillis, UnixMillis), width: usize) -> String {
    let total = end.since(start).as_secs_f64();
    if width == 0 || total == 0.0 {
        return String::new();
    }
    let cells = |at: UnixMillis| {
        let part = at.since(start).as_secs_f64() / total * width as f64;
        part.round() as usize
    };
    let before = cells(span.start).min(width - 1);
    let until = cells(span.end).min(width);
    " ".repeat(before) + &"━".repeat(until.saturating_sub(before).max(1))
}

fn queued(step: &StepRow) -> Vec<Fact> {
    let why = "by the API, which tries again by itself; polls are rare meanwhile".to_owned();
    let mut facts = vec![("queued", why, Tone::Warn)];
    if let Some(error) = &step.error {
        let parts = [&error.title, &error.detail].into_iter();
        let parts = parts.filter_map(|part| text::raw(part.raw()));
        facts.extend(parts.map(|part| ("", part, Tone::Plain)));
    }
    facts
}

fn failure_facts(failure: &Failure) -> Vec<Fact> {
    let kind = (failure.kind == FailureKind::Step).then(|| failure.kind.as_str().to_owned());
    let facts = [
        ("kind", kind),
        ("code", text::raw(failure.code.raw())),
        ("title", text::raw(failure.title.raw())),
        ("detail", text::raw(failure.detail.raw())),
    ];
    let facts = facts.into_iter();
    facts
        .filter_map(|(name, fact)| Some((name, fact?, Tone::Plain)))
        .collect()
}

#[cfg(test)]
mod tests;
