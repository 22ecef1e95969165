//! The machine with its tables, a clock and requests that end when a test says so. Every effect is checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::table::Table;
use crate::batch::{FinishedAttempt, Undelivered};
use crate::clock_jumps::ClockJumps;
use crate::delivery::{
    AttemptErrorClass, AttemptReport, AttemptResult, DeliveryState, Directive, WebhookName,
};
use crate::job::JobId;
use crate::machines::dispatcher::{Answer, Dispatcher, Effect, Input, Query, Report, Settings};
use crate::rows::{DueDelivery, WebhookHealth};
use crate::time::{Monotonic, Now, UnixMillis};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Accepted,
    Failed,
    Silent,
    /// 429 with so many seconds.
    Paused(u64),
    Gone,
    Aborted,
    /// Nothing was sent.
    Unsent,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) machine: Dispatcher,
    pub(super) table: Table,
    pub(super) settings: Option<Settings>,
    pub(super) is_writable: bool,
    monotonic: Monotonic,
    wall: i64,
    jumps: ClockJumps,
    pub(super) open: Option<Query>,
    /// Its answer, if it was read before it is delivered.
    read: Option<Answer>,
    pub(super) in_flight: Vec<(DueDelivery, UnixMillis)>,
    pub(super) recording: Vec<FinishedAttempt>,
    pub(super) giving_up: Option<Vec<Undelivered>>,
    /// Jobs and events of attempts whose record was refused.
    pub(super) refused: BTreeMap<JobId, String>,
    /// The webhook's row as the machine has read it last.
    known: WebhookHealth,
    /// Clock jumps when the waits were last clamped.
    pub(super) clamped: Option<u64>,
    random: u64,
    pub(super) queries: Vec<Query>,
    pub(super) unreadable: Vec<String>,
}

pub(super) fn settings(max_in_flight: usize) -> Settings {
    Settings {
        name: WebhookName::new("w"),
        retry: [5, 10, 20].map(Duration::from_secs).to_vec(),
        max_in_flight,
        fallback: Some(WebhookName::new("f")),
    }
}

impl World {
    pub(super) fn new(max_in_flight: usize) -> Self {
        let mut world = Self {
            machine: Dispatcher::default(),
            table: Table::default(),
            settings: Some(settings(max_in_flight)),
            is_writable: true,
            monotonic: Monotonic(0),
            wall: 1_800_000_000_000,
            jumps: ClockJumps::default(),
            open: None,
            read: None,
            in_flight: Vec::new(),
            recording: Vec::new(),
            giving_up: None,
            refused: BTreeMap::new(),
            known: WebhookHealth::default(),
            clamped: None,
            random: 7,
            queries: Vec::new(),
            unreadable: Vec::new(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.reload(self.settings.clone());
        self.write(self.is_writable);
    }

    /// A new process: what was in flight or not recorded is forgotten.
    pub(super) fn restart(&mut self) {
        self.machine = Dispatcher::default();
        (self.open, self.read, self.giving_up) = (None, None, None);
        self.clamped = None;
        self.in_flight.clear();
        self.recording.clear();
        self.refused.clear();
        self.begin();
    }

    pub(super) fn reload(&mut self, settings: Option<Settings>) {
        self.settings.clone_from(&settings);
        self.handle(Input::Settings(settings.map(Arc::new)));
    }

    pub(super) fn write(&mut self, is_writable: bool) {
        self.is_writable = is_writable;
        self.handle(Input::Writable(is_writable));
    }

    pub(super) fn now(&mut self) -> Now {
        let wall = UnixMillis(self.wall);
        let elapsed = self.monotonic.since(Monotonic(0));
        Now {
            monotonic: self.monotonic,
            wall,
            stability: self.jumps.observe(elapsed, wall),
        }
    }

    pub(super) fn wall(&self) -> UnixMillis {
        UnixMillis(self.wall)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.monotonic = self.monotonic.plus(time);
        self.wall += i64::try_from(time.as_millis()).unwrap();
        self.now();
    }

    /// Until the machine wakes by itself.
    pub(super) fn sleep(&mut self) {
        let until = self.machine.wake_at().expect("it waits for an input");
        let wait = until.since(self.monotonic);
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60));
        self.pass(wait);
    }

