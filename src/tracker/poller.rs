//! The poller: schedules the followed jobs and polls the due ones, within the gate, the budget and the limit of tasks.

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
use super::poll::{Context, Next, PollError, PollTask, Polled, Work};
use super::schedule::Schedule;
use crate::clock::{Clock, Jitter};
use crate::core::cadence::PollingPolicy;
use crate::core::event::Subscriptions;
use crate::core::job::{Failure, FailureKind, JobId};
use crate::core::time::UnixMillis;
use crate::heartbeat::Heartbeat;
use crate::store::{Jobs as _, Store, StoreError};
use crate::upstream::Upstream;
use crate::upstream::gate::GateState;
use crate::writer::{Recorder, Writable};
use bookkeeping::PausedTime;
use followed::{Followed, State, Then};

/// How often the progress of jobs is recorded, for people and for the next start.
const FLUSH: Duration = Duration::from_secs(1);

/// Deadlines are checked at least this often, since the wall clock may be set.
const DEADLINE_CHECK: Duration = Duration::from_secs(60);

/// Most ends by our own decision that are recorded at once. Each reads its job first, and thousands may come at the same time.
const MAX_ENDING: usize = 64;

/// The loop that polls jobs.
#[derive(Debug)]
pub struct Poller {
    context: Arc<Context>,
    settings: watch::Receiver<PollerSettings>,
    max_in_flight: usize,
    notices: mpsc::Receiver<Notice>,
    writable: watch::Receiver<Writable>,
    jobs: HashMap<JobId, Followed>,
    /// Jobs with progress that is not recorded yet.
    unwritten: HashSet<JobId>,
    schedule: Schedule,
    tasks: JoinSet<Result<Polled, PollError>>,
    /// Jobs whose end waits to be recorded, [`State::Ending`].
    ends: VecDeque<JobId>,
    /// How many of the tasks only record an end.
    ending: usize,
    flush_at: Option<Instant>,
    wake_at: Option<Instant>,
    /// Names of unconfigured webhooks that were logged.
    unknown_logged: HashSet<String>,
    /// Number of overdue jobs in the backlog so far.
    overdue: usize,
    /// The end of the API's pause as last recorded.
    recorded_pause: UnixMillis,
    paused_time: PausedTime,
    /// The job that is polled alone after a pause.
    trial: Option<JobId>,
    /// The number of clock jumps at the last step.
    jumps: u64,
    gauge: Arc<Gauge>,
    heartbeat: Heartbeat,
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

/// What a reload may change; polls in flight keep the settings with which they began.
#[derive(Debug, Clone)]
pub struct PollerSettings {
    /// The API.
    pub upstream: Upstream,
    /// `https://host[:port]` of the API, for its relative links.
    pub api_origin: String,
    /// Which webhooks get which events.
    pub subscriptions: Subscriptions,
    /// When to poll.
    pub policy: PollingPolicy,
    /// Most polls in flight, at least 1.
    pub max_in_flight: usize,
}

/// Numbers for the status server and for metrics.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Jobs that are followed.
    pub followed: AtomicUsize,
    /// Polls in flight, and ends that are being recorded.
    pub in_flight: AtomicUsize,
    /// Followed jobs that name a webhook that is not configured.
    pub unknown_webhooks: AtomicUsize,
}

/// Why the poller has ended.
#[derive(Debug, thiserror::Error)]
pub enum PollerError {
    /// A poll or an end could not be recorded.
    #[error("a job cannot be recorded: {0}")]
    Task(String),
    /// A row that has changed cannot be read.
    #[error("a row cannot be read")]
    Store(#[from] StoreError),
}

impl Poller {
    /// Makes a poller that receives rows through `notices`.
    #[must_use]
    pub fn new(
        parts: PollerParts,
        mut settings: watch::Receiver<PollerSettings>,
        notices: mpsc::Receiver<Notice>,
    ) -> Self {
        let writable = parts.recorder.writable();
        let first = settings.borrow_and_update().clone();
        Self {
            context: Arc::new(Context {
                store: parts.store,
                recorder: parts.recorder,
                upstream: first.upstream,
                api_origin: first.api_origin,
                subscriptions: first.subscriptions,
                policy: first.policy,
                clock: parts.clock,
                jitter: parts.jitter,
                unknown_words: Arc::default(),
            }),
            settings,
            max_in_flight: first.max_in_flight.max(1),
            notices,
            writable,
            jobs: HashMap::new(),
            unwritten: HashSet::new(),
            schedule: Schedule::default(),
            tasks: JoinSet::new(),
            ends: VecDeque::new(),
            ending: 0,
            flush_at: None,
            wake_at: None,
            unknown_logged: HashSet::new(),
            overdue: 0,
            recorded_pause: UnixMillis(0),
            paused_time: PausedTime::default(),
            trial: None,
            jumps: 0,
            gauge: Arc::default(),
            heartbeat: Heartbeat::default(),
        }
    }

