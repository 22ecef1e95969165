//! What expires, and clocks that are set.

use super::world::{End, SECOND, World, settings};
use super::{Input, Query, state};
use crate::delivery::{DeliveryState, WebhookName};

#[test]
fn what_expires_is_given_up_for_the_fallback_unless_it_is_in_flight() {
    let mut world = World::new(1);
    world.insert_challenge("a", 10);
    world.insert_challenge("b", 10);
    assert_eq!(world.sent(), ["a0"]);
    world.sleep();
    world.settle();
    let expiries = world.giving_up.clone().unwrap();
    assert_eq!(expiries.len(), 1);
    assert_eq!(expiries[0].event_id, "b1");
    world.give_up(true);
    world.settle();
    world.end("a0", End::Failed);
    assert_eq!(state(&world, "a0"), DeliveryState::Exhausted);
    let fallback = |event: &str| (event.to_owned(), WebhookName::new("f"));
    assert_eq!(world.table.fallbacks, [fallback("b1"), fallback("a0")]);
}

#[test]
fn expired_events_that_cannot_be_given_up_are_not_tried_again_at_once() {
    let mut world = World::new(1);
    world.insert_challenge("a", 10);
    world.sent();
    world.end("a0", End::Paused(60));
    world.insert_challenge("b", 20);
    world.pass(21 * SECOND);
    world.settle();
    assert!(world.give_up(false));
    world.settle();
    assert!(world.giving_up.is_none());
    world.pass(60 * SECOND);
    world.settle();
    assert!(world.giving_up.is_some());
}

#[test]
fn an_expired_event_that_cannot_be_given_up_is_not_sent_when_a_place_is_free() {
    let mut world = World::new(1);
    world.insert_challenge("a", 20);
    world.insert_challenge("b", 20);
    assert_eq!(world.sent(), ["a0"]);
    world.pass(21 * SECOND);
    world.settle();
    assert!(world.give_up(false));
    world.end("a0", End::Failed);
    assert_eq!(world.sent(), [""; 0]);
}

#[test]
fn without_settings_nothing_is_given_up_since_the_fallback_is_not_known() {
    let mut world = World::new(1);
    world.write(false);
    world.insert_challenge("a", 10);
    world.pass(11 * SECOND);
    world.write(true);
    world.carry_out();
    while !matches!(world.open, Some(Query::Expired { .. })) {
        assert!(world.answer());
        world.carry_out();
    }
    world.reload(None);
    world.settle();
    assert!(world.giving_up.is_none());
    world.reload(Some(settings(1)));
    world.settle();
    assert!(world.giving_up.is_some());
}

#[test]
fn waits_are_clamped_once_per_jump_and_again_for_attempts_that_ended_before_it() {
    let clamps = |world: &World| {
        let queries = world.queries.iter();
        queries
            .filter(|it| matches!(it, Query::Clamp { .. }))
            .count()
    };
    let mut world = World::new(1);
    world.insert("a");
    world.sent();
    assert_eq!(clamps(&world), 1);
    world.set_clock(1_000_000);
    world.end_request(0, End::Failed);
    world.settle();
    assert_eq!(clamps(&world), 2);
    world.set_clock(-1_000_000);
    world.handle(Input::Woken);
    world.settle();
    assert_eq!(clamps(&world), 3);
    world.record_all();
    world.settle();
    assert_eq!(
        clamps(&world),
        5,
        "one that changes it, and one that does not"
    );
    let next = world.table.row("a0").next.unwrap();
    assert!(next <= world.wall().plus(23 * SECOND), "{next}");
}

#[test]
fn nothing_expires_while_the_clock_settles_and_the_wait_for_it_is_no_loop() {
    let mut world = World::new(1);
    world.write(false);
    world.insert_challenge("a", 100);
    world.set_clock(3600);
    world.write(true);
    assert_eq!(world.sent(), ["a0"], "it may be the clock that is wrong");
    world.end("a0", End::Paused(400));
    assert_eq!(state(&world, "a0"), DeliveryState::Pending);
    let mut rounds = 0;
    while world.giving_up.is_none() {
        world.sleep();
        world.settle();
        rounds += 1;
    }
    assert!((290..=310).contains(&rounds), "{rounds}");
}
