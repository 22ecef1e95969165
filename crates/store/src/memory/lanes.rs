//! Lanes: the deliveries of one job to one webhook. Of the pending ones only the first, the head, has a due time.

use std::collections::BTreeSet;

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::rows::{Delivery, DeliveryKey};
use super::tables::Tables;

/// A webhook and a job.
pub(super) type Lane = (WebhookName, JobId);

impl Tables {
    /// The pending deliveries of a lane, in order.
    pub(super) fn pending_in(&self, lane: &Lane) -> Vec<&Delivery> {
        let (webhook, job) = lane;
        let all = (webhook.clone(), job.clone(), 0)..=(webhook.clone(), job.clone(), u32::MAX);
        let waiting = self.waiting.range(all).map(|(key, ())| key);
        let waiting = waiting.filter_map(|key| self.deliveries.get(key));
        waiting.filter(|each| each.is_pending()).collect()
    }

    /// Makes the first pending delivery of each lane due at `now`, unless it waits for a retry.
    pub(super) fn promote_heads(&mut self, lanes: &BTreeSet<Lane>, now: UnixMillis) {
        for lane in lanes {
            let head = self.pending_in(lane).first().copied();
            let head = head.filter(|head| head.next_attempt_at.is_none());
            if let Some(key) = head.map(Delivery::key) {
                self.change_delivery(&key, |head| head.next_attempt_at = Some(now));
            }
        }
    }

    /// Clears the due time of every pending delivery that is not the first of its lane.
    pub(super) fn demote_others(&mut self, lanes: &BTreeSet<Lane>) {
        for lane in lanes {
            let others = self.pending_in(lane).into_iter().skip(1);
            let others = others.filter(|each| each.next_attempt_at.is_some());
            let keys: Vec<DeliveryKey> = others.map(Delivery::key).collect();
            for key in keys {
                self.change_delivery(&key, |each| each.next_attempt_at = None);
            }
        }
    }
}
