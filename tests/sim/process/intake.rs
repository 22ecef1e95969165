//! Intake: the backlog at the start, then what others have changed.

use jobtrackd_core::job::JobId;
use jobtrackd_core::machines::batching::Change;
use jobtrackd_core::machines::{dispatcher, poller};
use jobtrackd_core::rows::{JobChange, JobRow};
use jobtrackd_core::time::{Monotonic, Now, UnixMillis};

use super::{Operators, Out, Process, Read, TICK, duration};

#[derive(Debug, Default)]
pub(super) struct Intake {
    /// The backlog has been read.
    is_ready: bool,
    newest: i64,
    /// The newest change when the pages that are being read began.
    before: i64,
    is_reading: bool,
    /// Somebody has committed something since the last look.
    pub(super) is_dirty: bool,
    /// When it looks again, on the beat of its timer.
    look_at: Option<Monotonic>,
    operators: Operators,
}

impl Intake {
    pub(super) fn wake_at(&self) -> Option<Monotonic> {
        self.look_at
    }
}

impl Process {
    pub(super) fn begin(
        &mut self,
        newest: i64,
        operators: Operators,
        pause: Option<UnixMillis>,
        now: Now,
    ) {
        if let Some(until) = pause
            && until > now.wall
        {
            self.gate.pause_until(now.until(until));
        }
        self.intake.newest = newest;
        self.intake.operators = operators;
        self.configure(now);
        for webhook in 0..self.webhooks.len() {
            self.dispatch(webhook, dispatcher::Input::Writable(true), now);
        }
        self.out.push(Out::Read(Read::Backlog(i64::MIN)));
    }

    pub(super) fn adopt(&mut self, page: Vec<JobChange>, now: Now) {
        match page.last().map(|last| last.number) {
            Some(last) => {
                self.pass_on(page, poller::Input::Backlog, now);
                self.out.push(Out::Read(Read::Backlog(last)));
            }
            None => {
                self.intake.is_ready = true;
                self.intake.is_dirty = true;
            }
        }
    }

    fn pass_on(&mut self, page: Vec<JobChange>, input: fn(Vec<JobRow>) -> poller::Input, now: Now) {
        let rows: Vec<JobRow> = page.into_iter().filter_map(|change| change.job).collect();
        let requested = rows.iter().filter(|row| row.poll_requested);
        let requested: Vec<JobId> = requested.map(|row| row.id.clone()).collect();
        if rows.is_empty() {
            return;
        }
        self.poller_input(input(rows), now);
        if !requested.is_empty() {
            self.batching.push(Change::PollRequestsTaken(requested));
        }
    }

    /// Looks for changes at the next beat of the timer after a commit.
    pub(super) fn check_intake(&mut self, now: Now) {
        let intake = &mut self.intake;
        if !intake.is_ready || intake.is_reading {
            return;
        }
        if std::mem::take(&mut intake.is_dirty) && intake.look_at.is_none() {
            let beat = duration(TICK).as_nanos();
            let beats = u128::from(now.monotonic.0).div_ceil(beat);
            intake.look_at = Some(Monotonic(u64::try_from(beats * beat).unwrap_or(u64::MAX)));
        }
        if intake.look_at.is_some_and(|at| at <= now.monotonic) {
            intake.look_at = None;
            intake.is_reading = true;
            intake.before = intake.newest;
            self.out.push(Out::Read(Read::Changes(intake.newest)));
        }
    }

    pub(super) fn notice(&mut self, page: Vec<JobChange>, now: Now) {
        match page.last().map(|last| last.number) {
            Some(last) => {
                self.intake.newest = last;
                self.pass_on(page, poller::Input::Rows, now);
                self.out.push(Out::Read(Read::Changes(last)));
            }
            None => {
                if self.intake.newest > self.intake.before {
                    self.batching.push(Change::ChangesSeen(self.intake.newest));
                }
                self.out.push(Out::Read(Read::Operators));
            }
        }
    }

    pub(super) fn obey(&mut self, operators: &Operators, now: Now) {
        self.intake.is_reading = false;
        let before = std::mem::replace(&mut self.intake.operators, operators.clone());
        for (name, count) in &operators.requests {
            if before.requests.get(name).unwrap_or(&0) != count
                && let Some(webhook) = self
                    .webhook_plans
                    .iter()
                    .position(|it| *name == it.name.as_str())
            {
                self.dispatch(webhook, dispatcher::Input::Woken, now);
            }
        }
        if before.resumes != operators.resumes {
            self.gate.resume();
            self.tokens.resume();
        }
        self.is_busy = true;
    }
}
