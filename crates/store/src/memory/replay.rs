//! Repeats deliveries: events are searched in windows, deliveries made pending in pages.

use std::collections::{BTreeMap, BTreeSet};

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::planted::{self, Bug};
use jobtrackd_core::time::UnixMillis;

use super::deliveries::WINDOW;
use super::lanes::Lane;
use super::rows::{Delivery, Event, ReplayRecord};
use super::store::Store;
use super::tables::Tables;
use crate::{DeliveryRow, Replay, ReplayFilter, ReplayPage, Replays, Result};
use jobtrackd_core::health::Health;

/// Deliveries made pending in one transaction. Those of one event are not split.
const PAGE: usize = 500;

impl Replays for Store {
    async fn replayable(&self, filter: &ReplayFilter, after: i64) -> Result<ReplayPage> {
        self.read(|tables| {
            let newest = tables.newest_cursor();
            let is_whole = filter.event.is_none() && filter.job.is_none();
            let after = match filter.since {
                Some(since) if is_whole && after == 0 => after.max(tables.first_since(since) - 1),
                _ => after,
            };
            let last = match is_whole {
                true => newest.min(after.saturating_add(WINDOW)),
                false => newest,
            };
            let events = tables.events.range(after.saturating_add(1)..);
            let events = events.map(|(_, event)| event);
            let events = events.filter(|event| event.cursor <= last && matches(filter, event));
            let found = events.flat_map(|event| tables.rows_of(event));
            let found = found.filter(|row| {
                let name = filter.webhook.as_ref();
                name.is_none_or(|name| row.webhook.as_str() == name)
                    && (!filter.failed_only || row.state == DeliveryState::Exhausted)
            });
            let mut deliveries: Vec<DeliveryRow> = found.take(PAGE).collect();
            let mut reached = last;
            if deliveries.len() >= PAGE
                && let Some(end) = deliveries.last()
            {
                reached = end.cursor;
                let whole = deliveries.iter().position(|each| each.cursor == reached);
                if let Some(whole) = whole.filter(|whole| *whole > 0) {
                    deliveries.truncate(whole);
                    reached = deliveries.last().map_or(reached, |last| last.cursor);
                }
            }
            let webhooks = tables.webhooks.iter();
            let disabled = webhooks.filter(|(_, row)| row.disabled.is_some());
            Ok(ReplayPage {
                deliveries,
                unreadable: Vec::new(),
                disabled: disabled.map(|(name, _)| name.clone()).collect(),
                reached,
                is_last: reached >= newest,
            })
        })
    }

    async fn begin_replay(&self, filter: &ReplayFilter) -> Result<Replay> {
        self.write(|tables, started_at| {
            tables.numbers.replay += 1;
            let id = tables.numbers.replay;
            let record = ReplayRecord {
                filter: filter.clone(),
                started_at,
                reached: 0,
                deliveries: 0,
                is_finished: false,
            };
            let replay = record.replay(id);
            tables.replays.put(id, record);
            Ok(replay)
        })
    }

    async fn replay(&self, replay: &Replay, page: &ReplayPage) -> Result<Option<Replay>> {
        self.write(|tables, _| {
            let record = tables.replays.get(&replay.id);
            if !record.is_some_and(|it| it.reached == replay.reached && !it.is_finished) {
                return Ok(None);
            }
            let made = tables.make_pending(replay, &page.deliveries);
            tables.replays.change(&replay.id, |record| {
                record.reached = page.reached;
                record.is_finished = page.is_last;
                record.deliveries += made;
            });
            Ok(Some(Replay {
                reached: page.reached,
                deliveries: replay.deliveries + made,
                ..replay.clone()
            }))
        })
    }

    async fn unfinished_replays(&self) -> Result<Vec<Replay>> {
        self.read(|tables| {
            let replays = tables.replays.iter().rev();
            let unfinished = replays.filter(|(_, record)| !record.is_finished);
            Ok(unfinished.map(|(id, record)| record.replay(*id)).collect())
        })
    }
}

