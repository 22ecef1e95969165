//! Who was told what of a job.

use super::screen::View;
use super::style::Tone;
use super::text;
use crate::core::delivery::DeliveryState;
use crate::core::time::UnixMillis;
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

/// Longest error that is shown, in characters.
const ERROR_CHARS: usize = 300;

/// The deliveries, webhook by webhook; nothing when there was nothing to tell.
pub(super) fn draw(detail: &JobDetail, healths: &[(String, WebhookHealth)], view: &View) -> String {
    if detail.events.is_empty() && detail.deliveries.is_empty() {
        return String::new();
    }
    let mut out = format!("{}\n", view.paint(Tone::Strong, "Deliveries"));
    if detail.deliveries.is_empty() {
        let note = "  none: no webhook subscribes to what has happened";
        out.push_str(&view.paint(Tone::Dim, note));
        out.push('\n');
        return out;
    }
    let mut webhooks: Vec<&str> = Vec::new();
    for delivery in &detail.deliveries {
        if !webhooks.contains(&delivery.webhook.as_str()) {
            webhooks.push(delivery.webhook.as_str());
        }
    }
    for webhook in webhooks {
        let mine: Vec<&DeliveryRow> = detail
            .deliveries
            .iter()
            .filter(|delivery| delivery.webhook.as_str() == webhook)
            .collect();
        let health = healths.iter().find(|(name, _)| name == webhook);
        push_webhook(&mut out, webhook, &mine, detail, view);
        for line in health.map_or(Vec::new(), |(_, health)| standstill(health, view)) {
            out.push_str(&format!("    {}\n", view.paint(Tone::Warn, &line)));
        }
    }
    out
}

fn push_webhook(
    out: &mut String,
    webhook: &str,
    deliveries: &[&DeliveryRow],
    detail: &JobDetail,
    view: &View,
) {
    let delivered = deliveries
        .iter()
        .filter(|delivery| delivery.state == DeliveryState::Delivered)
        .count();
    let note = format!("{delivered} of {} delivered", deliveries.len());
    let name = text::fit(&text::outside(webhook, 200), view.width.saturating_sub(28));
    out.push_str(&format!("  {name}  {}\n", view.paint(Tone::Dim, &note)));
    let shown = selection(deliveries);
    for delivery in &shown {
        push_delivery(out, delivery, deliveries, detail, view);
    }
    let hidden = deliveries.len() - shown.len();
    if hidden > 0 {
        let note = format!("    … and {hidden} more; all of them with --json");
        out.push_str(&view.paint(Tone::Dim, &note));
        out.push('\n');
    }
}

/// Why nothing is sent to a webhook just now.
fn standstill(health: &WebhookHealth, view: &View) -> Vec<String> {
    let mut why = Vec::new();
    if let Some((at, reason)) = &health.disabled {
        let reason = text::outside(reason, ERROR_CHARS);
        let ago = text::ago(view.now.since(*at));
        why.push(format!("the webhook was disabled {ago}: {reason}"));
    }
    if let Some(until) = health.paused_until.filter(|until| *until > view.now) {
        let left = text::brief(until.since(view.now));
        why.push(format!(
            "the webhook asked for a rest and is told again in {left}"
        ));
    }
    if let Some(hold) = health.health.hold() {
        let ago = text::ago(view.now.since(hold.since));
        let next = match hold.probe_at.filter(|at| *at > view.now) {
            Some(at) => format!("in {}", text::brief(at.since(view.now))),
            None => "now".to_owned(),
        };
        let failures = text::count(u64::from(hold.failures), "failure");
        why.push(format!(
            "the webhook is held since {ago}, after {failures} in a row; one event is tried {next}"
        ));
    }
    let room = view.width.saturating_sub(4);
    why.iter().flat_map(|why| text::wrap(why, room)).collect()
}

