//! The followed jobs: adds them from rows, updates them, ends them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{FLUSH, Poller};
use crate::core::cadence::Progress;
use crate::core::job::{Failure, FailureKind, JobId};
use crate::core::text::printable;
use crate::core::time::UnixMillis;
use crate::store::JobRow;
use crate::telemetry;
use crate::tracker::intake::Notice;
use crate::tracker::poll::Context;
use crate::tracker::schedule::{Entry, Rank};

/// Longest window over which the polls of jobs overdue at start are spread …
const SPREAD: Duration = Duration::from_secs(10);

/// … and the number of such jobs from which on it is used in full.
const SPREAD_JOBS: f64 = 1000.0;

/// Most names of unconfigured webhooks that are logged; rows may name any number.
const MAX_UNKNOWN_LOGGED: usize = 100;

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

    /// Counts how late the poll starts that is due.
    pub(super) fn count_lag(&self) {
        if let State::Scheduled(entry) = &self.state {
            telemetry::poll_started(Instant::now().saturating_duration_since(entry.due()));
        }
    }
}

#[derive(Debug)]
pub(super) enum State {
    /// Waits for its next poll.
    Scheduled(Entry),
    /// Waits for its end to be recorded, until fewer other ends are in work.
    Ending(Failure),
    /// Being polled or ended. `end` cuts the poll short, `then` follows right after it, `is_final`: it began after the
    /// deadline.
    Polling {
        end: Option<oneshot::Sender<Failure>>,
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
    /// The row was deleted, and another one of the same id inserted.
    Follow(Box<JobRow>),
}

impl Poller {
    pub(super) fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Rows(rows) => {
                for row in rows {
                    self.adopt(row, Duration::ZERO);
                }
            }
            Notice::Backlog(rows) => {
                let now = self.context.clock.now();
                self.overdue += rows
                    .iter()
                    .filter(|row| row.next_poll_at.is_some_and(|at| at <= now))
                    .count();
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a count of jobs, used as a fraction"
                )]
                let window = SPREAD.mul_f64((self.overdue as f64 / SPREAD_JOBS).min(1.0));
                for row in rows {
                    let was_polled = row.next_poll_at.is_some();
                    let share = if was_polled {
                        self.context.jitter.fraction()
                    } else {
                        0.0
                    };
                    self.adopt(row, window.mul_f64(share));
                }
            }
        }
    }

    /// Handles a row that is new or has changed. An overdue job is polled after `spread`.
    pub(super) fn adopt(&mut self, row: JobRow, spread: Duration) {
        if row.state.is_final() {
            self.forget(&row.id);
            return;
        }
        let id = row.id.clone();
        let (cancel, poll_now) = (row.cancel_requested, row.poll_requested);
        if let Some(job) = self.jobs.get_mut(&id)
            && job.created_at != row.created_at
        {
            if let State::Polling { then, .. } = &mut job.state {
                *then = Then::Follow(Box::new(row));
                return;
            }
            self.forget(&id);
        }
        if self.jobs.contains_key(&id) {
            self.update(row);
        } else {
            self.follow(row, spread);
        }
        if cancel {
            let detail = "cancel_requested was set".to_owned();
            self.end(
                &id,
                Failure::decided(FailureKind::Cancelled, "Cancelled", detail),
            );
        } else if poll_now {
            self.poll_now(&id);
        }
    }

    fn follow(&mut self, row: JobRow, spread: Duration) {
        let wall = self.context.clock.now();
        self.count_unknown_webhook(&row.id, None, row.webhook.as_deref());
        let deadline = row
            .deadline_at
            .unwrap_or(row.created_at.plus(self.context.policy.deadline));
        let longest = self.context.longest_wait(&row.progress);
        let next_poll_at = match row.next_poll_at {
            // A clock that was ahead, or other settings, may have set it years ahead.
            Some(at) if at > wall => at.min(wall.plus(longest)),
            _ => wall.plus(spread),
        };
        let next_poll_at = next_poll_at.max(row.not_before.unwrap_or(next_poll_at));
        self.schedule.set_deadline(&row.id, None, Some(deadline));
        let entry = self.schedule.insert(
            &row.id,
            Instant::now() + next_poll_at.since(wall),
            Rank {
                priority: row.priority,
                ..Rank::default()
            },
        );
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
            paused_until: UnixMillis(0),
            next_poll_at,
            state: State::Scheduled(entry),
        };
        if row.next_poll_at.is_some_and(|at| at > next_poll_at) {
            self.unwritten.insert(row.id.clone());
            self.flush_at.get_or_insert(Instant::now() + FLUSH);
        }
        debug!(job_id = %row.id, "job taken up");
        self.jobs.insert(row.id, followed);
    }

    fn update(&mut self, row: JobRow) {
        let wall = self.context.clock.now();
        let default_deadline = row.created_at.plus(self.context.policy.deadline);
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
            let wanted = if held { wall } else { job.next_poll_at };
            job.next_poll_at = wanted.max(row.not_before.unwrap_or(wanted));
        }
        job.url = row.url.map(Arc::from);
        job.webhook = row.webhook.map(Arc::from);
        job.priority = row.priority;
        job.not_before = row.not_before;
        job.deadline_at = row.deadline_at;
        if retimed {
            self.reschedule(&row.id);
        }
        self.set_deadline(&row.id, deadline);
    }

    /// Applies the settings of a reload; polls in flight keep those with which they began.
    pub(super) fn renew(&mut self) {
        let new = self.settings.borrow_and_update().clone();
        self.max_in_flight = new.max_in_flight.max(1);
        self.recorded_pause = UnixMillis(0);
        let before = Arc::clone(&self.context);
        self.context = Arc::new(Context {
            store: before.store.clone(),
            recorder: before.recorder.clone(),
            upstream: new.upstream,
            api_origin: new.api_origin,
            subscriptions: new.subscriptions,
            policy: new.policy,
            clock: before.clock.clone(),
            jitter: before.jitter.clone(),
        });
        self.gauge.unknown_webhooks.store(0, Ordering::Relaxed);
        self.unknown_logged.clear();
        self.trial = None;
        for id in self.sorted_ids() {
            self.renew_job(&id);
        }
    }

    /// The followed jobs in a fixed order, since the map has none.
    pub(super) fn sorted_ids(&self) -> Vec<JobId> {
        let mut ids: Vec<JobId> = self.jobs.keys().cloned().collect();
        ids.sort_unstable();
        ids
    }

    /// Applies other settings to one job: its deadline, and the longest delay of its next poll, `not_before` aside.
    fn renew_job(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        let webhook = job.webhook.clone();
        let default = self.context.policy.deadline;
        let deadline = job.deadline_at.unwrap_or(job.created_at.plus(default));
        let longest = self.context.longest_wait(&job.progress);
        let latest = self.context.clock.now().plus(longest);
        let due = job.next_poll_at.min(latest);
        let due = due.max(job.not_before.unwrap_or(due));
        if due != job.next_poll_at && matches!(job.state, State::Scheduled(_)) {
            job.next_poll_at = due;
            self.reschedule(id);
        }
        self.set_deadline(id, deadline);
        self.count_unknown_webhook(id, None, webhook.as_deref());
    }

    /// Updates a job's entry after the time of its next poll, or its rank, has changed.
    pub(super) fn reschedule(&mut self, id: &JobId) {
        let wall = self.context.clock.now();
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        let rank = job.rank();
        if let State::Scheduled(entry) = &mut job.state {
            self.schedule.remove(id, *entry);
            let due = Instant::now() + job.next_poll_at.since(wall);
            *entry = self.schedule.insert(id, due, rank);
        }
    }

    /// Counts the followed jobs that name a webhook that is not configured: this one named `before` and names `now`.
    fn count_unknown_webhook(&mut self, id: &JobId, before: Option<&str>, now: Option<&str>) {
        let unknown = |name: &&str| !self.context.subscriptions.contains(name);
        if before.filter(unknown).is_some() {
            self.gauge.unknown_webhooks.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(webhook) = now.filter(unknown) {
            self.gauge.unknown_webhooks.fetch_add(1, Ordering::Relaxed);
            let named = printable(webhook, 64);
            // Logged once per name, since thousands of jobs may have it.
            let logged = &mut self.unknown_logged;
            if logged.len() < MAX_UNKNOWN_LOGGED && logged.insert(named.clone()) {
                warn!(job_id = %id, webhook = named, "the job names a webhook that is not configured; its events wait until it is");
            } else {
                debug!(job_id = %id, webhook = named, "this job, too, names a webhook that is not configured");
            }
        }
    }

    pub(super) fn poll_now(&mut self, id: &JobId) {
        let wall = self.context.clock.now();
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
                job.progress.poll_requested(wall);
                job.urgent = true;
                job.next_poll_at = wall.max(job.not_before.unwrap_or(wall));
                self.reschedule(id);
            }
        }
    }

    /// Ends a job by our own decision: a poll in flight is cut short, a commit is awaited.
    pub(super) fn end(&mut self, id: &JobId, failure: Failure) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut job.state {
            State::Polling { end, then, .. } => {
                *then = Then::End(failure.clone());
                if let Some(end) = end.take() {
                    // Fails if the poll has just ended; then `then` ends the job.
                    let _ = end.send(failure);
                }
            }
            State::Scheduled(entry) => {
                self.schedule.remove(id, *entry);
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
        self.context.upstream.forget(id);
        self.count_unknown_webhook(id, job.webhook.as_deref(), None);
        self.schedule
            .set_deadline(id, Some(job.deadline_entry()), None);
        if let State::Scheduled(entry) = job.state {
            self.schedule.remove(id, entry);
        }
    }
}
