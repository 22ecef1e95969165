//! The steps of a job from top to bottom, each with how long it took and when.

use std::time::Duration;

use super::challenge;
use super::screen::View;
use super::steps::{self, StepState};
use super::style::Tone;
use super::text;
use crate::core::job::{Failure, FailureKind};
use crate::core::resource::{StepStatus, error_of};
use crate::core::time::UnixMillis;
use crate::core::transition::MISSING;
use crate::store::{JobDetail, StepView, TransitionView};

/// Columns before a step's title.
const MARGIN: usize = 4;

/// Columns of a duration.
const DURATION_WIDTH: usize = 9;

/// Columns of the widest bar.
const LARGEST_BAR: usize = 36;

/// Columns of the narrowest bar that is worth drawing.
const SMALLEST_BAR: usize = 8;

/// Columns of the longest title and status that are shown whole.
const LARGEST_TITLE: usize = 40;
const LARGEST_STATUS: usize = 16;

/// Columns of the names before a step's facts.
const NAME_WIDTH: usize = 11;

/// Above this many steps the lines between them are left out.
const MOST_SPACED_STEPS: usize = 12;

/// When a step was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: UnixMillis,
    end: UnixMillis,
    /// Nobody saw the step start: it took this long or less.
    at_most: bool,
}

impl Span {
    fn duration(self) -> Duration {
        self.end.since(self.start)
    }
}

/// One line of the timeline.
struct Line<'a> {
    step: &'a StepView,
    standing: StepState,
    title: String,
    status: String,
    span: Option<Span>,
}

/// The steps as a timeline, with the open challenge, the queue and the failure where they belong.
pub(super) fn draw(detail: &JobDetail, view: &View) -> String {
    let job = &detail.summary;
    let lines: Vec<Line<'_>> = job
        .steps
        .iter()
        .map(|step| Line {
            step,
            standing: StepState::of(step, job.row.state),
            title: steps::title(&step.title),
            status: steps::status(step),
            span: span(step, detail, view.now),
        })
        .collect();
    let mut out = heading(detail, view);
    let shape = Shape::of(&lines, view);
    let spaced = lines.len() <= MOST_SPACED_STEPS;
    let failed = job
        .failure
        .as_ref()
        .filter(|failure| failure.kind == FailureKind::Step)
        .and_then(|failure| {
            lines.iter().position(|line| {
                line.standing == StepState::Failed
                    && Some(&line.step.title) == failure.step.as_ref()
            })
        });
    for (index, line) in lines.iter().enumerate() {
        let is_last = index + 1 == lines.len() && (failed.is_some() || job.failure.is_none());
        let rail = if is_last { " " } else { "│" };
        out.push_str(&shape.line(line, view));
        let mut facts = match line.standing {
            StepState::NeedsAnswer => challenge::facts(line.step, view),
            StepState::Queued => queued(line.step),
            _ => Vec::new(),
        };
        if let Some(failure) = job.failure.as_ref().filter(|_| failed == Some(index)) {
            facts.extend(failure_facts(failure));
        }
        push_facts(&mut out, &facts, rail, view);
        if spaced && !is_last {
            out.push_str(&format!("  {}\n", view.paint(Tone::Dim, rail)));
        }
    }
    if let Some(failure) = job.failure.as_ref().filter(|_| failed.is_none()) {
        let end = failure.kind.as_str();
        out.push_str(&format!(
            "  {} {}\n",
            view.paint(Tone::Bad, "✗"),
            view.paint(Tone::Bad, end)
        ));
        push_facts(&mut out, &failure_facts(failure), " ", view);
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
    format!(
        "{}  {}\n",
        view.paint(Tone::Strong, "Steps"),
        view.paint(Tone::Dim, &note)
    )
}

/// What is common to the lines of a timeline.
struct Shape {
    title: usize,
    status: usize,
    bar: usize,
    start: UnixMillis,
    total: Duration,
}

impl Shape {
    fn of(lines: &[Line<'_>], view: &View) -> Self {
        let statuses = lines.iter().map(|line| text::columns(&line.status));
        let status = statuses.max().unwrap_or_default().min(LARGEST_STATUS);
        let titles = lines.iter().map(|line| text::columns(&line.title));
        let title = titles.max().unwrap_or_default().min(LARGEST_TITLE);
        let fixed = MARGIN + 2 + status + 2 + DURATION_WIDTH;
        let room = view.width.saturating_sub(fixed + 2 + SMALLEST_BAR).max(12);
        let title = title.min(room);
        let bar = view.width.saturating_sub(fixed + title + 2);
        let spans = || lines.iter().filter_map(|line| line.span);
        let start = spans().map(|span| span.start).min();
        let end = spans().map(|span| span.end).max();
        let start = start.unwrap_or(view.now);
        Self {
            title,
            status,
            bar: if bar < SMALLEST_BAR {
                0
            } else {
                bar.min(LARGEST_BAR)
            },
            start,
            total: end.unwrap_or(start).since(start),
        }
    }

    fn line(&self, line: &Line<'_>, view: &View) -> String {
        let tone = line.standing.tone();
        let quiet = matches!(tone, Tone::Dim);
        let title = text::pad(&line.title, self.title);
        let took = line.span.map_or(String::new(), |span| {
            let most = if span.at_most { "≤ " } else { "" };
            format!("{most}{}", text::brief(span.duration()))
        });
        let blanks = " ".repeat(DURATION_WIDTH.saturating_sub(text::columns(&took)));
        let (before, bar) = line.span.map_or((0, 0), |span| self.bar(span));
        let mut out = format!(
            "  {} {}  ",
            view.paint(tone, line.standing.symbol()),
            view.paint(if quiet { Tone::Dim } else { Tone::Plain }, &title),
        );
        if took.is_empty() {
            out.push_str(&view.paint(tone, &text::fit(&line.status, self.status)));
        } else {
            let status = text::pad(&line.status, self.status);
            out.push_str(&view.paint(tone, &status));
            out.push_str(&format!("  {blanks}{took}"));
        }
        if bar > 0 {
            out.push_str(&" ".repeat(before + 2));
            out.push_str(&view.paint(tone, &"━".repeat(bar)));
        }
        out + "\n"
    }

    /// Blanks before the bar of a span, and its length; together at most the bar's width.
    fn bar(&self, span: Span) -> (usize, usize) {
        if self.bar == 0 || self.total.is_zero() {
            return (0, 0);
        }
        let cells = |duration: Duration| {
            let part = duration.as_secs_f64() / self.total.as_secs_f64() * self.bar as f64;
            part.round() as usize
        };
        let before = cells(span.start.since(self.start)).min(self.bar - 1);
        let until = cells(span.end.since(self.start)).min(self.bar);
        (before, until.saturating_sub(before).max(1))
    }
}

/// When a step was worked on, as far as it was seen; nothing for one that waits, was skipped, or was done at first sight.
fn span(step: &StepView, detail: &JobDetail, now: UnixMillis) -> Option<Span> {
    let job = &detail.summary;
    let standing = StepState::of(step, job.row.state);
    let open_end = job.finished_at.unwrap_or(now);
    let spanned = |start: UnixMillis, end: UnixMillis, at_most| {
        Some(Span {
            start,
            end: end.max(start),
            at_most,
        })
    };
    let seen = history(step, detail);
    let began = seen
        .iter()
        .find(|transition| !is_idle(&transition.to) && !is_over(&transition.to));
    let ended = seen.iter().rev().find(|transition| {
        is_over(&transition.to) && transition.from.as_deref().is_none_or(|from| !is_over(from))
    });
    match standing {
        StepState::Queued => spanned(step.updated_at, open_end, false),
        StepState::Running | StepState::NeedsAnswer | StepState::Unknown => {
            let start = began.map_or(step.first_seen_at, |began| began.observed_at);
            spanned(start, open_end, false)
        }
        StepState::Done | StepState::Failed => {
            let ended = ended?;
            match began {
                Some(began) => spanned(began.observed_at, ended.observed_at, false),
                // At first sight it was over: how long it took is not known.
                None if ended.from.is_none() => None,
                None => spanned(step.first_seen_at, ended.observed_at, true),
            }
        }
        StepState::Skipped | StepState::Waiting | StepState::Missing => None,
    }
}

/// The transitions of one step. A transition does not say which of several steps of one title it belongs to; then the
/// position tells them apart.
fn history<'a>(step: &StepView, detail: &'a JobDetail) -> Vec<&'a TransitionView> {
    let steps = &detail.summary.steps;
    let is_alone = steps
        .iter()
        .filter(|other| other.title == step.title)
        .count()
        == 1;
    detail
        .transitions
        .iter()
        .filter(|transition| {
            transition.title == step.title && (is_alone || transition.position == step.position)
        })
        .collect()
}

