//! The world of one run: virtual time, the queue of what is to happen, the process, the fakes and the tables.

mod effects;
mod network;
mod people;
mod queue;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use jobtrackd_core::time::Now;

use crate::chance::Chance;
use crate::database::Database;
use crate::fakes::api::Api;
use crate::fakes::receiver::Receivers;
use crate::log::Log;
use crate::oracle::Oracle;
use crate::plan::{Crash, DiskFault, Fault, Plan, Settings};
use crate::process::{Message, Out, Process};
use crate::time::{MS, SECOND, Time, true_wall};
use queue::{Asked, Event, Queued, Sent};

/// A violated promise, in one line that begins with its class.
pub(crate) type Violation = String;

/// What a run that kept every promise was like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    pub(crate) digest: u64,
    pub(crate) events: u64,
    pub(crate) polls: usize,
    pub(crate) posts: usize,
    pub(crate) crashes: u64,
    pub(crate) simulated: Time,
}

/// The world.
pub(crate) struct World<'a> {
    plan: &'a Plan,
    chance: Chance,
    now: Time,
    /// How far the daemon's wall clock is ahead of the truth, in milliseconds.
    ahead: i64,
    queue: BinaryHeap<Reverse<Queued>>,
    queued: u64,
    log: Log,
    database: Database,
    api: Api,
    receivers: Receivers,
    process: Option<Process>,
    epoch: u64,
    /// When the process last wanted to be woken.
    woken_at: Time,
    /// What the configuration file says.
    settings: Settings,
    /// Kills that wait for their effect.
    armed: Vec<Crash>,
    /// One-time faults of the disk that have happened.
    broken: Vec<usize>,
    crashes: u64,
    is_healed: bool,
    /// Jobs that are deleted as soon as they may be, and inserted again; and whether their events are given up for that.
    again: Vec<(usize, bool)>,
    /// A reload that waits for the next request to the API.
    reload: Option<Box<Settings>>,
    /// Jobs that are replaced during their next polls.
    again_at_poll: BTreeSet<usize>,
    oracle: Oracle,
}

/// Most events of a run; a healthy one has far fewer.
const MOST_EVENTS: u64 = 2_000_000;

/// How often it is checked, after everything was healed, whether all is done.
const CHECK: Time = 10 * SECOND;

impl<'a> World<'a> {
    pub(crate) fn new(plan: &'a Plan, is_printed: bool) -> Result<Self, Violation> {
        let database = Database::new(plan.is_on_disk).map_err(|error| format!("store: {error}"))?;
        let mut world = Self {
            plan,
            chance: Chance::new(plan.seed).of("world", 0),
            now: 0,
            ahead: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            log: Log::default(),
            database,
            api: Api::default(),
            receivers: Receivers::default(),
            process: None,
            epoch: 0,
            woken_at: Time::MAX,
            settings: plan.settings.clone(),
            armed: Vec::new(),
            broken: Vec::new(),
            crashes: 0,
            is_healed: false,
            again: Vec::new(),
            reload: None,
            again_at_poll: BTreeSet::new(),
            oracle: Oracle::new(plan),
        };
        world.log.is_printed = is_printed;
        world.put(0, Event::Start);
        for (number, job) in plan
            .jobs
            .iter()
            .enumerate()
            .filter(|(_, job)| !job.is_left_out)
        {
            world.put(job.at, Event::Insert(number));
        }
        for (number, action) in plan.actions.iter().enumerate() {
            world.put(action.at, Event::Action(number));
        }
        for (number, fault) in plan.faults.iter().enumerate() {
            if let Fault::Crash(Crash { at, .. }) | Fault::ClockSet { at, .. } = fault {
                world.put(*at, Event::Fault(number));
            }
        }
        world.put(plan.horizon + SECOND, Event::Heal);
        Ok(world)
    }

