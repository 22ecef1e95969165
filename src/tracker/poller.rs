//! The poller: keeps every followed job in line, and looks at the due ones within the limits.

mod bookkeeping;
mod deadlines;
mod followed;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::intake::Notice;
use super::look::{Look, LookError, Looked, Next, Surroundings, Task};
use super::read;
use super::recorder::{Recorder, Writable};
use super::schedule::Schedule;
use crate::clock::{Clock, Jitter};
use crate::core::cadence::PollingPolicy;
use crate::core::event::Subscriptions;
use crate::core::job::{Failure, FailureKind, JobId};
use crate::core::time::UnixMillis;
use crate::pulse::Pulse;
use crate::store::{Store, StoreError};
use crate::upstream::Upstream;
use crate::upstream::gate::GateState;
use bookkeeping::HeldBack;
use followed::{Followed, Place, Then};

/// How often where polling stands is written down for people and for the next start.
const FLUSH: Duration = Duration::from_secs(1);

/// The wall clock may be set; deadlines are looked at again at least this often.
const DEADLINE_CHECK: Duration = Duration::from_secs(60);

/// Most ends of our own that are recorded at once. Each reads its job before it is handed to the writer, and thousands
/// may be asked for at the same moment.
const MAX_ENDING: usize = 64;

/// The loop of stages 3 to 5.
#[derive(Debug)]
pub struct Poller {
    surroundings: Arc<Surroundings>,
    settings: watch::Receiver<PollerSettings>,
    max_in_flight: usize,
    notices: mpsc::Receiver<Notice>,
    writable: watch::Receiver<Writable>,
    jobs: HashMap<JobId, Followed>,
    /// Jobs with progress that is not written down yet.
    unwritten: HashSet<JobId>,
    schedule: Schedule,
    looks: JoinSet<Result<Looked, LookError>>,
    /// Jobs whose end waits to be recorded, [`Place::Ending`].
    ends: VecDeque<JobId>,
    /// How many of the looks only record an end.
    ending: usize,
    flush_at: Option<Instant>,
    wake_at: Option<Instant>,
    /// Names of webhooks that were said not to be configured.
    unknown_said: HashSet<String>,
    /// Jobs found overdue at start, so far.
    overdue: usize,
    /// Until when the upstream wants to be left alone, as last written down.
    noted_pause: UnixMillis,
    held_back: HeldBack,
    /// The job that goes ahead of the others after a pause.
    trial: Option<JobId>,
    /// How often the wall clock was set, as far as this loop has taken note.
    jumps: u64,
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
    /// The time of day.
    pub clock: Clock,
    /// Randomness of delays.
    pub jitter: Jitter,
}

