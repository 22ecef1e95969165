//! How many requests at once, how many per second, and who goes first.

use jobtrackd::simulator::{Fault, FaultRule};

use super::{MINUTE, SECOND};
use crate::support::world::World;

async fn limited(upstream: &str) -> World {
    let mut world = World::new().await;
    world.upstream.push_str(upstream);
    world.start().await;
    world
}

/// Jobs inserted in one transaction, with these priorities.
async fn inserted(world: &mut World, jobs: &[(&str, i64)]) {
    let mut sql = String::from("BEGIN;");
    for (id, priority) in jobs {
        world.make(id, &[(0, &[("a", "in-progress")])]);
        sql.push_str(&format!(
            "INSERT INTO jobs (id, priority) VALUES ('{id}', {priority});"
        ));
    }
    world.sql(&format!("{sql} COMMIT")).await;
}

/// The jobs in the order of their requests.
fn order(world: &World) -> Vec<String> {
    world
        .control()
        .requests()
        .into_iter()
        .filter_map(|request| request.job)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_open_than_max_in_flight() {
    let mut world = limited("\nmax_in_flight = 3\ntimeout = \"10s\"").await;
    let hang = FaultRule::new(Fault::Hang).on_path("/jobs").times(3);
    world.control().inject(hang).unwrap();
    let ids: Vec<String> = (0..8).map(|n| format!("j{n}")).collect();
    let jobs: Vec<(&str, i64)> = ids.iter().map(|id| (id.as_str(), 0)).collect();
    inserted(&mut world, &jobs).await;
    world.pass(9 * SECOND).await;
    assert_eq!(order(&world).len(), 3);
    world.pass(2 * SECOND).await;
    assert!(
        ids.iter().all(|id| !world.polled_at(id).is_empty()),
        "{:?}",
        order(&world)
    );
    assert_eq!(world.control().totals().most_at_once, 3);
}

#[tokio::test(start_paused = true)]
async fn requests_per_second_is_a_limit_over_all_jobs() {
    let mut world = limited("\nrequests_per_second = 5").await;
    let ids: Vec<String> = (0..40).map(|n| format!("j{n}")).collect();
    let jobs: Vec<(&str, i64)> = ids.iter().map(|id| (id.as_str(), 0)).collect();
    inserted(&mut world, &jobs).await;
    world.pass(20 * SECOND).await;
    let log = world.control().requests();
    let times: Vec<i64> = log
        .iter()
        .filter(|r| r.job.is_some())
        .map(|r| r.at.0)
        .collect();
    for (index, start) in times.iter().enumerate() {
        let within = times[index..]
            .iter()
            .take_while(|at| **at < start + 1000)
            .count();
        assert!(within <= 6, "{within} requests within a second");
    }
    assert!(times.len() >= 95, "the budget is used: {}", times.len());
    let (least, most) = ids
        .iter()
        .map(|id| world.polled_at(id).len())
        .fold((usize::MAX, 0), |(least, most), n| {
            (least.min(n), most.max(n))
        });
    assert!(least >= 1 && most <= 5, "nobody starves: {least} to {most}");
}

#[tokio::test(start_paused = true)]
async fn the_higher_priority_is_polled_first_when_places_are_short() {
    let mut world = limited("\nmax_in_flight = 1").await;
    let jobs = [
        ("low", -5),
        ("none", 0),
        ("top", i64::MAX),
        ("high", 7),
        ("bottom", i64::MIN),
    ];
    inserted(&mut world, &jobs).await;
    world.pass(SECOND / 2).await;
    assert_eq!(order(&world), ["top", "high", "none", "low", "bottom"]);
}

#[tokio::test(start_paused = true)]
async fn the_higher_priority_is_polled_first_when_the_budget_is_short_and_may_change() {
    let mut world = limited("\nrequests_per_second = 1").await;
    let mut sql = String::from("BEGIN;");
    for (id, priority) in [("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)] {
        world.make(id, &[(0, &[("x", "success")])]);
        sql.push_str(&format!(
            "INSERT INTO jobs (id, priority) VALUES ('{id}', {priority});"
        ));
    }
    world.sql(&format!("{sql} COMMIT")).await;
    world.pass(SECOND + SECOND / 2).await;
    assert_eq!(order(&world), ["e", "d"]);
    world
        .sql("UPDATE jobs SET priority = 9 WHERE id = 'a'")
        .await;
    world.pass(5 * SECOND).await;
    assert_eq!(order(&world), ["e", "d", "a", "c", "b"]);
}

#[tokio::test(start_paused = true)]
async fn six_hundred_rows_of_one_transaction_are_all_followed_to_their_end() {
    let mut world = World::running_with("[polling]\nmax_delay = \"2s\"").await;
    world
        .sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600) INSERT INTO jobs (id, webhook) SELECT 'j' || i, 'nobody' FROM n")
        .await;
    for number in 1..=600 {
        let steps: &[(&str, &str)] = &[("a", "success")];
        world.make(&format!("j{number}"), &[(0, steps)]);
    }
    let unfinished = "SELECT count(*) FROM jobs WHERE finished_at IS NULL";
    world.until(MINUTE, unfinished, "0").await;
    assert_eq!(
        world
            .value("SELECT count(*) FROM jobs WHERE state = 'success'")
            .await,
        "600"
    );
    assert_eq!(world.value("SELECT count(*) FROM job_changes").await, "0");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_was_asked_for_goes_ahead_of_those_that_are_due_and_of_their_priority() {
    let mut world = limited("\nrequests_per_second = 2").await;
    let ids: Vec<String> = (0..100).map(|n| format!("j{n}")).collect();
    let mut jobs: Vec<(&str, i64)> = ids.iter().map(|id| (id.as_str(), 5)).collect();
    jobs.push(("waited-for", -5));
    inserted(&mut world, &jobs).await;
    world.pass(20 * SECOND).await;
    assert!(world.polled_at("waited-for").is_empty());
    for _ in 0..3 {
        let before = world.polled_at("waited-for").len();
        world
            .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'waited-for'")
            .await;
        world.pass(SECOND + SECOND / 10).await;
        assert_eq!(world.polled_at("waited-for").len(), before + 1);
        world.pass(5 * SECOND).await;
        let after = world.polled_at("waited-for").len();
        assert_eq!(
            after,
            before + 1,
            "only once for each time it was asked for"
        );
    }
}
