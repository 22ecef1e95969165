//! Which job is polled when: the schedule of all followed jobs, within the gate, the budget and the limit of polls in flight.
//!
//! The poller never waits: [`Poller::handle`] takes what has happened, [`Poller::advance`] does what is due, and both leave
//! [`Effect`]s that the caller carries out. One poll is [`machines::poll`](crate::machines::poll).

mod alarms;
mod bookkeeping;
mod deadlines;
mod ended;
mod followed;
mod job;
mod jobs;
mod kept;
mod messages;
mod number;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::cadence::Progress;
use crate::job::{Failure, JobId};
use crate::machines::budget::Budget;
use crate::machines::gate::{Gate, GateState};
use crate::machines::poll::{Finished, Next, Random, Settings, Task, Work};
use crate::planted::{self, Bug};
use crate::time::{Monotonic, Now, UnixMillis};

use bookkeeping::PausedTime;
use ended::Ended;
use job::{Followed, Followup, State, Then};
use jobs::Jobs;
use kept::Soon;
pub use messages::{Effect, Input, Report};
use number::Number;
use schedule::Schedule;

/// How often progress of jobs is recorded, for people and for the next start.
const FLUSH: Duration = Duration::from_secs(1);

/// Deadlines are checked at least this often, since the wall clock may be set.
const DEADLINE_CHECK: Duration = Duration::from_secs(60);

/// Most ends by our own decision that are recorded at once. Each reads its job first, and thousands may come at the same time.
const MAX_ENDING: usize = 64;

/// As many first polls as may be in flight, and this many more, may be under way at once, from the request to the commit. The
/// more of them share a transaction, the fewer pages it writes for each; their memory is counted with that of answers.
const RECORDED_BESIDE: usize = 256;

/// So many answers more may wait for their commit, none of a first poll: other jobs do not wait until the first answers of a
/// million new rows are committed.
const RECORDED_OF_OTHERS: usize = 128;

/// The schedule of all followed jobs.
#[derive(Debug)]
pub struct Poller {
    settings: Arc<Settings>,
    max_in_flight: usize,
    is_writable: bool,
    jobs: Jobs,
    /// Jobs whose rows are being read again, and whether they have changed meanwhile.
    rereading: BTreeMap<JobId, bool>,
    /// Jobs with progress that is not recorded yet, the oldest first; once each.
    unwritten: VecDeque<Number>,
    /// How many of them, at the front, are recorded at the next opportunity.
    unwritten_soon: usize,
    /// How many of them are recorded at once, until there are none.
    flush_rows: usize,
    schedule: Schedule,
    /// How many polls and ends are not over.
    in_flight: usize,
    /// How many of them are a job's first poll.
    first_polls: usize,
    /// How many polls of them are being recorded.
    recording: usize,
    /// Jobs whose end waits to be recorded, [`State::Ending`].
    ends: VecDeque<Number>,
    /// How many of those in flight only record an end.
    ending: usize,
    flush_at: Option<Monotonic>,
    /// When the gate or the budget lets the next poll through.
    allowed_at: Option<Monotonic>,
    /// Names of unconfigured webhooks that were reported.
    unknown_reported: BTreeSet<String>,
    /// Followed jobs that name a webhook that is not configured.
    unknown_webhooks: usize,
    /// Number of overdue jobs in the backlog so far.
    overdue: usize,
    /// The end of the API's pause as last recorded.
    recorded_pause: UnixMillis,
    paused_time: PausedTime,
    /// The job that is polled alone after a pause.
    trial: Option<Number>,
    ended: Ended,
    /// The number of clock jumps at the last step.
    jumps: u64,
    effects: Vec<Effect>,
}

impl Poller {
    /// Follows nothing yet. At most `max_in_flight` polls (at least 1) are in flight at once.
    #[must_use]
    pub fn new(settings: Settings, max_in_flight: usize) -> Self {
        Self {
            settings: Arc::new(settings),
            max_in_flight: max_in_flight.max(1),
            is_writable: true,
            jobs: Jobs::default(),
            rereading: BTreeMap::new(),
            unwritten: VecDeque::new(),
            unwritten_soon: 0,
            flush_rows: 0,
            schedule: Schedule::default(),
            in_flight: 0,
            first_polls: 0,
            recording: 0,
            ends: VecDeque::new(),
            ending: 0,
            flush_at: None,
            allowed_at: None,
            unknown_reported: BTreeSet::new(),
            unknown_webhooks: 0,
            overdue: 0,
            recorded_pause: UnixMillis(0),
            paused_time: PausedTime::default(),
            trial: None,
            ended: Ended::default(),
            jumps: 0,
            effects: Vec::new(),
        }
    }