fn is_idle(status: &str) -> bool {
    status == MISSING || StepStatus::from_word(status) == StepStatus::Pending
}

fn is_over(status: &str) -> bool {
    let status = StepStatus::from_word(status);
    status.is_done() || status == StepStatus::Failed
}

type Fact = (&'static str, String, Tone);

fn queued(step: &StepView) -> Vec<Fact> {
    let mut facts = vec![(
        "queued",
        "by the API, which tries again by itself; polls are rare meanwhile".to_owned(),
        Tone::Warn,
    )];
    if let Some(error) = error_of(step.result.as_deref()) {
        for part in [&error.title, &error.detail]
            .into_iter()
            .filter_map(|part| text::raw(part.raw()))
        {
            facts.push(("", part, Tone::Plain));
        }
    }
    facts
}

fn failure_facts(failure: &Failure) -> Vec<Fact> {
    let mut facts = Vec::new();
    if failure.kind == FailureKind::Step {
        facts.push(("kind", failure.kind.as_str().to_owned(), Tone::Plain));
    }
    for (name, part) in [
        ("code", &failure.code),
        ("title", &failure.title),
        ("detail", &failure.detail),
    ] {
        facts.extend(text::raw(part.raw()).map(|said| (name, said, Tone::Plain)));
    }
    facts
}

fn push_facts(out: &mut String, facts: &[Fact], rail: &str, view: &View) {
    let room = view.width.saturating_sub(MARGIN + 2 + NAME_WIDTH);
    for (name, fact, tone) in facts {
        let mut name = text::pad(name, NAME_WIDTH);
        for line in text::wrap(fact, room) {
            let line = format!(
                "  {}   {}{}",
                view.paint(Tone::Dim, rail),
                view.paint(Tone::Dim, &name),
                view.paint(*tone, &line)
            );
            out.push_str(line.trim_end());
            out.push('\n');
            name = " ".repeat(NAME_WIDTH);
        }
    }
}

#[cfg(test)]
mod tests;
