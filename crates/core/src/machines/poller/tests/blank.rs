//! Jobs of which nothing is recorded.

use super::*;

#[test]
fn a_job_is_blank_for_its_first_poll_unless_its_row_was_read_before_it_ended_or_has_changed() {
    let is_blank = |world: &World| world.in_flight[0].is_blank;
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    assert!(is_blank(&world));
    world.pass(SECOND);
    world.finish(Next::Forget);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    assert!(!is_blank(&world), "it has ended since");
    world.finish(Next::Forget);
    world.pass(SECOND);
    let read_now = Input::Rows(vec![row("j")], world.monotonic);
    world.handle(read_now);
    world.handle(noticed(vec![JobRow {
        is_blank: false,
        ..row("j")
    }]));
    world.advance();
    assert!(!is_blank(&world), "its row has changed");
    world.finish(Next::Forget);
    world.pass(SECOND);
    world.handle(Input::Rows(vec![row("j")], world.monotonic));
    world.advance();
    assert!(is_blank(&world));
    let mut failed = world.in_flight[0].clone();
    failed.progress.polls = 1;
    world.in_flight.clear();
    world.handle(ended(&failed, Next::After(SECOND)));
    world.pass(SECOND);
    world.advance();
    assert!(!is_blank(&world), "it was polled before");
}