    /// Shows whether the loop advances.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// Numbers for the status server and for metrics.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Follows jobs until `stop`, then finishes the tasks in flight.
    ///
    /// # Errors
    /// [`PollerError`] when it cannot continue; the process ends then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), PollerError> {
        while !stop.is_cancelled() {
            self.step(&stop).await?;
        }
        // Progress is recorded first, since this loop is dropped if polls hang beyond the grace.
        self.flush();
        while let Some(polled) = self.tasks.join_next().await {
            self.finish(polled).await?;
            self.flush();
        }
        Ok(())
    }

    /// Does what is due, then waits for the next event and handles it.
    async fn step(&mut self, stop: &CancellationToken) -> Result<(), PollerError> {
        // Subscribed before the gate is read, so that no change is missed.
        let upstream = self.context.upstream.clone();
        let gate_changed = upstream.gate().changed();
        self.heartbeat.beat();
        self.count_paused_time();
        self.record_pause();
        let stability = self.context.clock.stability();
        if std::mem::replace(&mut self.jumps, stability.jumps) != stability.jumps {
            self.retime();
        }
        // A clock that was just set may be set again; nothing ends because of it (docs/operating.md, "Clock").
        if stability.is_settled {
            self.expire();
        }
        self.start_polls();
        // After the polls, which end the jobs whose url may not be requested.
        self.start_ends();
        if self.flush_at.is_some_and(|at| at <= Instant::now()) {
            self.flush();
        }
        self.gauge
            .followed
            .store(self.jobs.len(), Ordering::Relaxed);
        self.gauge
            .in_flight
            .store(self.tasks.len(), Ordering::Relaxed);
        let wake_at = self.wake_at(stability.is_settled);
        tokio::select! {
            () = stop.cancelled() => {}
            Some(polled) = self.tasks.join_next() => {
                self.finish(polled).await?;
                while let Some(polled) = self.tasks.try_join_next() {
                    self.finish(polled).await?;
                }
            }
            Some(notice) = self.notices.recv() => self.take(notice),
            () = tokio::time::sleep_until(wake_at) => {}
            () = gate_changed => {}
            () = self.heartbeat.requested() => {}
            // If the writer has ended, its own error ends the process.
            Ok(()) = self.writable.changed() => {}
            Ok(()) = self.settings.changed() => self.renew(),
        }
        Ok(())
    }

