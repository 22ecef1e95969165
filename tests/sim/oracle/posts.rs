//! Deliveries: nothing before its commit, one request per lane, in order, and in time.

use std::collections::BTreeSet;

use jobtrackd_core::delivery::{AttemptResult, DeliveryState};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::rows::DueDelivery;
use jobtrackd_store::{DeliveryFilter, DeliveryRow};

use super::{Facts, Oracle, broken, is_slow_or_full};
use crate::database::Database;
use crate::fakes::receiver::{Received, Receivers};
use crate::plan::{Fault, Plan, ReceiverFault};
use crate::time::{MINUTE, MS, SECOND, Time, shown};
use crate::world::Violation;

/// A lane at one webhook.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The event whose request is in flight.
    in_flight: Option<String>,
    /// Since when its head may be sent.
    free: Time,
}

/// What is known of a webhook from its answers.
#[derive(Debug, Default)]
pub(super) struct Known {
    in_flight: usize,
    /// The last time that as many requests were in flight as may be.
    full: Time,
    /// The different jobs whose events failed since the last success.
    failing: BTreeSet<JobId>,
    /// Whether it may have been held, paused or disabled, now or before.
    is_troubled: bool,
    /// The last time that an operator changed something.
    steered: Time,
}

/// A healthy webhook gets an event this long after its commit.
const IN_TIME: Time = 600 * MS;

impl Known {
    pub(super) fn crashed(&mut self) {
        self.in_flight = 0;
        // A success may not have been recorded.
        self.is_troubled |= !self.failing.is_empty();
    }
}

impl Oracle {
    /// An operator has disabled or enabled a webhook, or given up its events.
    pub(crate) fn steered(&mut self, webhook: usize, now: Time) {
        self.webhooks[webhook].steered = now;
        self.pace.steered(webhook);
        self.webhooks[webhook].is_troubled = true;
    }

    /// A request goes out.
    pub(crate) fn post_starts(
        &mut self,
        database: &Database,
        plan: &Plan,
        webhook: usize,
        delivery: &DueDelivery,
        now: Time,
    ) -> Result<(), Violation> {
        let (id, job, at) = (&delivery.event_id, &delivery.job_id, shown(now));
        let Some(event) = self.events.get(id) else {
            return Err(format!(
                "before commit: {id} of {job} is sent at {at}, and is not committed"
            ));
        };
        if delivery.body.as_deref() != Some(event.body.as_bytes()) {
            return Err(format!("bytes: {id} is not sent as it was committed"));
        }
        let is_known = self.succeeded.contains(&(webhook, id.clone()));
        if is_known && !delivery.is_replay {
            return Err(format!(
                "twice: {id} of {job} is sent to {webhook} again at {at}"
            ));
        }
        let lane = self.lanes.entry((webhook, job.clone())).or_default();
        if let Some(other) = &lane.in_flight {
            return Err(format!(
                "one request: {id} of {job} is sent at {at} while {other} is"
            ));
        }
        lane.in_flight = Some(id.clone());
        let free = lane.free;
        let (sequence, committed, kind) = (event.sequence, event.committed, event.kind);
        let limit = plan.webhooks[webhook].max_in_flight;
        let known = &mut self.webhooks[webhook];
        known.in_flight += 1;
        if known.in_flight > limit {
            return Err(format!(
                "in flight: {} requests to {webhook} at {at}",
                known.in_flight
            ));
        }
        let (full, is_troubled) = (known.full, known.is_troubled);
        if known.in_flight == limit {
            known.full = Time::MAX;
        }
        self.check_lane(database, webhook, delivery, sequence, now)?;
        let mut others = plan.webhooks.iter();
        let may_be_fallback =
            kind == "job.action_required" && others.any(|other| other.fallback == Some(webhook));
        let is_first = delivery.attempts == 0 && !delivery.is_replay && !may_be_fallback;
        let since = committed
            .max(free)
            .max(self.disturbed)
            .max(self.webhooks[webhook].steered)
            .max(full);
        // What was made due by the clock before waits as long as a retry may.
        let made_due = committed.max(free);
        let retry = plan.webhooks[webhook].retry.iter().max();
        let is_before = self.clock_set != Time::MAX && made_due < self.clock_set + MINUTE;
        let by_clock_before = match is_before {
            true => retry.map_or(0, |longest| longest + longest / 4),
            false => 0,
        };
        if is_first
            && !is_troubled
            && full != Time::MAX
            && now > since + IN_TIME + by_clock_before
            && !is_slow_or_full(plan, since.saturating_sub(5 * SECOND), now)
            && !self.moves_webhooks
            && !self.follows_expired(database, webhook, delivery, sequence)?
        {
            return Err(format!(
                "late: {id} of {job} is sent to {webhook} at {at}, and not at {}",
                shown(since)
            ));
        }
        Ok(())
    }

