//! What happened to a job, in order, as text: steps that changed, events, attempts with what was answered.

use std::collections::HashMap;

use maud::{Markup, html};

use super::marks::{at, took, webhook_link};
use crate::core::event::EventType;
use crate::core::time::UnixMillis;
use crate::store::{Attempt, EventRow, JobDetail, TransitionRow};
use crate::telemetry::PollTick;
use crate::words::{Tone, outside, steps};

/// Most entries that are listed: the latest.
const MOST: usize = 200;

/// Something that happened.
enum Entry<'a> {
    Step(&'a TransitionRow),
    Event(&'a EventRow),
    Attempt(&'a Attempt),
    /// One of the last hour that brought no answer.
    Poll(&'a PollTick),
}

impl Entry<'_> {
    fn at(&self) -> UnixMillis {
        match self {
            Self::Step(transition) => transition.observed_at,
            Self::Event(event) => event.created_at,
            Self::Attempt(attempt) => attempt.started_at,
            Self::Poll(poll) => poll.at,
        }
    }
}

pub(super) fn list(detail: &JobDetail, polls: &[PollTick]) -> Markup {
    let mut all = entries(detail, polls);
    // Steps come before the events that report them, and these before the attempts: the sort is stable.
    all.sort_by_key(Entry::at);
    let hidden = all.len().saturating_sub(MOST);
    let events = detail.events.iter();
    let events: HashMap<&str, &EventRow> = events.map(|each| (each.id.as_str(), each)).collect();
    let id = &detail.summary.row.id;
    html! { @if !all.is_empty() {
        section aria-labelledby="h-history" {
            h2 #h-history { "History" }
            @if hidden > 0 { p.dim { (hidden) " earlier; all of them: " a href={ "/dashboard/jobs/" (id) "/timeline" } { "JSON" } } }
            div.scroll { table.cards {
                thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Details" } } }
                tbody { @for entry in all.iter().skip(hidden) {
                    @let (part, what, tone) = text(entry, &events);
                    tr { td data-label="When" { (at(entry.at())) } td data-label="What" { (part) }
                        td data-label="Details" data-tone=(super::marks::word(tone)) { (what) } }
                } }
            } }
        }
    } }
}

fn entries<'a>(detail: &'a JobDetail, polls: &'a [PollTick]) -> Vec<Entry<'a>> {
    let polls = polls.iter().filter(|poll| !poll.is_good());
    let transitions = detail.transitions.iter().map(Entry::Step);
    let events = detail.events.iter();
    let events = events.filter(|event| event.kind != EventType::StepChanged);
    let attempts = detail.attempts.iter().map(Entry::Attempt);
    transitions
        .chain(events.map(Entry::Event))
        .chain(attempts)
        .chain(polls.map(Entry::Poll))
        .collect()
}

fn text(entry: &Entry<'_>, events: &HashMap<&str, &EventRow>) -> (&'static str, Markup, Tone) {
    match entry {
        Entry::Step(each) => {
            let what = steps::transition(&each.title, each.from.as_deref(), &each.to);
            ("step", html! { (what) }, Tone::Plain)
        }
        Entry::Event(event) => {
            let what = html! { "#" (event.sequence) " " (event.kind) " " code.dim { (event.id) } };
            ("event", what, Tone::Plain)
        }
        Entry::Attempt(each) => {
            let (what, tone) = attempt(each, events.get(each.event_id.as_str()).copied());
            ("attempt", what, tone)
        }
        Entry::Poll(poll) => ("poll", html! { (poll.words()) }, Tone::Warn),
    }
}

fn attempt(attempt: &Attempt, event: Option<&EventRow>) -> (Markup, Tone) {
    let (answer, tone) = match (&attempt.error, attempt.status) {
        (Some(error), _) => (outside(error, 300), Tone::Warn),
        (None, Some(status)) => (status.to_string(), Tone::Plain),
        (None, None) => ("no answer".to_owned(), Tone::Warn),
    };
    let why = match attempt.trigger.as_str() {
        "schedule" => String::new(),
        other => format!(", {other}"),
    };
    let what = html! {
        @if let Some(event) = event { "#" (event.sequence) " " (event.kind) " " }
        "to " (webhook_link(attempt.webhook.as_str())) ", number " (attempt.number) (why) ": " (answer) ", " (took(attempt.duration_ms))
    };
    (what, tone)
}
