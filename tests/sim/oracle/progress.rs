//! After everything was healed: all is done within a bound.

use jobtrackd_core::delivery::DeliveryState;
use jobtrackd_store::DeliveryFilter;

use super::{Oracle, broken};
use crate::database::Database;
use crate::plan::{Fault, Plan, Settings};
use crate::time::{HOUR, MINUTE, Time, shown};
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
        let waits = self.what_waits(database)?;
        let Some(what) = waits else {
            return Ok(true);
        };
        match now > self.latest(plan, settings) {
            true => Err(format!("progress: {what} at {}", shown(now))),
            false => Ok(false),
        }
    }

    fn what_waits(&self, database: &Database) -> Result<Option<String>, Violation> {
        let active = database.active_jobs(i64::MIN, 10).map_err(broken)?;
        if let Some(job) = active.iter().find_map(|change| change.job.as_ref()) {
            return Ok(Some(format!(
                "the job {} has not ended ({})",
                job.id, job.state
            )));
        }
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

    /// By when all must be done.
    fn latest(&self, plan: &Plan, settings: &Settings) -> Time {
        let ahead = plan.faults.iter().map(|fault| match fault {
            Fault::ClockSet { millis, .. } => millis.unsigned_abs() * 1000,
            _ => 0,
        });
        let ahead: Time = ahead.sum();
        let ends = self.rows.values().flatten().map(|row| {
            let job = &plan.jobs[row.number];
            let default = row.inserted + settings.deadline + ahead;
            let deadline = job
                .row
                .deadline
                .unwrap_or(default)
                .max(job.row.not_before.unwrap_or(0));
            job.story.end().unwrap_or(Time::MAX).min(deadline)
        });
        let ends = ends.max().unwrap_or(0).max(plan.horizon);
        let polled = (settings.max_delay.max(settings.queued_delay)).max(settings.error_max_delay);
        let retry = plan
            .webhooks
            .iter()
            .flat_map(|webhook| webhook.retry.iter())
            .max()
            .copied()
            .unwrap_or(0);
        ends + polled
            + polled / 8
            + settings.max_retry_after
            + retry
            + retry / 4
            + ahead
            + HOUR
            + 10 * MINUTE
    }
}
