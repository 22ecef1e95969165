//! Numbers of jobs and deliveries.

use strum::IntoEnumIterator as _;

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::job::JobState;

use super::store::Store;
use super::tables::Tables;
use crate::{Counting, Counts, Result, WebhookCounts};

/// How many of the latest events are searched for what was given up.
const SEARCHED: i64 = 10_000;

impl Counting for Store {
    async fn counts(&self, webhooks: &[WebhookName]) -> Result<Counts> {
        self.read(|tables| {
            let jobs = JobState::iter().map(|state| {
                let of_state = tables.jobs.values().filter(|job| job.row.state == state);
                (state, of_state.count() as u64)
            });
            Ok(Counts {
                jobs: jobs.collect(),
                webhooks: webhooks.iter().map(|name| tables.count(name)).collect(),
                database_bytes: 0,
                wal_bytes: 0,
            })
        })
    }

    async fn backlog(&self, webhook: &WebhookName) -> Result<WebhookCounts> {
        self.read(|tables| Ok(tables.count(webhook)))
    }
}

impl Tables {
    fn count(&self, webhook: &WebhookName) -> WebhookCounts {
        let pending = self.waiting_for(webhook).filter(|each| each.is_pending());
        let heads = self.heads(webhook);
        let oldest = heads.filter_map(|(_, head)| Some(self.event(&head.event_id)?.created_at));
        let mut counts = WebhookCounts {
            name: webhook.clone(),
            pending: pending.count() as u64,
            oldest_pending: oldest.min(),
            exhausted: 0,
            latest_exhausted: None,
            disabled: 0,
            health: self.webhooks.get(webhook).cloned().unwrap_or_default(),
        };
        let first = self.newest_cursor() - SEARCHED + 1;
        for (_, event) in self.events.range(first..) {
            match self.delivery(&event.id, webhook).map(|each| each.state) {
                Some(DeliveryState::Exhausted) => {
                    counts.exhausted += 1;
                    let latest = Some(event.created_at);
                    counts.latest_exhausted = counts.latest_exhausted.max(latest);
                }
                Some(DeliveryState::Disabled) => counts.disabled += 1,
                _ => {}
            }
        }
        counts
    }
}
