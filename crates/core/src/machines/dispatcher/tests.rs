use std::time::Duration;

use super::*;
use crate::delivery::{DeliveryState, Trigger};
use crate::health::Health;
use world::{End, SECOND, World, settings};

mod table;

mod world;

mod expiring;

mod random;

/// A world whose webhook is held: the first attempts of three jobs have failed.
fn held() -> World {
    let mut world = World::new(8);
    for job in ["a", "b", "c"] {
        world.pass(Duration::from_millis(1));
        world.insert(job);
        let sent = world.sent();
        world.end(&sent[0], End::Failed);
    }
    assert!(world.machine.health.health().hold().is_some());
    world
}

fn state(world: &World, event_id: &str) -> DeliveryState {
    world.table.row(event_id).state
}

#[test]
fn a_ready_webhook_gets_what_is_due_at_once_in_order_and_within_its_limit() {
    let mut world = World::new(2);
    for job in ["a", "a", "b", "c"] {
        world.insert(job);
    }
    assert_eq!(world.sent(), ["a0", "b2"], "one per lane, two at once");
    world.end("a0", End::Accepted);
    assert_eq!(world.sent(), ["b2", "c3"], "the longest due first");
    world.end("b2", End::Accepted);
    assert_eq!(world.sent(), ["c3", "a1"]);
}

#[test]
fn a_place_is_free_before_the_outcome_is_recorded_but_the_lane_is_not() {
    let mut world = World::new(1);
    for job in ["a", "a", "b"] {
        world.insert(job);
    }
    assert_eq!(world.sent(), ["a0"]);
    world.end_request(0, End::Accepted);
    assert_eq!(world.sent(), ["b2"]);
    world.end_request(0, End::Accepted);
    assert_eq!(world.sent(), [""; 0], "a1 waits for the record of a0");
    world.record(0, true);
    assert_eq!(world.sent(), ["a1"]);
}

