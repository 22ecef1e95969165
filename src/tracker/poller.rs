//! The poller: keeps every followed job in line, and looks at the due ones within the limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::intake::Notice;
use super::look::{Look, LookError, Looked, Next, Surroundings, Task, schedule_update};
use super::recorder::{Recorder, Writable};
use super::schedule::{Schedule, Slot};
use crate::clock::{Clock, Jitter};
use crate::core::cadence::{PollingPolicy, Progress};
use crate::core::event::Subscriptions;
use crate::core::job::{Failure, FailureKind, JobId};
use crate::core::time::UnixMillis;
use crate::pulse::Pulse;
use crate::store::{JobRow, Store, StoreError};
use crate::upstream::Upstream;
use crate::upstream::gate::GateState;

/// How often where polling stands is written down for people and for the next start.
const FLUSH: Duration = Duration::from_secs(1);

/// The wall clock may be set; deadlines are looked at again at least this often.
const DEADLINE_CHECK: Duration = Duration::from_secs(60);

/// Jobs that are overdue at start are spread over this long at most …
const SPREAD: Duration = Duration::from_secs(10);

/// … which is reached with this many of them.
const SPREAD_JOBS: f64 = 1000.0;

/// The loop of stages 3 to 5.
#[derive(Debug)]
pub struct Poller {
    surroundings: Arc<Surroundings>,
    max_in_flight: usize,
    notices: mpsc::Receiver<Notice>,
    writable: watch::Receiver<Writable>,
    jobs: HashMap<JobId, Followed>,
    schedule: Schedule,
    looks: JoinSet<Result<Looked, LookError>>,
    flush_at: Option<Instant>,
    wake_at: Option<Instant>,
    gauge: Arc<Gauge>,
    pulse: Pulse,
}

/// What the poller is made from.
#[derive(Debug)]
pub struct PollerParts {
    /// Where jobs are read.
    pub store: Store,
    /// Where observations go.
    pub recorder: Recorder,
    /// The API.
    pub upstream: Upstream,
    /// `https://host[:port]` of the API, for its relative links.
    pub api_origin: String,
    /// Who is told what.
    pub subscriptions: Subscriptions,
    /// When to poll.
    pub policy: PollingPolicy,
    /// How many looks may be taken at once, at least 1.
    pub max_in_flight: usize,
    /// The time of day.
    pub clock: Clock,
    /// Randomness of delays.
    pub jitter: Jitter,
}

/// Numbers that others may read at any time.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Jobs that are followed.
    pub followed: AtomicUsize,
    /// Looks that are being taken.
    pub in_flight: AtomicUsize,
    /// Followed jobs that name a webhook nobody configured.
    pub unknown_webhooks: AtomicUsize,
}

/// Why the poller ended.
#[derive(Debug, thiserror::Error)]
pub enum PollerError {
    /// A look could not be finished.
    #[error("a job cannot be recorded: {0}")]
    Look(String),
    /// A row cannot be read again.
    #[error("a row cannot be read: {0}")]
    Store(#[from] StoreError),
}

/// A job that is followed.
#[derive(Debug)]
struct Followed {
    url: Option<Arc<str>>,
    webhook: Option<Arc<str>>,
    priority: i64,
    not_before: Option<UnixMillis>,
    deadline: UnixMillis,
    progress: Progress,
    hash: Option<u64>,
    next_poll_at: UnixMillis,
    /// Whether progress was made that is not written down yet.
    unwritten: bool,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// In line for its next look.
    InLine(Slot),
    /// Being looked at. `end` cuts a poll short; `again` asks for another look right after this one.
    Looking {
        end: Option<oneshot::Sender<Failure>>,
        then: Then,
    },
}

/// What was asked for while a job was looked at.
#[derive(Debug)]
enum Then {
    Nothing,
    PollAgain,
    End(Failure),
}

impl Poller {
    /// Makes a poller that is told of rows through `notices`.
    #[must_use]
    pub fn new(parts: PollerParts, notices: mpsc::Receiver<Notice>) -> Self {
        let writable = parts.recorder.writable();
        Self {
            surroundings: Arc::new(Surroundings {
                store: parts.store,
                recorder: parts.recorder,
                upstream: parts.upstream,
                api_origin: parts.api_origin,
                subscriptions: parts.subscriptions,
                policy: parts.policy,
                clock: parts.clock,
                jitter: parts.jitter,
            }),
            max_in_flight: parts.max_in_flight.max(1),
            notices,
            writable,
            jobs: HashMap::new(),
            schedule: Schedule::default(),
            looks: JoinSet::new(),
            flush_at: None,
            wake_at: None,
            gauge: Arc::default(),
            pulse: Pulse::default(),
        }
    }