    fn wake_at(&self, is_settled: bool) -> Instant {
        let now = Instant::now();
        let wall = self.context.clock.now();
        let deadline = self.schedule.next_deadline().map(|at| match is_settled {
            true => now + at.since(wall).min(DEADLINE_CHECK),
            false => now + DEADLINE_CHECK,
        });
        // Jobs that are due already wait for a free task, the gate or the budget, not for a time.
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
            let state = self.jobs.get(&id).map(|job| &job.state);
            if let Some(State::Ending(failure)) = state {
                let failure = failure.clone();
                self.ending += 1;
                self.spawn(&id, Work::End(failure), None);
            }
        }
    }

    fn polls_in_flight(&self) -> usize {
        self.tasks.len() - self.ending
    }

    /// Starts as many polls as the limits allow, best rank first.
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
            let on_trial = self.context.upstream.gate().on_trial(now);
            if !on_trial {
                self.trial = None;
            } else if self.trial.is_some() {
                // After a pause one job is polled alone; its outcome wakes this loop.
                return;
            }
            if let GateState::Closed { until, .. } = self.context.upstream.gate().state(now) {
                self.wake_at = Some(until);
                return;
            }
            if let Err(wait) = self.context.upstream.budget().try_take() {
                self.wake_at = Some(now + wait);
                return;
            }
            // The longest due job, not the best rank: a job that is always refused must not be the trial of every pause. Nor
            // may the suspect be, a job that was throttled alone: it does not show whether the others are.
            let next = if on_trial {
                let suspect = self.context.upstream.gate().suspect();
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
        match self.context.upstream.target(id, job.url.as_deref()) {
            Ok(url) => {
                job.count_lag();
                let (end, ended) = oneshot::channel();
                self.spawn(id, Work::Poll { url, end: ended }, Some(end));
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

    fn spawn(&mut self, id: &JobId, work: Work, end: Option<oneshot::Sender<Failure>>) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        let is_final = job.final_poll_until.is_some();
        job.state = State::Polling {
            end,
            then: Then::Nothing,
            is_final,
        };
        let task = PollTask {
            id: id.clone(),
            webhook: job.webhook.as_deref().map(str::to_owned),
            progress: job.progress.clone(),
            hash: job.hash,
            own_url: job.url.is_some(),
            created_at: job.created_at,
            deadline: job.deadline,
            work,
        };
        self.tasks.spawn(Arc::clone(&self.context).run(task));
    }

    async fn finish(
        &mut self,
        polled: Result<Result<Polled, PollError>, tokio::task::JoinError>,
    ) -> Result<(), PollerError> {
        let polled = match polled {
            Ok(Ok(polled)) => polled,
            Ok(Err(error)) => return Err(PollerError::Task(error.to_string())),
            Err(error) => return Err(PollerError::Task(error.to_string())),
        };
        self.ending -= usize::from(polled.ended);
        self.trial.take_if(|trial| *trial == polled.id);
        let wall = self.context.clock.now();
        let (then, is_final) = self.take_followup(&polled.id);
        if let Then::Follow(row) = then {
            self.forget(&polled.id);
            self.adopt(*row, Duration::ZERO);
            return Ok(());
        }
        let next_poll_at = match polled.next {
            Next::Forget => {
                self.forget(&polled.id);
                return Ok(());
            }
            Next::Reread => {
                self.forget(&polled.id);
                let store = &self.context.store;
                let reading = self.heartbeat.read(|| store.job(&polled.id));
                if let Some(row) = reading.await? {
                    self.adopt(row, Duration::ZERO);
                }
                return Ok(());
            }
            Next::After(delay) => wall.plus(delay),
            Next::WhenOpen => {
                let now = Instant::now();
                match self.context.upstream.gate().state(now) {
                    GateState::Closed { until, .. } => wall.plus(until - now),
                    GateState::Open => wall,
                }
            }
        };
        let Some(job) = self.jobs.get_mut(&polled.id) else {
            return Ok(());
        };
        job.progress = polled.poll_state.progress;
        job.hash = polled.poll_state.hash;
        job.paused_until = wall.plus(polled.poll_state.pause);
        self.unwritten.insert(polled.id.clone());
        let is_over = is_final && polled.poll_state.is_current;
        // A poll that began before the deadline is not the final one, which then follows at once.
        let again = job.final_poll_until.is_some() && polled.poll_state.is_current;
        let wanted = if again { wall } else { next_poll_at };
        job.next_poll_at = wanted.max(job.not_before.unwrap_or(wanted));
        let entry = self.schedule.insert(
            &polled.id,
            Instant::now() + job.next_poll_at.since(wall),
            job.rank(),
        );
        job.state = State::Scheduled(entry);
        self.flush_at.get_or_insert(Instant::now() + FLUSH);
        let then = match then {
            Then::Nothing | Then::PollAgain if is_over => Then::End(job.expired(true)),
            then => then,
        };
        match then {
            Then::PollAgain => self.poll_now(&polled.id),
            Then::End(failure) => self.end(&polled.id, failure),
            Then::Nothing | Then::Follow(_) => {}
        }
        Ok(())
    }

    /// Takes what is to follow the finished task of a job, and whether the task was its final poll.
    fn take_followup(&mut self, id: &JobId) -> (Then, bool) {
        match self.jobs.get_mut(id).map(|job| &mut job.state) {
            Some(State::Polling { then, is_final, .. }) => {
                (std::mem::replace(then, Then::Nothing), *is_final)
            }
            _ => (Then::Nothing, false),
        }
    }
}

#[cfg(test)]
mod tests;
