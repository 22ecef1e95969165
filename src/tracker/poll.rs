//! One poll of one job: request, observe, record. Runs as a separate task, with no transaction open during the request.

mod log;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use url::Url;

use crate::clock::{Clock, Jitter};
use crate::core::backoff::lengthen;
use crate::core::cadence::{PollingPolicy, Progress};
use crate::core::event::Subscriptions;
use crate::core::job::{Failure, FailureKind, JobId, JobState};
use crate::core::observe::{Evidence, Observation, is_stale, observe};
use crate::core::poll::{Poll, PollOutcome};
use crate::core::snapshot::Snapshot;
use crate::core::time::UnixMillis;
use crate::store::{Jobs as _, Recordable, ScheduleUpdate, Store, StoreError, patiently};
use crate::telemetry;
use crate::upstream::{PollRequest, Upstream};
use crate::writer::{Recorded, Recorder, WriterGone};
use log::{PollLine, Summary, UnknownWords};

/// Longest delay between polls after the deadline, until one has a usable answer.
const FINAL_POLL_DELAY: Duration = Duration::from_secs(15);

/// What all polls share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) store: Store,
    pub(super) recorder: Recorder,
    pub(super) upstream: Upstream,
    /// `https://host[:port]` of the API, for its relative links.
    pub(super) api_origin: String,
    pub(super) subscriptions: Subscriptions,
    pub(super) policy: PollingPolicy,
    pub(super) clock: Clock,
    pub(super) jitter: Jitter,
    pub(super) unknown_words: Arc<UnknownWords>,
}

/// A job to be polled or ended.
#[derive(Debug)]
pub(super) struct PollTask {
    pub(super) id: JobId,
    pub(super) webhook: Option<String>,
    pub(super) progress: Progress,
    /// The hash of the body that was recorded last.
    pub(super) hash: Option<u64>,
    /// Whether the row has its own `url`, so that the answer may have another id.
    pub(super) own_url: bool,
    /// When the row was inserted; distinguishes two jobs of the same id.
    pub(super) created_at: UnixMillis,
    /// When the job expires; polls after it have shorter delays.
    pub(super) deadline: UnixMillis,
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) enum Work {
    /// Poll the API, unless the end comes first.
    Poll {
        url: Url,
        end: oneshot::Receiver<Failure>,
    },
    /// End the job without a poll.
    End(Failure),
}

/// A finished task.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) id: JobId,
    pub(super) poll_state: PollState,
    /// Whether it was [`Work::End`].
    pub(super) ended: bool,
    pub(super) next: Next,
}

/// What a poll starts from and updates.
#[derive(Debug)]
pub(super) struct PollState {
    pub(super) progress: Progress,
    /// The hash of the body that was recorded last.
    pub(super) hash: Option<u64>,
    /// Whether the poll had a usable answer that is not stale.
    pub(super) is_current: bool,
    /// How long the job is not polled because of a `Retry-After`.
    pub(super) pause: Duration,
}

/// What the poller does with the job after the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// Poll again after this long.
    After(Duration),
    /// Poll again as soon as the gate is open: the job was not the cause.
    WhenOpen,
    /// Stop following it: it has ended, or its row is gone.
    Forget,
    /// Read its row again, which has changed during the poll.
    Reread,
}

/// Why a task could not be finished; the process ends then.
#[derive(Debug, thiserror::Error)]
pub(super) enum PollError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    WriterGone(#[from] WriterGone),
}

impl Context {
    /// Upper bound of the delay before a job's next poll, `not_before` aside.
    pub(super) fn longest_wait(&self, progress: &Progress) -> Duration {
        let longest_rest = self.upstream.max_retry_after();
        let longest = progress.longest_delay(&self.policy, longest_rest);
        match self.upstream.heeds_retry_after() {
            true => longest.max(longest_rest),
            false => longest,
        }
    }

    pub(super) async fn run(self: Arc<Self>, task: PollTask) -> Result<Polled, PollError> {
        let PollTask {
            id,
            webhook,
            progress,
            hash,
            own_url,
            created_at,
            deadline,
            work,
        } = task;
        let job = Job {
            id: &id,
            webhook: webhook.as_deref(),
            created_at,
            deadline,
            wait: Duration::ZERO,
        };
        let mut poll_state = PollState {
            progress,
            hash,
            is_current: false,
            pause: Duration::ZERO,
        };
        let ended = matches!(work, Work::End(_));
        let next = match work {
            Work::End(failure) => self.end(&job, &mut poll_state.progress, failure).await?,
            // Before the first poll: the job may have ended after its row was read.
            Work::Poll { .. } if hash.is_none() && self.has_ended(&id).await? => Next::Forget,
            Work::Poll { url, end } => {
                let (started, requests) = (Instant::now(), AtomicU32::new(0));
                let request = PollRequest {
                    url: &url,
                    job: &id,
                    expected: (!own_url).then_some(&id),
                    known: hash,
                };
                let polled = tokio::select! {
                    biased;
                    Ok(failure) = end => Err(failure),
                    poll = self.upstream.poll_counted(&request, &requests) => Ok(poll),
                };
                let (duration, requests) = (started.elapsed(), requests.into_inner());
                poll_state.progress.count(requests, self.clock.now());
                match polled {
                    // The memory for the answer is released only after the record.
                    Ok((poll, _memory)) => {
                        let word = poll.outcome.as_str();
                        let next = self.apply(&job, &mut poll_state, poll).await?;
                        let progress = &poll_state.progress;
                        let usable = word == "answered" && progress.consecutive_errors == 0;
                        let line = PollLine {
                            outcome: word,
                            requests,
                            duration,
                            error: progress.last_error.as_deref().filter(|_| !usable),
                        };
                        line.log(&id, &next);
                        telemetry::polled(word, usable || word != "answered", duration);
                        next
                    }
                    Err(failure) => self.end(&job, &mut poll_state.progress, failure).await?,
                }
            }
        };
        Ok(Polled {
            id,
            poll_state,
            ended,
            next,
        })
    }

