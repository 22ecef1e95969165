//! Deadlines and the wall clock: when a job expires, and what a clock that was set changes.

use std::time::Duration;

use tokio::time::Instant;

use super::Poller;
use super::followed::{Followed, State};
use crate::core::job::{Failure, FailureKind, JobId};
use crate::core::time::UnixMillis;

/// How long after its deadline an answer about a job is waited for (docs/jobs.md, "The poll at the deadline").
const FINAL_POLL_WINDOW: Duration = Duration::from_secs(5 * 60);

/// A deadline noticed this much late passed while the daemon was down or stalled.
const LATE: Duration = Duration::from_secs(60);

impl Followed {
    /// When something is to be done about its deadline.
    pub(super) fn alarm(&self) -> UnixMillis {
        self.final_poll_until.unwrap_or(self.deadline)
    }

    /// The end of one whose deadline has passed.
    pub(super) fn expired(&self, shown: bool) -> Failure {
        let unseen = if shown {
            ""
        } else {
            ", and no answer could be had after that"
        };
        let detail = format!("the job had not ended by {}{unseen}", self.deadline);
        Failure::decided(FailureKind::Expired, "Deadline passed", detail)
    }
}

impl Poller {
    /// Polls the jobs whose deadline has passed once more, and ends those for which that took too long.
    pub(super) fn expire(&mut self) {
        let now = self.context.clock.now();
        while let Some(id) = self.schedule.pop_expired(now) {
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            // One that was down when the deadline passed has as long.
            let late = now.since(job.deadline) > LATE;
            let begins = if late { now } else { job.deadline };
            let until = begins.plus(FINAL_POLL_WINDOW);
            if job.final_poll_until.is_some() || job.not_before.is_some_and(|at| at > until) {
                let failure = job.expired(false);
                self.end(&id, failure);
                continue;
            }
            job.final_poll_until = Some(until);
            self.schedule.set_deadline(&id, None, Some(until));
            if matches!(job.state, State::Scheduled(_)) {
                let earliest = job.not_before.unwrap_or(now).max(job.rest_until);
                job.next_poll_at = now.max(earliest);
                self.reschedule(&id);
            }
        }
    }

    /// Gives a job another deadline; a final poll for an earlier one is called off.
    pub(super) fn set_deadline(&mut self, id: &JobId, deadline: UnixMillis) {
        if let Some(job) = self.jobs.get_mut(id)
            && job.deadline != deadline
        {
            let before = job.alarm();
            job.deadline = deadline;
            job.final_poll_until = None;
            self.schedule.set_deadline(id, Some(before), Some(deadline));
            self.reschedule(id);
        }
    }

    /// The wall clock was set. Delays go on as they were; what waits for a time of day waits for the new one.
    pub(super) fn retime(&mut self) {
        let (now, wall) = (Instant::now(), self.context.clock.now());
        let ids: Vec<JobId> = self.jobs.keys().cloned().collect();
        for id in ids {
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            job.progress.not_found_since = None;
            if let State::Scheduled(entry) = &job.state {
                let held = job.not_before.is_some_and(|at| at >= job.next_poll_at);
                let left = entry.due().saturating_duration_since(now);
                let due = if held { wall } else { wall.plus(left) };
                job.next_poll_at = due.max(job.not_before.unwrap_or(due));
                job.rest_until = job.rest_until.min(job.next_poll_at);
            }
            if let Some(until) = job.final_poll_until.take_if(|_| job.deadline > wall) {
                let deadline = Some(job.deadline);
                self.schedule.set_deadline(&id, Some(until), deadline);
            }
            self.reschedule(&id);
        }
    }
}
