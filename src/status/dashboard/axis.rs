//! One axis of time for all that happened to a job: a lane for each step, and lanes for polls, events and attempts. Geometry
//! stands in attributes; names, numbers and words are text beside it.

use std::collections::BTreeMap;
use std::ops::Range;

use maud::{Markup, html};

use super::marks::{View, step_state, took};
use super::usual::Read;
use crate::core::event::EventType;
use crate::core::time::{UnixMillis, millis};
use crate::store::{Attempt, EventRow, JobDetail, JobSummary, TransitionRow};
use crate::telemetry::PollTick;
use crate::words::spans::{Histories, Span};
use crate::words::steps::{self, StepState};
use crate::words::{Tone, moment, outside};

/// Units of the axis.
const WIDTH: u64 = 1000;

/// Most marks of a lane; further ones would lie on each other.
const MARKS: usize = 400;

/// Most steps that have a lane: those around the present one.
const LANES: usize = 200;

/// From when to when.
#[derive(Clone, Copy)]
struct Axis {
    start: UnixMillis,
    total: u64,
}

/// Something that happened at one moment: when, of which tone, and what it was.
type Mark = (UnixMillis, Tone, String);

impl Axis {
    fn x(self, at: UnixMillis) -> u64 {
        (millis(at.since(self.start)).min(self.total)) * WIDTH / self.total
    }
}

/// The lanes of a job.
pub(super) fn draw(detail: &JobDetail, polls: &[PollTick], usual: &Read, view: &View) -> Markup {
    let job = &detail.summary;
    let start = job.row.created_at;
    let last = detail.attempts.last().map(|each| each.started_at);
    let end = job
        .finished_at
        .unwrap_or(view.now)
        .max(last.unwrap_or(start));
    let axis = Axis {
        start,
        total: millis(end.since(start)).max(1),
    };
    let histories = Histories::of(detail, view.now);
    let drawn = drawn(job);
    html! {
        section aria-labelledby="h-axis" {
            h2 #h-axis { "Timeline" }
            @if drawn.len() < job.steps.len() { p.dim {
                "Steps " (drawn.start + 1) " to " (drawn.end) " of " (job.steps.len()) "; all of them: " a href={ "/dashboard/jobs/" (job.row.id) "/json" } { "JSON" } } }
            ol.lanes {
                @for step in job.steps.get(drawn).unwrap_or_default() {
                    @let state = StepState::of(step, job.row.state);
                    @let lasted = histories.span(step);
                    li.lane data-step=(step.title) {
                        span.name { (steps::title(&step.title)) }
                        span.state { (step_state(state, &steps::status(step))) }
                        span.took { (lasting(lasted, state, view)) @if state_is_open(state) { (usually(usual, &step.title)) } }
                        (lane(&steps::title(&step.title), &html! { @if let Some(lasted) = lasted { (bar(axis, lasted, state)) } (ticks(axis, histories.seen(step), of_transition)) }))
                    }
                }
                (marks_lane("polls", &count("poll", job.row.progress.polls, polls.len()), axis, polls, of_poll))
                (marks_lane("events", &crate::words::count(detail.events.len() as u64, "event"), axis, &detail.events, of_event))
                @for (webhook, attempts) in attempts(detail) {
                    (marks_lane(&format!("to {}", outside(webhook, 40)), &crate::words::count(attempts.len() as u64, "attempt"), axis, &attempts, |each| of_attempt(each)))
                }
            }
            p.range { span { (view.clock(start)) } span { (took(axis.total)) } span { @if job.finished_at.is_some() { (view.clock(end)) } @else { "now" } } }
        }
    }
}

fn state_is_open(state: StepState) -> bool {
    matches!(
        state,
        StepState::Running | StepState::NeedsAnswer | StepState::Queued | StepState::Unknown
    )
}

fn lasting(lasted: Option<Span>, state: StepState, view: &View) -> Markup {
    html! { @if let Some(lasted) = lasted {
        @if lasted.at_most { "≤ " }
        @if state_is_open(state) && lasted.end == view.now { (view.lasting(lasted.start)) }
        @else { (took(millis(lasted.end.since(lasted.start)))) }
    } }
}

fn usually(usual: &Read, title: &str) -> Markup {
    html! { @if let Some((median, most)) = usual.of_step(title) {
        span.dim { ", usually " (took(median)) ", 90 % within " (took(most)) }
    } }
}

