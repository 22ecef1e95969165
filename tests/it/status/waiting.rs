//! `?wait=`: answered when something happens, when the time is over, or when the daemon stops.

use std::time::Duration;

use reqwest::Method;

use super::client::{Waiter, answer, get, request, until};
use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);

/// A world in which nothing is polled twice unless somebody asks.
async fn patient_world() -> World {
    let mut world = World::running_with(
        "[polling]\ninitial_delay = \"2h\"\nmax_delay = \"2h\"\nerror_max_delay = \"2h\"",
    )
    .await;
    world
        .follow(
            "j",
            &[(0, &[("a", "in-progress")]), (5000, &[("a", "success")])],
        )
        .await;
    world.follow("other", &[(0, &[("a", "in-progress")])]).await;
    world.pass(10 * SECOND).await;
    world
}

const POLL: &str = "UPDATE jobs SET poll_requested = 1 WHERE id = 'j'";

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_the_transition_and_not_before() {
    let mut world = patient_world().await;
    let waiter = Waiter::start(&mut world, "/jobs/j?wait=60", None).await;
    let before = world.elapsed();
    world
        .sql("UPDATE jobs SET cancel_requested = 1 WHERE id = 'other'")
        .await;
    world
        .until(
            SECOND,
            "SELECT state FROM jobs WHERE id = 'other'",
            "failed",
        )
        .await;
    assert!(!waiter.is_over(), "another job is no news");
    world.sql(POLL).await;
    let answer = waiter.answer(&world).await;
    assert_eq!(answer.json()["steps"][0]["status"], "success");
    assert!(
        world.elapsed() - before < 2000,
        "{}",
        world.elapsed() - before
    );
    let before = world.elapsed();
    let ended = get(&mut world, "/jobs/j?wait=60").await;
    assert_eq!(
        (ended.status, world.elapsed()),
        (200, before),
        "it has ended"
    );
    get(&mut world, "/jobs/none?wait=60")
        .await
        .refused(404, "resource-not-found");
    assert_eq!(
        world.elapsed(),
        before,
        "an unknown job is no job to wait for"
    );
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_tracker_decides_ends_the_wait_though_the_answer_is_the_same() {
    let mut world = patient_world().await;
    let tag = get(&mut world, "/jobs/j").await.header("etag").to_owned();
    let waiter = Waiter::start(&mut world, "/jobs/j?wait=60", Some(&tag)).await;
    let before = world.elapsed();
    world
        .sql("UPDATE jobs SET cancel_requested = 1 WHERE id = 'j'")
        .await;
    assert_eq!(waiter.answer(&world).await.status, 304);
    assert!(world.elapsed() - before < 1000);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_over_is_answered_with_what_there_is() {
    let mut world = patient_world().await;
    let now = get(&mut world, "/jobs/j").await;
    for (tag, status) in [(None, 200), (Some(now.header("etag")), 304)] {
        let waiter = Waiter::start(&mut world, "/jobs/j?wait=30", tag).await;
        world.pass(29 * SECOND).await;
        assert!(!waiter.is_over());
        world.pass(2 * SECOND).await;
        assert_eq!(waiter.answer(&world).await.status, status);
    }
    let other =
        request(&mut world, Method::GET, "/jobs/j?wait=30").header("if-none-match", "\"older\"");
    let before = world.elapsed();
    let current = answer(&world, other).await;
    assert_eq!((current.status, &current.text), (200, &now.text));
    assert_eq!(
        world.elapsed(),
        before,
        "what the client has is not what there is"
    );
    for wrong in ["61", "-1", "1.5", "", "a", "1&wait=2"] {
        let path = format!("/jobs/j?wait={wrong}");
        get(&mut world, &path)
            .await
            .refused(400, "parameter-not-valid");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_those_who_wait_and_a_stop_answers_them_at_once() {
    let mut world = patient_world().await;
    let waiter = Waiter::start(&mut world, "/jobs/j?wait=60", None).await;
    world.reload();
    assert!(!waiter.is_over());
    let before = world.elapsed();
    world.sql(POLL).await;
    assert_eq!(
        waiter.answer(&world).await.json()["steps"][0]["status"],
        "success"
    );
    assert!(world.elapsed() - before < 1000);
    let before = world.elapsed();
    let waiter = Waiter::start(&mut world, "/events?wait=60&after=99", None).await;
    world.stop().await;
    let answer = waiter.answer(&world).await;
    assert_eq!((answer.status, answer.next().as_deref()), (200, Some("99")));
    assert!(world.elapsed() - before < 1000);
}

#[tokio::test(start_paused = true)]
async fn one_waiter_too_many_is_asked_to_come_again_and_room_is_made_by_those_who_leave() {
    let mut world = patient_world().await;
    let waiting = world.daemon().waiting().clone();
    let most = jobtrackd::status::MAX_WAITS;
    let wait = request(&mut world, Method::GET, "/events?wait=60&after=99");
    let requests: Vec<_> = (0..most)
        .map(|_| wait.try_clone().unwrap())
        .map(|request| tokio::spawn(request.send()))
        .collect();
    until(&world.clock, "all wait", || waiting.waits() == most).await;
    let refused = get(&mut world, "/jobs/j?wait=60").await;
    refused.refused(503, "service-unavailable");
    assert_eq!(refused.header("retry-after"), "5");
    assert_eq!(
        get(&mut world, "/jobs/j").await.status,
        200,
        "others are answered"
    );
    for request in requests {
        request.abort();
    }
    until(&world.clock, "all have left", || waiting.waits() == 0).await;
}
