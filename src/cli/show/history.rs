//! What happened to a job, in order: steps that changed, events, attempts to send them.

use std::time::Duration;

use crate::cli::screen::{Tone, View, facts};
use crate::cli::{steps, text};
use crate::core::event::EventType;
use crate::core::time::UnixMillis;
use crate::store::{Attempt, JobDetail};

/// Most entries that are listed: the latest.
const MOST: usize = 40;

/// Columns of a time and a part of the history.
const NAME_WIDTH: usize = 31;

/// An entry: time, part of the history, what happened, and its tone.
type Entry = (UnixMillis, &'static str, String, Tone);

/// The latest entries; empty when there are none.
pub(super) fn draw(detail: &JobDetail, view: &View) -> String {
    let mut all = entries(detail);
    // Steps come before the events that report them, and these before the attempts: the sort is stable.
    all.sort_by_key(|(at, ..)| *at);
    if all.is_empty() {
        return String::new();
    }
    let mut out = format!("{}\n", view.paint(Tone::Strong, "History"));
    let hidden = all.len().saturating_sub(MOST);
    if hidden > 0 {
        let note = format!("  … {hidden} earlier; all of them with --json");
        out.push_str(&format!("{}\n", view.dim(&note)));
    }
    let shown = all.into_iter().skip(hidden);
    let shown =
        shown.map(|(at, part, what, tone)| (format!("{}  {part}", text::moment(at)), what, tone));
    out + &facts(&shown.collect::<Vec<_>>(), "  ", NAME_WIDTH, view)
}

fn entries(detail: &JobDetail) -> Vec<Entry> {
    let transitions = detail.transitions.iter().map(|each| {
        let what = steps::transition(&each.title, each.from.as_deref(), &each.to);
        (each.observed_at, "step", what, Tone::Plain)
    });
    // The transition says already that a step changed.
    let events = detail.events.iter();
    let events = events.filter(|event| event.kind != EventType::StepChanged);
    let events = events.map(|event| {
        let what = format!("#{} {}", event.sequence, event.kind);
        (event.created_at, "event", what, Tone::Plain)
    });
    let attempts = detail.attempts.iter().map(|each| attempt(each, detail));
    transitions.chain(events).chain(attempts).collect()
}

fn attempt(attempt: &Attempt, detail: &JobDetail) -> Entry {
    let mut events = detail.events.iter();
    let event = events.find(|event| event.id == attempt.event_id);
    let event = event.map_or(String::new(), |event| {
        format!("#{} {}", event.sequence, event.kind)
    });
    let webhook = text::error(attempt.webhook.as_str());
    let took = text::brief(Duration::from_millis(attempt.duration_ms));
    let (outcome, tone) = match (&attempt.error, attempt.status) {
        (Some(error), _) => (text::error(error), Tone::Warn),
        (None, Some(status)) => (status.to_string(), Tone::Good),
        (None, None) => ("no answer".to_owned(), Tone::Warn),
    };
    let number = attempt.number;
    let why = match attempt.trigger.as_str() {
        "schedule" => String::new(),
        other => format!(", {}", text::error(other)),
    };
    let what = format!("{event} to {webhook}, number {number}{why}: {outcome}, {took}");
    (attempt.started_at, "attempt", what, tone)
}
