//! Events that expire before a webhook accepts them, and the webhooks that get them instead.

use std::collections::BTreeSet;

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::planted::{self, Bug};
use jobtrackd_core::time::UnixMillis;

use super::lanes::Lane;
use super::rows::Delivery;
use super::store::Store;
use super::tables::Tables;
use crate::{Expiry, Result, Undelivered};

impl Expiry for Store {
    async fn expired_deliveries(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Undelivered>> {
        self.read(|tables| {
            let waiting = tables.waiting_for(webhook);
            let mut expired: Vec<(UnixMillis, &Delivery)> = waiting
                .filter_map(|each| Some((each.expires_at.filter(|at| *at <= now)?, each)))
                .collect();
            expired.sort_by_key(|(at, each)| (*at, each.event_id.as_str()));
            let expired = expired.into_iter().take(limit as usize);
            let undelivered = expired.map(|(_, each)| Undelivered {
                event_id: each.event_id.clone(),
                job_id: each.job_id.clone(),
                webhook: webhook.clone(),
                fallback: None,
            });
            Ok(undelivered.collect())
        })
    }

    async fn next_expiry(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
    ) -> Result<Option<UnixMillis>> {
        self.read(|tables| {
            let times = tables
                .waiting_for(webhook)
                .filter_map(|each| each.expires_at);
            Ok(times.filter(|at| *at > now).min())
        })
    }
}

impl Tables {
    /// Gives up what has expired by `now`; returns the lanes whose head may have changed.
    pub(super) fn record_expiries(
        &mut self,
        expiries: &[Undelivered],
        now: UnixMillis,
    ) -> BTreeSet<Lane> {
        let mut lanes = BTreeSet::new();
        let mut undelivered = Vec::new();
        for each in expiries {
            let delivery = self.delivery(&each.event_id, &each.webhook);
            let expired = |it: &&Delivery| it.waits() && it.expires_at.is_some_and(|at| at <= now);
            let Some(key) = delivery.filter(expired).map(Delivery::key) else {
                continue;
            };
            self.change_delivery(&key, |delivery| {
                delivery.give_up("expired: it could not be delivered while its challenge was open");
                delivery.expired_at = Some(now);
            });
            lanes.insert((each.webhook.clone(), each.job_id.clone()));
            if let Some(fallback) = &each.fallback {
                let event = each.event_id.clone();
                undelivered.push((event, each.webhook.clone(), fallback.clone()));
            }
        }
        lanes.extend(self.give_to_fallbacks(undelivered));
        lanes
    }

    /// Inserts the deliveries to the fallbacks (event, webhook, fallback); returns their lanes. A fallback that subscribes to
    /// the event itself does not get it twice. What it gets instead of another webhook does not expire. An event may be
    /// inserted before others that already wait in its lane.
    pub(super) fn give_to_fallbacks(
        &mut self,
        undelivered: Vec<(String, WebhookName, WebhookName)>,
    ) -> BTreeSet<Lane> {
        let mut lanes = BTreeSet::new();
        for (event, webhook, fallback) in undelivered {
            let known = self.delivery(&event, &webhook).is_some();
            let has_it = self.delivery(&event, &fallback).is_some();
            let has_it = has_it && !planted::is(Bug::FallbackTwice);
            let Some(event) = self.event(&event).filter(|_| known && !has_it) else {
                continue;
            };
            let mut delivery = Delivery::new(event, &fallback, self.first_state(&fallback));
            delivery.fallback_for = Some(webhook.to_string());
            lanes.insert((fallback, delivery.job_id.clone()));
            self.put_delivery(delivery);
        }
        self.demote_others(&lanes);
        lanes
    }
}
