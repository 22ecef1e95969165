//! The deliveries of a job, webhook by webhook.

use super::distinct;
use crate::cli::screen::{Tone, View};
use crate::cli::steps::delivery_mark;
use crate::cli::text;
use crate::core::delivery::DeliveryState;
use crate::store::{DeliveryRow, JobDetail, WebhookHealth};

/// Most deliveries that are listed per webhook: undelivered ones from the first on, then the latest delivered ones.
const MOST_UNDELIVERED: usize = 12;
const MOST_DELIVERED: usize = 8;

/// Columns before an event's type.
const INDENT: usize = 12;

/// Columns of the longest type of an event.
const TYPE_WIDTH: usize = 19;

/// Columns of the longest state.
const STATE_WIDTH: usize = 9;

/// The deliveries; empty when there was no event.
pub(super) fn draw(detail: &JobDetail, healths: &[(String, WebhookHealth)], view: &View) -> String {
    if detail.events.is_empty() && detail.deliveries.is_empty() {
        return String::new();
    }
    let mut out = format!("{}\n", view.paint(Tone::Strong, "Deliveries"));
    if detail.deliveries.is_empty() {
        let note = "  none: no webhook subscribes to what has happened";
        return out + &view.dim(note) + "\n";
    }
    let webhooks = detail.deliveries.iter().map(|each| each.webhook.as_str());
    for webhook in distinct(webhooks) {
        let deliveries = detail.deliveries.iter();
        let lane: Vec<_> = deliveries.filter(|each| each.webhook == webhook).collect();
        push_webhook(&mut out, webhook, &lane, view);
        if let Some((_, health)) = healths.iter().find(|(name, _)| name == webhook) {
            for why in obstacles(health, view) {
                push_wrapped(&mut out, &why, 4, Tone::Warn, view);
            }
        }
    }
    out
}

fn push_wrapped(out: &mut String, text: &str, indent: usize, tone: Tone, view: &View) {
    for line in text::wrap(text, view.width.saturating_sub(indent)) {
        out.push_str(&format!("{:indent$}{}\n", "", view.paint(tone, &line)));
    }
}

fn push_webhook(out: &mut String, webhook: &str, lane: &[&DeliveryRow], view: &View) {
    let is_delivered = |delivery: &&&DeliveryRow| delivery.state == DeliveryState::Delivered;
    let delivered = lane.iter().filter(is_delivered).count();
    let note = view.dim(&format!("{delivered} of {} delivered", lane.len()));
    let name = text::fit(&text::outside(webhook, 200), view.width.saturating_sub(28));
    out.push_str(&format!("  {name}  {note}\n"));
    // The most important ones, in order of sequence.
    let waiting = lane.iter().filter(|each| !is_delivered(each));
    let waiting = waiting.take(MOST_UNDELIVERED);
    let done = lane.iter().rev().filter(is_delivered).take(MOST_DELIVERED);
    let mut shown: Vec<&DeliveryRow> = waiting.chain(done).copied().collect();
    shown.sort_by_key(|delivery| delivery.sequence);
    for delivery in &shown {
        push_delivery(out, delivery, lane, view);
    }
    let hidden = lane.len() - shown.len();
    if hidden > 0 {
        let note = format!("    … and {hidden} more; all of them with --json");
        out.push_str(&format!("{}\n", view.dim(&note)));
    }
}

/// Why nothing is sent to a webhook now.
fn obstacles(health: &WebhookHealth, view: &View) -> Vec<String> {
    let mut why = Vec::new();
    if let Some((at, reason)) = &health.disabled {
        let (ago, reason) = (view.ago(*at), text::error(reason));
        why.push(format!("the webhook was disabled {ago}: {reason}"));
    }
    if let Some(left) = view.ahead(health.paused_until) {
        why.push(format!(
            "the webhook asked for a pause; it is sent to again {left}"
        ));
    }
    if let Some(hold) = health.health.hold() {
        let next = view.ahead(hold.probe_at);
        let next = next.unwrap_or_else(|| "now".to_owned());
        let ago = view.ago(hold.since);
        let failures = text::count(u64::from(hold.failures), "failure");
        why.push(format!(
            "the webhook is held since {ago}, after {failures} in a row; one event is tried {next}"
        ));
    }
    why
}

fn push_delivery(out: &mut String, delivery: &DeliveryRow, lane: &[&DeliveryRow], view: &View) {
    let (mark, tone) = delivery_mark(delivery.state, delivery.last_error.is_some());
    let kind = text::pad(delivery.kind.as_str(), TYPE_WIDTH);
    let sequence = text::pad(&format!("#{}", delivery.sequence), 4);
    let progress = progress(delivery, lane, view);
    let fixed = INDENT + TYPE_WIDTH + 2 + STATE_WIDTH + 2;
    let is_wide = fixed + text::columns(&progress) > view.width;
    let state = delivery.state.as_str();
    let state = match is_wide || progress.is_empty() {
        true => view.paint(tone, state),
        false => view.paint(tone, &text::pad(state, STATE_WIDTH)) + "  " + &progress,
    };
    let mark = view.paint(tone, mark);
    out.push_str(&format!("    {mark} {sequence}  {kind}  {state}\n"));
    if is_wide {
        push_wrapped(out, &progress, INDENT, Tone::Plain, view);
    }
    if let Some(error) = &delivery.last_error {
        push_wrapped(out, &text::error(error), INDENT, tone, view);
    }
}

/// The attempts so far, what comes next, and which webhook it replaces.
fn progress(delivery: &DeliveryRow, lane: &[&DeliveryRow], view: &View) -> String {
    let attempts = attempts(delivery, lane, view);
    let webhook = delivery.fallback_for.as_ref();
    let replaced = webhook.map(|name| format!("in place of {}", text::outside(name, 64)));
    let parts = [attempts, replaced.unwrap_or_default()];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(", ")
}

fn attempts(delivery: &DeliveryRow, lane: &[&DeliveryRow], view: &View) -> String {
    let attempts = text::count(u64::from(delivery.attempts), "attempt");
    match (delivery.state, delivery.next_attempt_at) {
        (DeliveryState::Pending, Some(at)) => match view.ahead(at) {
            Some(left) => format!("{attempts}, next {left}"),
            None if delivery.attempts == 0 => "due".to_owned(),
            None => format!("{attempts}, due"),
        },
        (DeliveryState::Pending, None) => {
            let is_pending = |other: &&&DeliveryRow| other.state == DeliveryState::Pending;
            let head = lane.iter().find(is_pending);
            head.map_or(String::new(), |head| format!("after #{}", head.sequence))
        }
        (DeliveryState::Delivered, _) if delivery.attempts == 1 => String::new(),
        _ if delivery.expired_at.is_some() => format!("expired, {attempts}"),
        _ => attempts,
    }
}

#[cfg(test)]
mod tests;