    /// Whether it advances.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Numbers that others may read.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Follows jobs until `stop`, then finishes the looks that are being taken.
    ///
    /// # Errors
    /// [`PollerError`] when it cannot go on; the process ends then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PollerError> {
        while !stop.is_cancelled() {
            self.step(&stop).await?;
        }
        // Looks that hang are dropped after the grace, and this loop with them: what is known is written down before.
        self.flush();
        while let Some(looked) = self.looks.join_next().await {
            self.finish(looked).await?;
            self.flush();
        }
        Ok(())
    }

    /// Waits for whatever comes first, and deals with it.
    async fn step(&mut self, stop: &CancellationToken) -> Result<(), PollerError> {
        // Before the gate is looked at: a change right after the look must not be missed.
        let upstream = self.surroundings.upstream.clone();
        let gate_changed = upstream.gate().changed();
        self.expire();
        self.start_looks();
        if self.flush_at.is_some_and(|at| at <= Instant::now()) {
            self.flush();
        }
        self.gauge
            .followed
            .store(self.jobs.len(), Ordering::Relaxed);
        self.gauge
            .in_flight
            .store(self.looks.len(), Ordering::Relaxed);
        let wake_at = self.wake_at();
        self.pulse.rests();
        tokio::select! {
            () = stop.cancelled() => {}
            Some(looked) = self.looks.join_next() => {
                self.pulse.works();
                self.finish(looked).await?;
                while let Some(looked) = self.looks.try_join_next() {
                    self.finish(looked).await?;
                }
            }
            Some(notice) = self.notices.recv() => self.take(notice),
            () = tokio::time::sleep_until(wake_at) => {}
            () = gate_changed => {}
            // An error means that the writer is gone; its own error ends the process.
            Ok(()) = self.writable.changed() => {}
        }
        Ok(())
    }

    fn wake_at(&self) -> Instant {
        let now = Instant::now();
        let wall = self.surroundings.clock.now();
        let deadline = self
            .schedule
            .next_deadline()
            .map(|at| now + at.since(wall).min(DEADLINE_CHECK));
        // Jobs that are due already wait for a free place, the gate or the budget, not for the time.
        [
            self.schedule.next_due(),
            deadline,
            self.flush_at,
            self.wake_at,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now + DEADLINE_CHECK)
    }

