//! Deliveries: which are due, and lists of them.

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::time::UnixMillis;

use super::rows::{Delivery, Event};
use super::store::Store;
use super::tables::Tables;
use crate::{Deliveries, DeliveryFilter, DeliveryPage, DeliveryRow, DueDeliveries, Result};

/// Longest body on a page; longer ones are read when they are sent.
const LONGEST: usize = 4 << 10;

/// Most events that one search for deliveries goes through.
pub(super) const WINDOW: i64 = 10_000;

impl Deliveries for Store {
    async fn deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        except: &[String],
        limit: u32,
    ) -> Result<DueDeliveries> {
        self.read(|tables| {
            let heads = tables.heads(webhook).filter(|(due, _)| *due <= now);
            let heads = heads.filter(|(_, head)| !except.contains(&head.event_id));
            let mut heads: Vec<_> = heads.collect();
            heads.sort_by_key(|(due, head)| (*due, head.event_id.as_str()));
            Ok(tables.page_of(&heads, limit))
        })
    }

    async fn expiring_deliveries_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries> {
        self.read(|tables| {
            let heads = tables.heads(webhook).filter(|(due, _)| *due <= now);
            let heads = heads.filter(|(_, head)| head.expires_at > Some(now));
            let mut heads: Vec<_> = heads.collect();
            heads.sort_by_key(|(due, head)| (*due, head.expires_at, head.event_id.as_str()));
            Ok(tables.page_of(&heads, limit))
        })
    }

    async fn deliveries_to_probe(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries> {
        self.read(|tables| {
            let heads = tables.heads(webhook);
            let heads = heads.filter(|(_, head)| head.expires_at.is_none_or(|at| at > now));
            let mut heads: Vec<_> = heads.collect();
            heads.sort_by_key(|(due, head)| (head.last_attempt_at, *due, head.event_id.as_str()));
            Ok(tables.page_of(&heads, limit))
        })
    }

    /// No row is unreadable: each has its type.
    async fn unreadable_deliveries(&self, _: &WebhookName) -> Result<Vec<(String, String)>> {
        self.read(|_| Ok(Vec::new()))
    }

    async fn body_to_send(&self, webhook: &WebhookName, event_id: &str) -> Result<Option<Vec<u8>>> {
        self.read(|tables| {
            let delivery = tables.delivery(event_id, webhook);
            let is_head = |it: &&Delivery| it.is_pending() && it.next_attempt_at.is_some();
            let event = delivery
                .filter(is_head)
                .and_then(|_| tables.event(event_id));
            Ok(event.map(|event| event.body.as_bytes().to_vec()))
        })
    }

    async fn next_delivery(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>> {
        self.read(|tables| {
            let times = tables.heads(webhook).map(|(due, _)| due);
            Ok(times.filter(|due| *due > now).min())
        })
    }

    async fn pending_deliveries(&self, limit: u32) -> Result<u32> {
        self.read(|tables| {
            let waiting = tables.waiting.keys();
            let waiting = waiting.filter_map(|key| tables.deliveries.get(key));
            let pending = waiting.filter(|each| each.is_pending());
            let pending = pending.take(limit as usize).count();
            Ok(u32::try_from(pending).unwrap_or(limit))
        })
    }

    async fn list_deliveries(&self, filter: &DeliveryFilter) -> Result<DeliveryPage> {
        self.read(|tables| {
            let last = match filter.before {
                Some(before) => before.saturating_sub(1),
                None => tables.newest_cursor(),
            };
            let first = match filter.job {
                Some(_) => 0,
                None => (last + 1).saturating_sub(WINDOW).max(0),
            };
            let events = tables.events.range(first.min(last)..=last).rev();
            let events = events.map(|(_, event)| event);
            let events = events.filter(|event| {
                filter.job.as_ref().is_none_or(|job| *job == event.job_id)
                    && filter.kind.is_none_or(|kind| kind == event.kind)
            });
            let found = events.flat_map(|event| tables.rows_of(event));
            let found = found.filter(|row| {
                filter
                    .webhook
                    .as_ref()
                    .is_none_or(|name| row.webhook.as_str() == name)
                    && filter.state.is_none_or(|state| state == row.state)
            });
            Ok(DeliveryPage {
                deliveries: found.take(filter.limit as usize).collect(),
                unreadable: Vec::new(),
                // Cursors begin with 1.
                stopped: (first > 1).then_some(first),
            })
        })
    }
}

impl Tables {
    /// The heads of a webhook's lanes, and when they are due.
    pub(super) fn heads<'a>(
        &'a self,
        webhook: &'a WebhookName,
    ) -> impl Iterator<Item = (UnixMillis, &'a Delivery)> {
        let pending = self.waiting_for(webhook).filter(|each| each.is_pending());
        pending.filter_map(|each| Some((each.next_attempt_at?, each)))
    }

    fn page_of(&self, heads: &[(UnixMillis, &Delivery)], limit: u32) -> DueDeliveries {
        let heads = heads.iter().take(limit as usize);
        let deliveries = heads.filter_map(|(due, head)| {
            let event = self.event(&head.event_id)?;
            Some(head.due(event, *due, LONGEST))
        });
        DueDeliveries {
            deliveries: deliveries.collect(),
            unreadable: Vec::new(),
        }
    }

    /// An event's deliveries in order of their webhooks, with what belongs to the event.
    pub(super) fn rows_of<'a>(
        &'a self,
        event: &'a Event,
    ) -> impl Iterator<Item = DeliveryRow> + use<'a> {
        self.deliveries_of(event)
            .map(|delivery| delivery.row(event))
    }
}