/// The deliveries worth a line, in order of sequence.
fn selection<'a>(deliveries: &[&'a DeliveryRow]) -> Vec<&'a DeliveryRow> {
    let is_delivered = |delivery: &&&DeliveryRow| delivery.state == DeliveryState::Delivered;
    let waiting = deliveries.iter().filter(|each| !is_delivered(each));
    let done = deliveries.iter().rev().filter(is_delivered);
    let mut shown: Vec<&DeliveryRow> = waiting
        .take(MOST_UNDELIVERED)
        .chain(done.take(MOST_DELIVERED))
        .copied()
        .collect();
    shown.sort_by_key(|delivery| delivery.sequence);
    shown
}

fn push_delivery(
    out: &mut String,
    delivery: &DeliveryRow,
    lane: &[&DeliveryRow],
    detail: &JobDetail,
    view: &View,
) {
    let (tone, mark) = match delivery.state {
        DeliveryState::Delivered => (Tone::Good, "✓"),
        DeliveryState::Pending if delivery.last_error.is_some() => (Tone::Warn, "↻"),
        DeliveryState::Pending => (Tone::Busy, "○"),
        DeliveryState::Exhausted => (Tone::Bad, "✗"),
        DeliveryState::Disabled => (Tone::Dim, "–"),
    };
    let event = detail
        .events
        .iter()
        .find(|each| each.id == delivery.event_id);
    let kind = event.map_or("", |event| event.kind.as_str());
    let standing = standing(delivery, lane, view.now);
    let fixed = INDENT + TYPE_WIDTH + 2 + STATE_WIDTH + 2;
    let is_wide = fixed + text::columns(&standing) > view.width;
    let mut below = Vec::new();
    out.push_str(&format!(
        "    {} {}  {}  ",
        view.paint(tone, mark),
        text::pad(&format!("#{}", delivery.sequence), 4),
        text::pad(kind, TYPE_WIDTH),
    ));
    let state = delivery.state.as_str();
    if is_wide || standing.is_empty() {
        out.push_str(&view.paint(tone, state));
        below.extend(is_wide.then_some((standing, Tone::Plain)));
    } else {
        out.push_str(&view.paint(tone, &text::pad(state, STATE_WIDTH)));
        out.push_str(&format!("  {standing}"));
    }
    out.push('\n');
    if let Some(error) = delivery.last_error.as_deref() {
        below.push((text::outside(error, ERROR_CHARS), tone));
    }
    for (note, tone) in below {
        for line in text::wrap(&note, view.width.saturating_sub(INDENT)) {
            out.push_str(&" ".repeat(INDENT));
            out.push_str(&view.paint(tone, &line));
            out.push('\n');
        }
    }
}

/// The attempts so far, what comes next, and in whose place it is told.
fn standing(delivery: &DeliveryRow, lane: &[&DeliveryRow], now: UnixMillis) -> String {
    let attempted = attempted(delivery, lane, now);
    let in_place = delivery.fallback_for.as_deref().map(|webhook| {
        let webhook = text::outside(webhook, 64);
        format!("in place of {webhook}")
    });
    let parts = [Some(attempted).filter(|text| !text.is_empty()), in_place];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn attempted(delivery: &DeliveryRow, lane: &[&DeliveryRow], now: UnixMillis) -> String {
    let attempts = text::count(u64::from(delivery.attempts), "attempt");
    match (delivery.state, delivery.next_attempt_at) {
        (DeliveryState::Pending, Some(at)) if at > now => {
            format!("{attempts}, next in {}", text::brief(at.since(now)))
        }
        (DeliveryState::Pending, Some(_)) if delivery.attempts == 0 => "due".to_owned(),
        (DeliveryState::Pending, Some(_)) => format!("{attempts}, due"),
        (DeliveryState::Pending, None) => {
            let head = lane
                .iter()
                .find(|other| other.state == DeliveryState::Pending);
            head.map_or(String::new(), |head| format!("after #{}", head.sequence))
        }
        (DeliveryState::Delivered, _) if delivery.attempts == 1 => String::new(),
        _ if delivery.expired_at.is_some() => format!("expired, {attempts}"),
        _ => attempts,
    }
}

#[cfg(test)]
mod tests;