    /// Runs until everything is done, or a promise is broken.
    pub(crate) fn run(mut self) -> Result<Outcome, Violation> {
        while let Some(Reverse(next)) = self.queue.pop() {
            self.now = self.now.max(next.at);
            self.database.set_wall(self.wall());
            let is_check = matches!(next.event, Event::Check);
            self.happen(next.event)?;
            if self.log.lines() > MOST_EVENTS {
                return Err("progress: there is no end of events".to_owned());
            }
            if is_check {
                if self
                    .oracle
                    .is_done(&self.database, self.plan, &self.settings, self.now)?
                {
                    break;
                }
                self.put(self.now + CHECK, Event::Check);
            }
        }
        let finish = crate::oracle::Facts {
            plan: self.plan,
            api: &self.api,
            receivers: &self.receivers,
            settings: &self.settings,
        };
        self.oracle.finish(&self.database, &finish)?;
        Ok(Outcome {
            digest: self.log.digest(),
            events: self.log.lines(),
            polls: self.api.served.len(),
            posts: self.receivers.received.len(),
            crashes: self.crashes,
            simulated: self.now,
        })
    }

    fn put(&mut self, at: Time, event: Event) {
        self.queued += 1;
        // Those of one moment come in an order that nobody may rely on; but each follows its cause.
        let order = match at > self.now {
            true => self.chance.of("order", self.queued).below(16),
            false => 16,
        };
        self.queue.push(Reverse(Queued {
            at,
            order,
            number: self.queued,
            event,
        }));
    }