    pub(super) fn set_clock(&mut self, seconds: i64) {
        self.wall += seconds * 1000;
        self.now();
    }

    pub(super) fn insert(&mut self, job: &str) {
        self.table.insert(job, None, UnixMillis(self.wall));
        self.handle(Input::Woken);
    }

    /// A challenge that expires after so many seconds.
    pub(super) fn insert_challenge(&mut self, job: &str, seconds: u64) {
        let now = UnixMillis(self.wall);
        let end = now.plus(Duration::from_secs(seconds));
        self.table.insert(job, Some(end), now);
        self.handle(Input::Woken);
    }

    pub(super) fn handle(&mut self, input: Input) {
        let now = self.now();
        let seed = &mut self.random;
        let mut random = || {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (*seed >> 40) as f64 / f64::from(1 << 24)
        };
        self.machine.handle(input, now, &mut random);
    }

    /// Does what is to be done, without answering anything.
    pub(super) fn carry_out(&mut self) {
        for _ in 0..1000 {
            let now = self.now();
            match self.machine.next(now) {
                None => return assert_eq!(self.machine.in_flight(), self.in_flight.len()),
                Some(Effect::Query(query)) => {
                    assert!(self.open.is_none() && self.giving_up.is_none());
                    self.queries.push(query.clone());
                    self.open = Some(query);
                }
                Some(Effect::Send(delivery)) => self.send(*delivery, now),
                Some(Effect::Record(finished)) => self.recording.push(*finished),
                Some(Effect::GiveUp(expiries)) => self.begin_to_give_up(expiries, now),
                Some(Effect::Report(Report::Unreadable { event_id, .. })) => {
                    self.unreadable.push(event_id);
                }
                Some(Effect::Report(_)) => {}
            }
        }
        panic!("it never rests");
    }

    fn send(&mut self, delivery: DueDelivery, now: Now) {
        let settings = self.settings.as_ref().expect("the webhook is configured");
        assert!(self.is_writable, "outcomes can be recorded");
        assert_eq!(self.clamped, Some(now.stability.jumps), "waits are clamped");
        assert!(self.known.disabled.is_none(), "the webhook is enabled");
        let pause = self.known.paused_until.max(self.table.webhook.paused_until);
        assert!(pause.is_none_or(|until| until <= now.wall), "{pause:?}");
        let stops = |each: &FinishedAttempt| each.disables.is_some() || each.pause.is_some();
        assert!(!self.recording.iter().any(stops), "no answer stops it");
        let job = &delivery.job_id;
        assert!(
            !self.is_closed(job, &delivery.event_id),
            "one request per lane"
        );
        let row = self.table.row(&delivery.event_id);
        assert_ne!(row.state, DeliveryState::Delivered);
        assert_eq!(row.delivery.attempts, delivery.attempts, "nothing twice");
        let is_over = row.delivery.expires_at.is_some_and(|at| at <= now.wall);
        assert!(!is_over || !now.stability.is_settled, "it has expired");
        let health = self.machine.health.health();
        match health.hold() {
            Some(hold) => {
                let is_idle = self.in_flight.is_empty() && self.recording.is_empty();
                assert!(is_idle, "one probe at a time");
                let is_due = hold.probe_at.is_none_or(|at| at <= now.wall);
                let expires = delivery.expires_at.is_some() && delivery.due <= now.wall;
                assert!(is_due || expires, "probes are paced");
            }
            None => assert!(
                delivery.due <= now.wall || self.clamped != Some(0),
                "it is due"
            ),
        }
        self.in_flight.push((delivery, now.wall));
        let allowed = health.allowed(settings.max_in_flight);
        assert!(self.in_flight.len() <= allowed);
        assert!(self.recording.len() < 64 || self.in_flight.is_empty());
    }

    pub(super) fn is_closed(&self, job: &JobId, event: &str) -> bool {
        let in_flight = self.in_flight.iter().any(|(each, _)| each.job_id == *job);
        let recording = self.recording.iter().any(|each| each.job_id == *job);
        let refused = self.refused.get(job);
        in_flight || recording || refused.is_some_and(|refused| refused == event)
    }

