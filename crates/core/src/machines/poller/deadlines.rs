//! Deadlines and the wall clock: when a job expires, and what changes when the clock is set.

use std::time::Duration;

use super::Poller;
use super::job::{Followed, State};
use super::kept::MaybeTime;
use super::number::Number;
use crate::job::{Failure, FailureKind};
use crate::planted::{self, Bug};
use crate::time::{Now, UnixMillis};

/// How long after its deadline an answer about a job is waited for (docs/jobs.md, "The poll at the deadline").
const FINAL_POLL_WINDOW: Duration = Duration::from_secs(5 * 60);

/// A deadline noticed this late passed while the daemon was down or stalled.
const LATE: Duration = Duration::from_secs(60);

impl Followed {
    /// Its entry among the deadlines: the deadline, or after that the end of the final poll's window.
    pub(super) fn deadline_entry(&self) -> UnixMillis {
        self.final_poll_until.get().unwrap_or(self.deadline)
    }

    /// The failure of a job whose deadline has passed; `polled`: its final poll had a usable answer.
    pub(super) fn expired(&self, polled: bool) -> Failure {
        let unseen = if polled {
            ""
        } else {
            ", and there was no answer after that"
        };
        let detail = format!("the job had not ended by {}{unseen}", self.deadline);
        Failure::decided(FailureKind::Expired, "Deadline passed", detail)
    }
}

impl Poller {
    /// Starts the final poll of jobs whose deadline has passed, and ends those whose window for it is over.
    pub(super) fn expire(&mut self, now: Now) {
        while let Some(number) = self.schedule.pop_expired(now.wall, |number| {
            self.jobs.get(number).map(Followed::deadline_entry)
        }) {
            let Some(job) = self.jobs.get_mut(number) else {
                continue;
            };
            // A daemon that was down at the deadline waits as long from now on.
            let late = now.wall.since(job.deadline) > LATE;
            let begins = if late { now.wall } else { job.deadline };
            let until = begins.plus(FINAL_POLL_WINDOW);
            let is_over = job.is_final() || planted::is(Bug::NoFinalPoll);
            if is_over || job.not_before().is_some_and(|at| at > until) {
                let failure = job.expired(false);
                self.end(number, failure);
                continue;
            }
            job.final_poll_until = Some(until).into();
            self.schedule.set_deadline(number, None, Some(until));
            if matches!(job.state, State::Scheduled(_)) {
                let earliest = job.not_before().unwrap_or(now.wall).max(job.paused_until);
                job.next_poll_at = now.wall.max(earliest);
                self.reschedule(number, now);
            }
        }
    }

    /// Changes a job's deadline; cancels the final poll for an earlier one.
    pub(super) fn set_deadline(&mut self, number: Number, deadline: UnixMillis, now: Now) {
        if let Some(job) = self.jobs.get_mut(number)
            && job.deadline != deadline
        {
            let before = job.deadline_entry();
            job.deadline = deadline;
            job.final_poll_until = MaybeTime::NONE;
            self.schedule
                .set_deadline(number, Some(before), Some(deadline));
            self.reschedule(number, now);
        }
    }

    /// The wall clock was set. Delays stay as they were; times of day (`not_before`, deadlines) follow the new clock.
    pub(super) fn retime(&mut self, now: Now) {
        let wall = now.wall;
        for number in self.jobs.numbers() {
            let Some(job) = self.jobs.get_mut(number) else {
                continue;
            };
            job.progress.forget_not_found();
            if let State::Scheduled(due) = job.state {
                let not_before = job.not_before();
                let held = not_before.is_some_and(|at| at >= job.next_poll_at);
                let kept = wall.plus(due.since(now.monotonic));
                // A `Retry-After` lasts as long as it was asked for.
                let set_by = kept.0.saturating_sub(job.next_poll_at.0);
                let paused_until = UnixMillis(job.paused_until.0.saturating_add(set_by));
                let due = if held { wall } else { kept };
                job.next_poll_at = due.max(not_before.unwrap_or(due));
                job.paused_until = paused_until.min(job.next_poll_at);
            }
            if let Some(until) = job.final_poll_until.get()
                && job.deadline > wall
            {
                job.final_poll_until = MaybeTime::NONE;
                let deadline = Some(job.deadline);
                self.schedule.set_deadline(number, Some(until), deadline);
            }
            self.reschedule(number, now);
        }
    }
}
