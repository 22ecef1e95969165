//! Everything about a job and its webhooks as one JSON object, written piece by piece: a job may have thousands of events
//! with large bodies.

use std::collections::HashSet;

use serde::Serialize;

use crate::cli::pages;
use crate::cli::screen::Screen;
use crate::record::webhook::JobWebhookRecord;
use crate::record::{DeliveryRecord, DetailRecord, EventRecord, ObservedRecord, SentRecord};
use crate::store::{Attempt, JobDetail, Store, TimelineItem, WebhookHealth};

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
    let mut lists = Lists {
        screen,
        end: "",
        is_empty: true,
    };
    lists.begin("transitions");
    let last = detail.transitions.last().map_or(0, |last| last.seq);
    let reading = pages::timeline(store, id, |entry| match &entry.item {
        TimelineItem::Transition(step) if step.seq <= last => {
            lists.add(&ObservedRecord::from(step));
        }
        _ => {}
    });
    reading.await?;
    lists.begin("events");
    let last = detail.events.last().map_or(0, |last| last.sequence);
    let reading = pages::events(store, id, |event| {
        if event.sequence <= last {
            lists.add(&EventRecord::from(&event));
        }
    });
    reading.await?;
    lists.begin("deliveries");
    for delivery in &detail.deliveries {
        lists.add(&DeliveryRecord::from(delivery));
    }
    lists.begin("attempts");
    let key = |each: &Attempt| (each.event_id.clone(), each.webhook.clone(), each.number);
    let shown: HashSet<_> = detail.attempts.iter().map(key).collect();
    let reading = pages::timeline(store, id, |entry| match &entry.item {
        TimelineItem::Attempt(each) if shown.contains(&key(each)) => {
            lists.add(&SentRecord::from(each));
        }
        _ => {}
    });
    reading.await?;
    lists.begin("webhooks");
    for (name, health) in webhooks {
        lists.add(&JobWebhookRecord::new(name, health));
    }
    screen.text("]}\n");
    Ok(())
}

/// Lists in an object, one after the other.
struct Lists<'a> {
    screen: &'a mut Screen,
    /// Ends the list that was begun before.
    end: &'static str,
    is_empty: bool,
}

impl Lists<'_> {
    fn begin(&mut self, name: &str) {
        self.screen.piece(&format!("{},\"{name}\":[", self.end));
        (self.end, self.is_empty) = ("]", true);
    }

    fn add(&mut self, record: &impl Serialize) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.screen.text(",");
        }
        // Records can always be written.
        let text = serde_json::to_string(record).unwrap_or_default();
        self.screen.piece(&text);
    }
}
