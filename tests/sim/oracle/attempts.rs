//! Attempts: they do not begin before they may, a retry not before its entry of the schedule and none during a rest that the
//! webhook asked for; and each has its row.

use std::collections::{BTreeMap, BTreeSet};

use jobtrackd_core::delivery::{Attempt, AttemptResult, Trigger};

use crate::fakes::api::retry_after;
use crate::fakes::receiver::Receivers;
use crate::plan::{Fault, Plan, ReceiverFault};
use crate::time::{HOUR, SECOND, Time, shown};
use crate::world::Violation;

/// When attempts may begin.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Attempts under way, by webhook and event, that no operator has interfered with.
    begun: BTreeSet<(usize, String)>,
    /// How often an event failed at a webhook in a row, and before when it is not sent again.
    retries: BTreeMap<(usize, String), (usize, Time)>,
    /// When a webhook asked for a rest, and until when.
    rests: BTreeMap<usize, (Time, Time)>,
}

impl Pace {
    /// What was not recorded is not known.
    pub(super) fn crashed(&mut self) {
        *self = Self::default();
    }

    /// An operator has changed something about this webhook.
    pub(super) fn steered(&mut self, webhook: usize) {
        self.replayed();
        self.rests.remove(&webhook);
    }

    /// What is replayed begins with its first attempt.
    pub(super) fn replayed(&mut self) {
        self.begun.clear();
        self.retries.clear();
    }

    /// An attempt was answered, or had no answer.
    pub(super) fn ended(
        &mut self,
        plan: &Plan,
        receivers: &Receivers,
        webhook: usize,
        id: &str,
        result: &AttemptResult,
        now: Time,
    ) {
        let key = (webhook, id.to_owned());
        if !self.begun.remove(&key) {
            return;
        }
        match result {
            AttemptResult::Refused { .. } => {
                let schedule = &plan.webhooks[webhook].retry;
                let failures = self.retries.get(&key).map_or(0, |(failures, _)| *failures);
                let wait = schedule.get(failures).copied().unwrap_or(0);
                self.retries.insert(key, (failures + 1, now + wait));
            }
            AttemptResult::Throttled { .. } => {
                let mut received = receivers.received.iter().rev();
                let answered = received.find(|it| it.webhook == webhook && it.id == id);
                let asked = answered.and_then(|it| Some((it.at, rest(plan, webhook, it.at)?)));
                if let Some((at, asked)) = asked {
                    // A date has no parts of a second.
                    let until = at + asked.min(24 * HOUR).saturating_sub(SECOND);
                    self.rests.insert(webhook, (now, until));
                }
            }
            _ => {
                self.retries.remove(&key);
            }
        }
    }

    /// An attempt begins; a probe does not wait for the schedule.
    pub(super) fn begins(
        &mut self,
        webhook: usize,
        id: &str,
        may_probe: bool,
        now: Time,
    ) -> Result<(), Violation> {
        if let Some((asked, until)) = self.rests.get(&webhook)
            // Requests go out until the answer is recorded.
            && now > *asked + 30 * SECOND
            && now < *until
        {
            let (at, until) = (shown(now), shown(*until));
            return Err(format!(
                "rest: {id} is sent to {webhook} at {at}, and it rests until {until}"
            ));
        }
        let key = (webhook, id.to_owned());
        if let Some((_, due)) = self.retries.get(&key)
            && now < *due
            && !may_probe
        {
            let (at, due) = (shown(now), shown(*due));
            return Err(format!(
                "retry: {id} is sent to {webhook} at {at}, and is due at {due}"
            ));
        }
        self.begun.insert(key);
        Ok(())
    }
}

/// How long a rest a webhook asked for at this time.
fn rest(plan: &Plan, webhook: usize, at: Time) -> Option<Time> {
    plan.faults.iter().find_map(|fault| match fault {
        Fault::Receiver(of, window, ReceiverFault::Paused(_, wait))
            if *of == webhook && window.holds(at) =>
        {
            retry_after(*wait, at).1
        }
        _ => None,
    })
}

/// At the end: the attempts of each delivery are numbered without gaps, and only replays are manual.
pub(super) fn check_rows(attempts: &[Attempt], receivers: &Receivers) -> Result<(), Violation> {
    let mut numbers: BTreeMap<(&str, &str), Vec<u32>> = BTreeMap::new();
    for attempt in attempts {
        let (id, webhook) = (attempt.event_id.as_str(), attempt.webhook.as_str());
        numbers
            .entry((id, webhook))
            .or_default()
            .push(attempt.number);
        let mut received = receivers.received.iter();
        if attempt.trigger == Trigger::Manual
            && attempt.status.is_some()
            && !received.any(|it| it.id == id && it.is_replay)
        {
            return Err(format!(
                "attempts: {id} at {webhook} is recorded as a replay, and was none"
            ));
        }
    }
    for ((id, webhook), mut numbers) in numbers {
        numbers.sort_unstable();
        if !(1..).zip(&numbers).all(|(n, number)| n == *number) {
            return Err(format!(
                "attempts: those of {id} at {webhook} are {numbers:?}"
            ));
        }
    }
    Ok(())
}
