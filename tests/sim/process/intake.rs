//! Intake: the real machine. Its questions are read as the others are, except those of the watcher, which the process knows.

use jobtrackd_core::machines::batching::Change;
use jobtrackd_core::machines::intake::{self, Effect, Notice, Query};
use jobtrackd_core::machines::{dispatcher, poller};
use jobtrackd_core::time::{Monotonic, Now, UnixMillis};

use super::{Out, Process, Read, TICK, duration};

#[derive(Debug, Default)]
pub(super) struct Intake {
    machine: intake::Intake,
    state: State,
    /// When its last question was asked.
    read_at: Monotonic,
    /// Somebody has committed something since the last look.
    pub(super) is_dirty: bool,
    /// When it looks again, on the beat of its timer.
    look_at: Option<Monotonic>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The process has not begun.
    #[default]
    Off,
    /// A question is open.
    Asking,
    /// Nothing is open.
    Resting,
}

impl Intake {
    pub(super) fn wake_at(&self) -> Option<Monotonic> {
        self.look_at
    }
}

impl Process {
    pub(super) fn begin(&mut self, pause: Option<UnixMillis>, now: Now) {
        if let Some(until) = pause
            && until > now.wall
        {
            self.gate.pause_until(now.until(until), now.monotonic);
        }
        self.configure(now);
        for webhook in 0..self.webhooks.len() {
            self.dispatch(webhook, dispatcher::Input::Writable(true), now);
        }
        self.take_in(now);
    }

    /// The answer to the question that is open.
    pub(super) fn answered_intake(&mut self, answer: intake::Answer, now: Now) {
        self.intake.machine.answer(answer);
        self.take_in(now);
        self.is_busy = true;
    }

    /// Looks for changes at the next beat of the timer after a commit.
    pub(super) fn check_intake(&mut self, now: Now) {
        if self.intake.state != State::Resting {
            return;
        }
        if self.intake.is_dirty && self.intake.look_at.is_none() {
            let beat = duration(TICK).as_nanos();
            let beats = u128::from(now.monotonic.0).div_ceil(beat);
            let at = u64::try_from(beats * beat).unwrap_or(u64::MAX);
            self.intake.look_at = Some(Monotonic(at));
        }
        if self.intake.look_at.is_some_and(|at| at <= now.monotonic) {
            self.intake.look_at = None;
            self.take_in(now);
        }
    }

    /// Carries out what the machine wants, until it waits.
    fn take_in(&mut self, now: Now) {
        loop {
            let answer = match self.intake.machine.step() {
                Effect::Query(Query::Watch) => {
                    self.intake.is_dirty = false;
                    intake::Answer::Watching
                }
                Effect::Query(Query::SawCommit) => {
                    let saw = std::mem::take(&mut self.intake.is_dirty);
                    intake::Answer::Committed(saw)
                }
                Effect::Query(query) => {
                    self.intake.state = State::Asking;
                    self.intake.read_at = now.monotonic;
                    self.out.push(Out::Read(Read::Intake(query)));
                    return;
                }
                Effect::Wait => {
                    self.intake.state = State::Resting;
                    return;
                }
                effect => {
                    self.carry_intake(effect, now);
                    continue;
                }
            };
            self.intake.machine.answer(answer);
        }
    }

    fn carry_intake(&mut self, effect: Effect, now: Now) {
        match effect {
            Effect::Send(Notice::Rows(rows)) => {
                let read_at = self.intake.read_at;
                self.poller_input(poller::Input::Rows(rows, read_at), now);
            }
            Effect::Send(Notice::Backlog(rows)) => {
                self.poller_input(poller::Input::Backlog(rows), now);
            }
            Effect::PollRequestsTaken(jobs, seen) => {
                self.batching.push(Change::PollRequestsTaken(jobs, seen));
            }
            Effect::ChangesSeen(newest) => self.batching.push(Change::ChangesSeen(newest)),
            Effect::Wake(name) => {
                let mut plans = self.webhook_plans.iter();
                if let Some(webhook) = plans.position(|it| name == it.name.as_str()) {
                    self.dispatch(webhook, dispatcher::Input::Woken, now);
                }
            }
            Effect::Resume => {
                self.gate.resume();
                self.tokens.resume();
            }
            Effect::Adopted(_) | Effect::Query(_) | Effect::Wait => {}
        }
        self.is_busy = true;
    }
}