    /// What the daemon's wall clock shows.
    fn wall(&self) -> i64 {
        true_wall(self.now) + self.ahead
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Do(epoch, out) if epoch == self.epoch && self.process.is_some() => {
                self.note_effect(&out);
                match self.is_killed() {
                    Some(crash) if !crash.after => self.kill(crash),
                    Some(crash) => {
                        self.carry_out(*out)?;
                        self.kill(crash);
                    }
                    None => self.carry_out(*out)?,
                }
                Ok(())
            }
            Event::Hand(epoch, message) if epoch == self.epoch && self.process.is_some() => {
                self.note_message(&message);
                match self.is_killed() {
                    Some(crash) if !crash.after => self.kill(crash),
                    Some(crash) => {
                        self.hand(*message)?;
                        self.kill(crash);
                    }
                    None => self.hand(*message)?,
                }
                Ok(())
            }
            Event::Wake(epoch) if epoch == self.epoch => {
                if self.woken_at <= self.now {
                    self.woken_at = Time::MAX;
                }
                self.hand(Message::Nothing)
            }
            Event::Do(..) | Event::Hand(..) | Event::Wake(_) | Event::Check => Ok(()),
            Event::Start => self.start(),
            Event::Fault(number) => {
                self.log.note(
                    self.now,
                    format_args!("{}", self.plan.faults[number].line()),
                );
                match self.plan.faults[number] {
                    Fault::Crash(crash) => self.armed.push(crash),
                    Fault::ClockSet { millis, .. } => {
                        self.ahead += millis;
                        self.database.set_wall(self.wall());
                        self.oracle.clock_was_set(self.now);
                    }
                    _ => {}
                }
                Ok(())
            }
            Event::Action(number) => self.act(number),
            Event::Insert(job) => self.insert(job),
            Event::AtApi(asked) => self.at_api(asked),
            Event::AtTokens(epoch) => self.at_tokens(epoch),
            Event::AtReceiver(sent) => self.at_receiver(&sent),
            Event::Heal => {
                self.log
                    .note(self.now, format_args!("everything is healed"));
                self.is_healed = true;
                self.armed.clear();
                self.oracle.healed(self.now);
                self.put(self.now, Event::Start);
                self.put(self.now + CHECK, Event::Check);
                self.enable_all()
            }
        }
    }

    /// Reads of the database are most of what happens, and follow from the rest: only their number is noted, unless all is
    /// printed.
    fn note_effect(&mut self, out: &Out) {
        match out {
            Out::Read(_) if !self.log.is_printed => self.log.count(self.now),
            _ => {
                let shown = effects::shown(out);
                self.log.note(self.now, format_args!("{shown}"));
            }
        }
    }

    fn note_message(&mut self, message: &Message) {
        match message {
            Message::Query(..) | Message::Intake(_) | Message::Changed | Message::Nothing
                if !self.log.is_printed =>
            {
                self.log.count(self.now);
            }
            _ => {
                let shown = effects::described(message);
                self.log.note(self.now, format_args!("  {shown}"));
            }
        }
    }

    /// Hands the process something, and puts what it wants into the queue.
    fn hand(&mut self, message: Message) -> Result<(), Violation> {
        let (at, wall) = (self.now, self.wall());
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        match &message {
            Message::Polled(poll, _, _, entry) if process.is_requesting(*poll) => {
                let served = entry.map(|entry| &self.api.served[entry]);
                self.oracle.answered(self.plan, *poll, served, at);
            }
            Message::Sent(webhook, job, report) => {
                let (plan, receivers) = (self.plan, &self.receivers);
                self.oracle
                    .post_ends(plan, receivers, *webhook, job, &report.result, at);
            }
            Message::Granted(Err(_)) => self.oracle.no_token(at),
            _ => {}
        }
        let now: Now = process.now(at, wall);
        process.take(message, now);
        let wake = process.wake_at(now).max(at + 1);
        let outs = std::mem::take(&mut process.out);
        for out in outs {
            let delay = match &out {
                Out::Later(_, wait) => *wait,
                _ => 0,
            };
            self.put(at + delay, Event::Do(self.epoch, Box::new(out)));
        }
        if wake < self.woken_at {
            self.woken_at = wake;
            self.put(wake, Event::Wake(self.epoch));
        }
        Ok(())
    }

    /// The kill whose effect this is, if there is one.
    fn is_killed(&mut self) -> Option<Crash> {
        let found = self.armed.iter().position(|crash| crash.skip == 0);
        for crash in &mut self.armed {
            crash.skip = crash.skip.saturating_sub(1);
        }
        Some(self.armed.remove(found?))
    }

    fn kill(&mut self, crash: Crash) {
        if self.process.take().is_none() {
            return;
        }
        self.log.note(self.now, format_args!("killed"));
        self.crashes += 1;
        self.epoch += 1;
        self.oracle.ended(self.now);
        if let Some(skip) = crash.again {
            let again = Crash {
                skip,
                again: None,
                ..crash
            };
            self.armed.push(again);
        }
        self.put(self.now + crash.down.max(1), Event::Start);
    }

    /// The process ends by itself, because the database cannot be trusted any more; it is started again after a second.
    fn end(&mut self, why: &str) {
        self.log.note(self.now, format_args!("ends: {why}"));
        self.kill(Crash {
            at: self.now,
            skip: 0,
            after: false,
            down: SECOND,
            again: None,
        });
    }

    fn start(&mut self) -> Result<(), Violation> {
        if self.process.is_some() {
            return Ok(());
        }
        self.log.note(self.now, format_args!("started"));
        self.epoch += 1;
        self.woken_at = Time::MAX;
        self.database
            .reopen()
            .map_err(|error| format!("store: cannot be opened again: {error}"))?;
        self.oracle.started(self.now, &self.settings);
        self.process = Some(Process::start(
            self.plan,
            &self.settings,
            self.epoch,
            self.now,
        ));
        self.hand(Message::Nothing)
    }

    /// What the disk does now, with the number of the fault.
    fn disk(&self) -> impl Iterator<Item = (usize, DiskFault)> {
        let now = self.now;
        let faults = self.plan.faults.iter().enumerate();
        faults.filter_map(move |(number, fault)| match fault {
            Fault::Disk(window, fault) if window.holds(now) => Some((number, *fault)),
            _ => None,
        })
    }

    /// How long something takes: from `low` on, mostly little more.
    fn delay(&self, name: &str, low: Time) -> Time {
        let chance = self.chance.of(name, self.queued);
        match chance.of("slow", 0).hits(30) {
            _ if name == "commit" && chance.of("commit", 0).hits(80) => {
                low + chance.below(250 * MS)
            }
            true => low + chance.below(20 * MS),
            false => low + chance.below(low * 4),
        }
    }
}
