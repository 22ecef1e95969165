//! Deadlines, and what a clock that was set does to times.

use super::*;

#[test]
fn a_next_poll_recorded_by_a_clock_that_was_ahead_is_cut_to_the_longest_delay() {
    let policy = settings().policy;
    let erring = Progress {
        consecutive_errors: 1,
        ..Progress::default()
    };
    let queued = Progress {
        queued: true,
        ..Progress::default()
    };
    for (progress, longest) in [
        (Progress::default(), policy.max_delay),
        (erring, Duration::from_secs(600)),
        (queued, policy.queued_delay),
    ] {
        let mut world = World::new(1, None);
        let ahead = JobRow {
            next_poll_at: Some(EPOCH.plus(Duration::from_secs(365 * 24 * 60 * 60))),
            progress,
            ..row("j")
        };
        world.handle(Input::Rows(vec![ahead]));
        let due = world.poller.jobs[&id("j")].next_poll_at;
        assert_eq!(due.since(EPOCH), longest);
        world.pass(FLUSH);
        world.advance();
        assert_eq!(world.recorded.len(), 1, "it is recorded");
    }
}

#[test]
fn a_deadline_is_followed_by_one_last_poll_and_then_by_the_end() {
    let mut world = World::new(1, None);
    let mortal = JobRow {
        deadline_at: Some(EPOCH.plus(5 * SECOND)),
        ..row("j")
    };
    world.handle(Input::Rows(vec![mortal]));
    world.advance();
    world.finish(Next::After(Duration::from_secs(30)));
    world.pass(5 * SECOND);
    world.advance();
    assert_eq!(world.names(), ["j", "j"], "the last poll");
    let task = world.in_flight.remove(0);
    let Input::Finished(mut last) = ended(&task, Next::After(SECOND)) else {
        panic!("not a finished poll");
    };
    last.is_current = true;
    world.handle(Input::Finished(last));
    world.advance();
    let Work::End(failure) = &world.in_flight[0].work else {
        panic!("the job goes on");
    };
    assert_eq!(failure.kind, FailureKind::Expired);
}

#[test]
fn without_an_answer_a_job_ends_five_minutes_after_its_deadline() {
    let mut world = World::new(1, None);
    let mortal = JobRow {
        deadline_at: Some(EPOCH.plus(SECOND)),
        ..row("j")
    };
    world.handle(Input::Rows(vec![mortal]));
    world.advance();
    world.pass(2 * SECOND);
    world.advance();
    world.pass(Duration::from_secs(299));
    world.advance();
    assert_eq!(world.cut, [id("j")], "its request hangs and is cut short");
    let task = world.in_flight.remove(0);
    world.handle(ended(&task, Next::Forget));
    assert_eq!(world.poller.followed(), 0);
}

#[test]
fn right_after_the_clock_was_set_nothing_expires() {
    let mut world = World::new(1, None);
    let mortal = JobRow {
        deadline_at: Some(EPOCH.plus(Duration::from_secs(3600))),
        next_poll_at: Some(EPOCH.plus(10 * SECOND)),
        ..row("j")
    };
    world.handle(Input::Rows(vec![mortal]));
    world.advance();
    world.wall = world.wall.plus(Duration::from_secs(7200));
    world.advance();
    assert_eq!(world.names(), [""; 0], "its delay stays as it was");
    world.pass(10 * SECOND);
    world.advance();
    assert_eq!(world.names(), ["j"], "an ordinary poll");
    world.finish(Next::After(Duration::from_secs(9999)));
    world.pass(SETTLING);
    world.advance();
    assert_eq!(world.names(), ["j", "j"], "the last poll");
}

#[test]
fn settings_that_come_right_after_the_clock_was_set_back_delay_no_poll() {
    let mut world = World::new(1, None);
    let soon = JobRow {
        next_poll_at: Some(EPOCH.plus(10 * SECOND)),
        ..row("j")
    };
    world.handle(Input::Rows(vec![soon]));
    world.advance();
    world.wall = world.wall.minus(Duration::from_secs(7200));
    world.handle(Input::Settings(settings(), 1));
    world.pass(10 * SECOND);
    world.advance();
    assert_eq!(world.names(), ["j"], "its delay stays as it was");
}