#[test]
fn no_more_than_64_outcomes_are_unrecorded() {
    let mut world = World::new(8);
    for job in 0..100 {
        world.insert(&format!("j{job}-"));
    }
    while !world.sent().is_empty() {
        world.end_request(0, End::Accepted);
    }
    assert_eq!(
        world.recording.len(),
        63 + 8,
        "the last ones were in flight"
    );
    for _ in 0..7 {
        world.record(5, true);
        assert!(world.sent().is_empty());
    }
    world.record(5, true);
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_retry_waits_for_its_time_and_is_sent_by_itself() {
    let mut world = World::new(2);
    world.insert("a");
    assert_eq!(world.sent(), ["a0"]);
    world.end("a0", End::Silent);
    assert_eq!(world.sent(), [""; 0]);
    world.sleep();
    assert_eq!(world.sent(), ["a0"]);
    let waited = world
        .wall()
        .since(world.table.row("a0").delivery.created_at);
    assert!(waited >= 5 * SECOND && waited < 6 * SECOND, "{waited:?}");
}

#[test]
fn a_held_webhook_gets_one_probe_at_a_time_at_the_pace_of_the_hold_and_in_turn() {
    let mut world = held();
    world.insert("d");
    assert_eq!(world.sent(), [""; 0], "the first probe is due after 1 s");
    let mut probes = Vec::new();
    for pace in [1, 2, 4, 8, 16] {
        world.pass(pace * SECOND - Duration::from_millis(1));
        assert_eq!(world.sent(), [""; 0]);
        world.pass(Duration::from_millis(2));
        let sent = world.sent();
        world.end(&sent[0], End::Failed);
        probes.extend(sent);
    }
    assert_eq!(probes, ["d3", "a0", "b1", "c2", "d3"]);
}

#[test]
fn attempts_say_why_they_were_made() {
    let mut world = World::new(8);
    world.insert("z");
    world.sent();
    world.end_request(0, End::Failed);
    world.sent();
    let trigger = |world: &World| world.recording[0].attempt.trigger;
    assert_eq!(trigger(&world), Trigger::Schedule);
    let mut world = held();
    world.pass(2 * SECOND);
    world.sent();
    world.end_request(0, End::Failed);
    world.sent();
    assert_eq!(trigger(&world), Trigger::Probe);
}

#[test]
fn a_probe_is_not_followed_before_its_outcome_is_recorded() {
    let mut world = held();
    world.pass(2 * SECOND);
    assert_eq!(world.sent(), ["a0"]);
    world.pass(60 * SECOND);
    assert_eq!(world.sent(), ["a0"]);
    world.end_request(0, End::Failed);
    world.pass(60 * SECOND);
    assert_eq!(world.sent(), [""; 0]);
    world.record(0, true);
    assert_eq!(world.sent(), ["b1"]);
}

#[test]
fn a_challenge_is_sent_beside_the_probes_of_a_hold_when_it_is_due() {
    let mut world = held();
    world.insert_challenge("d", 60);
    assert_eq!(world.sent(), ["d3"]);
    world.end("d3", End::Failed);
    let hold = world.machine.health.health().hold().cloned().unwrap();
    assert_eq!((hold.failures, hold.probes), (4, 0), "it is no probe");
}

#[test]
fn a_probe_that_is_accepted_ramps_the_webhook_up() {
    let mut world = held();
    for job in 0..40 {
        world.insert(&format!("j{job}-"));
    }
    world.pass(2 * SECOND);
    let mut most = Vec::new();
    for _ in 0..8 {
        let sent = world.sent();
        most.push(sent.len());
        for _ in sent {
            world.end_request(0, End::Accepted);
        }
        world.carry_out();
        world.record_all();
    }
    assert_eq!(most, [1, 1, 2, 4, 8, 8, 8, 8]);
    assert_eq!(*world.machine.health.health(), Health::default());
}

#[test]
fn a_pause_holds_from_the_answer_on_and_ends_by_itself() {
    let mut world = World::new(1);
    world.insert("a");
    world.insert("b");
    assert_eq!(world.sent(), ["a0"]);
    world.end_request(0, End::Paused(30));
    assert_eq!(world.sent(), [""; 0], "not even before it is recorded");
    world.record_all();
    assert_eq!(world.sent(), [""; 0]);
    world.pass(29 * SECOND);
    assert_eq!(world.sent(), [""; 0]);
    world.pass(SECOND + Duration::from_millis(1));
    assert_eq!(world.sent(), ["b1"]);
}

#[test]
fn a_webhook_that_is_gone_gets_nothing_until_an_operator_enables_it() {
    let mut world = World::new(1);
    world.insert("a");
    world.insert("b");
    world.sent();
    world.end_request(0, End::Gone);
    assert_eq!(world.sent(), [""; 0]);
    world.record_all();
    world.pass(600 * SECOND);
    assert_eq!(world.sent(), [""; 0]);
    let now = world.wall();
    world.table.enable(now);
    world.handle(Input::Woken);
    assert_eq!(world.sent(), ["a0"]);
}

#[test]
fn an_operators_request_makes_a_probe_due_at_once() {
    let mut world = held();
    assert_eq!(world.sent(), [""; 0]);
    world.table.webhook.requests += 1;
    world.handle(Input::Woken);
    assert_eq!(world.sent(), ["a0"]);
}

#[test]
fn nothing_is_read_or_sent_while_outcomes_cannot_be_recorded_or_it_is_not_configured() {
    for is_configured in [true, false] {
        let mut world = World::new(2);
        if is_configured {
            world.write(false);
        } else {
            world.reload(None);
        }
        world.insert("a");
        assert_eq!(world.sent(), [""; 0]);
        assert_eq!(world.queries, []);
        world.write(true);
        world.reload(Some(settings(2)));
        assert_eq!(world.sent(), ["a0"]);
    }
}

#[test]
fn an_attempt_keeps_the_settings_it_began_with_and_a_reload_sends_nothing_twice() {
    let mut world = World::new(2);
    world.insert("a");
    assert_eq!(world.sent(), ["a0"]);
    let other = Settings {
        retry: Vec::new(),
        ..settings(1)
    };
    world.reload(Some(other));
    world.insert("b");
    assert_eq!(world.sent(), ["a0"], "the new limit counts it");
    world.end("a0", End::Failed);
    assert_eq!(state(&world, "a0"), DeliveryState::Pending);
    world.end("b1", End::Failed);
    assert_eq!(state(&world, "b1"), DeliveryState::Exhausted);
}

#[test]
fn an_answer_read_before_an_attempt_was_recorded_sends_nothing_again() {
    let mut world = World::new(2);
    world.insert("a");
    assert_eq!(world.sent(), ["a0"]);
    world.handle(Input::Woken);
    world.carry_out();
    while !matches!(world.open, Some(Query::Due { .. })) {
        world.answer();
        world.carry_out();
    }
    world.read();
    world.end_request(0, End::Accepted);
    world.carry_out();
    world.record_all();
    world.answer();
    assert_eq!(world.sent(), [""; 0]);
}

#[test]
fn what_falls_due_while_the_database_is_slow_is_started_too() {
    let mut world = World::new(2);
    world.insert("a");
    world.sent();
    world.end("a0", End::Failed);
    world.handle(Input::Woken);
    world.carry_out();
    while !matches!(world.open, Some(Query::Due { .. })) {
        world.answer();
        world.carry_out();
    }
    world.pass(10 * SECOND);
    assert_eq!(world.sent(), ["a0"]);
}

#[test]
fn a_lane_whose_record_is_refused_stays_closed_until_the_next_start() {
    let mut world = World::new(2);
    world.insert("a");
    world.sent();
    world.end_request(0, End::Failed);
    world.carry_out();
    world.record(0, false);
    world.insert("b");
    world.pass(600 * SECOND);
    assert_eq!(world.sent(), ["b1"]);
    world.restart();
    assert_eq!(world.sent(), ["a0", "b1"]);
}

#[test]
fn an_event_that_was_given_up_during_its_request_keeps_no_later_one_of_its_job_from_being_sent() {
    let mut world = World::new(2);
    world.insert("a");
    world.sent();
    world.end_request(0, End::Failed);
    world.carry_out();
    world.table.rows[0].state = DeliveryState::Exhausted;
    world.table.rows[0].next = None;
    world.record(0, false);
    world.insert("a");
    assert_eq!(world.sent(), ["a1"]);
}

#[test]
fn what_could_not_be_sent_stays_due_and_uses_up_nothing() {
    let mut world = World::new(2);
    world.insert("a");
    world.sent();
    world.end_request(0, End::Unsent);
    assert_eq!(world.sent(), ["a0"]);
    assert_eq!(world.table.row("a0").delivery.attempts, 0);
}

#[test]
fn unreadable_deliveries_are_reported_once_and_hide_no_other_even_of_a_held_webhook() {
    for is_held in [false, true] {
        let mut world = World::new(8);
        for job in 0..70 {
            world.table.insert(&format!("j{job}-"), None, world.wall());
            world.table.rows[job].is_unreadable = true;
        }
        for job in ["a", "b", "c"] {
            world.insert(job);
            world.settle();
            world.pass(Duration::from_millis(1));
        }
        let mut expected = ["a70", "b71", "c72"].to_vec();
        assert_eq!(world.sent(), expected);
        if is_held {
            for event in &expected {
                world.end(event, End::Failed);
            }
            world.pass(2 * SECOND);
            expected = vec!["a70"];
        }
        world.restart();
        world.unreadable.clear();
        assert_eq!(world.sent(), expected);
        world.handle(Input::Woken);
        world.settle();
        assert_eq!(world.unreadable.len(), 70);
    }
}

#[test]
fn after_a_stop_attempts_are_recorded_and_nothing_is_started() {
    let mut world = World::new(1);
    world.insert("a");
    world.insert("b");
    assert_eq!(world.sent(), ["a0"]);
    world.handle(Input::Stop);
    world.end_request(0, End::Accepted);
    world.carry_out();
    world.record_all();
    world.carry_out();
    assert_eq!(world.open, None);
    assert_eq!(world.machine.wake_at(), None);
    assert!(world.in_flight.is_empty());
    assert_eq!(state(&world, "a0"), DeliveryState::Delivered);
}
