//! Webhooks as a whole: what is recorded of them, and how operators disable and enable them.

use std::collections::BTreeSet;
use std::time::Duration;

use jobtrackd_core::backoff::MAX_RETRY_AFTER;
use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::health::{Health, PROBE_PACE};
use jobtrackd_core::time::UnixMillis;

use super::lanes::Lane;
use super::rows::{Delivery, DeliveryKey};
use super::store::Store;
use super::tables::Tables;
use crate::{Page, Result, WebhookHealth, Webhooks};

/// Deliveries changed in one transaction.
const PAGE: usize = 1000;

impl Webhooks for Store {
    async fn webhook_health(&self, webhook: &WebhookName) -> Result<WebhookHealth> {
        self.read(|tables| Ok(tables.webhooks.get(webhook).cloned().unwrap_or_default()))
    }

    async fn webhook_requests(&self) -> Result<Vec<(WebhookName, i64)>> {
        self.read(|tables| {
            let rows = tables.webhooks.iter();
            Ok(rows
                .map(|(name, row)| (name.clone(), row.requests))
                .collect())
        })
    }

    async fn webhook_names(&self) -> Result<Vec<WebhookName>> {
        self.read(|tables| {
            let waiting = tables.waiting.keys().map(|key| &key.0);
            let names: BTreeSet<&WebhookName> = waiting.chain(tables.webhooks.keys()).collect();
            Ok(names.into_iter().cloned().collect())
        })
    }

    async fn clamp_waits(&self, webhook: &WebhookName, longest: Duration) -> Result<u64> {
        let now = self.now();
        let (retry, pause) = (now.plus(longest), now.plus(MAX_RETRY_AFTER));
        let probe = now.plus(PROBE_PACE.max);
        // A pause has put its event off for up to a day, whatever the schedule.
        let longest = |each: &Delivery| match each.paused_ms {
            0 => retry,
            _ => retry.max(pause),
        };
        let (far, is_far) = self.read(|tables| {
            let pending = tables.waiting_for(webhook).filter(|each| each.is_pending());
            let far = pending.filter(|each| each.next_attempt_at > Some(longest(each)));
            let far: Vec<DeliveryKey> = far.take(PAGE).map(Delivery::key).collect();
            let row = tables.webhooks.get(webhook);
            let is_far = row.is_some_and(|row| {
                row.paused_until > Some(pause)
                    || row.health.hold().and_then(|hold| hold.probe_at) > Some(probe)
            });
            Ok((far, is_far))
        })?;
        if far.is_empty() && !is_far {
            return Ok(0);
        }
        self.write(|tables, _| {
            if is_far {
                tables.change_webhook(webhook, |row| {
                    row.paused_until = row.paused_until.map(|at| at.min(pause));
                    if let Health::Held(hold) = &mut row.health {
                        hold.probe_at = hold.probe_at.map(|at| at.min(probe));
                    }
                });
            }
            for key in &far {
                tables.change_delivery(key, |each| each.next_attempt_at = Some(longest(each)));
            }
            Ok(far.len() as u64)
        })
    }

    async fn enable_webhook(&self, webhook: &WebhookName) -> Result<Page> {
        self.write(|tables, now| {
            let waiting = tables.waiting_for(webhook);
            let disabled = waiting.filter(|each| each.state == DeliveryState::Disabled);
            let page: Vec<DeliveryKey> = disabled.take(PAGE).map(Delivery::key).collect();
            for key in &page {
                tables.change_delivery(key, |each| {
                    each.state = DeliveryState::Pending;
                    (each.retries_used, each.paused_ms) = (0, 0);
                });
            }
            let lanes: BTreeSet<Lane> = page.iter().map(lane_of).collect();
            tables.demote_others(&lanes);
            tables.promote_heads(&lanes, now);
            let mut is_last = page.len() < PAGE;
            if is_last {
                is_last = tables.make_due(webhook, now) < PAGE;
            }
            if is_last {
                tables.change_webhook(webhook, |row| {
                    *row = WebhookHealth {
                        generation: row.generation + 1,
                        requests: row.requests + 1,
                        ..WebhookHealth::default()
                    };
                });
            }
            Ok(Page {
                deliveries: page.len() as u64,
                jobs: 0,
                is_last,
            })
        })
    }

    async fn disable_webhook(&self, webhook: &WebhookName, reason: &str) -> Result<Page> {
        self.write(|tables, now| {
            tables.disable(webhook, now, reason);
            tables.request_reload(webhook);
            let deliveries = tables.disable_deliveries(webhook, PAGE);
            Ok(Page {
                deliveries: deliveries as u64,
                jobs: 0,
                is_last: deliveries < PAGE,
            })
        })
    }
}

fn lane_of(key: &DeliveryKey) -> Lane {
    (key.0.clone(), key.1.clone())
}

impl Tables {
    /// Disables a webhook, for this reason unless it is disabled already.
    pub(super) fn disable(&mut self, webhook: &WebhookName, now: UnixMillis, reason: &str) {
        self.change_webhook(webhook, |row| {
            row.disabled.get_or_insert_with(|| (now, reason.to_owned()));
        });
    }

    /// Disables at most this many of its pending deliveries; how many.
    pub(super) fn disable_deliveries(&mut self, webhook: &WebhookName, most: usize) -> usize {
        let pending = self.waiting_for(webhook).filter(|each| each.is_pending());
        let page: Vec<DeliveryKey> = pending.take(most).map(Delivery::key).collect();
        for key in &page {
            self.change_delivery(key, |each| {
                each.state = DeliveryState::Disabled;
                each.next_attempt_at = None;
            });
        }
        page.len()
    }

    /// Makes a page of retries due at once, with the retries that are left; how many.
    fn make_due(&mut self, webhook: &WebhookName, now: UnixMillis) -> usize {
        let waiting = self.waiting_for(webhook);
        let later = waiting.filter(|each| each.is_pending() && each.next_attempt_at > Some(now));
        let page: Vec<DeliveryKey> = later.take(PAGE).map(Delivery::key).collect();
        for key in &page {
            self.change_delivery(key, |each| each.next_attempt_at = Some(now));
        }
        page.len()
    }

    /// Makes the daemon read a webhook's row again, and try the webhook.
    pub(super) fn request_reload(&mut self, webhook: &WebhookName) {
        self.change_webhook(webhook, |row| row.requests += 1);
    }
}