    async fn has_ended(&self, id: &JobId) -> Result<bool, PollError> {
        match patiently(|| self.store.job(id)).await {
            Err(StoreError::Inconsistent { .. }) => Ok(false),
            row => Ok(row?.is_none_or(|row| row.state.is_final())),
        }
    }

    /// Updates the progress with the outcome of a poll, and records what follows from it.
    async fn apply(
        &self,
        job: &Job<'_>,
        poll_state: &mut PollState,
        poll: Poll,
    ) -> Result<Next, PollError> {
        let retry_after = poll.retry_after;
        let wait = match poll.outcome {
            PollOutcome::Unchanged | PollOutcome::Snapshot { .. } => retry_after,
            _ => None,
        };
        let wait = wait.map_or(Duration::ZERO, |asked| self.pause(asked));
        let job = &Job { wait, ..*job };
        let progress = &mut poll_state.progress;
        match poll.outcome {
            PollOutcome::Unchanged => {
                progress.good(false, progress.queued);
                progress.stale = None;
                poll_state.is_current = true;
                return Ok(self.later(job, progress));
            }
            PollOutcome::Snapshot { snapshot, hash } => {
                return self.answered(job, poll_state, *snapshot, hash).await;
            }
            PollOutcome::Gone { status } => {
                // Right after a jump of the clock the grace starts again.
                if !self.clock.stability().is_settled {
                    progress.not_found_since = None;
                }
                let error = format!("not found ({status})");
                if progress.not_found(error, self.clock.now(), &self.policy) {
                    let grace = humantime::format_duration(self.policy.not_found_grace);
                    let detail = format!("the API answered {status} for longer than {grace}");
                    let failure = Failure::decided(FailureKind::NotFound, "Job not found", detail);
                    return self.end(job, progress, failure).await;
                }
            }
            PollOutcome::Rejected { detail } => {
                progress.failed(format!("rejected (400): {detail}"));
                let failure =
                    Failure::decided(FailureKind::Rejected, "The API rejects this job id", detail);
                return self.end(job, progress, failure).await;
            }
            PollOutcome::CredentialsRefused { detail } => {
                progress.last_error = Some(format!("credentials refused: {detail}"));
                return Ok(
                    retry_after.map_or(Next::WhenOpen, |asked| Next::After(self.pause(asked)))
                );
            }
            PollOutcome::NotSent { detail } => {
                progress.last_error = Some(format!("not polled: {detail}"));
                return Ok(Next::WhenOpen);
            }
            PollOutcome::Throttled { status } => progress.failed(format!("throttled ({status})")),
            PollOutcome::Forbidden { status, detail } => {
                progress.failed(format!("forbidden ({status}): {detail}"));
            }
            PollOutcome::Trouble(trouble) => {
                progress.failed(format!("{}: {}", trouble.class.as_str(), trouble.detail));
            }
        }
        // This Retry-After is about the job alone; the job is not polled before it is over.
        let delay = self.delay(job, progress);
        poll_state.pause = retry_after.map_or(Duration::ZERO, |asked| self.pause(asked));
        Ok(Next::After(delay.max(poll_state.pause)))
    }

    /// The pause for a `Retry-After`: with jitter, and bounded.
    fn pause(&self, retry_after: Duration) -> Duration {
        let pause = lengthen(retry_after, self.policy.jitter, self.jitter.fraction());
        pause.min(self.upstream.max_retry_after())
    }

    async fn answered(
        &self,
        job: &Job<'_>,
        poll_state: &mut PollState,
        snapshot: Snapshot,
        hash: u64,
    ) -> Result<Next, PollError> {
        let evidence = Evidence::Snapshot(snapshot);
        // On the heap, to keep the tasks small: most polls find nothing new.
        let next = Box::pin(self.record(job, &mut poll_state.progress, evidence)).await?;
        // An answer that was not recorded must not count as unchanged next time.
        poll_state.is_current = next != Next::Reread
            && poll_state.progress.consecutive_errors == 0
            && poll_state.progress.stale.is_none();
        if poll_state.is_current {
            poll_state.hash = Some(hash);
        }
        Ok(next)
    }

