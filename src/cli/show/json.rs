//! Everything known of a job and of the webhooks that are told of it as one JSON object, written piece by piece: a job may
//! have thousands of events with large bodies.

use std::collections::HashSet;

use serde::Serialize;

use crate::cli::pages;
use crate::cli::screen::Screen;
use crate::core::time::UnixMillis;
use crate::record::{AttemptRecord, DeliveryRecord, DetailRecord, EventRecord, TransitionRecord};
use crate::store::{JobDetail, Store, TimelineItem, WebhookHealth};

#[derive(Serialize)]
struct WebhookRecord<'a> {
    name: &'a str,
    disabled_at: Option<String>,
    disabled_reason: Option<&'a str>,
    paused_until: Option<String>,
    held_since: Option<String>,
    failures: u32,
}

impl<'a> From<&'a (String, WebhookHealth)> for WebhookRecord<'a> {
    fn from((name, health): &'a (String, WebhookHealth)) -> Self {
        let disabled = health.disabled.as_ref();
        Self {
            name,
            disabled_at: disabled.map(|(at, _)| at.rfc3339()),
            disabled_reason: disabled.map(|(_, reason)| reason.as_str()),
            paused_until: health.paused_until.map(UnixMillis::rfc3339),
            held_since: health.health.hold().map(|hold| hold.since.rfc3339()),
            failures: health.health.failures(),
        }
    }
}

/// Prints the object. What has happened since `detail` was read is left out, so that its parts fit each other.
pub(super) async fn print(
    detail: &JobDetail,
    webhooks: &[(String, WebhookHealth)],
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let id = &detail.summary.row.id;
    let job = serde_json::to_string(&DetailRecord::from(detail))?;
    // Lists follow before the object ends.
    screen.piece(job.strip_suffix('}').unwrap_or(&job));
    let mut list = List::begin(screen, "transitions");
    let last = detail.transitions.last().map_or(0, |last| last.seq);
    let reading = pages::timeline(store, id, |entry| match &entry.item {
        TimelineItem::Transition(step) if step.seq <= last => {
            list.add(&TransitionRecord::from(step));
        }
        _ => {}
    });
    reading.await?;
    list.end();
    let mut list = List::begin(screen, "events");
    let last = detail.events.last().map_or(0, |last| last.sequence);
    let reading = pages::events(store, id, |event| {
        if event.sequence <= last {
            list.add(&EventRecord::from(&event));
        }
    });
    reading.await?;
    list.end();
    let mut list = List::begin(screen, "deliveries");
    for delivery in &detail.deliveries {
        list.add(&DeliveryRecord::from(delivery));
    }
    list.end();
    let mut list = List::begin(screen, "attempts");
    let attempts = detail.attempts.iter();
    let known: HashSet<_> = attempts
        .map(|each| (&each.event_id, &each.webhook, each.number))
        .collect();
    let reading = pages::timeline(store, id, |entry| match &entry.item {
        TimelineItem::Attempt(each)
            if known.contains(&(&each.event_id, &each.webhook, each.number)) =>
        {
            list.add(&AttemptRecord::from(each));
        }
        _ => {}
    });
    reading.await?;
    list.end();
    let mut list = List::begin(screen, "webhooks");
    for webhook in webhooks {
        list.add(&WebhookRecord::from(webhook));
    }
    list.end();
    screen.text("}\n");
    Ok(())
}

/// A list inside of an object.
struct List<'a> {
    screen: &'a mut Screen,
    is_empty: bool,
}

impl<'a> List<'a> {
    fn begin(screen: &'a mut Screen, name: &str) -> Self {
        screen.piece(&format!(",\"{name}\":["));
        Self {
            screen,
            is_empty: true,
        }
    }

    fn add(&mut self, record: &impl Serialize) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.screen.text(",");
        }
        // Records hold what can always be written.
        let text = serde_json::to_string(record).unwrap_or_default();
        self.screen.piece(&text);
    }

    fn end(self) {
        self.screen.text("]");
    }
}
