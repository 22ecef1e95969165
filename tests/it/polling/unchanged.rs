//! Polls of jobs that have not changed, at an API with entity tags: they are answered by 304.

use jobtrackd::simulator::LoggedRequest;
use serde_json::json;

use super::{MINUTE, SECOND, assert_gaps, endless};
use crate::support::world::World;

const EVERY_SECOND: &str = "[polling]\nmax_delay = \"1s\"\njitter = 0.0";

/// The statuses with which requests for a job were answered.
fn statuses(world: &World, id: &str) -> Vec<u16> {
    let log = world.control().requests();
    let mine = log.iter().filter(|one| one.job.as_deref() == Some(id));
    mine.filter_map(|one: &LoggedRequest| one.status).collect()
}

fn last(world: &World, id: &str) -> u16 {
    statuses(world, id).pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_304_is_a_good_poll_that_found_nothing_new() {
    let mut world = World::running().await;
    endless(&mut world, &["j"]).await;
    world.pass(6 * MINUTE).await;
    // One in ten is whole, in case the tags are wrong.
    let mut expected = [[200; 1].as_slice(), &[304; 9]].concat().repeat(3);
    let found = statuses(&world, "j");
    expected.truncate(found.len());
    assert!(found.len() > 15);
    assert_eq!(found, expected);
    let curve = [
        1000, 1500, 2250, 3375, 5062, 7593, 11_390, 17_085, 25_628, 30_000, 30_000,
    ];
    assert_gaps(&world.polled_at("j"), &curve);
    let row = "SELECT state, consecutive_errors, last_error FROM jobs";
    assert_eq!(world.rows(row).await, [["in-progress", "0", "-"]]);
    assert_eq!(world.value("SELECT count(*) FROM transitions").await, "1");
    world.stop().await;
    let polls = world.value("SELECT polls FROM jobs").await;
    assert_eq!(polls, statuses(&world, "j").len().to_string());
}

#[tokio::test(start_paused = true)]
async fn what_changes_after_a_304_is_seen_at_the_next_poll() {
    let mut world = World::running_with(EVERY_SECOND).await;
    let phases: &[(u64, &[(&str, &str)])] = &[
        (0, &[("a", "in-progress")]),
        (4500, &[("a", "success"), ("b", "in-progress")]),
        (7500, &[("a", "success"), ("b", "success")]),
    ];
    world.follow("j", phases).await;
    world.pass(15 * SECOND).await;
    let expected = [200, 304, 304, 304, 304, 200, 304, 304, 200];
    assert_eq!(statuses(&world, "j"), expected);
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
}

#[tokio::test(start_paused = true)]
async fn an_error_between_leaves_the_tag_and_a_304_ends_it() {
    let mut world = World::running_with(EVERY_SECOND).await;
    endless(&mut world, &["j"]).await;
    world.pass(3 * SECOND).await;
    let fault = json!({"job": "j", "times": 1, "fault": {"status": {"status": 500}}});
    let fault = serde_json::from_value(fault).unwrap();
    world.control().inject(fault).unwrap();
    world.pass(4 * SECOND).await;
    let found = statuses(&world, "j");
    let failed = found.iter().position(|status| *status == 500).unwrap();
    assert_eq!(found[failed - 1..=failed + 1], [304, 500, 304]);
    let row = "SELECT consecutive_errors FROM jobs";
    assert_eq!(world.value(row).await, "0");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_asked_for_is_whole() {
    let mut world = World::running_with(EVERY_SECOND).await;
    endless(&mut world, &["j"]).await;
    world.pass(3 * SECOND + SECOND / 2).await;
    assert_eq!(statuses(&world, "j"), [200, 304, 304, 304]);
    let asked = "UPDATE jobs SET poll_requested = 1";
    world.sql(asked).await;
    world.pass(SECOND / 4).await;
    assert_eq!(statuses(&world, "j"), [200, 304, 304, 304, 200]);
    world.pass(SECOND).await;
    assert_eq!(last(&world, "j"), 304);
}

#[tokio::test(start_paused = true)]
async fn the_poll_at_the_deadline_is_whole() {
    let mut world = World::running_with(EVERY_SECOND).await;
    world.make("j", &[(0, &[("a", "in-progress")])]);
    let deadline = world.clock.now().0 + 5500;
    let insert = format!("INSERT INTO jobs (id, deadline_at) VALUES ('j', {deadline})");
    world.sql(&insert).await;
    world.until_ended(MINUTE).await;
    assert_eq!(statuses(&world, "j"), [200, 304, 304, 304, 304, 304, 200]);
}

#[tokio::test(start_paused = true)]
async fn after_a_start_a_reload_or_with_another_url_the_first_poll_is_whole() {
    let mut world = World::running_with(EVERY_SECOND).await;
    endless(&mut world, &["j"]).await;
    world.pass(2 * SECOND + SECOND / 2).await;
    assert_eq!(statuses(&world, "j"), [200, 304, 304]);
    world.stop().await;
    world.start().await;
    world.pass(2 * SECOND).await;
    assert_eq!(statuses(&world, "j")[3..], [200, 304]);
    world.reload();
    world.pass(2 * SECOND).await;
    assert_eq!(statuses(&world, "j")[5..], [200, 304]);
    let moved = "UPDATE jobs SET url = '/jobs/j?again=1'";
    world.sql(moved).await;
    world.pass(2 * SECOND).await;
    assert_eq!(statuses(&world, "j")[7..], [200, 304]);
}
