//! What rows, operators and a reload change, and what is offered to the writer again.

use super::*;

#[test]
fn a_poll_that_is_requested_during_a_poll_follows_right_after_it() {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    for _ in 0..2 {
        let requested = JobRow {
            poll_requested: true,
            ..row("j")
        };
        world.handle(noticed(vec![requested]));
    }
    world.finish(Next::After(30 * SECOND));
    world.advance();
    assert_eq!(world.names(), ["j", "j"]);
    world.finish(Next::After(30 * SECOND));
    world.advance();
    assert_eq!(world.names(), ["j", "j"], "once");
}

#[test]
fn a_requested_poll_goes_first_once() {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("z")]));
    world.advance();
    let requested = JobRow {
        poll_requested: true,
        ..row("z")
    };
    world.handle(noticed(vec![requested, row("a")]));
    world.finish(Next::After(SECOND));
    world.advance();
    world.finish(Next::After(Duration::from_millis(1)));
    world.pass(Duration::from_millis(1));
    world.advance();
    assert_eq!(world.names(), ["z", "z", "a"]);
}

#[test]
fn a_trial_whose_job_is_cancelled_makes_room_for_the_next_one() {
    let mut world = World::new(2, None);
    world.handle(noticed(vec![row("a"), row("b"), row("c")]));
    world.signal("x", Signal::Throttled { retry_after: None });
    world.pass(2 * SECOND);
    world.advance();
    assert_eq!(world.names(), ["a"], "the trial");
    let cancelled = JobRow {
        cancel_requested: true,
        ..row("a")
    };
    world.handle(noticed(vec![cancelled]));
    assert_eq!(world.cut, [id("a")]);
    world.finish(Next::Forget);
    world.advance();
    assert_eq!(world.names(), ["a", "b"]);
}

#[test]
fn a_reload_with_a_shorter_delay_brings_polls_forward_and_nothing_else_does() {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    world.finish(Next::After(30 * SECOND));
    let due = world.poller.jobs[&id("j")].next_poll_at;
    world.handle(Input::Settings(settings(), 1));
    assert_eq!(world.poller.jobs[&id("j")].next_poll_at, due);
    let mut shorter = settings();
    shorter.policy.max_delay = 4 * SECOND;
    shorter.policy.jitter = 0.0;
    world.handle(Input::Settings(shorter, 1));
    world.pass(4 * SECOND);
    world.advance();
    assert_eq!(world.names(), ["j", "j"]);
}

#[test]
fn a_pause_that_the_writer_did_not_accept_is_offered_again() {
    let mut world = World::new(1, None);
    let pause = |world: &World| world.gate.pause(world.monotonic).is_some();
    for job in ["a", "b"] {
        let asked = Some(60 * SECOND);
        world.signal(job, Signal::Throttled { retry_after: asked });
        world.pass(2 * SECOND);
    }
    assert!(pause(&world), "two jobs were throttled");
    world.advance();
    assert_eq!(world.pauses, 1);
    world.advance();
    assert_eq!(world.pauses, 1, "once");
    world.handle(Input::PauseRefused);
    world.advance();
    assert_eq!(world.pauses, 2);
}