    /// Whether the event before it in its lane has expired: the lane was free from then on, and no attempt ended.
    fn follows_expired(
        &self,
        database: &Database,
        webhook: usize,
        delivery: &DueDelivery,
        sequence: u32,
    ) -> Result<bool, Violation> {
        let filter = DeliveryFilter {
            webhook: Some(self.names[webhook].as_str().to_owned()),
            job: Some(delivery.job_id.clone()),
            ..DeliveryFilter::default()
        };
        let lane = database.deliveries(filter).map_err(broken)?;
        let before = lane.iter().filter(|row| row.sequence < sequence);
        let last = before.max_by_key(|row| row.sequence);
        Ok(last.is_some_and(|row| row.expired_at.is_some()))
    }

    /// What is sent may be sent now, and is the first of its lane that waits.
    fn check_lane(
        &mut self,
        database: &Database,
        webhook: usize,
        delivery: &DueDelivery,
        sequence: u32,
        now: Time,
    ) -> Result<(), Violation> {
        let filter = DeliveryFilter {
            state: Some(DeliveryState::Pending),
            webhook: Some(self.names[webhook].as_str().to_owned()),
            job: Some(delivery.job_id.clone()),
            ..DeliveryFilter::default()
        };
        let (id, job) = (&delivery.event_id, &delivery.job_id);
        // Probes do not wait for the schedule.
        let may_probe =
            self.webhooks[webhook].is_troubled || delivery.kind == EventType::ActionRequired;
        if !self.has_clock_faults {
            self.pace.begins(webhook, id, may_probe, now)?;
        }
        let pending = database.deliveries(filter).map_err(broken)?;
        // What an operator or an expiry has just changed, the dispatcher has yet to read.
        let is_recent = |at: Time| now < at + 10 * SECOND && at > 0;
        let replays = self.replays.iter().rev();
        let replays = replays.take_while(|at| is_recent(**at)).count();
        let is_moving = |row: &DeliveryRow| {
            row.fallback_for.is_some()
                || replays > usize::from(delivery.is_replay)
                || is_recent(self.webhooks[webhook].steered)
        };
        let first = pending
            .iter()
            .filter(|row| row.sequence < sequence && !is_moving(row))
            .min_by_key(|row| row.sequence);
        if let Some(first) = first {
            return Err(format!(
                "order: {id} of {job} ({sequence}) is sent to {webhook} at {}, before {} ({})",
                shown(now),
                first.event_id,
                first.sequence
            ));
        }
        let mut own = pending.iter();
        if !own.any(|row| row.event_id == *id)
            && now > self.webhooks[webhook].steered + 10 * SECOND
            && now > self.replays.last().copied().unwrap_or(0) + 10 * SECOND
        {
            return Err(format!(
                "not pending: {id} of {job} is sent to {webhook} at {}",
                shown(now)
            ));
        }
        Ok(())
    }

    /// The request in a lane is over for the process.
    pub(crate) fn post_ends(
        &mut self,
        plan: &Plan,
        receivers: &Receivers,
        webhook: usize,
        job: &JobId,
        result: &AttemptResult,
        now: Time,
    ) {
        let is_success = matches!(result, AttemptResult::Delivered { .. });
        let is_refusal = matches!(result, AttemptResult::Refused { .. });
        if let Some(lane) = self.lanes.get_mut(&(webhook, job.clone())) {
            if let Some(id) = lane.in_flight.take() {
                self.pace.ended(plan, receivers, webhook, &id, result, now);
                if is_success {
                    self.succeeded.insert((webhook, id));
                }
            }
            // Until the outcome is committed.
            lane.free = Time::MAX;
        }
        let known = &mut self.webhooks[webhook];
        known.in_flight = known.in_flight.saturating_sub(1);
        known.full = now;
        if is_success {
            known.failing.clear();
        } else {
            known.failing.insert(job.clone());
            known.is_troubled |= known.failing.len() >= 3 || !is_refusal;
        }
    }

    /// After a commit: lanes whose head may be sent from now on.
    pub(super) fn watch_lanes(
        &mut self,
        _: &Database,
        _: &Plan,
        now: Time,
    ) -> Result<(), Violation> {
        for lane in self
            .lanes
            .values_mut()
            .filter(|lane| lane.free == Time::MAX)
        {
            lane.free = now;
        }
        Ok(())
    }

