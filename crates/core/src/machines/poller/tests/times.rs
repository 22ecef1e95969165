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
        world.handle(noticed(vec![ahead]));
        let due = world.poller.jobs[&id("j")].next_poll_at;
        assert_eq!(due.since(EPOCH), longest);
        world.pass(FLUSH);
        world.advance();
        assert_eq!(world.recorded.len(), 1, "it is recorded");
    }
}

#[test]
fn a_requested_poll_that_cannot_start_yet_is_recorded_for_the_next_start() {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    world.finish(Next::After(30 * SECOND));
    world.pass(FLUSH);
    world.advance();
    world.recorded.clear();
    // Intake has `poll_requested` reset now, so that nothing else knows of it.
    world.signal(
        "other",
        Signal::NoToken {
            retry_at: world.monotonic.plus(600 * SECOND),
            refused: false,
        },
    );
    let requested = JobRow {
        poll_requested: true,
        ..row("j")
    };
    world.handle(noticed(vec![requested]));
    let asked = world.wall;
    world.advance();
    world.pass(FLUSH);
    world.advance();
    assert_eq!(world.names(), ["j"], "it waits");
    let recorded: Vec<_> = world.recorded.iter().map(|it| it.next_poll_at).collect();
    assert_eq!(recorded, [Some(asked)]);
}

#[test]
fn a_deadline_is_followed_by_one_last_poll_and_then_by_the_end() {
    let mut world = World::new(1, None);
    let mortal = JobRow {
        deadline_at: Some(EPOCH.plus(5 * SECOND)),
        ..row("j")
    };
    world.handle(noticed(vec![mortal]));
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

/// A poll that was asked to leave the job alone for ten minutes.
fn asked_to_wait(world: &mut World) {
    let task = world.in_flight.remove(0);
    let Input::Finished(mut waits) = ended(&task, Next::After(600 * SECOND)) else {
        panic!("not a finished poll");
    };
    waits.pause = 600 * SECOND;
    world.handle(Input::Finished(waits));
}

#[test]
fn the_last_poll_waits_for_the_end_of_a_retry_after_also_when_the_clock_was_set_forward() {
    for forward in [0, 3600] {
        let mut world = World::new(1, None);
        let deadline = EPOCH.plus((400 + forward) * SECOND);
        let mortal = JobRow {
            deadline_at: Some(deadline),
            ..row("j")
        };
        world.handle(noticed(vec![mortal]));
        world.advance();
        asked_to_wait(&mut world);
        world.wall = world.wall.plus(Duration::from_secs(u64::from(forward)));
        world.advance();
        // No longer than the window of the last poll after the deadline.
        for _ in 0..599 {
            world.pass(SECOND);
            world.advance();
        }
        assert_eq!(world.names(), ["j"], "{forward}");
        world.pass(2 * SECOND);
        world.advance();
        assert_eq!(world.names(), ["j", "j"], "{forward}");
    }
}

#[test]
fn a_retry_after_that_was_recorded_before_a_restart_is_kept_by_the_last_poll() {
    for (errors, wait, is_kept) in [(1, 200, true), (9, 200, false), (0, 200, false)] {
        let mut world = World::new(1, None);
        let mortal = JobRow {
            deadline_at: Some(EPOCH.plus(10 * SECOND)),
            next_poll_at: Some(EPOCH.plus(wait * SECOND)),
            progress: Progress {
                consecutive_errors: errors,
                last_polled_at: Some(EPOCH.minus(SECOND)),
                queued: true,
                ..Progress::default()
            },
            ..row("j")
        };
        world.handle(Input::Backlog(vec![mortal]));
        world.pass(12 * SECOND);
        world.advance();
        assert_eq!(world.names().is_empty(), is_kept, "{errors} errors");
        world.pass((wait - 11) * SECOND);
        world.advance();
        assert_eq!(world.names(), ["j"]);
    }
}

/// Rows that other programs change while their job waits.
#[test]
fn a_job_follows_the_deadline_the_rank_and_the_first_time_that_are_written_into_its_row() {
    let later = |seconds: u32| Some(EPOCH.plus(seconds * SECOND));
    let scheduled = |job: &str, seconds| JobRow {
        next_poll_at: later(seconds),
        ..row(job)
    };
    let mut world = World::new(1, None);
    world.handle(noticed(vec![scheduled("a", 20), scheduled("b", 20)]));
    world.handle(noticed(vec![JobRow {
        priority: 5,
        ..scheduled("b", 20)
    }]));
    world.pass(20 * SECOND);
    world.advance();
    world.finish(Next::Forget);
    world.advance();
    assert_eq!(world.names(), ["b", "a"], "the new rank counts");

    let mut world = World::new(1, None);
    world.handle(noticed(vec![scheduled("j", 20)]));
    world.handle(noticed(vec![JobRow {
        not_before: later(25),
        ..scheduled("j", 20)
    }]));
    world.pass(24 * SECOND);
    world.advance();
    assert!(world.names().is_empty(), "not before its time");
    world.pass(SECOND);
    world.advance();
    assert_eq!(world.names(), ["j"]);

    let mut world = World::new(1, None);
    world.handle(noticed(vec![scheduled("j", 20)]));
    world.handle(noticed(vec![JobRow {
        deadline_at: later(5),
        ..scheduled("j", 20)
    }]));
    world.pass(5 * SECOND);
    world.advance();
    assert_eq!(world.names(), ["j"], "the last poll");
}

#[test]
fn after_a_jump_of_the_clock_the_grace_of_a_404_begins_again() {
    let mut world = World::new(1, None);
    let unknown = JobRow {
        next_poll_at: Some(EPOCH.plus(20 * SECOND)),
        progress: Progress {
            not_found_since: Some(EPOCH),
            ..Progress::default()
        },
        ..row("j")
    };
    world.handle(noticed(vec![unknown]));
    world.advance();
    world.wall = world.wall.plus(3600 * SECOND);
    world.pass(20 * SECOND);
    world.advance();
    assert_eq!(world.in_flight[0].progress.not_found_since, None);
}

#[test]
fn without_an_answer_a_job_ends_five_minutes_after_its_deadline() {
    let mut world = World::new(1, None);
    let mortal = JobRow {
        deadline_at: Some(EPOCH.plus(SECOND)),
        ..row("j")
    };
    world.handle(noticed(vec![mortal]));
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
    world.handle(noticed(vec![mortal]));
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
    world.handle(noticed(vec![soon]));
    world.advance();
    world.wall = world.wall.minus(Duration::from_secs(7200));
    world.handle(Input::Settings(settings(), 1));
    world.pass(10 * SECOND);
    world.advance();
    assert_eq!(world.names(), ["j"], "its delay stays as it was");
}
