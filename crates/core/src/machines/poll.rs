//! One poll of one job, or its end by our own decision: what is read, requested and recorded, one after the other, and when
//! the job is polled next.
//!
//! [`Machine::begin`] returns the first [`Step`]; each [`Input`] is the result of the step before it and returns the next
//! one, until [`Step::Done`].

mod messages;

mod state;

use std::time::Duration;

use crate::backoff::lengthen;
use crate::batch::{Recordable, ScheduleUpdate};
use crate::cadence::PollingPolicy;
use crate::etag::Etag;
use crate::job::{Failure, FailureKind, JobId, JobState};
use crate::machines::batching::Recorded;
use crate::observe::{Evidence, Observation, Tracked, is_stale, observe};
use crate::planted::{self, Bug};
use crate::poll::{Poll, PollOutcome};
use crate::time::{Now, UnixMillis};

pub use messages::{Finished, Input, Next, Random, Report, Settings, Step, Task, Work};
use state::{Mark, State};

/// Longest delay between polls after the deadline, until one has a usable answer.
const FINAL_POLL_DELAY: Duration = Duration::from_secs(15);

/// One poll of a job in so many is not conditional, so that an API whose entity tags stay the same when the job changes delays
/// its end and does not hide it.
const WHOLE_EVERY: u64 = 10;

/// Largest body of a job that is handed on as it is recorded (8 KiB).
const MAX_HANDED_ON: usize = 8 << 10;

/// One poll that is not over.
#[derive(Debug)]
pub struct Machine {
    task: Task,
    state: State,
    is_current: bool,
    is_recorded: bool,
    had_answer: bool,
    /// The recorded job, if it is known before the request and holds nothing that could be large.
    known_before: Option<Tracked>,
    /// The job once the observation is recorded, if it goes on and is small.
    after: Option<Tracked>,
    pause: Duration,
    /// How long the API wants to be left alone about the job, by a good answer.
    wait: Duration,
    reports: Vec<Report>,
}

impl Machine {
    /// Begins a poll or an end.
    #[must_use]
    pub fn begin(task: Task) -> (Self, Step) {
        let blank = task
            .is_blank
            .then(|| Tracked::blank(task.id.clone(), task.created_at));
        let mut machine = Self {
            task,
            state: State::Asking,
            is_current: false,
            is_recorded: false,
            had_answer: false,
            known_before: blank,
            after: None,
            pause: Duration::ZERO,
            wait: Duration::ZERO,
            reports: Vec::new(),
        };
        let step = match &machine.task.work {
            Work::End(failure) => {
                machine.state = State::Reading(Evidence::End(failure.clone()), None);
                Step::ReadTracked
            }
            Work::Poll if machine.task.hash.is_some() || machine.task.is_blank => Step::Request,
            // Before the first poll: the job may have ended after its row was read. Of one that was never polled all is read at
            // once that is needed for its first answer.
            Work::Poll if machine.task.progress.polls == 0 => {
                machine.state = State::Beginning;
                Step::ReadTracked
            }
            Work::Poll => Step::ReadRow,
        };
        (machine, step)
    }

