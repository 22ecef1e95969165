//! Recording many jobs' changes in one transaction.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use jobtrackd_core::cadence::Progress;
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Observation;
use jobtrackd_core::time::UnixMillis;

use super::lanes::Lane;
use super::rows::{Delivery, Event, Job, Step};
use super::store::Store;
use super::tables::{Tables, refused};
use crate::{Batch, Commits, Committed, Recordable, Result, ScheduleUpdate, TransitionRow};

impl Commits for Store {
    async fn commit(&self, batch: &Batch) -> Result<Committed> {
        self.write(|tables, now| tables.record(batch, batch.now.unwrap_or(now)))
    }
}

impl Tables {
    fn record(&mut self, batch: &Batch, now: UnixMillis) -> Result<Committed> {
        let mut committed = self.record_observations(&batch.observations, now)?;
        let attempts = self.record_attempts(&batch.attempts)?;
        committed.unexpected_attempts = attempts.unexpected;
        let mut lanes = attempts.lanes;
        lanes.extend(self.record_expiries(&batch.expiries, now));
        self.promote_heads(&lanes, now);
        let webhooks = lanes.into_iter().map(|(webhook, _)| webhook);
        committed.webhooks.extend(webhooks);
        for update in &batch.schedules {
            let is_open = |job: &Job| job.is_of(update) && !job.has_ended();
            if self.jobs.get(&update.job_id).is_some_and(is_open) {
                self.change_job(&update.job_id, |job| job.schedule(update))?;
            }
        }
        for (id, seen) in &batch.poll_requests_taken {
            let is_it = |(_, changed): (&i64, &JobId)| changed == id;
            let has_changed = self.changes.range(seen + 1..).any(is_it);
            let job = self.jobs.get(id);
            let is_requested = job.is_some_and(|job| job.row.poll_requested);
            if is_requested && !has_changed {
                self.change_job(id, |job| job.row.poll_requested = false)?;
            }
        }
        if let Some(seen) = batch.changes_seen {
            let seen: Vec<i64> = self.changes.range(..=seen).map(|(seq, _)| *seq).collect();
            for seq in seen {
                self.changes.remove(&seq);
            }
        }
        if let Some((origin, until)) = &batch.upstream_paused {
            self.upstreams.put(origin.clone(), *until);
        }
        Ok(committed)
    }

    fn record_observations(
        &mut self,
        observations: &[Recordable],
        now: UnixMillis,
    ) -> Result<Committed> {
        let mut recorded = HashSet::new();
        let mut lanes: BTreeSet<Lane> = BTreeSet::new();
        for each in observations {
            let seen = &each.observation;
            let job = self.jobs.get(&seen.job_id);
            let is_as_seen = |job: &Job| {
                job.is_of(&each.schedule) && job.revision == seen.revision && !job.has_ended()
            };
            if !job.is_some_and(is_as_seen) {
                continue;
            }
            recorded.insert(seen.job_id.clone());
            self.change_job(&seen.job_id, |job| job.observe(each))?;
            self.record_steps(seen);
            self.record_transitions(seen)?;
            self.record_events(each)?;
            let webhooks = each.webhooks.iter().flatten();
            lanes.extend(webhooks.map(|webhook| (webhook.clone(), seen.job_id.clone())));
        }
        self.promote_heads(&lanes, now);
        Ok(Committed {
            recorded,
            webhooks: lanes.into_iter().map(|(webhook, _)| webhook).collect(),
            ..Committed::default()
        })
    }

    /// A step is updated exactly when it has a transition: a result that differs only in its text is stored, but is not an
    /// update.
    fn record_steps(&mut self, seen: &Observation) {
        for step in &seen.steps {
            let mut changes = seen.transitions.iter();
            let changed =
                changes.any(|to| (&to.title, to.occurrence) == (&step.title, step.occurrence));
            let key = (seen.job_id.clone(), step.title.clone(), step.occurrence);
            let known = self.steps.get(&key);
            let row = Step {
                step: step.clone(),
                first_seen_at: known.map_or(seen.at, |known| known.first_seen_at),
                updated_at: match known {
                    Some(known) if !changed => known.updated_at,
                    _ => seen.at,
                },
            };
            self.steps.put(key, row);
        }
    }