    fn begin_to_give_up(&mut self, expiries: Vec<Undelivered>, now: Now) {
        assert!(self.giving_up.is_none() && self.open.is_none() && now.stability.is_settled);
        for each in &expiries {
            let row = self.table.row(&each.event_id);
            assert!(row.delivery.expires_at.unwrap() <= now.wall);
            let in_flight = self.in_flight.iter();
            let mut events = in_flight.map(|(delivery, _)| &delivery.event_id);
            assert!(!events.any(|event| *event == each.event_id));
            assert_eq!(each.fallback, Some(WebhookName::new("f")));
        }
        self.giving_up = Some(expiries);
    }

    /// Reads the answer to the open query, which arrives later.
    pub(super) fn read(&mut self) {
        if let (Some(query), None) = (&self.open, &self.read) {
            self.read = Some(self.table.answer(query, UnixMillis(self.wall)));
        }
    }

    /// Answers the open query, if there is one.
    pub(super) fn answer(&mut self) -> bool {
        self.read();
        let answer = self.read.take();
        if let Some(answer) = answer {
            self.deliver(answer);
            return true;
        }
        false
    }

    fn deliver(&mut self, answer: Answer) {
        self.open = None;
        match &answer {
            Answer::Row(row) => self.known = (**row).clone(),
            Answer::Clamped(0) => self.clamped = Some(self.now().stability.jumps),
            _ => {}
        }
        self.handle(Input::Answer(answer));
    }

    /// Answers queries until there are none.
    pub(super) fn settle(&mut self) {
        for _ in 0..1000 {
            self.carry_out();
            if !self.answer() {
                return;
            }
        }
        panic!("it asks for ever");
    }

    /// The events in flight, after all queries.
    pub(super) fn sent(&mut self) -> Vec<String> {
        self.settle();
        let events = self.in_flight.iter();
        events.map(|(each, _)| each.event_id.clone()).collect()
    }

    /// Ends a request, and records its outcome.
    pub(super) fn end(&mut self, event_id: &str, end: End) {
        let mut events = self.in_flight.iter();
        let index = events.position(|(each, _)| each.event_id == event_id);
        self.end_request(index.expect("it is in flight"), end);
        self.carry_out();
        self.record_all();
        self.settle();
    }

    pub(super) fn end_request(&mut self, index: usize, end: End) {
        let (delivery, started_at) = self.in_flight.remove(index);
        let result = match end {
            End::Accepted => AttemptResult::Delivered { status: 200 },
            End::Paused(seconds) => AttemptResult::Throttled {
                status: 429,
                retry_after: Duration::from_secs(seconds),
            },
            End::Gone => AttemptResult::Gone,
            End::Silent => AttemptResult::Unreachable {
                class: AttemptErrorClass::Timeout,
                detail: "no answer".to_owned(),
            },
            End::Failed | End::Aborted | End::Unsent => AttemptResult::Refused {
                status: 500,
                detail: "Internal Server Error".to_owned(),
                too_slow: false,
            },
        };
        if end == End::Unsent {
            return self.handle(Input::NotSent(delivery.job_id));
        }
        let report = AttemptReport {
            result,
            directive: (end == End::Aborted).then_some(Directive::AbortMessage),
            answer: None,
            started_at,
            duration: UnixMillis(self.wall).since(started_at),
        };
        self.handle(Input::Sent(delivery.job_id, report));
    }

    pub(super) fn record(&mut self, index: usize, is_accepted: bool) {
        let finished = self.recording.remove(index);
        let now = UnixMillis(self.wall);
        let is_recorded = is_accepted && self.table.record(&finished, now);
        if !is_recorded {
            let event = finished.attempt.event_id.clone();
            self.refused.insert(finished.job_id.clone(), event);
        }
        self.handle(Input::Recorded(finished.job_id, is_recorded));
    }

    pub(super) fn record_all(&mut self) {
        while !self.recording.is_empty() {
            self.record(0, true);
        }
    }

    pub(super) fn give_up(&mut self, is_accepted: bool) -> bool {
        let Some(expiries) = self.giving_up.take() else {
            return false;
        };
        if is_accepted {
            self.table.give_up(&expiries, UnixMillis(self.wall));
        }
        self.handle(Input::GaveUp(is_accepted));
        true
    }
}
