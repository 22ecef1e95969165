//! What happened to a job, in order: steps that changed, events, attempts to tell them.

use super::screen::View;
use super::style::Tone;
use super::{steps, text};
use crate::core::delivery::Trigger;
use crate::core::event::EventType;
use crate::core::time::UnixMillis;
use crate::store::{Attempt, JobDetail};

/// Most happenings that are listed: the latest.
const MOST: usize = 40;

/// Longest status or error that is shown, in characters.
const TEXT_CHARS: usize = 300;

/// Something that happened; what happened at one moment comes in the order of the parts.
struct Happening {
    at: UnixMillis,
    part: &'static str,
    what: String,
    tone: Tone,
}

/// The latest happenings; nothing when there were none.
pub(super) fn draw(detail: &JobDetail, view: &View) -> String {
    let mut all = happenings(detail);
    // Steps come before the events that tell of them, and these before the attempts: the sort keeps equals in order.
    all.sort_by_key(|happening| happening.at);
    if all.is_empty() {
        return String::new();
    }
    let hidden = all.len().saturating_sub(MOST);
    let mut out = format!("{}\n", view.paint(Tone::Strong, "History"));
    if hidden > 0 {
        let note = format!("  … {hidden} earlier; all of them with --json");
        out.push_str(&format!("{}\n", view.paint(Tone::Dim, &note)));
    }
    for happening in all.iter().skip(hidden) {
        let mut before = format!("{}  {:<7}", text::moment(happening.at), happening.part);
        let room = view.width.saturating_sub(text::columns(&before) + 4);
        for line in text::wrap(&happening.what, room) {
            out.push_str(&format!(
                "  {}  {}\n",
                view.paint(Tone::Dim, &before),
                view.paint(happening.tone, &line)
            ));
            before = " ".repeat(text::columns(&before));
        }
    }
    out
}

fn happenings(detail: &JobDetail) -> Vec<Happening> {
    let word = |said: &str| text::outside(said, TEXT_CHARS);
    let mut all: Vec<Happening> = detail
        .transitions
        .iter()
        .map(|transition| {
            let from = transition.from.as_deref();
            let from = from.map_or(String::new(), |from| format!("{} → ", word(from)));
            let (title, to) = (steps::title(&transition.title), word(&transition.to));
            Happening {
                at: transition.observed_at,
                part: "step",
                what: format!("{title}: {from}{to}"),
                tone: Tone::Plain,
            }
        })
        .collect();
    // That a step changed is said already.
    let events = detail.events.iter();
    let events = events.filter(|event| event.kind != EventType::StepChanged);
    all.extend(events.map(|event| Happening {
        at: event.created_at,
        part: "event",
        what: format!("#{} {}", event.sequence, event.kind),
        tone: Tone::Plain,
    }));
    all.extend(detail.attempts.iter().map(|each| attempt(each, detail)));
    all
}

fn attempt(attempt: &Attempt, detail: &JobDetail) -> Happening {
    let mut events = detail.events.iter();
    let event = events.find(|event| event.id == attempt.event_id);
    let event = event.map_or(String::new(), |event| {
        format!("#{} {}", event.sequence, event.kind)
    });
    let webhook = text::outside(attempt.webhook.as_str(), TEXT_CHARS);
    let took = text::brief(std::time::Duration::from_millis(attempt.duration_ms));
    let (said, tone) = match (&attempt.error, attempt.status) {
        (Some(error), _) => (text::outside(error, TEXT_CHARS), Tone::Warn),
        (None, Some(status)) => (status.to_string(), Tone::Good),
        (None, None) => ("no answer".to_owned(), Tone::Warn),
    };
    let number = attempt.number;
    let why = match attempt.trigger {
        Trigger::Schedule => String::new(),
        other => format!(", {}", other.as_str()),
    };
    Happening {
        at: attempt.started_at,
        part: "attempt",
        what: format!("{event} to {webhook}, number {number}{why}: {said}, {took}"),
        tone,
    }
}