    /// The job.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.task.id
    }

    fn is_poll(&self) -> bool {
        self.task.work == Work::Poll
    }

    /// Whether the request of a poll is over, and what it found is read and recorded, unless that is over, too.
    #[must_use]
    pub fn had_answer(&self) -> bool {
        self.had_answer
    }

    /// The hash of the body that was recorded last.
    #[must_use]
    pub fn known(&self) -> Option<u64> {
        self.task.hash
    }

    /// What the request asks with (`If-None-Match`), if it may be answered by 304.
    #[must_use]
    pub fn if_none_match(&self) -> Option<&Etag> {
        let Task {
            hash,
            etag,
            is_whole,
            progress,
            ..
        } = &self.task;
        let is_whole = *is_whole || progress.polls.is_multiple_of(WHOLE_EVERY);
        // Without the hash nothing is recorded that a 304 could confirm.
        etag.as_ref().filter(|_| hash.is_some() && !is_whole)
    }

    /// What is to be done after the result of the last step.
    pub fn handle(&mut self, input: Input, now: Now, random: Random<'_>) -> Step {
        match input {
            Input::Row(row) => {
                let has_ended = row.is_ok_and(|row| row.is_none_or(|row| row.state.is_final()));
                match has_ended {
                    true => self.done(Next::Forget),
                    false => Step::Request,
                }
            }
            Input::Polled(poll) => self.polled(poll, now, random),
            Input::Cut(failure, requests) => {
                self.task.progress.count(requests, now.wall);
                self.end(failure, now, random)
            }
            Input::UrlRefused(refused) => {
                let title = "The url may not be requested";
                let failure = Failure::decided(FailureKind::Rejected, title, refused);
                self.end(failure, now, random)
            }
            Input::Tracked(tracked) => self.tracked(tracked, now, random),
            Input::Recorded(recorded) => self.recorded(recorded, now, random),
        }
    }

    /// Updates the progress with the outcome of the request.
    fn polled(&mut self, poll: Poll, now: Now, random: Random<'_>) -> Step {
        self.task.progress.count(poll.requests, now.wall);
        let retry_after = poll.retry_after;
        let is_good = matches!(
            poll.outcome,
            PollOutcome::Unchanged | PollOutcome::NotModified | PollOutcome::Snapshot { .. }
        );
        if let Some(asked) = retry_after.filter(|_| is_good) {
            self.wait = self.pause(asked, random);
        }
        let progress = &mut self.task.progress;
        match poll.outcome {
            PollOutcome::Unchanged => {
                self.task.etag = poll.etag;
                return self.unchanged(now, random);
            }
            PollOutcome::NotModified => return self.unchanged(now, random),
            PollOutcome::Snapshot { snapshot, hash } => {
                let etag = poll.etag;
                let mark = Mark { hash, etag };
                return self.record(Evidence::Snapshot(*snapshot), Some(mark), now, random);
            }
            PollOutcome::Gone { status } => {
                // Right after a jump of the clock the grace starts again.
                if !now.stability.is_settled {
                    progress.not_found_since = None;
                }
                let policy = &self.task.settings.policy;
                if progress.not_found(format!("not found ({status})"), now.wall, policy) {
                    return self.end(not_found(status, policy), now, random);
                }
            }
            PollOutcome::Rejected { detail } => {
                progress.failed(format!("rejected (400): {detail}"));
                let kind = FailureKind::Rejected;
                let failure = Failure::decided(kind, "The API rejects this job id", detail);
                return self.end(failure, now, random);
            }
            PollOutcome::CredentialsRefused { detail } => {
                progress.last_error = Some(format!("credentials refused: {detail}"));
                let next = retry_after.map(|asked| Next::After(self.pause(asked, random)));
                return self.done(next.unwrap_or(Next::WhenOpen));
            }
            PollOutcome::NotSent { detail } => {
                progress.last_error = Some(format!("not polled: {detail}"));
                return self.done(Next::WhenOpen);
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
        let delay = self.delay(now, random);
        self.pause = retry_after.map_or(Duration::ZERO, |asked| self.pause(asked, random));
        self.done(Next::After(delay.max(self.pause)))
    }

    /// The job is as it was recorded.
    fn unchanged(&mut self, now: Now, random: Random<'_>) -> Step {
        let progress = &mut self.task.progress;
        progress.good(false, progress.queued);
        progress.stale = None;
        self.is_current = true;
        self.later(now, random)
    }

    /// The pause for a `Retry-After`: with jitter, and bounded.
    fn pause(&self, retry_after: Duration, random: Random<'_>) -> Duration {
        let settings = &self.task.settings;
        let pause = lengthen(retry_after, settings.policy.jitter, random());
        if planted::is(Bug::RetryAfterIgnored) {
            return Duration::ZERO;
        }
        pause.min(settings.max_retry_after)
    }

    fn end(&mut self, failure: Failure, now: Now, random: Random<'_>) -> Step {
        self.record(Evidence::End(failure), None, now, random)
    }

    fn record(
        &mut self,
        evidence: Evidence,
        mark: Option<Mark>,
        now: Now,
        random: Random<'_>,
    ) -> Step {
        self.state = State::Reading(evidence, mark);
        self.had_answer = true;
        match self.known_before.take() {
            // If it has changed since, the observation is not recorded.
            Some(tracked) => self.tracked(Ok(Some(tracked)), now, random),
            None => Step::ReadTracked,
        }
    }

    /// Begins with the request, unless the job has ended.
    fn begun(&mut self, tracked: Result<Option<Tracked>, String>) -> Step {
        match tracked {
            Ok(None) => self.done(Next::Forget),
            Ok(Some(tracked)) if tracked.state.is_final() => self.done(Next::Forget),
            Ok(Some(tracked)) => {
                let is_small = tracked.resource.is_none() && tracked.steps.is_empty();
                self.known_before = is_small.then_some(tracked);
                Step::Request
            }
            // Another program has damaged the job's rows, which the record will show.
            Err(_) => Step::Request,
        }
    }

    fn tracked(
        &mut self,
        tracked: Result<Option<Tracked>, String>,
        now: Now,
        random: Random<'_>,
    ) -> Step {
        let (evidence, mark) = match std::mem::replace(&mut self.state, State::Asking) {
            State::Reading(evidence, mark) => (evidence, mark),
            State::Beginning => return self.begun(tracked),
            _ => return self.later(now, random),
        };
        let tracked = match tracked {
            Ok(Some(tracked)) => tracked,
            Ok(None) => {
                self.reports.push(Report::RowGone);
                return self.done(Next::Forget);
            }
            // Another program has damaged the job's rows; the other jobs continue.
            Err(error) => {
                let errors_before = self.task.progress.consecutive_errors;
                self.task.progress.failed(error.clone());
                self.reports.push(Report::CannotRecord {
                    error,
                    errors_before,
                });
                return self.later(now, random);
            }
        };
        if tracked.created_at != self.task.created_at {
            return self.done(Next::Reread);
        }
        if tracked.state.is_final() {
            return self.done(Next::Forget);
        }
        self.observed(tracked, &evidence, mark, now, random)
    }

    fn observed(
        &mut self,
        tracked: Tracked,
        evidence: &Evidence,
        mark: Option<Mark>,
        now: Now,
        random: Random<'_>,
    ) -> Step {
        let progress = &mut self.task.progress;
        if let Evidence::Snapshot(snapshot) = evidence {
            if !is_stale(&tracked, snapshot) || planted::is(Bug::StaleRecorded) {
                progress.stale = None;
            } else if !progress.stale(snapshot.fingerprint()) {
                progress.good(false, progress.queued);
                return self.later(now, random);
            }
        }
        let origin = &self.task.settings.api_origin;
        let observation = match observe(&tracked, evidence, now.wall, origin) {
            Ok(observation) => observation,
            Err(error) => {
                progress.failed(format!("recorded JSON cannot be read back: {error}"));
                return self.later(now, random);
            }
        };
        let errors_before = progress.consecutive_errors;
        if matches!(evidence, Evidence::Snapshot(_)) {
            progress.good(observation.moved, observation.queued);
            progress.has_challenge = observation.has_challenge;
            if observation.limited && progress.limit() {
                self.reports.push(Report::Limited {
                    transitions: tracked.last_seq,
                    events: tracked.last_sequence,
                });
            }
            let changed = tracked.state == JobState::Pending || !observation.events.is_empty();
            let resource = observation.remote.as_ref().map(|remote| &remote.resource);
            if !changed && resource == Some(&tracked.resource) {
                // The same answer as before a restart or before an unusable one.
                self.keep(mark);
                return self.later(now, random);
            }
        }
        let (next, due) = if observation.state.is_final() {
            (Next::Forget, None)
        } else {
            let delay = self.delay(now, random);
            (Next::After(delay), Some(observation.at.plus(delay)))
        };
        let body = observation.remote.as_ref();
        let body = body.and_then(|remote| remote.resource.as_ref());
        let is_small = body.is_some_and(|body| body.len() <= MAX_HANDED_ON);
        self.after = (due.is_some() && is_small).then(|| tracked.after(&observation));
        self.state = State::Recording {
            next,
            errors_before,
            mark,
        };
        self.commit(observation, due)
    }

    fn commit(&self, observation: Observation, due: Option<UnixMillis>) -> Step {
        let task = &self.task;
        let only = task.webhook.as_deref();
        let subscriptions = &task.settings.subscriptions;
        let events = observation.events.iter();
        let webhooks = events.map(|event| subscriptions.webhooks(event.kind, only));
        Step::Record(Box::new(Recordable {
            webhooks: webhooks.collect(),
            schedule: ScheduleUpdate {
                job_id: task.id.clone(),
                created_at: task.created_at,
                progress: task.progress.clone(),
                next_poll_at: due,
            },
            observation,
        }))
    }

    fn recorded(&mut self, recorded: Recorded, now: Now, random: Random<'_>) -> Step {
        let State::Recording {
            next,
            errors_before,
            mark,
        } = std::mem::replace(&mut self.state, State::Asking)
        else {
            return self.later(now, random);
        };
        match recorded {
            Recorded::Yes => {
                self.keep(mark);
                self.is_recorded = true;
                self.done(next)
            }
            Recorded::Stale => self.done(Next::Reread),
            Recorded::Refused(rule) => {
                let progress = &mut self.task.progress;
                progress.consecutive_errors = errors_before;
                progress.failed(format!("cannot be recorded: {rule}"));
                self.reports.push(Report::CannotRecord {
                    error: rule,
                    errors_before,
                });
                self.later(now, random)
            }
        }
    }

    /// The answer with this mark is recorded, so that the same one counts as unchanged next time.
    fn keep(&mut self, mark: Option<Mark>) {
        if let Some(Mark { hash, etag }) = mark {
            self.is_current = true;
            self.task.hash = Some(hash);
            self.task.etag = etag;
        }
    }

    fn later(&mut self, now: Now, random: Random<'_>) -> Step {
        let delay = self.delay(now, random);
        self.done(Next::After(delay))
    }

    fn delay(&self, now: Now, random: Random<'_>) -> Duration {
        let Task {
            progress, settings, ..
        } = &self.task;
        let delay = progress.next_delay(now.wall, &settings.policy, random());
        let delay = delay.max(self.wait);
        match now.wall >= self.task.deadline {
            true => delay.min(FINAL_POLL_DELAY),
            false => delay,
        }
    }

    fn done(&mut self, next: Next) -> Step {
        Step::Done(Box::new(Finished {
            id: self.task.id.clone(),
            progress: std::mem::take(&mut self.task.progress),
            hash: self.task.hash,
            etag: self.task.etag.take(),
            is_current: self.is_current,
            is_recorded: self.is_recorded,
            pause: self.pause,
            ended: !self.is_poll(),
            had_answer: self.had_answer,
            tracked: self.after.take().filter(|_| self.is_recorded),
            next,
            reports: std::mem::take(&mut self.reports),
        }))
    }
}

fn not_found(status: u16, policy: &PollingPolicy) -> Failure {
    let grace = humantime::format_duration(policy.not_found_grace);
    let detail = format!("the API answered {status} for longer than {grace}");
    Failure::decided(FailureKind::NotFound, "Job not found", detail)
}

#[cfg(test)]
mod tests;