fn matches(filter: &ReplayFilter, event: &Event) -> bool {
    // Where one event is wanted, only that counts.
    let job = filter.job.as_ref().filter(|_| filter.event.is_none());
    filter.event.as_ref().is_none_or(|id| *id == event.id)
        && job.is_none_or(|job| job == event.job_id.as_str())
        && filter.kind.is_none_or(|kind| kind == event.kind)
        && filter.since.is_none_or(|since| event.created_at >= since)
        && filter.until.is_none_or(|until| event.created_at <= until)
}

impl ReplayRecord {
    fn replay(&self, id: i64) -> Replay {
        Replay {
            id,
            filter: self.filter.clone(),
            started_at: self.started_at,
            reached: self.reached,
            deliveries: self.deliveries,
        }
    }
}

impl Tables {
    fn first_since(&self, since: UnixMillis) -> i64 {
        let mut events = self.events.values();
        let first = events.find(|event| event.created_at >= since);
        first.map_or(i64::MAX, |event| event.cursor)
    }

    /// Makes deliveries pending again, and corrects their lanes; returns how many. Whatever its state: a delivery that is
    /// repeated begins its schedule anew and does not expire.
    fn make_pending(&mut self, replay: &Replay, page: &[DeliveryRow]) -> u64 {
        // Each lane is due at another moment, in the order of the replay, and none in the future.
        let mut order: BTreeMap<Lane, i64> = BTreeMap::new();
        let mut made: BTreeSet<Lane> = BTreeSet::new();
        let mut count = 0;
        for row in page {
            let lane = (row.webhook.clone(), row.job_id.clone());
            let next = i64::try_from(order.len()).unwrap_or(i64::MAX);
            order.entry(lane.clone()).or_insert(next);
            let delivery = self.delivery(&row.event_id, &row.webhook);
            let is_same = delivery.is_some_and(|delivery| delivery.state == row.state);
            let is_disabled = row.state == DeliveryState::Disabled
                || self.first_state(&row.webhook) == DeliveryState::Disabled;
            let Some(key) = delivery
                .filter(|_| is_same && !is_disabled)
                .map(Delivery::key)
            else {
                continue;
            };
            self.change_delivery(&key, |each| {
                each.state = DeliveryState::Pending;
                each.is_replay = true;
                (each.retries_used, each.paused_ms) = (0, 0);
                (each.next_attempt_at, each.delivered_at) = (None, None);
                (each.expired_at, each.expires_at) = (None, None);
            });
            made.insert(lane);
            count += 1;
        }
        let begin = replay
            .started_at
            .0
            .saturating_add_unsigned(replay.deliveries);
        let begin = begin.saturating_sub_unsigned(replay.filter.limit);
        for lane in &made {
            let at = UnixMillis(begin + order.get(lane).copied().unwrap_or_default());
            if planted::is(Bug::ReplayOrder) {
                let last = self.pending_in(lane).last().map(|last| last.key());
                let last = last.iter();
                last.for_each(|key| {
                    self.change_delivery(key, |last| last.next_attempt_at = Some(at));
                });
                continue;
            }
            self.promote_heads(&BTreeSet::from([lane.clone()]), at);
        }
        if !planted::is(Bug::ReplayOrder) {
            self.demote_others(&made);
        }
        let webhooks: BTreeSet<&WebhookName> = made.iter().map(|lane| &lane.0).collect();
        for webhook in webhooks {
            self.probe_at_once(webhook);
        }
        count
    }

    /// The next probe of a held webhook comes at once.
    fn probe_at_once(&mut self, webhook: &WebhookName) {
        self.change_webhook(webhook, |row| {
            row.requests += 1;
            if let Health::Held(hold) = &mut row.health {
                hold.probe_at = None;
            }
        });
    }
}
