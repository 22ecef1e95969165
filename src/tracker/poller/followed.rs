//! Which jobs are followed: taking up rows, changing them, ending them.

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
use crate::tracker::look::Surroundings;
use crate::tracker::schedule::{Rank, Slot};

/// Jobs that are overdue at start are spread over this long at most …
const SPREAD: Duration = Duration::from_secs(10);

/// … which is reached with this many of them.
const SPREAD_JOBS: f64 = 1000.0;

/// Most names of webhooks that are not configured and said to be so; rows may name any number of them.
const MAX_UNKNOWN_SAID: usize = 100;

/// A job that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) url: Option<Arc<str>>,
    pub(super) webhook: Option<Arc<str>>,
    pub(super) priority: i64,
    /// Whether somebody waits for its next poll.
    pub(super) urgent: bool,
    pub(super) not_before: Option<UnixMillis>,
    /// When the row was inserted.
    pub(super) created_at: UnixMillis,
    /// The row's own deadline.
    pub(super) deadline_at: Option<UnixMillis>,
    pub(super) deadline: UnixMillis,
    /// Once the deadline has passed: until when a last look is waited for.
    pub(super) last_look: Option<UnixMillis>,
    pub(super) progress: Progress,
    pub(super) hash: Option<u64>,
    /// Until when the API wants it to be left alone.
    pub(super) rest_until: UnixMillis,
    pub(super) next_poll_at: UnixMillis,
    pub(super) place: Place,
}

impl Followed {
    /// Which due jobs it goes ahead of.
    pub(super) fn rank(&self) -> Rank {
        Rank {
            urgent: self.urgent,
            last: self.last_look.is_some(),
            priority: self.priority,
        }
    }

    /// A poll of it is to begin: counts how late.
    pub(super) fn begins(&self) {
        if let Place::InLine(slot) = &self.place {
            telemetry::begun(Instant::now().saturating_duration_since(slot.due()));
        }
    }
}

#[derive(Debug)]
pub(super) enum Place {
    /// In line for its next look.
    InLine(Slot),
    /// To be ended for this reason as soon as few enough other ends are being recorded.
    Ending(Failure),
    /// Being looked at. `end` cuts a poll short; `then` is what follows right after this look; `last` says that it began
    /// after the deadline.
    Looking {
        end: Option<oneshot::Sender<Failure>>,
        then: Then,
        last: bool,
    },
}