/// What a reload may change; polls under way go on with what they began with.
#[derive(Debug, Clone)]
pub struct PollerSettings {
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
    #[error("a row cannot be read")]
    Store(#[from] StoreError),
}

impl Poller {
    /// Makes a poller that is told of rows through `notices`.
    #[must_use]
    pub fn new(
        parts: PollerParts,
        mut settings: watch::Receiver<PollerSettings>,
        notices: mpsc::Receiver<Notice>,
    ) -> Self {
        let writable = parts.recorder.writable();
        let first = settings.borrow_and_update().clone();
        Self {
            surroundings: Arc::new(Surroundings {
                store: parts.store,
                recorder: parts.recorder,
                upstream: first.upstream,
                api_origin: first.api_origin,
                subscriptions: first.subscriptions,
                policy: first.policy,
                clock: parts.clock,
                jitter: parts.jitter,
            }),
            settings,
            max_in_flight: first.max_in_flight.max(1),
            notices,
            writable,
            jobs: HashMap::new(),
            unwritten: HashSet::new(),
            schedule: Schedule::default(),
            looks: JoinSet::new(),
            ends: VecDeque::new(),
            ending: 0,
            flush_at: None,
            wake_at: None,
            unknown_said: HashSet::new(),
            overdue: 0,
            noted_pause: UnixMillis(0),
            held_back: HeldBack::default(),
            trial: None,
            jumps: 0,
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
        self.pulse.answers();
        self.count_pause();
        self.note_pause();
        let steady = self.surroundings.clock.steady();
        if std::mem::replace(&mut self.jumps, steady.jumps) != steady.jumps {
            self.retime();
        }
        // A clock that was just set may be set again; nothing ends because of it (docs/operating.md, "Clock").
        if steady.is_settled {
            self.expire();
        }
        self.start_polls();
        // After the polls, which find the jobs whose url may not be requested.
        self.start_ends();
        if self.flush_at.is_some_and(|at| at <= Instant::now()) {
            self.flush();
        }
        self.gauge
            .followed
            .store(self.jobs.len(), Ordering::Relaxed);
        self.gauge
            .in_flight
            .store(self.looks.len(), Ordering::Relaxed);
        let wake_at = self.wake_at(steady.is_settled);
        tokio::select! {
            () = stop.cancelled() => {}
            Some(looked) = self.looks.join_next() => {
                self.finish(looked).await?;
                while let Some(looked) = self.looks.try_join_next() {
                    self.finish(looked).await?;
                }
            }
            Some(notice) = self.notices.recv() => self.take(notice),
            () = tokio::time::sleep_until(wake_at) => {}
            () = gate_changed => {}
            () = self.pulse.asked() => {}
            // An error means that the writer is gone; its own error ends the process.
            Ok(()) = self.writable.changed() => {}
            Ok(()) = self.settings.changed() => self.renew(),
        }
        Ok(())
    }

    fn wake_at(&self, is_settled: bool) -> Instant {
        let now = Instant::now();
        let wall = self.surroundings.clock.now();
        let deadline = self.schedule.next_deadline().map(|at| match is_settled {
            true => now + at.since(wall).min(DEADLINE_CHECK),
            false => now + DEADLINE_CHECK,
        });
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

    fn start_ends(&mut self) {
        while self.ending < MAX_ENDING
            && let Some(id) = self.ends.pop_front()
        {
            let place = self.jobs.get(&id).map(|job| &job.place);
            if let Some(Place::Ending(failure)) = place {
                let failure = failure.clone();
                self.ending += 1;
                self.look(&id, Task::End(failure), None);
            }
        }
    }

    fn polls_in_flight(&self) -> usize {
        self.looks.len() - self.ending
    }

    /// Starts as many polls as the limits allow, best priority first.
    fn start_polls(&mut self) {
        let now = Instant::now();
        let jobs = &self.jobs;
        self.schedule.advance(now, |id| {
            jobs.get(id).map(Followed::rank).unwrap_or_default()
        });
        self.wake_at = None;
        while self.schedule.has_ready() && self.polls_in_flight() < self.max_in_flight {
            if *self.writable.borrow_and_update() != Writable::Yes {
                return;
            }
            let on_trial = self.surroundings.upstream.gate().on_trial(now);
            if !on_trial {
                self.trial = None;
            } else if self.trial.is_some() {
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
            // An important job that is refused by itself must not go ahead after every pause, and who was throttled alone
            // cannot show that all are.
            let next = if on_trial {
                let suspect = self.surroundings.upstream.gate().suspect();
                self.trial = self.schedule.pop_longest_due(suspect.as_ref());
                self.trial.clone()
            } else {
                self.schedule.pop_ready()
            };
            if let Some(id) = next {
                self.poll(&id);
            }
        }
    }

    fn poll(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        job.urgent = false;
        match self.surroundings.upstream.target(id, job.url.as_deref()) {
            Ok(url) => {
                job.begins();
                let (end, ended) = oneshot::channel();
                self.look(id, Task::Poll { url, end: ended }, Some(end));
            }
            Err(refused) => {
                let failure = Failure::decided(
                    FailureKind::Rejected,
                    "The url may not be requested",
                    refused.to_string(),
                );
                self.trial.take_if(|trial| trial == id);
                self.end(id, failure);
            }
        }
    }

    fn look(&mut self, id: &JobId, task: Task, end: Option<oneshot::Sender<Failure>>) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        let last = job.last_look.is_some();
        job.place = Place::Looking {
            end,
            then: Then::Nothing,
            last,
        };
        let look = Look {
            id: id.clone(),
            webhook: job.webhook.as_deref().map(str::to_owned),
            progress: job.progress.clone(),
            hash: job.hash,
            own_url: job.url.is_some(),
            created_at: job.created_at,
            deadline: job.deadline,
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
        self.ending -= usize::from(looked.ended);
        self.trial.take_if(|trial| *trial == looked.id);
        let wall = self.surroundings.clock.now();
        let (then, last) = self.looked_at(&looked.id);
        if let Then::Follow(row) = then {
            self.forget(&looked.id);
            self.adopt(*row, Duration::ZERO);
            return Ok(());
        }
        let next_poll_at = match looked.next {
            Next::Forget => {
                self.forget(&looked.id);
                return Ok(());
            }
            Next::Reread => {
                self.forget(&looked.id);
                let store = &self.surroundings.store;
                let reading = read(&self.pulse, || store.job(&looked.id));
                if let Some(row) = reading.await? {
                    self.adopt(row, Duration::ZERO);
                }
                return Ok(());
            }
            Next::After(delay) => wall.plus(delay),
            Next::WhenOpen => {
                let now = Instant::now();
                match self.surroundings.upstream.gate().state(now) {
                    GateState::Closed { until, .. } => wall.plus(until - now),
                    GateState::Open => wall,
                }
            }
        };
        let Some(job) = self.jobs.get_mut(&looked.id) else {
            return Ok(());
        };
        job.progress = looked.seen.progress;
        job.hash = looked.seen.hash;
        job.rest_until = wall.plus(looked.seen.rest);
        self.unwritten.insert(looked.id.clone());
        // One that began before the deadline is not the last look.
        let is_over = last && looked.seen.shown;
        let again = job.last_look.is_some() && looked.seen.shown;
        let wanted = if again { wall } else { next_poll_at };
        job.next_poll_at = wanted.max(job.not_before.unwrap_or(wanted));
        let slot = self.schedule.insert(
            &looked.id,
            Instant::now() + job.next_poll_at.since(wall),
            job.rank(),
        );
        job.place = Place::InLine(slot);
        self.flush_at.get_or_insert(Instant::now() + FLUSH);
        let then = match then {
            Then::Nothing | Then::PollAgain if is_over => Then::End(job.expired(true)),
            then => then,
        };
        match then {
            Then::PollAgain => self.poll_now(&looked.id),
            Then::End(failure) => self.end(&looked.id, failure),
            Then::Nothing | Then::Follow(_) => {}
        }
        Ok(())
    }

    /// What is to follow the look that was taken of a job, and whether it began after the deadline.
    fn looked_at(&mut self, id: &JobId) -> (Then, bool) {
        match self.jobs.get_mut(id).map(|job| &mut job.place) {
            Some(Place::Looking { then, last, .. }) => {
                (std::mem::replace(then, Then::Nothing), *last)
            }
            _ => (Then::Nothing, false),
        }
    }
}

#[cfg(test)]
mod tests;