    fn record_transitions(&mut self, seen: &Observation) -> Result<()> {
        let remote = seen.remote.as_ref();
        for each in &seen.transitions {
            let key = (seen.job_id.clone(), each.seq);
            if self.transitions.contains(&key) {
                return refused("UNIQUE constraint failed: transitions.job_id, transitions.seq");
            }
            let row = TransitionRow {
                seq: each.seq,
                position: each.position,
                title: each.title.clone(),
                occurrence: each.occurrence,
                from: each.from.clone(),
                to: each.to.clone(),
                class: each.class,
                result: each.result.clone(),
                observed_at: seen.at,
                remote_updated: remote.and_then(|remote| remote.updated.clone()),
            };
            self.transitions.put(key, row);
        }
        Ok(())
    }

    fn record_events(&mut self, each: &Recordable) -> Result<()> {
        let seen = &each.observation;
        let none = Vec::new();
        let webhooks = each.webhooks.iter().chain(std::iter::repeat(&none));
        for (event, webhooks) in seen.events.iter().zip(webhooks) {
            let row = Event {
                cursor: 0,
                id: event.id.clone(),
                job_id: seen.job_id.clone(),
                sequence: event.sequence,
                kind: event.kind,
                created_at: event.created_at,
                step: event.step.clone(),
                transition_seq: event.transition_seq,
                body: Arc::from(event.body.as_str()),
            };
            self.insert_event(row.clone())?;
            for webhook in webhooks {
                if self.delivery(&row.id, webhook).is_some() {
                    return refused(
                        "UNIQUE constraint failed: deliveries.event_id, deliveries.webhook",
                    );
                }
                let mut delivery = Delivery::new(&row, webhook, self.first_state(webhook));
                delivery.expires_at = event.expires_at;
                self.put_delivery(delivery);
            }
        }
        Ok(())
    }
}

impl Job {
    /// Takes over what was observed.
    fn observe(&mut self, each: &Recordable) {
        let (seen, schedule) = (&each.observation, &each.schedule);
        let ended = seen.state.is_final();
        if let Some(remote) = &seen.remote {
            self.resource = remote.resource.as_deref().map(Arc::from);
            self.remote_updated.clone_from(&remote.updated);
            self.remote_user.clone_from(&remote.user);
            self.users.clone_from(&remote.users);
        }
        self.failure.clone_from(&seen.failure);
        self.finished_at = ended.then_some(seen.at);
        let bytes: usize = seen.events.iter().map(|event| event.body.len()).sum();
        self.event_bytes += bytes as u64;
        self.revision += 1;
        self.row.is_blank = false;
        self.row.state = seen.state;
        self.schedule(schedule);
        self.row.progress.limited = seen.limited;
        if ended {
            self.row.next_poll_at = None;
        }
    }

    /// Whether it is that of the row, not of another with the same id.
    fn is_of(&self, update: &ScheduleUpdate) -> bool {
        self.row.created_at == update.created_at
    }

    /// Takes over what its polls have come to. What has no column is not kept.
    fn schedule(&mut self, update: &ScheduleUpdate) {
        let (old, new) = (&self.row.progress, &update.progress);
        self.row.progress = Progress {
            polls: old.polls.max(new.polls),
            quiet_polls: new.quiet_polls,
            consecutive_errors: new.consecutive_errors,
            last_error: new.last_error.clone(),
            last_polled_at: new.last_polled_at,
            not_found_since: new.not_found_since,
            queued: new.queued,
            limited: old.limited,
            ..Progress::default()
        };
        self.row.next_poll_at = update.next_poll_at;
    }
}