    /// A request has arrived at a receiver: the bytes are those that were committed.
    pub(crate) fn arrived(
        &self,
        receivers: &Receivers,
        id: &str,
        now: Time,
    ) -> Result<(), Violation> {
        let Some(event) = self.events.get(id) else {
            return Err(format!(
                "before commit: {id} arrives at {} and is not committed",
                shown(now)
            ));
        };
        match receivers.body(id) {
            Some(body) if body != event.body.as_bytes() => {
                Err(format!("bytes: {id} does not arrive as it was committed"))
            }
            _ => Ok(()),
        }
    }

    /// At the end: every event is where it has to be, in order.
    pub(super) fn check_deliveries(
        &self,
        database: &Database,
        facts: &Facts<'_>,
    ) -> Result<(), Violation> {
        let deliveries = database
            .deliveries(DeliveryFilter::default())
            .map_err(broken)?;
        for row in &deliveries {
            let Some(webhook) = self.names.iter().position(|name| *name == row.webhook) else {
                continue;
            };
            self.check_delivery(facts, webhook, row)?;
        }
        let known: BTreeSet<(&str, &str)> = deliveries
            .iter()
            .map(|row| (row.event_id.as_str(), row.webhook.as_str()))
            .collect();
        for (id, event) in self
            .events
            .iter()
            .filter(|(id, _)| !self.gone.contains(*id))
        {
            let row = &self.rows[&event.job][event.row];
            let only = facts.plan.jobs[row.number].row.webhook.as_deref();
            for webhook in &facts.plan.webhooks {
                let wants = only.is_none_or(|only| only == webhook.name)
                    && webhook.events.contains(&event.kind);
                if wants && !self.moves_webhooks && !known.contains(&(id, &webhook.name)) {
                    return Err(format!(
                        "deliveries: {id}, {}, has none for {}",
                        event.kind, webhook.name
                    ));
                }
            }
        }
        for (webhook, _) in facts.plan.webhooks.iter().enumerate() {
            self.check_order(facts, webhook, &deliveries)?;
        }
        Ok(())
    }

    fn check_delivery(
        &self,
        facts: &Facts<'_>,
        webhook: usize,
        row: &DeliveryRow,
    ) -> Result<(), Violation> {
        let of_it = |it: &&Received| it.webhook == webhook && it.id == row.event_id;
        let is_accepted = facts
            .receivers
            .received
            .iter()
            .filter(of_it)
            .any(|it| it.is_accepted);
        let name = &row.webhook;
        match row.state {
            DeliveryState::Delivered if !is_accepted => Err(format!(
                "deliveries: {} is delivered, and {name} never accepted it",
                row.event_id
            )),
            DeliveryState::Exhausted => {
                let faults = facts.plan.faults.iter();
                let mut failures = faults.filter(|fault| {
                    matches!(fault, Fault::Receiver(of, _, kind) if *of == webhook && !matches!(kind, ReceiverFault::Slow(by) if *by < facts.plan.webhooks[webhook].timeout))
                });
                let is_given_up = self.webhooks[webhook].steered > 0 || row.expired_at.is_some();
                match is_given_up || failures.next().is_some() {
                    true => Ok(()),
                    false => Err(format!(
                        "deliveries: {} is given up at {name} for no reason",
                        row.event_id
                    )),
                }
            }
            _ => Ok(()),
        }
    }

    /// Per job, first successes are in the order of the sequence.
    fn check_order(
        &self,
        facts: &Facts<'_>,
        webhook: usize,
        deliveries: &[DeliveryRow],
    ) -> Result<(), Violation> {
        let fallbacks: BTreeSet<&str> = deliveries
            .iter()
            .filter(|row| row.webhook == self.names[webhook] && row.fallback_for.is_some())
            .map(|row| row.event_id.as_str())
            .collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut last: std::collections::BTreeMap<(&JobId, usize), u32> =
            std::collections::BTreeMap::new();
        let accepted = facts
            .receivers
            .received
            .iter()
            .filter(|it| it.webhook == webhook && it.is_accepted);
        for it in accepted {
            let Some(event) = self.events.get(&it.id) else {
                continue;
            };
            if it.is_replay
                || fallbacks.contains(it.id.as_str())
                || self.gone.contains(&it.id)
                || !seen.insert(&it.id)
            {
                continue;
            }
            let last = last.entry((&event.job, event.row)).or_insert(0);
            if event.sequence < *last {
                return Err(format!(
                    "order: {} accepts {} of {} after {last}, at {}",
                    self.names[webhook],
                    event.sequence,
                    event.job,
                    shown(it.at)
                ));
            }
            *last = event.sequence;
        }
        Ok(())
    }
}
