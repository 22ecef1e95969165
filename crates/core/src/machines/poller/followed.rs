//! The followed jobs: adds them from rows, updates them, ends them.

use std::sync::Arc;
use std::time::Duration;

use super::schedule::Rank;
use super::{Effect, FLUSH, Poller, Report};
use crate::cadence::Progress;
use crate::job::{Failure, FailureKind, JobId};
use crate::machines::poll::{Random, Settings};
use crate::planted::{self, Bug};
use crate::rows::JobRow;
use crate::text::printable;
use crate::time::{Monotonic, Now, UnixMillis};

/// Longest window over which the polls of jobs overdue at start are spread …
const SPREAD: Duration = Duration::from_secs(10);

/// … and the number of such jobs from which on it is used in full.
const SPREAD_JOBS: f64 = 1000.0;

/// A poll is recorded as polled a little before its delay begins.
const SLACK: Duration = Duration::from_secs(1);

/// Most names of unconfigured webhooks that are reported as new; rows may name any number.
const MAX_UNKNOWN_REPORTED: usize = 100;

/// A job that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) url: Option<Arc<str>>,
    pub(super) webhook: Option<Arc<str>>,
    pub(super) priority: i64,
    /// Whether its next poll was requested.
    pub(super) urgent: bool,
    pub(super) not_before: Option<UnixMillis>,
    /// When the row was inserted.
    pub(super) created_at: UnixMillis,
    /// The row's own deadline.
    pub(super) deadline_at: Option<UnixMillis>,
    pub(super) deadline: UnixMillis,
    /// After the deadline: the end of the window for the final poll.
    pub(super) final_poll_until: Option<UnixMillis>,
    pub(super) progress: Progress,
    pub(super) hash: Option<u64>,
    /// Until when it is not polled because of a `Retry-After`.
    pub(super) paused_until: UnixMillis,
    pub(super) next_poll_at: UnixMillis,
    pub(super) state: State,
}

impl Followed {
    /// Its order among the due jobs.
    pub(super) fn rank(&self) -> Rank {
        Rank {
            urgent: self.urgent,
            is_final: self.final_poll_until.is_some(),
            priority: self.priority,
        }
    }
}

#[derive(Debug)]
pub(super) enum State {
    /// Waits for its next poll, which is due then.
    Scheduled(Monotonic),
    /// Waits for its end to be recorded, until fewer other ends are in work.
    Ending(Failure),
    /// Being polled or ended. `may_cut`: an end may cut the poll short, `then` follows right after it, `is_final`: it began
    /// after the deadline.
    Polling {
        may_cut: bool,
        then: Then,
        is_final: bool,
    },
}

/// What follows the poll in flight.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    PollAgain,
    End(Failure),
    /// The row shows that the job has ended.
    Forget,
    /// The row was deleted, and another one of the same id inserted.
    Follow(Box<JobRow>),
}