/// What was asked for while a job was looked at.
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
                let now = self.surroundings.clock.now();
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
                        self.surroundings.jitter.fraction()
                    } else {
                        0.0
                    };
                    self.adopt(row, window.mul_f64(share));
                }
            }
        }
    }

    /// Takes up a row that is new or has changed. An overdue job is polled after `spread`.
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
            if let Place::Looking { then, .. } = &mut job.place {
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
        let wall = self.surroundings.clock.now();
        self.note_webhook(&row.id, None, row.webhook.as_deref());
        let deadline = row
            .deadline_at
            .unwrap_or(row.created_at.plus(self.surroundings.policy.deadline));
        let longest = self.surroundings.longest_wait(&row.progress);
        let next_poll_at = match row.next_poll_at {
            // Written down by a clock that was ahead, or under other settings, it may be years away.
            Some(at) if at > wall => at.min(wall.plus(longest)),
            _ => wall.plus(spread),
        };
        let next_poll_at = next_poll_at.max(row.not_before.unwrap_or(next_poll_at));
        self.schedule.set_deadline(&row.id, None, Some(deadline));
        let slot = self.schedule.insert(
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
            last_look: None,
            progress: row.progress,
            hash: None,
            rest_until: UnixMillis(0),
            next_poll_at,
            place: Place::InLine(slot),
        };
        if row.next_poll_at.is_some_and(|at| at > next_poll_at) {
            self.unwritten.insert(row.id.clone());
            self.flush_at.get_or_insert(Instant::now() + FLUSH);
        }
        debug!(job_id = %row.id, "job taken up");
        self.jobs.insert(row.id, followed);
    }

    fn update(&mut self, row: JobRow) {
        let wall = self.surroundings.clock.now();
        let default_deadline = row.created_at.plus(self.surroundings.policy.deadline);
        let told = self.jobs.get(&row.id).and_then(|job| job.webhook.clone());
        if told.as_deref() != row.webhook.as_deref() {
            self.note_webhook(&row.id, told.as_deref(), row.webhook.as_deref());
        }
        let Some(job) = self.jobs.get_mut(&row.id) else {
            return;
        };
        let deadline = row.deadline_at.unwrap_or(default_deadline);
        let retimed = (job.priority, job.not_before) != (row.priority, row.not_before);
        if job.not_before != row.not_before {
            // A job that was held back until a later time is due at the new one.
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
            self.line_up(&row.id);
        }
        self.set_deadline(&row.id, deadline);
    }

    /// Goes on with other settings; polls under way end with those they began with.
    pub(super) fn renew(&mut self) {
        let new = self.settings.borrow_and_update().clone();
        self.max_in_flight = new.max_in_flight.max(1);
        self.noted_pause = UnixMillis(0);
        let before = Arc::clone(&self.surroundings);
        self.surroundings = Arc::new(Surroundings {
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
        self.unknown_said.clear();
        self.trial = None;
        let ids: Vec<JobId> = self.jobs.keys().cloned().collect();
        for id in ids {
            self.renew_job(&id);
        }
    }

    /// Gives one job its place under other settings: another deadline, and no poll later than they allow unless its row says so.
    fn renew_job(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        let webhook = job.webhook.clone();
        let default = self.surroundings.policy.deadline;
        let deadline = job.deadline_at.unwrap_or(job.created_at.plus(default));
        let longest = self.surroundings.longest_wait(&job.progress);
        let latest = self.surroundings.clock.now().plus(longest);
        let due = job.next_poll_at.min(latest);
        let due = due.max(job.not_before.unwrap_or(due));
        if due != job.next_poll_at && matches!(job.place, Place::InLine(_)) {
            job.next_poll_at = due;
            self.line_up(id);
        }
        self.set_deadline(id, deadline);
        self.note_webhook(id, None, webhook.as_deref());
    }

    /// Puts a job that is in line where its next poll and its priority want it.
    pub(super) fn line_up(&mut self, id: &JobId) {
        let wall = self.surroundings.clock.now();
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        let rank = job.rank();
        if let Place::InLine(slot) = &mut job.place {
            self.schedule.remove(id, *slot);
            let due = Instant::now() + job.next_poll_at.since(wall);
            *slot = self.schedule.insert(id, due, rank);
        }
    }

    /// Counts the followed jobs that name a webhook nobody configured: this one named `before` and names `now`.
    fn note_webhook(&mut self, id: &JobId, before: Option<&str>, now: Option<&str>) {
        let unknown = |name: &&str| !self.surroundings.subscriptions.knows(name);
        if before.filter(unknown).is_some() {
            self.gauge.unknown_webhooks.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(webhook) = now.filter(unknown) {
            self.gauge.unknown_webhooks.fetch_add(1, Ordering::Relaxed);
            let named = printable(webhook, 64);
            // Said of the first job that names it: thousands may.
            let said = &mut self.unknown_said;
            if said.len() < MAX_UNKNOWN_SAID && said.insert(named.clone()) {
                warn!(job_id = %id, webhook = named, "the job names a webhook that is not configured; its events wait until it is");
            } else {
                debug!(job_id = %id, webhook = named, "this job, too, names a webhook that is not configured");
            }
        }
    }

    pub(super) fn poll_now(&mut self, id: &JobId) {
        let wall = self.surroundings.clock.now();
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut job.place {
            Place::Ending(_) => {}
            Place::Looking { then, .. } => {
                if matches!(then, Then::Nothing) {
                    *then = Then::PollAgain;
                }
            }
            Place::InLine(_) => {
                job.progress.asked_for(wall);
                job.urgent = true;
                job.next_poll_at = wall.max(job.not_before.unwrap_or(wall));
                self.line_up(id);
            }
        }
    }

    /// Ends a job by our own decision. One that is being polled is told so; one that is being recorded ends after that.
    pub(super) fn end(&mut self, id: &JobId, failure: Failure) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut job.place {
            Place::Looking { end, then, .. } => {
                *then = Then::End(failure.clone());
                if let Some(end) = end.take() {
                    // The look may just have ended; what was decided stands in `then` all the same.
                    let _ = end.send(failure);
                }
            }
            Place::InLine(slot) => {
                self.schedule.remove(id, *slot);
                job.place = Place::Ending(failure);
                self.ends.push_back(id.clone());
            }
            Place::Ending(_) => {}
        }
    }

    pub(super) fn forget(&mut self, id: &JobId) {
        let Some(job) = self.jobs.remove(id) else {
            return;
        };
        self.unwritten.remove(id);
        self.surroundings.upstream.forget(id);
        self.note_webhook(id, job.webhook.as_deref(), None);
        self.schedule.set_deadline(id, Some(job.alarm()), None);
        if let Place::InLine(slot) = job.place {
            self.schedule.remove(id, slot);
        }
    }
}
