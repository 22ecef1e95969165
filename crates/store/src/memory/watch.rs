//! Many jobs at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::rows::Job;
use super::store::Store;
use super::tables::Tables;
use crate::{DeliveryCounts, JobProgress, Overview, Result, StepRow, Watching};

/// Most pending deliveries that are counted.
const MOST_PENDING: usize = 100_000;

/// Most webhooks that are named.
const MOST_NAMES: usize = 20;

/// The deliveries of a webhook that were attempted last are due last.
const HEADS: usize = 100;

impl Watching for Store {
    async fn overview(&self, ended_since: UnixMillis) -> Result<Overview> {
        self.read(|tables| {
            let jobs = || tables.jobs.values();
            let waiting = tables.waiting.keys();
            let waiting = waiting.filter_map(|key| tables.deliveries.get(key));
            let pending = waiting.filter(|each| each.is_pending());
            let pending = pending.take(MOST_PENDING).count();
            let failing = tables.receivers.keys();
            let failing = failing.filter(|name| tables.is_failing(name));
            let disabled = tables.webhooks.iter();
            let disabled = disabled.filter(|(_, row)| row.disabled.is_some());
            let running = jobs().filter(|job| !job.has_ended()).count();
            let ended = jobs().filter(|job| job.finished_at >= Some(ended_since));
            Ok(Overview {
                running: running as u64,
                ended: ended.count() as u64,
                pending: u32::try_from(pending).unwrap_or(u32::MAX),
                failing: failing.take(MOST_NAMES).map(ToString::to_string).collect(),
                disabled: disabled
                    .take(MOST_NAMES)
                    .map(|(name, _)| name.to_string())
                    .collect(),
            })
        })
    }

    async fn recently_changed(&self, ended_since: UnixMillis, limit: u32) -> Result<Vec<JobId>> {
        let limit = limit as usize;
        self.read(|tables| {
            let jobs = tables.jobs.values();
            let (ended, mut running): (Vec<&Job>, Vec<&Job>) =
                jobs.partition(|job| job.has_ended());
            let changed = running.clone().into_iter();
            let changed = changed.filter(|job| tables.transitions_of(&job.row.id).next().is_some());
            running.sort_by_key(|job| Reverse(job.number));
            let mut ended: Vec<&Job> = ended
                .into_iter()
                .filter(|job| job.finished_at >= Some(ended_since))
                .collect();
            ended.sort_by_key(|job| Reverse((job.finished_at, job.number)));
            let newest = running.into_iter().take(limit);
            let found = newest.chain(ended.into_iter().take(limit)).chain(changed);
            let mut found: Vec<&Job> = found.collect();
            found.sort_by_key(|job| Reverse((tables.changed_at(job), &job.row.id)));
            found.dedup_by_key(|job| &job.row.id);
            let ids = found.into_iter().take(limit);
            Ok(ids.map(|job| job.row.id.clone()).collect())
        })
    }

    async fn progress(&self, ids: &[JobId]) -> Result<Vec<JobProgress>> {
        self.read(|tables| {
            let jobs = ids.iter().filter_map(|id| tables.jobs.get(id));
            Ok(jobs.map(|job| tables.progress_of(job)).collect())
        })
    }
}

impl Tables {
    /// Whether one of the deliveries that were attempted last waits after a failure.
    fn is_failing(&self, webhook: &WebhookName) -> bool {
        let mut latest: BTreeMap<_, bool> = BTreeMap::new();
        for (due, head) in self.heads(webhook) {
            let place = (Reverse(due), Reverse(head.event_id.as_str()));
            latest.insert(place, head.last_error.is_some());
        }
        latest.into_values().take(HEADS).any(|failed| failed)
    }

    /// When its latest transition was observed; before the first one, when it was inserted.
    fn changed_at(&self, job: &Job) -> UnixMillis {
        let latest = self.transitions_of(&job.row.id).next_back();
        latest.map_or(job.row.created_at, |latest| latest.observed_at)
    }

    fn progress_of(&self, job: &Job) -> JobProgress {
        let id = &job.row.id;
        let steps = self.step_rows(id).into_iter().map(|step| StepRow {
            result: None,
            ..step
        });
        let mut counts = DeliveryCounts::default();
        for each in self.deliveries_of_job(id) {
            counts.attempts += u64::from(each.attempts);
            match each.state {
                DeliveryState::Delivered => counts.delivered += 1,
                DeliveryState::Exhausted => counts.exhausted += 1,
                DeliveryState::Disabled => counts.disabled += 1,
                DeliveryState::Pending => {
                    counts.pending += 1;
                    counts.refused += u64::from(each.last_error.is_some());
                }
            }
        }
        let latest = self.transitions_of(id).next_back();
        JobProgress {
            last_seq: latest.map_or(0, |latest| latest.seq),
            changed_at: self.changed_at(job),
            deliveries: counts,
            summary: job.summary(steps.collect()),
        }
    }
}
