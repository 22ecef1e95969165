//! Deliveries that are given up, moved to another webhook, or wait for one that is not configured.

use std::collections::BTreeSet;

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::lanes::Lane;
use super::rows::{Delivery, DeliveryKey, Job};
use super::store::Store;
use super::tables::Tables;
use crate::{Backlogs, MOST_WAITING, Page, Result, Unconfigured, Unwanted};

/// Deliveries or jobs changed in one transaction.
const PAGE: usize = 1000;

/// Most webhooks that are named.
const MOST_NAMES: usize = 100;

impl Backlogs for Store {
    async fn unconfigured_webhooks(&self, known: &[WebhookName]) -> Result<Vec<Unconfigured>> {
        self.read(|tables| {
            let names: BTreeSet<&WebhookName> = tables.waiting.keys().map(|key| &key.0).collect();
            let names = names.into_iter().filter(|name| !known.contains(name));
            let most = u64::from(MOST_WAITING);
            let found = names.take(MOST_NAMES).map(|name| Unconfigured {
                webhook: name.clone(),
                events: (tables.waiting_for(name).count() as u64).min(most),
            });
            Ok(found.collect())
        })
    }

    async fn give_up(&self, unwanted: &Unwanted) -> Result<Page> {
        self.write(|tables, now| {
            let (keys, is_last) = tables.unwanted(unwanted);
            for key in &keys {
                tables.change_delivery(key, |each| each.give_up("given up by an operator"));
            }
            let lanes: BTreeSet<Lane> = keys.iter().map(lane_of).collect();
            tables.promote_heads(&lanes, now);
            let webhooks: BTreeSet<&WebhookName> = lanes.iter().map(|lane| &lane.0).collect();
            for webhook in webhooks {
                tables.request_reload(webhook);
            }
            Ok(Page {
                deliveries: keys.len() as u64,
                jobs: 0,
                is_last,
            })
        })
    }

    async fn move_deliveries(&self, from: &WebhookName, to: &WebhookName) -> Result<Page> {
        self.write(|tables, now| {
            let page: Vec<DeliveryKey> = tables
                .waiting_for(from)
                .take(PAGE)
                .map(Delivery::key)
                .collect();
            let mut jobs = tables.hand_over(to, &page, now)?;
            let mut is_last = page.len() < PAGE;
            if is_last {
                let others = tables.jobs_by_number().filter(|job| job.is_for(from));
                let others: Vec<JobId> = others.take(PAGE).map(|job| job.row.id.clone()).collect();
                let renamed = tables.rename_jobs(from, to, &others)?;
                is_last = renamed < PAGE as u64;
                jobs += renamed;
            }
            for webhook in [from, to] {
                tables.request_reload(webhook);
            }
            Ok(Page {
                deliveries: page.len() as u64,
                jobs,
                is_last,
            })
        })
    }
}

fn lane_of(key: &DeliveryKey) -> Lane {
    (key.0.clone(), key.1.clone())
}

impl Job {
    /// Whether it has not ended and its events go to this webhook alone.
    fn is_for(&self, webhook: &WebhookName) -> bool {
        !self.has_ended() && self.row.webhook.as_deref() == Some(webhook.as_str())
    }
}

impl Tables {
    /// A page of what is given up, and whether it is the last one.
    fn unwanted(&self, unwanted: &Unwanted) -> (Vec<DeliveryKey>, bool) {
        match unwanted {
            Unwanted::Event(id) => {
                let deliveries = self.event(id).map(|event| self.deliveries_of(event));
                let pending = deliveries.into_iter().flatten();
                let pending = pending.filter(|each| each.is_pending());
                (pending.map(Delivery::key).collect(), true)
            }
            Unwanted::EventOf(id, webhook) => {
                let delivery = self.delivery(id, webhook).filter(|each| each.waits());
                (delivery.map(Delivery::key).into_iter().collect(), true)
            }
            Unwanted::AllOf(webhook) => {
                let mut keys = Vec::new();
                for state in [DeliveryState::Pending, DeliveryState::Disabled] {
                    let waiting = self.waiting_for(webhook);
                    let of_state = waiting.filter(|each| each.state == state).take(PAGE);
                    let before = keys.len();
                    keys.extend(of_state.map(Delivery::key));
                    if keys.len() - before == PAGE {
                        return (keys, false);
                    }
                }
                (keys, true)
            }
        }
    }

    /// Hands over these deliveries, which are in the order of their lanes; returns how many jobs have another webhook now.
    fn hand_over(
        &mut self,
        to: &WebhookName,
        page: &[DeliveryKey],
        now: UnixMillis,
    ) -> Result<u64> {
        let Some((from, _, _)) = page.first() else {
            return Ok(0);
        };
        let state = self.first_state(to);
        let mut oldest: Vec<(JobId, UnixMillis)> = Vec::new();
        for key in page {
            let Some(old) = self.deliveries.get(key) else {
                continue;
            };
            let Some(event) = self.event(&old.event_id) else {
                continue;
            };
            if oldest.last().is_none_or(|(job, _)| *job != key.1) {
                oldest.push((key.1.clone(), event.created_at));
            }
            let expires_at = old.expires_at;
            let known = self.delivery(&old.event_id, to).cloned();
            let is_new = known.is_none();
            let mut new = known.unwrap_or_else(|| Delivery::new(event, to, state));
            if is_new || new.state == DeliveryState::Exhausted {
                new.state = state;
                (new.retries_used, new.paused_ms) = (0, 0);
                (new.expires_at, new.expired_at) = (expires_at, None);
                self.put_delivery(new);
            }
        }
        for key in page {
            self.change_delivery(key, |each| each.give_up(&format!("moved to {to}")));
        }
        let lanes: BTreeSet<Lane> = oldest
            .iter()
            .map(|(job, _)| (to.clone(), job.clone()))
            .collect();
        self.demote_others(&lanes);
        self.promote_heads(&lanes, now);
        for (job, created_at) in &oldest {
            let pending = self.pending_in(&(to.clone(), job.clone()));
            let due_now = pending
                .into_iter()
                .filter(|each| each.next_attempt_at == Some(now));
            // The oldest event goes first, whatever the job.
            for key in due_now.map(Delivery::key).collect::<Vec<_>>() {
                let since = (*created_at).min(now);
                self.change_delivery(&key, |each| each.next_attempt_at = Some(since));
            }
        }
        let jobs: Vec<JobId> = oldest.into_iter().map(|(job, _)| job).collect();
        self.rename_jobs(from, to, &jobs)
    }

    /// Gives these jobs another webhook, if they name the old one and nothing of them waits for it. A poll that was begun under
    /// the old name is not recorded: the revision has changed.
    fn rename_jobs(&mut self, from: &WebhookName, to: &WebhookName, jobs: &[JobId]) -> Result<u64> {
        let mut renamed = 0;
        for id in jobs {
            let is_for = self.jobs.get(id).is_some_and(|job| job.is_for(from));
            if !is_for || self.lane_waits(from, id) {
                continue;
            }
            self.change_job(id, |job| {
                job.row.webhook = Some(to.to_string());
                job.revision += 1;
                job.row.is_blank = false;
            })?;
            renamed += 1;
        }
        Ok(renamed)
    }
}
