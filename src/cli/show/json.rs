//! Everything about a job and its webhooks as one JSON object, written piece by piece: a job may have thousands of events
//! with large bodies.

use std::collections::HashSet;

use serde::Serialize;

use crate::cli::pages;
use crate::cli::screen::Screen;
use crate::record::webhook::JobWebhookRecord;
use crate::record::{DeliveryRecord, DetailRecord, EventRecord, ObservedRecord, SentRecord};
use crate::store::{JobDetail, Store, TimelineItem, WebhookHealth};

/// Prints the object. What happened after `detail` was read is left out, so that its parts are consistent.
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
        TimelineItem::Transition(step) if step.seq <= last => list.add(&ObservedRecord::from(step)),
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
    let deliveries = detail.deliveries.iter();
    deliveries.for_each(|each| list.add(&DeliveryRecord::from(each)));
    list.end();
    let mut list = List::begin(screen, "attempts");
    let attempts = detail.attempts.iter();
    let shown: HashSet<_> = attempts
        .map(|each| (&each.event_id, &each.webhook, each.number))
        .collect();
    let reading = pages::timeline(store, id, |entry| match &entry.item {
        TimelineItem::Attempt(each)
            if shown.contains(&(&each.event_id, &each.webhook, each.number)) =>
        {
            list.add(&SentRecord::from(each));
        }
        _ => {}
    });
    reading.await?;
    list.end();
    let mut list = List::begin(screen, "webhooks");
    for (name, health) in webhooks {
        list.add(&JobWebhookRecord::new(name, health));
    }
    list.end();
    screen.text("}\n");
    Ok(())
}

/// A list in an object.
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
        // Records can always be written.
        let text = serde_json::to_string(record).unwrap_or_default();
        self.screen.piece(&text);
    }

    fn end(self) {
        self.screen.text("]");
    }
}
