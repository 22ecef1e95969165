//! What happened to a job, in order, as text: steps that changed, events, attempts with what was answered.

use std::collections::HashMap;

use maud::{Markup, html};

use super::marks::{at, took, webhook_link};
use crate::core::event::EventType;
use crate::core::time::UnixMillis;
use crate::store::{Attempt, EventRow, JobDetail};
use crate::words::{Tone, outside, steps};

/// Most entries that are listed: the latest.
const MOST: usize = 200;

pub(super) fn list(detail: &JobDetail) -> Markup {
    let mut all = entries(detail);
    // Steps come before the events that report them, and these before the attempts: the sort is stable.
    all.sort_by_key(|(at, ..)| *at);
    let hidden = all.len().saturating_sub(MOST);
    let id = &detail.summary.row.id;
    html! { @if !all.is_empty() {
        section aria-labelledby="h-history" {
            h2 #h-history { "History" }
            @if hidden > 0 { p.dim { (hidden) " earlier; all of them: " a href={ "/jobs/" (id) "/timeline" } { "JSON" } } }
            div.scroll { table.cards {
                thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "Details" } } }
                tbody { @for (when, part, what, tone) in all.into_iter().skip(hidden) {
                    tr { td data-label="When" { (at(when)) } td data-label="What" { (part) }
                        td data-label="Details" data-tone=(super::marks::word(tone)) { (what) } }
                } }
            } }
        }
    } }
}

type Entry = (UnixMillis, &'static str, Markup, Tone);

fn entries(detail: &JobDetail) -> Vec<Entry> {
    let transitions = detail.transitions.iter().map(|each| {
        let what = steps::transition(&each.title, each.from.as_deref(), &each.to);
        (each.observed_at, "step", html! { (what) }, Tone::Plain)
    });
    let events = detail.events.iter();
    let events = events.filter(|event| event.kind != EventType::StepChanged);
    let events = events.map(|event| {
        let what = html! { "#" (event.sequence) " " (event.kind) " " code.dim { (event.id) } };
        (event.created_at, "event", what, Tone::Plain)
    });
    let known: HashMap<&str, &EventRow> = detail
        .events
        .iter()
        .map(|event| (event.id.as_str(), event))
        .collect();
    let attempts = detail.attempts.iter();
    let attempts = attempts.map(|each| attempt(each, known.get(each.event_id.as_str()).copied()));
    transitions.chain(events).chain(attempts).collect()
}

fn attempt(attempt: &Attempt, event: Option<&EventRow>) -> Entry {
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
    (attempt.started_at, "attempt", what, tone)
}