    /// Number of jobs that are followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.jobs.len()
    }

    /// Number of polls in flight, and of ends that are being recorded.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight - self.recording
    }

    /// Number of followed jobs that name a webhook that is not configured.
    #[must_use]
    pub fn unknown_webhooks(&self) -> usize {
        self.unknown_webhooks
    }

    /// Takes what is to be done, in order.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Takes note of what has happened. Nothing is started before the next [`Poller::advance`].
    pub fn handle(&mut self, input: Input, now: Now, gate: &Gate, random: Random<'_>) {
        // Before anything is compared with the new time.
        self.follow_clock(now);
        match input {
            Input::Rows(mut rows, read_at) => {
                self.ended.doubt(&mut rows, read_at);
                for row in rows {
                    self.adopt(row, Duration::ZERO, now);
                }
            }
            Input::Backlog(rows) => self.adopt_backlog(rows, now, random),
            Input::Answered => self.recording += 1,
            Input::Finished(finished) => self.finish(*finished, now, gate),
            Input::Row(id, row) => self.reread(&id, row, now),
            Input::ProgressRefused(updates) => {
                for update in updates {
                    if let Some(number) = self.jobs.find(&update.job_id) {
                        self.is_unwritten(number, Soon::No, now.monotonic);
                    }
                }
            }
            Input::PauseRefused => self.recorded_pause = UnixMillis(0),
            Input::Writable(is_writable) => self.is_writable = is_writable,
            Input::Settings(settings, max_in_flight) => self.renew(settings, max_in_flight, now),
        }
    }

    /// Does what is due: starts polls and ends, lets jobs expire, has progress recorded.
    pub fn advance(&mut self, now: Now, gate: &Gate, budget: &mut Budget) {
        self.count_paused_time(now.monotonic, gate);
        self.record_pause(now, gate);
        self.follow_clock(now);
        // A clock that was just set may be set again; nothing ends because of it (docs/operating.md, "Clock").
        if now.stability.is_settled {
            self.expire(now);
        }
        self.start_polls(now.monotonic, gate, budget);
        self.start_ends(now.monotonic);
        if self.flush_at.is_some_and(|at| at <= now.monotonic) {
            self.flush_share(now.monotonic);
        }
    }

    fn follow_clock(&mut self, now: Now) {
        if std::mem::replace(&mut self.jumps, now.stability.jumps) != now.stability.jumps {
            self.retime(now);
        }
    }

    /// When to call [`Poller::advance`] again at the latest, if nothing else happens.
    #[must_use]
    pub fn wake_at(&self, now: Now) -> Monotonic {
        let check = now.monotonic.plus(DEADLINE_CHECK);
        let deadline = self
            .schedule
            .next_deadline()
            .map(|at| match now.stability.is_settled {
                true => now.until(at).min(check),
                false => check,
            });
        // Jobs that are due already wait for a free slot, the gate or the budget, not for a time.
        let due = self.schedule.next_due();
        let times = [due, deadline, self.flush_at, self.allowed_at];
        times.into_iter().flatten().min().unwrap_or(check)
    }

    fn start_ends(&mut self, now: Monotonic) {
        while self.ending < MAX_ENDING
            && let Some(number) = self.ends.pop_front()
        {
            if let Some(Followed {
                state: State::Ending(failure),
                ..
            }) = self.jobs.get(number)
            {
                let failure = Failure::clone(failure);
                self.ending += 1;
                self.start(number, Work::End(failure), now);
            }
        }
    }

    /// Starts as many polls as the limits allow, best rank first.
    fn start_polls(&mut self, now: Monotonic, gate: &Gate, budget: &mut Budget) {
        let jobs = &self.jobs;
        self.schedule
            .advance(now, |number| jobs.get(number)?.falls_due());
        self.allowed_at = None;
        while let Some(takes_first) = self.room()
            && self.schedule.has_due(takes_first)
        {
            let on_trial = gate.on_trial(now);
            if !on_trial {
                self.trial = None;
            } else if self.trial.is_some() {
                // After a pause one job is polled alone; its outcome wakes the caller.
                return;
            }
            if let GateState::Closed { until, .. } = gate.state(now) {
                self.allowed_at = Some(until);
                return;
            }
            if let Err(wait) = budget.try_take(now) {
                self.allowed_at = Some(now.plus(wait));
                return;
            }
            // The longest due job, not the best rank: a job that is always refused must not be the trial of every pause. Nor
            // may the suspect be, a job that was throttled alone: it does not show whether the others are.
            let next = if on_trial {
                self.trial = match planted::is(Bug::PriorityStarves) {
                    true => self.schedule.pop_due(now, takes_first),
                    false => {
                        let suspect = gate.suspect().and_then(|id| self.jobs.find(id));
                        self.schedule.pop_longest_due(suspect)
                    }
                };
                self.trial
            } else {
                self.schedule.pop_due(now, takes_first)
            };
            if let Some(number) = next {
                self.start(number, Work::Poll, now);
            }
        }
    }

    /// If another poll may begin, whether it may be a job's first.
    fn room(&self) -> Option<bool> {
        let most_first = self.max_in_flight + RECORDED_BESIDE;
        let has_room = self.is_writable
            && self.recording < most_first + RECORDED_OF_OTHERS
            && (self.in_flight() - self.ending < self.max_in_flight
                || planted::is(Bug::InFlightIgnored));
        has_room.then_some(self.first_polls < most_first)
    }

    fn start(&mut self, number: Number, work: Work, now: Monotonic) {
        let etag = self.jobs.take_etag(number);
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        let due = match &job.state {
            State::Scheduled(due) => *due,
            State::Ending(_) | State::Polling { .. } => now,
        };
        let is_final = job.is_final();
        let is_whole = is_final || job.urgent;
        let is_poll = work == Work::Poll;
        if is_poll {
            job.urgent = false;
        }
        let is_first = is_poll && job.progress.is_new();
        job.state = State::Polling {
            may_cut: is_poll,
            then: Then::Nothing,
            is_first,
            is_final,
            keeps_etag: true,
        };
        self.in_flight += 1;
        self.first_polls += usize::from(is_first);
        self.effects.push(Effect::Start(Box::new(Task {
            id: job.id.clone(),
            url: job.rare().url.clone(),
            webhook: job.rare().webhook.clone(),
            progress: Progress::from(&job.progress),
            hash: job.hash.map(NonZeroU64::get),
            etag,
            is_whole,
            is_blank: is_first && job.is_blank,
            created_at: job.created_at,
            deadline: job.deadline,
            lag: now.since(due),
            work,
            settings: Arc::clone(&self.settings),
        })));
    }

    fn finish(&mut self, mut finished: Finished, now: Now, gate: &Gate) {
        self.in_flight -= 1;
        self.ending -= usize::from(finished.ended);
        self.recording -= usize::from(finished.had_answer);
        let Some(number) = self.jobs.find(&finished.id) else {
            return;
        };
        self.trial.take_if(|trial| *trial == number);
        let Followup {
            then,
            is_first,
            is_final,
            keeps_etag,
        } = self.jobs.take_followup(number);
        self.first_polls -= usize::from(is_first);
        finished.etag.take_if(|_| !keeps_etag);
        match then {
            Then::Forget => return self.forget(number),
            Then::Follow(_) if planted::is(Bug::ForgetOfNewerRow) => return self.forget(number),
            Then::Follow(row) => {
                self.forget(number);
                return self.adopt(*row, Duration::ZERO, now);
            }
            _ => {}
        }
        let next_poll_at = match finished.next {
            Next::Forget if planted::is(Bug::PollAfterEnd) => now.wall.plus(FLUSH),
            Next::Forget => {
                self.ended.note(finished.id, now.monotonic);
                return self.forget(number);
            }
            Next::Reread => {
                self.forget(number);
                self.rereading.insert(finished.id.clone(), false);
                self.effects.push(Effect::ReadRow(finished.id));
                return;
            }
            Next::After(delay) => now.wall.plus(delay),
            Next::WhenOpen => match gate.state(now.monotonic) {
                GateState::Closed { until, .. } => now.wall.plus(until.since(now.monotonic)),
                GateState::Open => now.wall,
            },
        };
        let outcome = Outcome {
            finished,
            then,
            is_final,
            next_poll_at,
        };
        self.reschedule_after(number, outcome, now);
    }

    /// Schedules the next poll of a job that goes on.
    fn reschedule_after(&mut self, number: Number, outcome: Outcome, now: Now) {
        let Outcome {
            finished,
            then,
            is_final,
            next_poll_at,
        } = outcome;
        if let Some(etag) = finished.etag {
            self.jobs.keep_etag(number, etag);
        }
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        // A `Retry-After` holds after a crash, too, and people see at once that polls of a job fail.
        let errors = finished.progress.consecutive_errors;
        let has_trouble = !finished.pause.is_zero() || (errors > 0) != job.progress.is_failing();
        job.progress = finished.progress.into();
        // A hash of 0 is as if there were none: the next answer is read.
        job.hash = finished.hash.and_then(NonZeroU64::new);
        job.paused_until = now.wall.plus(finished.pause);
        let is_over = is_final && finished.is_current;
        // A poll that began before the deadline is not the final one, which then follows at once.
        let again = job.is_final() && finished.is_current;
        let wanted = if again { now.wall } else { next_poll_at };
        job.next_poll_at = wanted.max(job.not_before().unwrap_or(wanted));
        let due = now.until(job.next_poll_at);
        self.schedule.insert(number, due);
        job.state = State::Scheduled(due);
        let then = match then {
            Then::Nothing | Then::PollAgain if is_over => Then::End(Box::new(job.expired(true))),
            then => then,
        };
        if has_trouble {
            self.is_unwritten(number, Soon::Yes, now.monotonic);
        } else if !finished.is_recorded {
            self.is_unwritten(number, Soon::No, now.monotonic);
        }
        match then {
            Then::PollAgain => self.poll_now(number, now),
            Then::End(failure) => self.end(number, *failure),
            Then::Nothing | Then::Forget | Then::Follow(_) => {}
        }
    }
}

/// A poll that is over, of a job that goes on.
struct Outcome {
    finished: Finished,
    then: Then,
    is_final: bool,
    next_poll_at: UnixMillis,
}

#[cfg(test)]
mod tests;