fn lane(name: &str, content: &Markup) -> Markup {
    html! {
        svg.axis viewBox={ "0 0 " (WIDTH) " 20" } preserveAspectRatio="none" role="img" aria-label={ (name) " in time" } {
            line.base x1="0" x2=(WIDTH) y1="19" y2="19" {}
            (content)
        }
    }
}

fn bar(axis: Axis, lasted: Span, state: StepState) -> Markup {
    let (from, to) = (axis.x(lasted.start), axis.x(lasted.end));
    let (_, tone) = state.mark();
    html! { rect.bar data-tone=(super::marks::word(tone)) x=(from.min(WIDTH - 3)) y="5" width=(to.saturating_sub(from).max(3)) height="10" {} }
}

/// The latest marks of a lane.
fn ticks<T>(axis: Axis, all: &[T], mark: impl Fn(&T) -> Mark) -> Markup {
    let shown = all.get(all.len().saturating_sub(MARKS)..);
    html! { @for each in shown.unwrap_or_default() { (tick(axis, &mark(each))) } }
}

fn tick(axis: Axis, (at, tone, what): &Mark) -> Markup {
    let x = axis.x(*at).min(WIDTH - 1);
    html! { line.tick data-tone=(super::marks::word(*tone)) x1=(x) x2=(x) y1="2" y2="18" { title { (moment(*at)) " " (what) } } }
}

fn marks_lane<T>(
    name: &str,
    note: &str,
    axis: Axis,
    all: &[T],
    mark: impl Fn(&T) -> Mark,
) -> Markup {
    html! { li.lane data-lane=(name) {
        span.name { (name) }
        span.state {}
        span.took.dim { (note) }
        (lane(name, &ticks(axis, all, mark)))
    } }
}

fn of_transition(transition: &&TransitionRow) -> Mark {
    let what = steps::transition(
        &transition.title,
        transition.from.as_deref(),
        &transition.to,
    );
    (transition.observed_at, Tone::Strong, what)
}

fn of_event(event: &EventRow) -> Mark {
    let what = format!("#{} {}", event.sequence, event.kind);
    (event.created_at, tone_of(event.kind), what)
}

fn of_poll(poll: &PollTick) -> Mark {
    let tone = if poll.is_good() {
        Tone::Dim
    } else {
        Tone::Warn
    };
    (poll.at, tone, poll.words())
}

fn of_attempt(attempt: &Attempt) -> Mark {
    let tone = match attempt.error {
        Some(_) => Tone::Bad,
        None => Tone::Good,
    };
    let status = attempt
        .status
        .map_or("no answer".to_owned(), |status| status.to_string());
    (
        attempt.started_at,
        tone,
        format!("number {}: {status}", attempt.number),
    )
}

fn tone_of(kind: EventType) -> Tone {
    match kind {
        EventType::Completed => Tone::Good,
        EventType::Failed => Tone::Bad,
        EventType::ActionRequired | EventType::Delayed => Tone::Warn,
        _ => Tone::Dim,
    }
}

/// Which steps are drawn, by their index.
fn drawn(job: &JobSummary) -> Range<usize> {
    let all = job.steps.len();
    let present = steps::current(job).map_or(0, |(step, _)| {
        let mut steps = job.steps.iter();
        steps.position(|each| std::ptr::eq(each, step)).unwrap_or(0)
    });
    let start = present
        .saturating_sub(LANES / 2)
        .min(all.saturating_sub(LANES));
    start..(start + LANES).min(all)
}

/// The attempts by webhook, for each that gets its events, from the first event on.
fn attempts(detail: &JobDetail) -> BTreeMap<&str, Vec<&Attempt>> {
    let deliveries = detail.deliveries.iter();
    let mut all: BTreeMap<_, _> = deliveries
        .map(|each| (each.webhook.as_str(), Vec::new()))
        .collect();
    for attempt in &detail.attempts {
        let of = all.entry(attempt.webhook.as_str()).or_default();
        of.push(attempt);
    }
    all
}

fn count(noun: &str, all: u64, shown: usize) -> String {
    let all_text = crate::words::count(all, noun);
    match u64::try_from(shown) {
        Ok(shown) if shown < all => format!("{all_text}, the latest {shown} drawn"),
        _ => all_text,
    }
}
