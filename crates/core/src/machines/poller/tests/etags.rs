//! With which entity tag a poll begins.

use super::*;
use crate::etag::Etag;

fn etag(text: &str) -> Option<Etag> {
    let value = http::HeaderValue::from_str(text).unwrap();
    Etag::of(
        200,
        &http::HeaderMap::from_iter([(http::header::ETAG, value)]),
    )
}

/// A poll is in flight that began with the tag `"1"`.
fn polled_with_tag() -> World {
    let mut world = World::new(1, None);
    world.handle(noticed(vec![row("j")]));
    world.advance();
    assert_eq!(world.in_flight[0].etag, None, "nothing is known yet");
    finish_with(&mut world, "\"1\"");
    next(&mut world);
    assert_eq!(world.in_flight[0].etag, etag("\"1\""));
    world
}

/// The poll in flight has brought an answer with this tag.
fn finish_with(world: &mut World, tag: &str) {
    let mut task = world.in_flight.remove(0);
    task.etag = etag(tag);
    task.hash = Some(1);
    world.handle(ended(&task, Next::After(SECOND)));
}

fn next(world: &mut World) {
    world.pass(SECOND);
    world.advance();
    assert_eq!(world.in_flight.len(), 1);
}

#[test]
fn the_tag_of_the_last_answer_is_that_of_the_next_poll_once() {
    let mut world = polled_with_tag();
    finish_with(&mut world, "\"2\"");
    next(&mut world);
    assert_eq!(world.in_flight[0].etag, etag("\"2\""));
    assert!(!world.in_flight[0].is_whole);
    let mut task = world.in_flight.remove(0);
    task.etag = None;
    world.handle(ended(&task, Next::After(SECOND)));
    next(&mut world);
    assert_eq!(world.in_flight[0].etag, None);
}

#[test]
fn another_url_has_another_tag_also_when_it_changes_during_a_poll() {
    let moved = |url: &str| JobRow {
        url: Some(url.to_owned()),
        ..row("j")
    };
    let mut world = polled_with_tag();
    world.handle(noticed(vec![moved("/a")]));
    finish_with(&mut world, "\"1\"");
    next(&mut world);
    assert_eq!(world.in_flight[0].etag, None);
    finish_with(&mut world, "\"2\"");
    world.handle(noticed(vec![moved("/a")]));
    next(&mut world);
    assert_eq!(
        world.in_flight[0].etag,
        etag("\"2\""),
        "the url is the same"
    );
    finish_with(&mut world, "\"2\"");
    world.handle(noticed(vec![moved("/b")]));
    next(&mut world);
    assert_eq!(world.in_flight[0].etag, None);
}

#[test]
fn a_reload_forgets_all_tags_also_those_of_polls_in_flight() {
    for in_flight in [false, true] {
        let mut world = polled_with_tag();
        if !in_flight {
            finish_with(&mut world, "\"1\"");
        }
        world.handle(Input::Settings(settings(), 1));
        if in_flight {
            finish_with(&mut world, "\"1\"");
        }
        next(&mut world);
        assert_eq!(world.in_flight[0].etag, None, "in flight: {in_flight}");
    }
}

#[test]
fn a_job_that_gets_the_place_of_another_one_has_no_tag() {
    for end in [JobState::Failed, JobState::Pending] {
        let mut world = polled_with_tag();
        finish_with(&mut world, "\"1\"");
        let again = JobRow {
            state: end,
            created_at: UnixMillis(EPOCH.0 + 1),
            ..row("j")
        };
        world.handle(noticed(vec![again, row("k")]));
        next(&mut world);
        assert_eq!(world.in_flight[0].etag, None, "{end:?}");
    }
}

#[test]
fn polls_that_were_asked_for_and_those_at_the_deadline_are_whole() {
    let mut world = polled_with_tag();
    let requested = JobRow {
        poll_requested: true,
        ..row("j")
    };
    world.handle(noticed(vec![requested]));
    finish_with(&mut world, "\"1\"");
    world.advance();
    assert!(world.in_flight[0].is_whole);
    finish_with(&mut world, "\"1\"");
    let due = JobRow {
        deadline_at: Some(world.wall.plus(SECOND / 2)),
        ..row("j")
    };
    world.handle(noticed(vec![due]));
    next(&mut world);
    assert!(world.in_flight[0].is_whole);
}
