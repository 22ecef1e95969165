//! How a webhook stands, in words.

use serde::Serialize;

use crate::cli::screen::View;
use crate::cli::style::Tone;
use crate::cli::text;
use crate::core::health::Health;
use crate::core::time::UnixMillis;
use crate::store::{WebhookCounts, WebhookHealth};

/// Longest reason that is shown, in characters.
const REASON_CHARS: usize = 200;

/// One word for the state, and a line that says more.
pub(super) fn words(health: &WebhookHealth, view: &View) -> (&'static str, String, Tone) {
    if let Some((since, reason)) = &health.disabled {
        let ago = text::ago(view.now.since(*since));
        let reason = text::outside(reason, REASON_CHARS);
        return ("disabled", format!("{ago}: {reason}"), Tone::Bad);
    }
    if let Some(until) = health.paused_until.filter(|until| *until > view.now) {
        let left = text::brief(until.since(view.now));
        return ("resting", format!("asked for it, {left} more"), Tone::Warn);
    }
    match &health.health {
        Health::Held(hold) => {
            let next = match hold.probe_at.filter(|at| *at > view.now) {
                Some(at) => format!("in {}", text::brief(at.since(view.now))),
                None => "as soon as an event waits".to_owned(),
            };
            let failures = text::count(u64::from(hold.failures), "failure");
            let since = text::brief(view.now.since(hold.since));
            let more = format!("for {since}, {failures} in a row; next probe {next}");
            ("held", more, Tone::Warn)
        }
        Health::Ramping { allowed, .. } => {
            let more = format!(
                "{} at once so far",
                text::count(u64::from(*allowed), "request")
            );
            ("ramping", more, Tone::Busy)
        }
        Health::Ready(failing) if failing.failures == 0 => ("ready", String::new(), Tone::Good),
        Health::Ready(failing) => {
            let failures = text::count(u64::from(failing.failures), "failure");
            ("ready", format!("{failures} in a row"), Tone::Warn)
        }
    }
}

/// How a webhook stands, for programs.
#[derive(Serialize)]
pub(super) struct Standing<'a> {
    state: &'static str,
    disabled_at: Option<String>,
    disabled_reason: Option<&'a str>,
    paused_until: Option<String>,
    failures: u32,
    held_since: Option<String>,
    probe_at: Option<String>,
    allowed: Option<u32>,
    pending: Option<u64>,
    oldest_pending: Option<String>,
    exhausted: Option<u64>,
    disabled: Option<u64>,
}

impl<'a> Standing<'a> {
    pub(super) fn of(
        health: &'a WebhookHealth,
        figures: Option<&WebhookCounts>,
        view: &View,
    ) -> Self {
        let time = |at: Option<UnixMillis>| at.map(UnixMillis::rfc3339);
        let hold = health.health.hold();
        let allowed = match &health.health {
            Health::Ready(_) => None,
            Health::Held(_) => Some(1),
            Health::Ramping { allowed, .. } => Some(*allowed),
        };
        let disabled = health.disabled.as_ref();
        Self {
            state: words(health, view).0,
            disabled_at: time(disabled.map(|(at, _)| *at)),
            disabled_reason: disabled.map(|(_, reason)| reason.as_str()),
            paused_until: time(health.paused_until),
            failures: health.health.failures(),
            held_since: time(hold.map(|hold| hold.since)),
            probe_at: time(hold.and_then(|hold| hold.probe_at)),
            allowed,
            pending: figures.map(|figures| figures.pending),
            oldest_pending: time(figures.and_then(|figures| figures.oldest_pending)),
            exhausted: figures.map(|figures| figures.exhausted),
            disabled: figures.map(|figures| figures.disabled),
        }
    }
}
