//! When jobs are polled, and when they are not.

mod ends;
mod expiring;
mod limits;
mod throttled;
mod trouble;
mod unchanged;

use std::time::Duration;

use jobtrackd::simulator::{NewJob, Phase, Scenario, Step};
use serde_json::json;

use crate::support::world::{EPOCH, World};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Makes jobs that never end, and follows them.
async fn endless(world: &mut World, ids: &[&str]) {
    for id in ids {
        world.make(id, &[(0, &[("a", "in-progress")])]);
        world.enqueue(id).await;
    }
}

fn gaps(times: &[i64]) -> Vec<i64> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// That each gap is the expected one within the default jitter of a tenth, and a little for the steps of the clock.
#[track_caller]
fn assert_gaps(times: &[i64], expected: &[i64]) {
    let found = gaps(times);
    let fits = |(gap, expected): (&i64, &i64)| (gap - expected).abs() <= expected / 10 + 5;
    assert!(
        found.len() >= expected.len() && found.iter().zip(expected).all(fits),
        "gaps {found:?} are not {expected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_is_at_once_and_the_delay_grows_to_its_maximum() {
    let mut world = World::running().await;
    world.pass(10 * SECOND).await;
    endless(&mut world, &["j"]).await;
    world.pass(4 * MINUTE).await;
    let times = world.polled_at("j");
    assert!((10_000..10_100).contains(&times[0]), "{times:?}");
    let curve = [
        1000, 1500, 2250, 3375, 5062, 7593, 11_390, 17_085, 25_628, 30_000, 30_000,
    ];
    assert_gaps(&times, &curve);
    let found = gaps(&times);
    let exact = found
        .iter()
        .zip(curve)
        .filter(|(gap, exact)| **gap == *exact);
    assert!(exact.count() < 5, "without any jitter: {found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transition_brings_the_delay_back_and_a_mere_update_does_not() {
    let mut world = World::running().await;
    let body = |status: &str, updated: &str| {
        json!({"type": "job", "id": "j", "updated": updated, "steps": [{"title": "a", "status": status}]})
            .to_string()
    };
    let phases = vec![
        Phase::verbatim(0, body("in-progress", "1")),
        Phase::verbatim(60_000, body("in-progress", "2")),
        Phase::verbatim(200_000, body("odd", "3")),
    ];
    world.tell("j", phases);
    world.enqueue("j").await;
    world.pass(5 * MINUTE).await;
    let times = world.polled_at("j");
    let from = |moment: i64| times.iter().position(|at| *at >= moment).unwrap();
    assert_gaps(&times[from(60_000)..], &[30_000, 30_000]);
    assert_gaps(&times[from(200_000)..], &[1000, 1500, 2250, 3375]);
    assert_eq!(world.value("SELECT count(*) FROM transitions").await, "2");
}

#[tokio::test(start_paused = true)]
async fn the_row_says_how_often_it_was_polled_and_when_the_next_poll_is() {
    let mut world = World::running().await;
    endless(&mut world, &["j"]).await;
    world.pass(100 * SECOND).await;
    let times = world.polled_at("j");
    let row = world
        .rows("SELECT polls, last_polled_at, next_poll_at, state FROM jobs")
        .await;
    assert_eq!(row[0][0], times.len().to_string());
    assert_eq!(row[0][1], (EPOCH.0 + times.last().unwrap()).to_string());
    let next: i64 = row[0][2].parse().unwrap();
    world.pass(MINUTE).await;
    let after = world.polled_at("j")[times.len()] + EPOCH.0;
    assert!((after - next).abs() <= 2, "announced {next}, came {after}");
    assert_eq!(row[0][3], "in-progress");
}

#[tokio::test(start_paused = true)]
async fn not_before_holds_the_first_poll_back_and_can_be_moved() {
    let mut world = World::running().await;
    let now = world.clock.now().0;
    for id in ["later", "sooner", "free", "far", "past"] {
        world.make(id, &[(0, &[("a", "in-progress")])]);
    }
    for (id, at) in [
        ("later", now + 60_000),
        ("sooner", now + 3_600_000),
        ("free", now + 3_600_000),
        ("far", i64::MAX),
        ("past", 1_000_000_000_000),
    ] {
        world
            .sql(&format!(
                "INSERT INTO jobs (id, not_before) VALUES ('{id}', {at})"
            ))
            .await;
    }
    world.pass(10 * SECOND).await;
    world
        .sql(&format!(
            "UPDATE jobs SET not_before = {} WHERE id = 'sooner'",
            now + 20_000
        ))
        .await;
    world
        .sql("UPDATE jobs SET not_before = NULL WHERE id = 'free'")
        .await;
    world
        .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'later'")
        .await;
    world.pass(2 * MINUTE).await;
    let first = |id| world.polled_at(id).first().copied();
    assert!((60_000..60_100).contains(&first("later").unwrap()));
    assert!((20_000..20_100).contains(&first("sooner").unwrap()));
    assert!((10_000..10_100).contains(&first("free").unwrap()));
    assert!(first("past").unwrap() < 100);
    assert_eq!(first("far"), None);
}

#[tokio::test(start_paused = true)]
async fn not_before_holds_back_a_job_that_is_polled_already() {
    let mut world = World::running().await;
    endless(&mut world, &["j"]).await;
    world.pass(10 * SECOND).await;
    let until = world.clock.now().0 + 300_000;
    world
        .sql(&format!("UPDATE jobs SET not_before = {until}"))
        .await;
    let before = world.polled_at("j").len();
    world.pass(299 * SECOND).await;
    assert_eq!(world.polled_at("j").len(), before);
    world.pass(2 * SECOND).await;
    assert_eq!(world.polled_at("j").len(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_requested_poll_happens_now_and_the_request_is_taken_back() {
    let mut world = World::running().await;
    endless(&mut world, &["j"]).await;
    world.pass(200 * SECOND).await;
    let before = world.polled_at("j").len();
    world.sql("UPDATE jobs SET poll_requested = 1").await;
    let asked = world.elapsed();
    world.pass(2 * SECOND).await;
    let times = world.polled_at("j");
    assert_eq!(times.len(), before + 1, "{times:?}");
    assert!(times[before] - asked < 100);
    assert_eq!(world.value("SELECT poll_requested FROM jobs").await, "0");
    world.sql("UPDATE jobs SET poll_requested = 1").await;
    world.pass(SECOND).await;
    assert_eq!(
        world.polled_at("j").len(),
        before + 2,
        "it can be requested again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_queued_step_is_polled_every_two_hours_and_then_as_always() {
    let mut world = World::running().await;
    let queued = json!({"code": "temporary-unavailable-queued", "title": "t", "detail": "d"});
    let step = |status: &str| Step::new("verify-credentials", status);
    let hour = 3_600_000;
    let phases = vec![
        Phase::steps(0, &[step("in-progress")]),
        Phase::steps(10_000, &[step("pending").with(queued.clone())]),
        Phase::steps(5 * hour, &[step("in-progress")]),
        Phase::steps(5 * hour + 2 * hour, &[step("success")]),
    ];
    world.tell("j", phases);
    world.enqueue("j").await;
    world.until_ended(Duration::from_secs(10 * 3600)).await;
    let times = world.polled_at("j");
    let first_queued = times.iter().position(|at| *at >= 10_000).unwrap();
    let two = 2 * i64::try_from(hour).unwrap();
    assert_gaps(&times[first_queued..], &[two, two, two, 1000, 1500]);
    let delayed = world.sink.kinds("all", "j");
    assert_eq!(
        delayed.iter().filter(|kind| *kind == "job.delayed").count(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn scenarios_of_the_simulator_come_to_their_true_end() {
    let mut world = World::running_with("[polling]\nmax_delay = \"10m\"").await;
    let mut expected = Vec::new();
    for &scenario in Scenario::ALL {
        let new = NewJob {
            scenario: Some(scenario),
            id: Some(scenario.name().to_owned()),
            ..NewJob::default()
        };
        let id = world.control().create(new).unwrap();
        world.enqueue(&id).await;
    }
    world.pass(Duration::from_secs(12 * 3600)).await;
    for &scenario in Scenario::ALL {
        let ending = world.control().truth(scenario.name()).unwrap().ending();
        let state = match ending {
            Some(jobtrackd::simulator::Ending::Success) => "success",
            Some(jobtrackd::simulator::Ending::Failed) => "failed",
            None => "in-progress",
        };
        expected.push([scenario.name().to_owned(), state.to_owned()]);
    }
    expected.sort();
    assert_eq!(
        world.rows("SELECT id, state FROM jobs ORDER BY id").await,
        expected
    );
}
