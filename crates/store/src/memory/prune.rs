//! Deletes what has reached its age, in parts: the attempts of a job first and its row last.

use std::time::Duration;

use jobtrackd_core::delivery::Trigger;
use jobtrackd_core::job::JobId;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

use super::rows::{Delivery, DeliveryKey, Job};
use super::store::Store;
use super::tables::Tables;
use crate::{EndPlace, Prunable, Prune, Pruned, Result, Retention};

/// Jobs that one search goes through.
const SEARCHED: usize = 1000;

/// Most bytes of bodies that one transaction deletes (1 MiB), unless a single event has more.
const BYTES: usize = 1 << 20;

impl Retention for Store {
    async fn prunable(
        &self,
        stage: Stage,
        before: UnixMillis,
        after: Option<EndPlace>,
    ) -> Result<(Vec<Prunable>, Option<EndPlace>)> {
        self.read(|tables| {
            let mut old: Vec<(UnixMillis, i64, &Job)> = Vec::new();
            for job in tables.jobs.values() {
                if let Some(at) = job.finished_at
                    && job.pruned == marked_before(stage)
                    && at < before
                    && after.is_none_or(|after| (at, job.number) > after)
                {
                    old.push((at, job.number, job));
                }
            }
            old.sort_by_key(|(at, number, _)| (*at, *number));
            old.truncate(SEARCHED);
            let last = old.last().map(|(at, number, _)| (*at, *number));
            let is_full = old.len() >= SEARCHED;
            let over = old.into_iter();
            let over = over.filter(|(_, _, job)| tables.is_over(&job.row.id, before));
            let prunable = over.map(|(finished_at, row, job)| Prunable {
                job_id: job.row.id.clone(),
                finished_at,
                row,
            });
            Ok((prunable.collect(), last.filter(|_| is_full)))
        })
    }

    async fn prune(&self, prune: Prune<'_>) -> Result<Pruned> {
        self.write(|tables, _| {
            let mut budget = Budget {
                rows: i64::from(prune.rows),
                bytes: i64::try_from(BYTES).unwrap_or(i64::MAX),
            };
            let (mut jobs, mut rows) = (0, 0);
            for Prunable { job_id, .. } in prune.jobs {
                let finished_at = tables.jobs.get(job_id).and_then(|job| job.finished_at);
                let is_old = finished_at.is_some_and(|at| at < prune.before);
                let mut is_done = true;
                if is_old && tables.is_over(job_id, prune.before) {
                    let before = budget.rows;
                    is_done = tables.prune_job(job_id, prune.stage, &mut budget)?;
                    rows += (before - budget.rows).unsigned_abs();
                }
                jobs += usize::from(is_done);
                // A job without rows to delete takes time too.
                budget.rows -= 1;
                if !is_done || budget.is_used_up() {
                    break;
                }
            }
            Ok(Pruned {
                jobs,
                rows,
                took: Duration::ZERO,
            })
        })
    }

    async fn prune_tests(&self, before: UnixMillis, rows: u32) -> Result<Pruned> {
        self.write(|tables, _| {
            let old = tables.attempts.iter().filter(|(_, attempt)| {
                attempt.trigger == Trigger::Test && attempt.started_at < before
            });
            let old: Vec<_> = old
                .take(rows as usize)
                .map(|(key, _)| key.clone())
                .collect();
            for key in &old {
                tables.attempts.remove(key);
            }
            Ok(Pruned {
                jobs: 0,
                rows: old.len() as u64,
                took: Duration::ZERO,
            })
        })
    }
}

/// The mark of jobs of which this part is not deleted yet.
fn marked_before(stage: Stage) -> u8 {
    match stage {
        Stage::Attempts => 0,
        Stage::Events => 1,
        Stage::Jobs => 2,
    }
}

/// What one transaction may still delete.
struct Budget {
    rows: i64,
    bytes: i64,
}

impl Budget {
    fn is_used_up(&self) -> bool {
        self.rows <= 0 || self.bytes <= 0
    }

    fn rows(&self) -> usize {
        usize::try_from(self.rows).unwrap_or(0)
    }

    /// Counts deleted rows; returns whether some of it is left.
    fn spend(&mut self, rows: usize) -> bool {
        self.rows -= i64::try_from(rows).unwrap_or(i64::MAX);
        !self.is_used_up()
    }
}

impl Tables {
    /// No delivery waits, and there was no attempt recently.
    fn is_over(&self, job: &JobId, before: UnixMillis) -> bool {
        let mut deliveries = self.deliveries_of_job(job);
        deliveries.all(|each| !each.waits() && each.last_attempt_at.is_none_or(|at| at < before))
    }

    /// Deletes rows of a job within the budget; returns whether all of this stage are deleted. When the budget is used up,
    /// there may be more.
    fn prune_job(&mut self, job: &JobId, stage: Stage, budget: &mut Budget) -> Result<bool> {
        let is_done = self.prune_attempts(job, budget)
            && (stage < Stage::Events
                || self.prune_deliveries(job, budget) && self.prune_events(job, budget))
            && (stage < Stage::Jobs
                || self.prune_transitions(job, budget) && self.prune_steps(job, budget));
        if !is_done {
            return Ok(false);
        }
        match stage {
            Stage::Jobs => {
                self.delete_job(job)?;
            }
            Stage::Attempts | Stage::Events => {
                let mark = marked_before(stage) + 1;
                self.change_job(job, |job| job.pruned = job.pruned.max(mark))?;
            }
        }
        Ok(true)
    }

    fn prune_attempts(&mut self, job: &JobId, budget: &mut Budget) -> bool {
        let events: Vec<String> = self.events_of(job).map(|event| event.id.clone()).collect();
        let mut deleted = 0;
        for event in &events {
            deleted += self.delete_attempts(event, budget.rows() - deleted);
        }
        budget.spend(deleted)
    }

    fn prune_deliveries(&mut self, job: &JobId, budget: &mut Budget) -> bool {
        let deliveries = self.deliveries_of_job(job).take(budget.rows());
        let keys: Vec<DeliveryKey> = deliveries.map(Delivery::key).collect();
        for key in &keys {
            self.delete_delivery(key);
        }
        budget.spend(keys.len())
    }

    /// At least one, whatever its size; also `false` when events are left.
    fn prune_events(&mut self, job: &JobId, budget: &mut Budget) -> bool {
        let (mut ids, mut up_to) = (Vec::new(), 0);
        for event in self.events_of(job).take(budget.rows()) {
            let bytes = i64::try_from(event.body.len()).unwrap_or(i64::MAX);
            up_to += bytes;
            if up_to > budget.bytes && up_to != bytes {
                break;
            }
            ids.push((event.id.clone(), bytes));
        }
        for (id, bytes) in &ids {
            self.delete_event(id);
            budget.bytes -= bytes;
        }
        let goes_on = budget.spend(ids.len());
        self.events_of(job).next().is_none() && goes_on
    }

    fn prune_transitions(&mut self, job: &JobId, budget: &mut Budget) -> bool {
        let found = self.transitions_of(job).take(budget.rows());
        let seqs: Vec<u32> = found.map(|each| each.seq).collect();
        for seq in &seqs {
            self.transitions.remove(&(job.clone(), *seq));
        }
        budget.spend(seqs.len())
    }

    fn prune_steps(&mut self, job: &JobId, budget: &mut Budget) -> bool {
        let mut keys = self.step_keys(job);
        keys.truncate(budget.rows());
        for key in &keys {
            self.steps.remove(key);
        }
        budget.spend(keys.len())
    }
}
