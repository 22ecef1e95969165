//! Small pieces of pages: states as a shape with a word, times, links.

use std::time::Duration;

use maud::{Markup, html};

use crate::core::delivery::DeliveryState;
use crate::core::job::{JobId, JobState};
use crate::core::time::UnixMillis;
use crate::record::webhook::HealthWord;
use crate::status::access::Operator;
use crate::words::steps::{self, StepState};
use crate::words::{Tone, ago, brief, moment};

/// For whom, and for which moment, a page is written.
#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) now: UnixMillis,
    pub(super) operator: Operator,
}

impl View {
    /// Whether forms that change something are shown.
    pub(super) fn may_act(&self) -> bool {
        self.operator.may_act
    }

    /// The time of day to the second.
    pub(super) fn clock(&self, at: UnixMillis) -> Markup {
        let text = moment(at);
        html! { time datetime=(at.rfc3339()) { (text.get(11..).unwrap_or(&text)) } }
    }

    /// How long ago something was.
    pub(super) fn ago(&self, at: UnixMillis) -> Markup {
        let text = ago(self.now.since(at));
        html! { time datetime=(at.rfc3339()) title=(moment(at)) data-relative { (text) } }
    }

    /// In how much time something is due; `past` once it is.
    pub(super) fn ahead(&self, at: UnixMillis, past: &str) -> Markup {
        let text = match at > self.now {
            true if at.since(self.now) < Duration::from_secs(1) => "now".to_owned(),
            true => format!("in {}", brief(at.since(self.now))),
            false => past.to_owned(),
        };
        html! { time datetime=(at.rfc3339()) title=(moment(at)) data-relative=(past) { (text) } }
    }

    /// How long something has lasted.
    pub(super) fn lasting(&self, since: UnixMillis) -> Markup {
        let text = brief(self.now.since(since));
        html! { time datetime=(since.rfc3339()) title=(moment(since)) data-lasting { (text) } }
    }
}

/// A moment in full.
pub(super) fn at(at: UnixMillis) -> Markup {
    html! { time datetime=(at.rfc3339()) { (moment(at)) } }
}

/// The word of a tone for the style.
pub(super) fn word(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain | Tone::Strong => "plain",
        Tone::Dim => "dim",
        Tone::Good => "good",
        Tone::Busy => "busy",
        Tone::Warn => "warn",
        Tone::Bad => "bad",
    }
}

/// A state: its shape, which readers of screens skip, and its word.
pub(super) fn chip((symbol, tone): (&str, Tone), text: &str) -> Markup {
    html! { span.chip data-tone=(word(tone)) data-state=(text) { span aria-hidden="true" { (symbol) } " " (text) } }
}

pub(super) fn job_state(state: JobState) -> Markup {
    chip(steps::state_mark(state), state.as_str())
}

pub(super) fn step_state(state: StepState, status: &str) -> Markup {
    chip(state.mark(), status)
}

pub(super) fn delivery_state(state: DeliveryState, has_failed: bool) -> Markup {
    chip(steps::delivery_mark(state, has_failed), state.as_str())
}

pub(super) fn health(health: HealthWord) -> Markup {
    chip(health_mark(health), &health.to_string())
}

fn health_mark(word: HealthWord) -> (&'static str, Tone) {
    match word {
        HealthWord::Ready => ("●", Tone::Good),
        HealthWord::Held => ("‖", Tone::Warn),
        HealthWord::Ramping => ("◔", Tone::Busy),
        HealthWord::Paused => ("◷", Tone::Warn),
        HealthWord::Disabled => ("✗", Tone::Bad),
    }
}

/// A job's id as a link to its page.
pub(super) fn job_link(id: &JobId) -> Markup {
    html! { a.id href={ "/dashboard/jobs/" (id) } { (id) } }
}

/// A webhook's name as a link to its page.
pub(super) fn webhook_link(name: &str) -> Markup {
    html! { a href=(webhook_path(name)) { (crate::words::outside(name, 64)) } }
}

/// The address of a webhook's page. Rows may name anything.
pub(super) fn webhook_path(name: &str) -> String {
    format!("/dashboard/webhooks/{}", encoded(name))
}

/// A text as a part of a path or a query.
pub(super) fn encoded(text: &str) -> String {
    // A path takes %20 for a blank, a query both.
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// An address with the parameters that have a value.
pub(super) fn address(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| {
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        Some(format!("{name}={}", encoded(value)))
    });
    let query = given.collect::<Vec<_>>().join("&");
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{query}"),
    }
}

/// Milliseconds in one or two units.
pub(super) fn took(millis: u64) -> String {
    brief(Duration::from_millis(millis))
}
