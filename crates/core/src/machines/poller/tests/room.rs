//! How many polls may be being recorded while others begin.

use super::*;

/// A job that was polled before.
fn known(job: &str) -> JobRow {
    let mut row = row(job);
    row.progress.polls = 1;
    row
}

#[test]
fn a_poll_whose_answer_is_being_recorded_leaves_its_place_to_others_within_a_bound() {
    let most_first = 1 + RECORDED_BESIDE;
    for (row, bound) in [
        (row as fn(&str) -> JobRow, most_first),
        (known, most_first + RECORDED_OF_OTHERS),
    ] {
        let mut world = World::new(1, None);
        let rows = (0..bound + 2).map(|number| row(&format!("job-{number}")));
        world.handle(noticed(rows.collect()));
        world.advance();
        assert_eq!(world.in_flight.len(), 1);
        for answered in 1..=bound {
            world.handle(Input::Answered);
            assert_eq!(world.poller.in_flight(), 0);
            world.advance();
            assert_eq!(world.in_flight.len(), (answered + 1).min(bound));
        }
        for _ in 0..2 {
            world.finish_recorded();
            world.advance();
            assert_eq!(world.poller.in_flight(), 1, "one place, and room to record");
            assert!(world.in_flight.len() <= bound);
        }
    }
}

#[test]
fn other_jobs_are_polled_while_as_many_first_polls_as_may_be_are_being_recorded() {
    let mut world = World::new(2, None);
    let jobs = 2 * RECORDED_BESIDE;
    let rows = (0..jobs).map(|number| row(&format!("job-{number}")));
    world.handle(noticed(rows.collect()));
    world.advance();
    let mut answered = 0;
    while answered < world.started.len() {
        world.handle(Input::Answered);
        answered += 1;
        world.advance();
    }
    assert_eq!(answered, 2 + RECORDED_BESIDE);
    world.handle(noticed(vec![known("known")]));
    world.advance();
    assert_eq!(world.names()[answered..], ["known"]);
    for _ in 0..answered {
        world.finish_recorded();
    }
    world.advance();
    let going_on = &world.names()[answered + 1..];
    assert_eq!(going_on.len(), 1, "one of the two places is taken");
    assert!(going_on[0].starts_with("job-"));
}
