//! After everything was healed: all is done within a bound.

use jobtrackd_core::delivery::DeliveryState;
use jobtrackd_store::DeliveryFilter;

use super::{Oracle, broken};
use crate::database::Database;
use crate::plan::{Fault, Plan, Settings};
use crate::time::{MINUTE, Time, shown};
use crate::world::Violation;

impl Oracle {
    /// Whether every job has ended and every event was delivered or given up.
    pub(crate) fn is_done(
        &mut self,
        database: &Database,
        plan: &Plan,
        settings: &Settings,
        now: Time,
    ) -> Result<bool, Violation> {
        let active = database.active_jobs(i64::MIN, 10).map_err(broken)?;
        let job = active.iter().find_map(|change| change.job.as_ref());
        if let Some(job) = job {
            if now > self.jobs_by(plan, settings) {
                let (id, state, at) = (&job.id, job.state, shown(now));
                return Err(format!("progress: the job {id} is still {state} at {at}"));
            }
            return Ok(false);
        }
        let Some(what) = self.undelivered(database)? else {
            return Ok(true);
        };
        match now > self.events_by(plan) {
            true => Err(format!("progress: {what} at {}", shown(now))),
            false => Ok(false),
        }
    }

    fn undelivered(&self, database: &Database) -> Result<Option<String>, Violation> {
        for name in &self.names {
            for state in [DeliveryState::Pending, DeliveryState::Disabled] {
                let filter = DeliveryFilter {
                    state: Some(state),
                    webhook: Some(name.as_str().to_owned()),
                    ..DeliveryFilter::default()
                };
                let rows = database.deliveries(filter).map_err(broken)?;
                if let Some(row) = rows.last() {
                    let (id, job, state) = (&row.event_id, &row.job_id, row.state.as_str());
                    return Ok(Some(format!("{id} of {job} is still {state} at {name}")));
                }
            }
        }
        Ok(None)
    }

    /// By when every job must have ended.
    fn jobs_by(&self, plan: &Plan, settings: &Settings) -> Time {
        // A row that was inserted while the clock was wrong has a deadline that is as wrong.
        let ahead = plan.faults.iter().map(|fault| match fault {
            Fault::ClockSet { millis, .. } => millis.unsigned_abs() * 1000,
            _ => 0,
        });
        let ahead: Time = ahead.sum();
        let rows = self.rows.values().flatten();
        let ends = rows.filter(|row| row.deleted.is_none()).map(|row| {
            let job = &plan.jobs[row.number];
            let default = row.inserted + settings.deadline + ahead;
            let deadline = job.row.deadline.unwrap_or(default);
            let deadline = deadline.max(job.row.not_before.unwrap_or(0));
            let end = job.story.end().unwrap_or(Time::MAX).min(deadline);
            end.max(row.inserted)
        });
        let ends = ends.max().unwrap_or(0).max(plan.horizon);
        let delay = settings.max_delay.max(settings.queued_delay);
        let delay = delay.max(settings.error_max_delay);
        ends + delay + delay / 8 + settings.max_retry_after + 20 * MINUTE
    }

    /// By when every event must be delivered or given up.
    fn events_by(&self, plan: &Plan) -> Time {
        let last = self.events.values().map(|event| event.committed).max();
        let retries = plan
            .webhooks
            .iter()
            .flat_map(|webhook| webhook.retry.iter());
        let retry = retries.max().copied().unwrap_or(0);
        last.unwrap_or(0).max(plan.horizon) + retry + retry / 4 + 15 * MINUTE
    }
}
