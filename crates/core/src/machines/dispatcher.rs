//! What is sent to one webhook, and when: a state machine from what has happened to queries, requests and records.
//!
//! The database is the queue: of the pending deliveries of one job only the first, the head, has a due time. Each round reads
//! what may have changed, gives up what has expired, and starts what the webhook's health and the limits allow; then the
//! machine rests until an input, or until the next delivery is due. Inputs do not break off a round, so that none of them,
//! however frequent, delays what is due; they begin another one after it.

mod messages;

mod health;

mod attempt;

mod lanes;

mod queue;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::Undelivered;
use crate::delivery::{AttemptReport, longest_retry};
use crate::job::JobId;
use crate::planted::{self, Bug};
use crate::rows::{DueDeliveries, DueDelivery, WebhookHealth};
use crate::time::{Monotonic, Now, UnixMillis};
use attempt::{Attempt, Probe};
use health::KnownHealth;
use lanes::{Lanes, Unrecorded};
pub use messages::{Answer, Effect, Input, Query, Report, Settings};
use queue::Queue;

/// Longest pause between two reads of the database while nothing is due.
const IDLE_CHECK: Duration = Duration::from_secs(60);

/// Pause between two checks whether the clock has settled, while something would expire.
const SETTLING_CHECK: Duration = Duration::from_secs(1);

/// Most finished requests whose outcome is not recorded yet, beside those in flight. A higher limit makes fewer and larger
/// transactions, but after a crash these requests are sent again.
const UNRECORDED: usize = 64;

/// Expired deliveries that are given up at once.
const EXPIRY_PAGE: u32 = 100;

/// Includes deliveries that have expired already.
const EVER: UnixMillis = UnixMillis(i64::MIN);

/// The state machine of one webhook. It begins without settings, and as if nothing could be recorded.
#[derive(Debug, Default)]
pub struct Dispatcher {
    settings: Option<Arc<Settings>>,
    is_writable: bool,
    is_stopping: bool,
    lanes: Lanes,
    queue: Queue,
    /// What was due then has been read.
    read_at: Option<UnixMillis>,
    /// Whether the webhook's row may have changed.
    row_changed: bool,
    health: KnownHealth,
    /// When the next undelivered event expires.
    expires_at: Option<UnixMillis>,
    /// The number of clock jumps when the waits were last clamped.
    clamped: Option<u64>,
    stage: Stage,
    /// Whether an input came during the round, so that another one follows.
    again: bool,
    /// The query that is open, and the number of clock jumps when it was asked.
    open: Option<(Query, u64)>,
    /// Events are being given up that had expired by this time.
    giving_up: Option<UnixMillis>,
    effects: VecDeque<Effect>,
}

/// Where a round stands. While a query is open its answer decides on the next stage.
#[derive(Debug, Default)]
enum Stage {
    /// What has changed is to be read.
    #[default]
    Begin,
    /// It is to be read when the next event expires, later than this.
    NextExpiry(UnixMillis),
    /// What has expired is to be given up.
    Expire,
    /// What is allowed is to be started.
    Start,
    /// One of these is to be sent.
    Probe(Probes),
    /// Everything allowed was started; the next delivery is due then.
    End(Option<UnixMillis>),
    /// Nothing is to be done until then, or until an input.
    Rest(Monotonic),
}

/// Deliveries that a held webhook can be probed with.
#[derive(Debug)]
struct Probes {
    probe: Probe,
    found: Vec<DueDelivery>,
    /// Whether there may be others behind unreadable ones.
    again: bool,
}

impl Dispatcher {
    /// Takes in what has happened. `random` is in 0..1; it is drawn once for each request that has ended.
    pub fn handle(&mut self, input: Input, now: Now, random: &mut dyn FnMut() -> f64) {
        match input {
            Input::Answer(answer) => return self.answered(answer, now),
            Input::GaveUp(is_recorded) => return self.gave_up(is_recorded),
            Input::Woken => self.row_changed = true,
            Input::Writable(is_writable) => {
                self.is_writable = is_writable;
                self.row_changed = true;
            }
            Input::Settings(settings) => {
                self.settings = settings;
                self.row_changed = true;
            }
            Input::Sent(job_id, report) => self.sent(job_id, report, now, random),
            Input::NotSent(job_id) => self.not_sent(job_id),
            Input::Recorded(job_id, is_recorded) => self.recorded(job_id, is_recorded, now),
            Input::Stop => self.is_stopping = true,
        }
        match self.stage {
            Stage::Rest(_) => self.stage = Stage::Begin,
            _ => self.again = true,
        }
    }