impl Poller {
    pub(super) fn adopt_backlog(&mut self, rows: Vec<JobRow>, now: Now, random: Random<'_>) {
        self.overdue += rows
            .iter()
            .filter(|row| row.next_poll_at.is_some_and(|at| at <= now.wall))
            .count();
        #[expect(
            clippy::cast_precision_loss,
            reason = "a count of jobs, used as a fraction"
        )]
        let window = SPREAD.mul_f64((self.overdue as f64 / SPREAD_JOBS).min(1.0));
        for row in rows {
            let was_polled = row.next_poll_at.is_some();
            let share = if was_polled { random() } else { 0.0 };
            self.adopt(row, window.mul_f64(share), now);
        }
    }

    /// Handles a row that is new or has changed. An overdue job is polled after `spread`.
    pub(super) fn adopt(&mut self, row: JobRow, spread: Duration, now: Now) {
        if let Some(has_changed) = self.rereading.get_mut(&row.id) {
            *has_changed = true;
            return;
        }
        let id = row.id.clone();
        if let Some(job) = self.jobs.get_mut(&id) {
            let is_another = job.created_at != row.created_at;
            match &mut job.state {
                // Its poll is in flight, so that it stays until that is over.
                State::Polling { then, .. } if row.state.is_final() => {
                    *then = Then::Forget;
                    return;
                }
                State::Polling { then, .. } if is_another || matches!(then, Then::Forget) => {
                    *then = Then::Follow(Box::new(row));
                    return;
                }
                State::Polling { .. } => {}
                _ if is_another => self.forget(&id),
                _ => {}
            }
        }
        if row.state.is_final() {
            self.forget(&id);
            return;
        }
        let (cancel, poll_now) = (row.cancel_requested, row.poll_requested);
        if self.jobs.contains_key(&id) {
            self.update(row, now);
        } else {
            self.follow(row, spread, now);
        }
        if cancel {
            let detail = "cancel_requested was set".to_owned();
            self.end(
                &id,
                Failure::decided(FailureKind::Cancelled, "Cancelled", detail),
            );
        } else if poll_now {
            self.poll_now(&id, now);
        }
    }

    /// Follows a job again whose row was read again, unless the row has changed since.
    pub(super) fn reread(&mut self, id: &JobId, row: Option<JobRow>, now: Now) {
        match self.rereading.get_mut(id) {
            Some(has_changed) if *has_changed => {
                *has_changed = false;
                self.effects.push(Effect::ReadRow(id.clone()));
            }
            Some(_) => {
                self.rereading.remove(id);
                if let Some(row) = row {
                    self.adopt(row, Duration::ZERO, now);
                }
            }
            None => {}
        }
    }

    fn follow(&mut self, row: JobRow, spread: Duration, now: Now) {
        let wall = now.wall;
        self.count_unknown_webhook(&row.id, None, row.webhook.as_deref());
        let deadline = row
            .deadline_at
            .unwrap_or(row.created_at.plus(self.settings.policy.deadline));
        let longest = self.settings.longest_wait(&row.progress);
        let next_poll_at = match row.next_poll_at {
            // A clock that was ahead, or other settings, may have set it years ahead.
            Some(at) if at > wall => at.min(wall.plus(longest)),
            _ => wall.plus(spread),
        };
        let next_poll_at = next_poll_at.max(row.not_before.unwrap_or(next_poll_at));
        self.schedule.set_deadline(&row.id, None, Some(deadline));
        let due = now.until(next_poll_at);
        self.schedule.insert(&row.id, due);
        if row.next_poll_at.is_some_and(|at| at > next_poll_at) {
            self.unwritten.insert(row.id.clone());
            self.flush_at.get_or_insert(now.monotonic.plus(FLUSH));
        }
        // Only a `Retry-After` makes the next poll come later than after any error.
        let errors = row.progress.consecutive_errors;
        let backoff = self.settings.policy.error_delay(errors, 1.0);
        let polled = row.progress.last_polled_at;
        let is_paused =
            errors > 0 && polled.is_some_and(|at| next_poll_at > at.plus(backoff + SLACK));
        let paused_until = if is_paused {
            next_poll_at
        } else {
            UnixMillis(0)
        };
        let followed = Followed {
            url: row.url.map(Arc::from),
            webhook: row.webhook.map(Arc::from),
            priority: row.priority,
            urgent: false,
            not_before: row.not_before,
            created_at: row.created_at,
            deadline_at: row.deadline_at,
            deadline,
            final_poll_until: None,
            progress: row.progress,
            hash: None,
            paused_until,
            next_poll_at,
            state: State::Scheduled(due),
        };
        let report = Report::Followed(row.id.clone());
        self.effects.push(Effect::Report(report));
        self.jobs.insert(row.id, followed);
    }

    fn update(&mut self, row: JobRow, now: Now) {
        let default_deadline = row.created_at.plus(self.settings.policy.deadline);
        let named = self.jobs.get(&row.id).and_then(|job| job.webhook.clone());
        if named.as_deref() != row.webhook.as_deref() {
            self.count_unknown_webhook(&row.id, named.as_deref(), row.webhook.as_deref());
        }
        let Some(job) = self.jobs.get_mut(&row.id) else {
            return;
        };
        let deadline = row.deadline_at.unwrap_or(default_deadline);
        let retimed = (job.priority, job.not_before) != (row.priority, row.not_before);
        if job.not_before != row.not_before {
            // A job that waited for its `not_before` is due at the new one.
            let held = job.not_before.is_some_and(|at| at >= job.next_poll_at);
            let wanted = if held { now.wall } else { job.next_poll_at };
            job.next_poll_at = wanted.max(row.not_before.unwrap_or(wanted));
        }
        job.url = row.url.map(Arc::from);
        job.webhook = row.webhook.map(Arc::from);
        job.priority = row.priority;
        job.not_before = row.not_before;
        job.deadline_at = row.deadline_at;
        if retimed {
            self.reschedule(&row.id, now);
        }
        self.set_deadline(&row.id, deadline, now);
    }

    /// Applies the settings of a reload; polls in flight keep those with which they began.
    pub(super) fn renew(&mut self, settings: Settings, max_in_flight: usize, now: Now) {
        self.max_in_flight = max_in_flight.max(1);
        self.settings = Arc::new(settings);
        self.recorded_pause = UnixMillis(0);
        self.unknown_webhooks = 0;
        self.unknown_reported.clear();
        self.trial = None;
        for id in self.sorted_ids() {
            self.renew_job(&id, now);
        }
    }

    /// The followed jobs in a fixed order, since the map has none.
    pub(super) fn sorted_ids(&self) -> Vec<JobId> {
        let mut ids: Vec<JobId> = self.jobs.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Applies other settings to one job: its deadline, and the longest delay of its next poll, `not_before` aside.
    fn renew_job(&mut self, id: &JobId, now: Now) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if planted::is(Bug::ReloadPollsTwice) && matches!(job.state, State::Polling { .. }) {
            job.state = State::Scheduled(now.monotonic);
            self.schedule.insert(id, now.monotonic);
        }
        let webhook = job.webhook.clone();
        let default = self.settings.policy.deadline;
        let deadline = job.deadline_at.unwrap_or(job.created_at.plus(default));
        let longest = self.settings.longest_wait(&job.progress);
        let due = job.next_poll_at.min(now.wall.plus(longest));
        let due = due.max(job.not_before.unwrap_or(due));
        if due != job.next_poll_at && matches!(job.state, State::Scheduled(_)) {
            job.next_poll_at = due;
            self.reschedule(id, now);
        }
        self.set_deadline(id, deadline, now);
        self.count_unknown_webhook(id, None, webhook.as_deref());
    }

    /// Updates a job's entry after the time of its next poll, or its rank, has changed.
    pub(super) fn reschedule(&mut self, id: &JobId, now: Now) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if let State::Scheduled(due) = &mut job.state {
            self.schedule.remove(id, *due);
            *due = now.until(job.next_poll_at);
            self.schedule.insert(id, *due);
        }
    }

    /// Counts the followed jobs that name a webhook that is not configured: this one named `before` and names `after`.
    fn count_unknown_webhook(&mut self, id: &JobId, before: Option<&str>, after: Option<&str>) {
        let unknown = |name: &&str| !self.settings.subscriptions.contains(name);
        if before.filter(unknown).is_some() {
            self.unknown_webhooks = self.unknown_webhooks.saturating_sub(1);
        }
        if let Some(webhook) = after.filter(unknown) {
            self.unknown_webhooks += 1;
            let webhook = printable(webhook, 64);
            // New once per name, since thousands of jobs may have it.
            let reported = &mut self.unknown_reported;
            let is_new = reported.len() < MAX_UNKNOWN_REPORTED && reported.insert(webhook.clone());
            self.effects.push(Effect::Report(Report::UnknownWebhook {
                id: id.clone(),
                webhook,
                is_new,
            }));
        }
    }

    pub(super) fn poll_now(&mut self, id: &JobId, now: Now) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut job.state {
            State::Ending(_) => {}
            State::Polling { then, .. } => {
                if matches!(then, Then::Nothing) {
                    *then = Then::PollAgain;
                }
            }
            State::Scheduled(_) => {
                job.progress.poll_requested(now.wall);
                job.urgent = true;
                job.next_poll_at = now.wall.max(job.not_before.unwrap_or(now.wall));
                // The row's `poll_requested` is reset, so that after a crash nothing else would know of it.
                self.unwritten.insert(id.clone());
                self.flush_at.get_or_insert(now.monotonic.plus(FLUSH));
                self.reschedule(id, now);
            }
        }
    }

    /// Ends a job by our own decision: a request in flight is cut short, a commit is awaited.
    pub(super) fn end(&mut self, id: &JobId, failure: Failure) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut job.state {
            State::Polling { may_cut, then, .. } => {
                *then = Then::End(failure.clone());
                if std::mem::take(may_cut) {
                    self.effects.push(Effect::Cut(id.clone(), failure));
                }
            }
            State::Scheduled(due) => {
                self.schedule.remove(id, *due);
                job.state = State::Ending(failure);
                self.ends.push_back(id.clone());
            }
            State::Ending(_) => {}
        }
    }

    pub(super) fn forget(&mut self, id: &JobId) {
        let Some(job) = self.jobs.remove(id) else {
            return;
        };
        self.unwritten.remove(id);
        self.effects.push(Effect::Forget(id.clone()));
        self.count_unknown_webhook(id, job.webhook.as_deref(), None);
        self.schedule
            .set_deadline(id, Some(job.deadline_entry()), None);
        if let State::Scheduled(due) = job.state {
            self.schedule.remove(id, due);
        }
    }
}
