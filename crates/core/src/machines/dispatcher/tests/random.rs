//! Anything that may happen, in any order; what is checked at every effect is in [`super::world`].

use std::time::Duration;

use proptest::prelude::*;

use super::world::{End, SECOND, World, settings};
use super::{Input, Query};
use crate::delivery::DeliveryState;
use crate::time::UnixMillis;

const JOBS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Something that happens; the numbers choose among what is open then.
#[derive(Debug, Clone)]
enum Event {
    Insert(usize),
    InsertChallenge(usize, u64),
    Read,
    Answer,
    Ended(usize, End),
    Recorded(usize, bool),
    GaveUp(bool),
    Passed(Duration),
    Slept,
    ClockSet(i64),
    Writable(bool),
    Reloaded(usize),
    Unconfigured,
    Enabled,
    Disabled,
    Requested,
    Spoilt(usize, bool),
    Restarted,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        6 => Just(End::Accepted),
        6 => Just(End::Failed),
        2 => Just(End::Silent),
        1 => (0u64..100).prop_map(End::Paused),
        1 => Just(End::Gone),
        1 => Just(End::Aborted),
        1 => Just(End::Unsent),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let job = || 0..JOBS.len();
    prop_oneof![
        8 => job().prop_map(Event::Insert),
        3 => (job(), 1u64..200).prop_map(|(job, seconds)| Event::InsertChallenge(job, seconds)),
        10 => Just(Event::Read),
        30 => Just(Event::Answer),
        12 => (any::<usize>(), end()).prop_map(|(index, end)| Event::Ended(index, end)),
        10 => (any::<usize>(), prop::bool::weighted(0.95))
            .prop_map(|(index, is_accepted)| Event::Recorded(index, is_accepted)),
        3 => prop::bool::weighted(0.8).prop_map(Event::GaveUp),
        4 => (0u64..5000).prop_map(|millis| Event::Passed(Duration::from_millis(millis))),
        4 => Just(Event::Slept),
        1 => prop_oneof![Just(-90_000i64), Just(-100), Just(100), Just(31_536_000)]
            .prop_map(Event::ClockSet),
        2 => any::<bool>().prop_map(Event::Writable),
        2 => (1usize..6).prop_map(Event::Reloaded),
        1 => Just(Event::Unconfigured),
        2 => Just(Event::Enabled),
        1 => Just(Event::Disabled),
        1 => Just(Event::Requested),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(row, spoilt)| Event::Spoilt(row, spoilt)),
        1 => Just(Event::Restarted),
    ]
}

impl World {
    fn happen(&mut self, event: &Event) {
        let now = self.wall();
        match *event {
            Event::Insert(job) => self.insert(JOBS[job]),
            Event::InsertChallenge(job, seconds) => self.insert_challenge(JOBS[job], seconds),
            Event::Read => self.read(),
            Event::Answer => drop(self.answer()),
            Event::Ended(index, end) => {
                if let Some(index) = index.checked_rem(self.in_flight.len()) {
                    self.end_request(index, end);
                }
            }
            Event::Recorded(index, is_accepted) => {
                if let Some(index) = index.checked_rem(self.recording.len()) {
                    self.record(index, is_accepted);
                }
            }
            Event::GaveUp(is_accepted) => drop(self.give_up(is_accepted)),
            Event::Passed(time) => self.pass(time),
            Event::Slept if self.machine.wake_at().is_some() => self.sleep(),
            Event::Slept => {}
            Event::ClockSet(seconds) => self.set_clock(seconds),
            Event::Writable(is_writable) => self.write(is_writable),
            Event::Reloaded(limit) => self.reload(Some(settings(limit))),
            Event::Unconfigured => self.reload(None),
            Event::Enabled => self.operate(|table| table.enable(now)),
            Event::Disabled => self.operate(|table| {
                table.disable("an operator", now);
                table.webhook.requests += 1;
            }),
            Event::Requested => self.operate(|table| table.webhook.requests += 1),
            Event::Spoilt(row, spoilt) => self.operate(|table| {
                if let Some(row) = row.checked_rem(table.rows.len()) {
                    table.rows[row].is_unreadable = spoilt;
                }
            }),
            Event::Restarted => self.restart(),
        }
        self.carry_out();
        self.starts_what_it_may();
    }

    fn operate(&mut self, change: impl FnOnce(&mut super::table::Table)) {
        change(&mut self.table);
        self.handle(Input::Woken);
    }