    fn take(&mut self, notice: Notice) {
        match notice {
            Notice::Rows(rows) => {
                for row in rows {
                    self.adopt(row, Duration::ZERO);
                }
            }
            Notice::Backlog(rows) => {
                let now = self.surroundings.clock.now();
                let overdue = rows
                    .iter()
                    .filter(|row| row.next_poll_at.is_some_and(|at| at <= now))
                    .count();
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a count of jobs, used as a fraction"
                )]
                let window = SPREAD.mul_f64((overdue as f64 / SPREAD_JOBS).min(1.0));
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
    fn adopt(&mut self, row: JobRow, spread: Duration) {
        if row.state.is_final() {
            self.forget(&row.id);
            return;
        }
        let id = row.id.clone();
        let (cancel, poll_now) = (row.cancel_requested, row.poll_requested);
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
        if self.has_unknown_webhook(row.webhook.as_deref())
            && let Some(webhook) = &row.webhook
        {
            self.gauge.unknown_webhooks.fetch_add(1, Ordering::Relaxed);
            let named = crate::core::poll::printable(webhook, 64);
            warn!(job_id = %row.id, webhook = named, "the job names a webhook that is not configured; nobody is told of it");
        }
        let deadline = row
            .deadline_at
            .unwrap_or(row.created_at.plus(self.surroundings.policy.deadline));
        let next_poll_at = match row.next_poll_at {
            Some(at) if at > wall => at,
            _ => wall.plus(spread),
        };
        let next_poll_at = next_poll_at.max(row.not_before.unwrap_or(next_poll_at));
        self.schedule.set_deadline(&row.id, None, Some(deadline));
        let slot = self.schedule.insert(
            &row.id,
            Instant::now() + next_poll_at.since(wall),
            row.priority,
        );
        let followed = Followed {
            url: row.url.map(Arc::from),
            webhook: row.webhook.map(Arc::from),
            priority: row.priority,
            not_before: row.not_before,
            deadline,
            progress: row.progress,
            hash: None,
            next_poll_at,
            unwritten: false,
            place: Place::InLine(slot),
        };
        self.jobs.insert(row.id, followed);
    }

    fn update(&mut self, row: JobRow) {
        let wall = self.surroundings.clock.now();
        let default_deadline = row.created_at.plus(self.surroundings.policy.deadline);
        let Some(job) = self.jobs.get_mut(&row.id) else {
            return;
        };
        let deadline = row.deadline_at.unwrap_or(default_deadline);
        self.schedule
            .set_deadline(&row.id, Some(job.deadline), Some(deadline));
        let retimed = (job.priority, job.not_before) != (row.priority, row.not_before);
        if job.not_before != row.not_before {
            // A job that was held back until a later time is due at the new one.
            let held = job.not_before.is_some_and(|at| at >= job.next_poll_at);
            let wanted = if held { wall } else { job.next_poll_at };
            job.next_poll_at = wanted.max(row.not_before.unwrap_or(wanted));
        }
        job.url = row.url.map(Arc::from);
        job.priority = row.priority;
        job.not_before = row.not_before;
        job.deadline = deadline;
        if retimed && let Place::InLine(slot) = &mut job.place {
            self.schedule.remove(&row.id, *slot);
            *slot = self.schedule.insert(
                &row.id,
                Instant::now() + job.next_poll_at.since(wall),
                job.priority,
            );
        }
    }

    fn poll_now(&mut self, id: &JobId) {
        let wall = self.surroundings.clock.now();
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut job.place {
            Place::Looking { then, .. } => {
                if matches!(then, Then::Nothing) {
                    *then = Then::PollAgain;
                }
            }
            Place::InLine(slot) => {
                job.next_poll_at = wall.max(job.not_before.unwrap_or(wall));
                self.schedule.remove(id, *slot);
                *slot = self.schedule.insert(
                    id,
                    Instant::now() + job.next_poll_at.since(wall),
                    job.priority,
                );
            }
        }
    }

    /// Ends a job by our own decision. One that is being polled is told so; one that is being recorded ends after that.
    fn end(&mut self, id: &JobId, failure: Failure) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        match &mut job.place {
            Place::Looking { end, then } => {
                *then = Then::End(failure.clone());
                if let Some(end) = end.take() {
                    // The look may just have ended; what was decided stands in `then` all the same.
                    let _ = end.send(failure);
                }
            }
            Place::InLine(slot) => {
                let slot = *slot;
                self.schedule.remove(id, slot);
                self.look(id, Task::End(failure), None);
            }
        }
    }

    fn expire(&mut self) {
        let now = self.surroundings.clock.now();
        while let Some(id) = self.schedule.pop_expired(now) {
            let Some(job) = self.jobs.get(&id) else {
                continue;
            };
            let detail = format!("the job had not ended by {}", job.deadline);
            self.end(
                &id,
                Failure::decided(FailureKind::Expired, "Deadline passed", detail),
            );
        }
    }

    /// Starts as many looks as the limits allow, best priority first.
    fn start_looks(&mut self) {
        let now = Instant::now();
        let jobs = &self.jobs;
        self.schedule
            .advance(now, |id| jobs.get(id).map_or(0, |job| job.priority));
        self.wake_at = None;
        while self.schedule.has_ready() && self.looks.len() < self.max_in_flight {
            if *self.writable.borrow_and_update() != Writable::Yes {
                return;
            }
            if self.surroundings.upstream.gate().on_trial(now) && !self.looks.is_empty() {
                // After a pause one poll goes ahead; its outcome wakes this loop.
                return;
            }
            if let GateState::Closed { until, .. } = self.surroundings.upstream.gate().state(now) {
                self.wake_at = Some(until);
                return;
            }
            if let Err(wait) = self.surroundings.upstream.budget().try_take() {
                self.wake_at = Some(now + wait);
                return;
            }
            if let Some(id) = self.schedule.pop_ready() {
                self.poll(&id);
            }
        }
    }

