//! The writer: one transaction at a time.

use jobtrackd_core::batch::Committed;
use jobtrackd_core::machines::batching::{Effect, Recorded, Writable};
use jobtrackd_core::machines::{dispatcher, poll, poller};
use jobtrackd_core::time::Now;

use super::{Out, Process, Ticket};

impl Process {
    pub(super) fn start_commit(&mut self, now: Now) {
        if !self.is_committing && self.batching.start(now).is_some() {
            self.is_committing = true;
            self.out.push(Out::Commit);
        }
    }

    pub(super) fn committed(&mut self, committed: &Committed, now: Now) {
        self.is_committing = false;
        let effects = self.batching.committed(committed);
        self.carry_commit(effects, now);
    }

    pub(super) fn refused(&mut self, rule: &str, now: Now) {
        self.is_committing = false;
        let effects = self.batching.refused(rule).unwrap_or_default();
        self.carry_commit(effects, now);
    }

    pub(super) fn unwritable(&mut self, reason: Writable, now: Now) {
        self.is_committing = false;
        let effects = self.batching.unwritable(reason, now.monotonic);
        self.carry_commit(effects, now);
    }

    fn carry_commit(&mut self, effects: Vec<Effect<Ticket>>, now: Now) {
        self.is_busy = true;
        for effect in effects {
            match effect {
                Effect::Writable(writable) => {
                    let is_writable = writable.permits_polls();
                    self.poller_input(poller::Input::Writable(is_writable), now);
                    let is_writable = writable == Writable::Yes;
                    for webhook in 0..self.webhooks.len() {
                        let input = dispatcher::Input::Writable(is_writable);
                        self.dispatch(webhook, input, now);
                    }
                }
                Effect::Answer(Ticket::Poll(number), recorded) => {
                    self.step(number, poll::Input::Recorded(recorded), now);
                }
                Effect::Answer(Ticket::Attempt(webhook, job), recorded) => {
                    let is_recorded = recorded == Recorded::Yes;
                    let input = dispatcher::Input::Recorded(job, is_recorded);
                    self.dispatch(webhook, input, now);
                }
                Effect::Answer(Ticket::GiveUp(webhook), recorded) => {
                    let input = dispatcher::Input::GaveUp(recorded == Recorded::Yes);
                    self.dispatch(webhook, input, now);
                }
                Effect::Wake(name) => {
                    let mut plans = self.webhook_plans.iter();
                    if let Some(webhook) = plans.position(|it| name == it.name.as_str()) {
                        self.dispatch(webhook, dispatcher::Input::Woken, now);
                    }
                }
                Effect::Notify(_) | Effect::Report(_) => {}
            }
        }
    }
}