    /// When the machine rests, nothing waits that could be sent.
    fn starts_what_it_may(&mut self) {
        let now = self.now();
        let can_send = self.is_writable && self.clamped == Some(now.stability.jumps);
        let Some(settings) = self.settings.as_ref().filter(|_| can_send) else {
            return;
        };
        // It does not rest, or only until the clock shows the next millisecond.
        let soon = now.monotonic.plus(MARGIN);
        if self.machine.wake_at().is_none_or(|at| at <= soon) {
            return;
        }
        let webhook = &self.table.webhook;
        let is_paused = webhook
            .paused_until
            .is_some_and(|until| until.plus(MARGIN) > now.wall);
        let stops =
            |each: &crate::batch::FinishedAttempt| each.disables.is_some() || each.pause.is_some();
        if webhook.disabled.is_some() || is_paused || self.recording.iter().any(stops) {
            return;
        }
        let sendable = self.table.heads().filter(|row| {
            let ends = row.delivery.expires_at;
            let is_over = ends.is_some_and(|at| at <= now.wall.plus(MARGIN));
            !is_over
                && !row.is_unreadable
                && !self.is_closed(&row.delivery.job_id, &row.delivery.event_id)
        });
        let is_due = |at: Option<UnixMillis>| at.is_none_or(|at| at.plus(MARGIN) <= now.wall);
        let health = self.machine.health.health();
        let waiting = match health.hold() {
            Some(hold) => {
                let is_idle = self.in_flight.is_empty() && self.recording.is_empty();
                let probes = is_idle && is_due(hold.probe_at);
                sendable.filter(|_| probes).count()
            }
            None => {
                let allowed = health.allowed(settings.max_in_flight);
                let is_free = self.in_flight.len() < allowed && self.recording.len() < 64;
                sendable.filter(|row| is_free && is_due(row.next)).count()
            }
        };
        assert_eq!(waiting, 0, "{:?}", self.machine);
    }

    /// From now on everything succeeds; every delivery ends within a time that the longest waits allow.
    fn heal(&mut self) {
        let now = self.wall();
        for row in &mut self.table.rows {
            row.is_unreadable = false;
        }
        self.table.enable(now);
        self.settings = Some(settings(3));
        self.is_writable = true;
        self.restart();
        let mut begun = self.now().monotonic;
        let mut jumps = self.now().stability.jumps;
        for _ in 0..20_000 {
            self.settle();
            self.starts_what_it_may();
            if self.now().stability.jumps != jumps {
                (begun, jumps) = (self.now().monotonic, self.now().stability.jumps);
            }
            if self.give_up(true) {
            } else if !self.in_flight.is_empty() {
                self.end_request(0, End::Accepted);
            } else if !self.recording.is_empty() {
                self.record(0, true);
            } else if self.is_done() {
                let took = self.now().monotonic.since(begun);
                assert!(took <= 700 * SECOND, "{took:?}");
                return;
            } else {
                self.sleep();
            }
        }
        panic!("deliveries never end: {:?}", self.table.rows);
    }

    fn is_done(&self) -> bool {
        let states = self.table.rows.iter().map(|row| row.state);
        let is_over = |state| matches!(state, DeliveryState::Delivered | DeliveryState::Exhausted);
        states.into_iter().all(is_over)
    }
}

/// Times are read in milliseconds, and waits are one longer.
const MARGIN: Duration = Duration::from_millis(2);

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_effect_is_allowed_and_nothing_waits_without_a_reason(
        events in prop::collection::vec(event(), 1..250),
    ) {
        let mut world = World::new(3);
        world.carry_out();
        for event in &events {
            world.happen(event);
        }
        world.heal();
    }

    #[test]
    fn a_hold_ends_with_the_outage(failures in 3usize..15, limit in 1usize..9) {
        let mut world = World::new(limit);
        for job in JOBS {
            world.insert(job);
        }
        world.settle();
        for _ in 0..failures {
            while world.in_flight.is_empty() {
                world.sleep();
                world.settle();
            }
            world.end_request(0, End::Failed);
            world.carry_out();
            world.record_all();
            world.settle();
        }
        let began = world.now().monotonic;
        while !world.is_done() {
            world.settle();
            if world.in_flight.is_empty() {
                world.sleep();
            } else {
                world.end_request(0, End::Accepted);
                world.carry_out();
                world.record_all();
            }
        }
        let took = world.now().monotonic.since(began);
        prop_assert!(took <= 301 * SECOND, "{took:?}");
        prop_assert!(world.machine.health.health().hold().is_none());
    }

    #[test]
    fn frequent_inputs_delay_nothing(held in any::<bool>()) {
        let mut world = if held { super::held() } else { World::new(3) };
        world.pass(2 * SECOND);
        world.insert("z");
        for _ in 0..20 {
            world.carry_out();
            if !world.in_flight.is_empty() {
                return Ok(());
            }
            let asked = world.open.clone();
            world.handle(Input::Woken);
            world.answer();
            prop_assert_ne!(asked, None::<Query>);
        }
        prop_assert!(false, "nothing was sent");
    }
}
