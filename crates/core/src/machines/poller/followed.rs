//! The followed jobs: adds them from rows, updates them, ends them.

use std::sync::Arc;
use std::time::Duration;

use super::job::{Followed, Rare, State, Then};
use super::kept::{MaybeTime, Soon};
use super::number::Number;
use super::{Effect, Poller, Report};
use crate::cadence::Progress;
use crate::job::{Failure, FailureKind, JobId};
use crate::machines::poll::{Random, Settings};
use crate::planted::{self, Bug};
use crate::rows::JobRow;
use crate::text::printable;
use crate::time::{Now, UnixMillis};

/// Longest window over which the polls of jobs overdue at start are spread …
const SPREAD: Duration = Duration::from_secs(10);

/// … and the number of such jobs from which on it is used in full.
const SPREAD_JOBS: f64 = 1000.0;

/// A poll is recorded as polled a little before its delay begins.
const SLACK: Duration = Duration::from_secs(1);

/// Most names of unconfigured webhooks that are reported as new; rows may name any number.
const MAX_UNKNOWN_REPORTED: usize = 100;

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
        let mut followed = self.jobs.find(&row.id);
        if let Some(number) = followed
            && let Some(job) = self.jobs.get_mut(number)
        {
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
                _ if is_another || row.state.is_final() => {
                    self.forget(number);
                    followed = None;
                }
                _ => {}
            }
        }
        if row.state.is_final() {
            return;
        }
        let (cancel, poll_now) = (row.cancel_requested, row.poll_requested);
        let number = match followed {
            Some(number) => self.update(number, &row, now),
            None => self.follow(row, spread, now),
        };
        let Some(number) = number else {
            return;
        };
        if cancel {
            let detail = "cancel_requested was set".to_owned();
            let failure = Failure::decided(FailureKind::Cancelled, "Cancelled", detail);
            self.end(number, failure);
        } else if poll_now {
            self.poll_now(number, now);
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

    fn follow(&mut self, row: JobRow, spread: Duration, now: Now) -> Option<Number> {
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
        let due = now.until(next_poll_at);
        let is_postponed = row.next_poll_at.is_some_and(|at| at > next_poll_at);
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
        self.effects
            .push(Effect::Report(Report::Followed(row.id.clone())));
        let number = self.jobs.insert(Followed {
            rare: Rare::of(&row),
            id: row.id,
            urgent: false,
            is_unwritten: false,
            is_blank: row.is_blank,
            created_at: row.created_at,
            deadline,
            final_poll_until: MaybeTime::NONE,
            progress: row.progress.into(),
            hash: None,
            paused_until,
            next_poll_at,
            state: State::Scheduled(due),
        })?;
        self.schedule.set_deadline(number, None, Some(deadline));
        self.schedule.insert(number, due);
        if is_postponed {
            self.is_unwritten(number, Soon::No, now.monotonic);
        }
        Some(number)
    }

    fn update(&mut self, number: Number, row: &JobRow, now: Now) -> Option<Number> {
        let default_deadline = row.created_at.plus(self.settings.policy.deadline);
        let before = self.jobs.get(number)?.rare().clone();
        if before.webhook.as_deref() != row.webhook.as_deref() {
            self.count_unknown_webhook(&row.id, before.webhook.as_deref(), row.webhook.as_deref());
        }
        if before.url.as_deref() != row.url.as_deref() {
            self.jobs.forget_etag(number);
        }
        let job = self.jobs.get_mut(number)?;
        let deadline = row.deadline_at.unwrap_or(default_deadline);
        let retimed = (before.priority, before.not_before) != (row.priority, row.not_before);
        if before.not_before != row.not_before {
            // A job that waited for its `not_before` is due at the new one.
            let held = before.not_before.is_some_and(|at| at >= job.next_poll_at);
            let wanted = if held { now.wall } else { job.next_poll_at };
            job.next_poll_at = wanted.max(row.not_before.unwrap_or(wanted));
        }
        job.rare = Rare::of(row);
        job.is_blank &= row.is_blank;
        if retimed {
            self.reschedule(number, now);
        }
        self.set_deadline(number, deadline, now);
        Some(number)
    }

    /// Applies the settings of a reload; polls in flight keep those with which they began.
    pub(super) fn renew(&mut self, settings: Settings, max_in_flight: usize, now: Now) {
        self.max_in_flight = max_in_flight.max(1);
        self.settings = Arc::new(settings);
        self.recorded_pause = UnixMillis(0);
        self.unknown_webhooks = 0;
        self.unknown_reported.clear();
        self.trial = None;
        for number in self.jobs.numbers() {
            self.renew_job(number, now);
        }
    }

    /// Applies other settings to one job: its deadline, and the longest delay of its next poll, `not_before` aside.
    fn renew_job(&mut self, number: Number, now: Now) {
        self.jobs.forget_etag(number);
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        if planted::is(Bug::ReloadPollsTwice) && matches!(job.state, State::Polling { .. }) {
            job.state = State::Scheduled(now.monotonic);
            self.schedule.insert(number, now.monotonic);
        }
        let (id, webhook) = (job.id.clone(), job.rare().webhook.clone());
        let default = self.settings.policy.deadline;
        let own = job.rare().deadline_at;
        let deadline = own.unwrap_or(job.created_at.plus(default));
        let longest = self.settings.longest_wait(&Progress::from(&job.progress));
        let due = job.next_poll_at.min(now.wall.plus(longest));
        let due = due.max(job.not_before().unwrap_or(due));
        if due != job.next_poll_at && matches!(job.state, State::Scheduled(_)) {
            job.next_poll_at = due;
            self.reschedule(number, now);
        }
        self.set_deadline(number, deadline, now);
        self.count_unknown_webhook(&id, None, webhook.as_deref());
    }

    /// Updates a job's entry after the time of its next poll, or its rank, has changed.
    pub(super) fn reschedule(&mut self, number: Number, now: Now) {
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        if let State::Scheduled(due) = &mut job.state {
            self.schedule.remove(number, *due);
            *due = now.until(job.next_poll_at);
            self.schedule.insert(number, *due);
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

    pub(super) fn poll_now(&mut self, number: Number, now: Now) {
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        let not_before = job.not_before();
        match &mut job.state {
            State::Ending(_) => {}
            State::Polling { then, .. } => {
                if matches!(then, Then::Nothing) {
                    *then = Then::PollAgain;
                }
            }
            State::Scheduled(_) => {
                let mut progress = Progress::from(&job.progress);
                progress.poll_requested(now.wall);
                job.progress = progress.into();
                job.urgent = true;
                job.next_poll_at = now.wall.max(not_before.unwrap_or(now.wall));
                // The row's `poll_requested` is reset, so that after a crash nothing else would know of it.
                self.is_unwritten(number, Soon::Yes, now.monotonic);
                self.reschedule(number, now);
            }
        }
    }

    /// Ends a job by our own decision: a request in flight is cut short, a commit is awaited.
    pub(super) fn end(&mut self, number: Number, failure: Failure) {
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        match &mut job.state {
            State::Polling { may_cut, then, .. } => {
                *then = Then::End(Box::new(failure.clone()));
                if std::mem::take(may_cut) {
                    self.effects.push(Effect::Cut(job.id.clone(), failure));
                }
            }
            State::Scheduled(due) => {
                self.schedule.remove(number, *due);
                job.state = State::Ending(Box::new(failure));
                self.ends.push_back(number);
            }
            State::Ending(_) => {}
        }
    }

    pub(super) fn forget(&mut self, number: Number) {
        let Some(job) = self.jobs.remove(number) else {
            return;
        };
        self.count_unknown_webhook(&job.id, job.rare().webhook.as_deref(), None);
        self.schedule
            .set_deadline(number, Some(job.deadline_entry()), None);
        if let State::Scheduled(due) = job.state {
            self.schedule.remove(number, due);
        }
        self.trial.take_if(|trial| *trial == number);
        self.effects.push(Effect::Forget(job.id));
    }
}