    /// The next thing to do at `now`; `None`: nothing, until an input or [`Dispatcher::wake_at`].
    pub fn next(&mut self, now: Now) -> Option<Effect> {
        while self.effects.is_empty() && !self.waits() {
            if let Stage::Rest(until) = self.stage {
                if now.monotonic < until {
                    return None;
                }
                self.row_changed = true;
                self.stage = Stage::Begin;
            }
            self.stage = self.advance(now);
        }
        self.effects.pop_front()
    }

    /// When time alone is the next input, once [`Dispatcher::next`] has returned `None`.
    #[must_use]
    pub fn wake_at(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Rest(until) if !self.waits() => Some(until),
            _ => None,
        }
    }

    /// Requests in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.lanes.in_flight()
    }

    /// Whether the round cannot go on now.
    fn waits(&self) -> bool {
        self.open.is_some() || self.giving_up.is_some() || self.is_stopping
    }

    /// One step of a round; returns the stage after it.
    fn advance(&mut self, now: Now) -> Stage {
        let Some(settings) = self.settings.clone().filter(|_| self.is_writable) else {
            self.again = false;
            return Stage::Rest(now.monotonic.plus(IDLE_CHECK));
        };
        if self.clamped != Some(now.stability.jumps) && !planted::is(Bug::ClampMissing) {
            let longest = longest_retry(&settings.retry);
            return self.ask(Query::Clamp { longest }, now);
        }
        match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => self.begin(now),
            Stage::NextExpiry(after) => self.ask(Query::NextExpiry { after }, now),
            Stage::Expire => self.expire(now),
            Stage::Start => self.start_allowed(&settings, now),
            Stage::Probe(probes) => self.start_probe(&settings, probes, now),
            Stage::End(_) if self.again => Stage::Begin,
            Stage::End(next) => Stage::Rest(self.rest(next, now)),
            rest @ Stage::Rest(_) => rest,
        }
    }

    fn ask(&mut self, query: Query, now: Now) -> Stage {
        self.open = Some((query.clone(), now.stability.jumps));
        self.effects.push_back(Effect::Query(query));
        Stage::Begin
    }

    fn answered(&mut self, answer: Answer, now: Now) {
        let Some((query, jumps)) = self.open.take() else {
            return;
        };
        self.stage = match (query, answer) {
            (Query::Clamp { .. }, Answer::Clamped(0)) => {
                self.clamped = Some(jumps);
                self.row_changed = true;
                Stage::Begin
            }
            (Query::Row, Answer::Row(row)) => self.adopt(row, now),
            (Query::NextExpiry { .. }, Answer::Next(at)) => {
                self.expires_at = at;
                Stage::Expire
            }
            (Query::Expired { at, .. }, Answer::Expired(found)) => self.give_up(found, at, now),
            (Query::Due { limit, .. }, Answer::Deliveries(found)) => {
                self.enqueue(found, limit, now)
            }
            (Query::Expiring { .. }, Answer::Deliveries(found)) => {
                self.probes(Probe::Expiring, found)
            }
            (Query::ToProbe { .. }, Answer::Deliveries(found)) => self.probes(Probe::Paced, found),
            (Query::NextDelivery { .. }, Answer::Next(at)) => self.end(at, now),
            _ => Stage::Begin,
        };
        self.lanes.open_ended();
    }

    fn begin(&mut self, now: Now) -> Stage {
        self.again = false;
        if !std::mem::take(&mut self.row_changed) {
            return Stage::Expire;
        }
        self.health.begin_read();
        self.ask(Query::Row, now)
    }

    /// Takes over the webhook's row. Deliveries are read again if an operator has changed something.
    fn adopt(&mut self, row: Box<WebhookHealth>, now: Now) -> Stage {
        if self.health.adopt(&row, now.wall) {
            self.queue.clear();
        }
        self.queue.read_again();
        self.effects.push_back(Effect::Report(Report::Row(row)));
        Stage::NextExpiry(EVER)
    }

    fn expire(&mut self, now: Now) -> Stage {
        if !now.stability.is_settled || self.expires_at.is_none_or(|at| at > now.wall) {
            return Stage::Start;
        }
        let (at, limit) = (now.wall, EXPIRY_PAGE.saturating_add(self.skipped()));
        self.ask(Query::Expired { at, limit }, now)
    }

    /// Gives up expired deliveries that are not in flight.
    fn give_up(&mut self, found: Vec<Undelivered>, at: UnixMillis, now: Now) -> Stage {
        // Without settings the fallback is not known; and the clock may have jumped since the query.
        let Some(settings) = self.settings.as_ref().filter(|_| now.stability.is_settled) else {
            return Stage::Begin;
        };
        let found = found.into_iter();
        let others = found.filter(|each| !self.lanes.hold(&each.job_id, &each.event_id));
        let expiries: Vec<Undelivered> = others
            .map(|each| Undelivered {
                fallback: settings.fallback.clone(),
                ..each
            })
            .collect();
        if expiries.is_empty() {
            return Stage::NextExpiry(at);
        }
        self.giving_up = Some(at);
        self.effects.push_back(Effect::GiveUp(expiries));
        Stage::Begin
    }

    fn gave_up(&mut self, is_recorded: bool) {
        let Some(at) = self.giving_up.take() else {
            return;
        };
        self.queue.clear();
        // What was refused is tried again when the row is read again; there may be more than a page of the others.
        self.row_changed |= is_recorded;
        self.stage = match is_recorded {
            true => Stage::Begin,
            false => Stage::NextExpiry(at),
        };
    }

    /// Starts as many attempts as the webhook's health allows.
    fn start_allowed(&mut self, settings: &Arc<Settings>, now: Now) -> Stage {
        if self.lanes.are_stopping() {
            return Stage::End(None);
        }
        if let Err(until) = self.health.permits(now.wall) {
            return Stage::End(until);
        }
        let health = self.health.health();
        if health.hold().is_some() {
            // The outcome of the last probe is recorded before the next one is chosen.
            if !self.lanes.are_idle() {
                return Stage::End(None);
            }
            self.queue.clear();
            return self.ask_probes(Probe::Expiring, now);
        }
        let allowed = health.allowed(settings.max_in_flight);
        let mut free = allowed
            .saturating_sub(self.lanes.in_flight())
            .min(UNRECORDED.saturating_sub(self.lanes.unrecorded()));
        while free > 0
            && let Some(delivery) = self.queue.pop()
        {
            if self.is_sendable(&delivery, now) {
                self.start(settings, delivery, None);
                free -= 1;
            }
        }
        if free == 0 {
            return Stage::End(None);
        }
        if !self.queue.take_more() {
            return self.ask_next(now);
        }
        self.read_at = Some(now.wall);
        let (at, except, limit) = (now.wall, self.lanes.events(), self.queue.page());
        self.ask(Query::Due { at, except, limit }, now)
    }

    fn ask_next(&mut self, now: Now) -> Stage {
        let after = self.read_at.unwrap_or(EVER);
        self.ask(Query::NextDelivery { after }, now)
    }

    /// Everything due was started, unless more has become due since it was read.
    fn end(&mut self, next: Option<UnixMillis>, now: Now) -> Stage {
        if next.is_some_and(|at| at <= now.wall) {
            self.queue.read_again();
            return Stage::Start;
        }
        Stage::End(next.into_iter().chain(self.health.probe_at()).min())
    }

    fn enqueue(&mut self, found: DueDeliveries, limit: u32, now: Now) -> Stage {
        let is_full = found.deliveries.len() + found.unreadable.len() >= limit as usize;
        let (mut due, is_new) = self.queue.readable(found, &mut self.effects);
        due.retain(|delivery| self.is_sendable(delivery, now));
        if is_full && (is_new || !due.is_empty()) {
            self.queue.read_again();
        }
        self.queue.extend(due);
        Stage::Start
    }

    /// Reads what a held webhook is probed with: an event that expires as soon as that is due; otherwise, when the next probe
    /// is due, the first events of the lanes in turn, those never sent before first.
    fn ask_probes(&mut self, probe: Probe, now: Now) -> Stage {
        let (at, limit) = (now.wall, self.skipped().saturating_add(1));
        if probe == Probe::Expiring {
            self.read_at = Some(at);
            return self.ask(Query::Expiring { at, limit }, now);
        }
        // While the clock settles nothing expires, so nothing is skipped as expired.
        let is_settled = now.stability.is_settled;
        let expired = if is_settled { at } else { EVER };
        self.ask(Query::ToProbe { expired, limit }, now)
    }

    fn probes(&mut self, probe: Probe, found: DueDeliveries) -> Stage {
        let (found, again) = self.queue.readable(found, &mut self.effects);
        Stage::Probe(Probes {
            probe,
            found,
            again,
        })
    }

    fn start_probe(&mut self, settings: &Arc<Settings>, probes: Probes, now: Now) -> Stage {
        let probe = probes.probe;
        let mut found = probes.found.into_iter();
        if let Some(delivery) = found.find(|delivery| self.is_sendable(delivery, now)) {
            self.start(settings, delivery, Some(probe));
            return Stage::End(None);
        }
        if probes.again {
            return self.ask_probes(probe, now);
        }
        let probe_at = self.health.probe_at();
        match probe {
            Probe::Paced => Stage::End(None),
            Probe::Expiring if probe_at.is_some_and(|at| at > now.wall) => self.ask_next(now),
            Probe::Expiring => self.ask_probes(Probe::Paced, now),
        }
    }

    fn start(&mut self, settings: &Arc<Settings>, mut delivery: DueDelivery, probe: Option<Probe>) {
        let body = delivery.body.take();
        let sent = DueDelivery {
            body,
            ..delivery.clone()
        };
        self.lanes.begin(Attempt {
            delivery,
            probe,
            settings: Arc::clone(settings),
        });
        self.effects.push_back(Effect::Send(Box::new(sent)));
    }

    fn sent(
        &mut self,
        job_id: JobId,
        report: AttemptReport,
        now: Now,
        random: &mut dyn FnMut() -> f64,
    ) {
        let Some(attempt) = self.lanes.end(&job_id) else {
            return;
        };
        let (finished, report) = attempt.finish(report, &mut self.health, now, random());
        let outcome = Unrecorded {
            event_id: attempt.delivery.event_id,
            stops: finished.disables.is_some() || finished.pause.is_some(),
            jumps: now.stability.jumps,
        };
        self.lanes.record(job_id, outcome);
        self.effects.push_back(Effect::Report(report));
        self.effects.push_back(Effect::Record(Box::new(finished)));
    }

    fn not_sent(&mut self, job_id: JobId) {
        if let Some(attempt) = self.lanes.end(&job_id) {
            self.release(job_id, attempt.delivery.event_id);
            // Its row has changed since it was read.
            self.row_changed = true;
        }
    }

    fn recorded(&mut self, job_id: JobId, is_recorded: bool, now: Now) {
        let Some(outcome) = self.lanes.recorded(&job_id) else {
            return;
        };
        if outcome.stops {
            self.health.stop();
            self.row_changed = true;
        }
        // Its times are those of the clock before the jump.
        if outcome.jumps != now.stability.jumps {
            self.clamped = None;
        }
        match is_recorded {
            true => self.release(job_id, outcome.event_id),
            false => self.lanes.refuse(job_id, outcome.event_id),
        }
        self.queue.read_again();
    }

    fn release(&mut self, job_id: JobId, event_id: String) {
        if self.open.is_some() {
            self.lanes.keep(job_id, event_id);
        }
    }

    fn is_sendable(&self, delivery: &DueDelivery, now: Now) -> bool {
        let has_expired =
            now.stability.is_settled && delivery.expires_at.is_some_and(|at| at <= now.wall);
        let is_closed = self
            .lanes
            .are_closed_for(&delivery.job_id, &delivery.event_id);
        !has_expired && (!is_closed || planted::is(Bug::LaneOrder))
    }

    /// Rows to read beyond those wanted: deliveries in flight are still pending, and unreadable ones are in the table too.
    fn skipped(&self) -> u32 {
        self.lanes.len().saturating_add(self.queue.unreadable())
    }

    /// When the next round begins without an input: when a delivery is due or expires, and soon.
    fn rest(&self, next: Option<UnixMillis>, now: Now) -> Monotonic {
        let expires = self.expires_at.map(|at| {
            // What has expired already waits for the clock to settle.
            let waits = at <= now.wall && !now.stability.is_settled;
            if waits {
                now.wall.plus(SETTLING_CHECK)
            } else {
                at
            }
        });
        let next = next.into_iter().chain(expires).min();
        // One millisecond more than the difference, since the clock is rounded down to milliseconds.
        let wait = next.map(|at| at.since(now.wall) + Duration::from_millis(1));
        now.monotonic
            .plus(wait.unwrap_or(IDLE_CHECK).min(IDLE_CHECK))
    }
}

#[cfg(test)]
mod tests;