    fn poll(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get(id) else {
            return;
        };
        match self.surroundings.upstream.target(id, job.url.as_deref()) {
            Ok(url) => {
                let (end, ended) = oneshot::channel();
                self.look(id, Task::Poll { url, end: ended }, Some(end));
            }
            Err(refused) => {
                let failure = Failure::decided(
                    FailureKind::Rejected,
                    "The url may not be requested",
                    refused.to_string(),
                );
                self.look(id, Task::End(failure), None);
            }
        }
    }

    fn look(&mut self, id: &JobId, task: Task, end: Option<oneshot::Sender<Failure>>) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        job.place = Place::Looking {
            end,
            then: Then::Nothing,
        };
        let look = Look {
            id: id.clone(),
            webhook: job.webhook.as_deref().map(str::to_owned),
            progress: job.progress.clone(),
            hash: job.hash,
            own_url: job.url.is_some(),
            task,
        };
        self.looks.spawn(Arc::clone(&self.surroundings).take(look));
    }

    async fn finish(
        &mut self,
        looked: Result<Result<Looked, LookError>, tokio::task::JoinError>,
    ) -> Result<(), PollerError> {
        let looked = match looked {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => return Err(PollerError::Look(error.to_string())),
            Err(error) => return Err(PollerError::Look(error.to_string())),
        };
        let wall = self.surroundings.clock.now();
        let next_poll_at = match looked.next {
            Next::Forget => {
                self.forget(&looked.id);
                return Ok(());
            }
            Next::Reread => {
                self.forget(&looked.id);
                if let Some(row) = self.surroundings.store.job(&looked.id).await? {
                    self.adopt(row, Duration::ZERO);
                }
                return Ok(());
            }
            Next::After(delay) => wall.plus(delay),
            Next::WhenOpen => wall,
        };
        let Some(job) = self.jobs.get_mut(&looked.id) else {
            return Ok(());
        };
        job.progress = looked.progress;
        job.hash = looked.hash;
        job.unwritten = true;
        job.next_poll_at = next_poll_at.max(job.not_before.unwrap_or(next_poll_at));
        let slot = self.schedule.insert(
            &looked.id,
            Instant::now() + job.next_poll_at.since(wall),
            job.priority,
        );
        let before = std::mem::replace(&mut job.place, Place::InLine(slot));
        self.flush_at.get_or_insert(Instant::now() + FLUSH);
        if let Place::Looking { then, .. } = before {
            match then {
                Then::Nothing => {}
                Then::PollAgain => self.poll_now(&looked.id),
                Then::End(failure) => self.end(&looked.id, failure),
            }
        }
        Ok(())
    }

    fn forget(&mut self, id: &JobId) {
        let Some(job) = self.jobs.remove(id) else {
            return;
        };
        if self.has_unknown_webhook(job.webhook.as_deref()) {
            self.gauge.unknown_webhooks.fetch_sub(1, Ordering::Relaxed);
        }
        self.schedule.set_deadline(id, Some(job.deadline), None);
        if let Place::InLine(slot) = job.place {
            self.schedule.remove(id, slot);
        }
    }

    fn has_unknown_webhook(&self, webhook: Option<&str>) -> bool {
        webhook.is_some_and(|name| !self.surroundings.subscriptions.knows(name))
    }

    /// Hands what is not written down yet to the writer, unless it is busy; then it is tried again.
    fn flush(&mut self) {
        self.flush_at = None;
        let unwritten: Vec<_> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.unwritten)
            .map(|(id, job)| schedule_update(id, &job.progress, Some(job.next_poll_at)))
            .collect();
        if unwritten.is_empty() {
            return;
        }
        let taken = self.surroundings.recorder.scheduled(unwritten);
        if taken {
            self.jobs.values_mut().for_each(|job| job.unwritten = false);
        } else {
            self.flush_at = Some(Instant::now() + FLUSH);
            info!("the writer is busy; where polling stands is written down later");
        }
    }
}