    async fn end(
        &self,
        job: &Job<'_>,
        progress: &mut Progress,
        failure: Failure,
    ) -> Result<Next, PollError> {
        let evidence = Evidence::End(failure);
        Box::pin(self.record(job, progress, evidence)).await
    }

    async fn record(
        &self,
        job: &Job<'_>,
        progress: &mut Progress,
        evidence: Evidence,
    ) -> Result<Next, PollError> {
        let read = match patiently(|| self.store.tracked(job.id)).await {
            // Another program has damaged the job's rows; the other jobs continue.
            Err(error @ StoreError::Inconsistent { .. }) => {
                let error = error.to_string();
                log::cannot_record(job.id, &error, progress.consecutive_errors);
                progress.failed(error);
                return Ok(self.later(job, progress));
            }
            read => read?,
        };
        let Some(tracked) = read else {
            tracing::warn!(job_id = %job.id, "the row of a job is gone; it is no longer followed");
            return Ok(Next::Forget);
        };
        if tracked.created_at != job.created_at {
            return Ok(Next::Reread);
        }
        if tracked.state.is_final() {
            return Ok(Next::Forget);
        }
        if let Evidence::Snapshot(snapshot) = &evidence {
            if !is_stale(&tracked, snapshot) {
                progress.stale = None;
            } else if !progress.stale(snapshot.fingerprint()) {
                progress.good(false, progress.queued);
                return Ok(self.later(job, progress));
            }
        }
        let now = self.clock.now();
        let origin = &self.api_origin;
        let observation = match observe(&tracked, &evidence, now, origin) {
            Ok(observation) => observation,
            Err(error) => {
                progress.failed(format!("recorded JSON cannot be read back: {error}"));
                return Ok(self.later(job, progress));
            }
        };
        let errors_before = progress.consecutive_errors;
        if matches!(evidence, Evidence::Snapshot(_)) {
            progress.good(observation.moved, observation.queued);
            progress.has_challenge = observation.has_challenge();
            if observation.limited && progress.limit() {
                tracing::warn!(job_id = %job.id, transitions = tracked.last_seq, events = tracked.last_sequence,
                    "the job has passed a bound; only its end is recorded from now on");
            }
            let changed = tracked.state == JobState::Pending || !observation.events.is_empty();
            let resource = observation.remote.as_ref().map(|remote| &remote.resource);
            if !changed && resource == Some(&tracked.resource) {
                // The same answer as before a restart or before an unusable one.
                return Ok(self.later(job, progress));
            }
        }
        // They may be many times as large as the observation and are not needed for its commit.
        drop((tracked, evidence));
        self.commit(job, progress, observation, errors_before).await
    }

    async fn commit(
        &self,
        job: &Job<'_>,
        progress: &mut Progress,
        observation: Observation,
        errors_before: u32,
    ) -> Result<Next, PollError> {
        let next = if observation.state.is_final() {
            Next::Forget
        } else {
            self.later(job, progress)
        };
        let due = match &next {
            Next::After(delay) => Some(observation.at.plus(*delay)),
            _ => None,
        };
        let summary = Summary::of(&observation, job.created_at);
        self.unknown_words.log(job.id, &observation);
        let events = observation.events.iter();
        let webhooks = events.map(|event| self.subscriptions.webhooks(event.kind, job.webhook));
        let recordable = Recordable {
            webhooks: webhooks.collect(),
            schedule: schedule_update(job.id, progress, due),
            observation,
        };
        match self.recorder.observed(recordable).await? {
            Recorded::Yes => {
                summary.log(job.id, progress.polls);
                summary.count(progress.polls);
                Ok(next)
            }
            Recorded::Stale => Ok(Next::Reread),
            Recorded::Refused(rule) => {
                log::cannot_record(job.id, &rule, errors_before);
                progress.consecutive_errors = errors_before;
                progress.failed(format!("cannot be recorded: {rule}"));
                Ok(self.later(job, progress))
            }
        }
    }

    fn later(&self, job: &Job<'_>, progress: &Progress) -> Next {
        Next::After(self.delay(job, progress))
    }

    fn delay(&self, job: &Job<'_>, progress: &Progress) -> Duration {
        let now = self.clock.now();
        let delay = progress.next_delay(now, &self.policy, self.jitter.fraction());
        let delay = delay.max(job.wait);
        if now >= job.deadline {
            delay.min(FINAL_POLL_DELAY)
        } else {
            delay
        }
    }
}

/// The progress of a job as recorded.
pub(super) fn schedule_update(
    id: &JobId,
    progress: &Progress,
    next_poll_at: Option<UnixMillis>,
) -> ScheduleUpdate {
    ScheduleUpdate {
        job_id: id.clone(),
        progress: progress.clone(),
        next_poll_at,
    }
}

#[derive(Clone, Copy)]
struct Job<'a> {
    id: &'a JobId,
    webhook: Option<&'a str>,
    created_at: UnixMillis,
    deadline: UnixMillis,
    /// How long the API wants to be left alone about it, by its answer.
    wait: Duration,
}
