//! A webhook that fails is held, probed and ramped up again, and what waits meanwhile pays nothing for it.

use super::{HOUR, MINUTE, SECOND, done, told, webhook};
use crate::support::asking::{ask, mfa};
use crate::support::sink::Received;
use crate::support::world::World;

/// How the webhook "all" stands, as its row says.
async fn standing(world: &World) -> Vec<String> {
    let columns = "failures, held_since IS NOT NULL, coalesce(ramp, '-')";
    let mut rows = world
        .rows(&format!(
            "SELECT {columns} FROM webhooks WHERE name = 'all'"
        ))
        .await;
    rows.remove(0)
}

/// A world whose webhook "all" refuses everything, with that many jobs that have one event each for it.
async fn refused(jobs: usize, lines: &str) -> World {
    let mut world = told(&format!("events = [\"job.completed\"]\n{lines}"), "").await;
    world.sink.answers("all", &[(500, ""); 2000]);
    for job in 0..jobs {
        done(&mut world, &format!("j{job}")).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_six_hours_costs_a_handful_of_requests_and_no_event() {
    let mut world = refused(30, "").await;
    world.pass(6 * HOUR).await;
    let during = world.sink.requests("all").len();
    // One each until it is held, as many as go at once; then the schedule of one event: 5 s, 30 s, 5 min, 30 min, 2 h …
    assert!((8..=16).contains(&during), "{during} requests");
    let used = world
        .rows("SELECT retries_used, count(*) FROM deliveries GROUP BY 1 ORDER BY 1")
        .await;
    let most = used.last().unwrap();
    assert_eq!(most[1], "1", "one event alone was probed: {used:?}");
    assert_eq!(used[0][0], "0", "most have used up nothing: {used:?}");
    assert_eq!(standing(&world).await[1], "1");

    world.sink.recovers("all");
    world.until_ended(6 * HOUR).await;
    let states = world.rows("SELECT DISTINCT state FROM deliveries").await;
    assert_eq!(states, [["delivered"]]);
    assert_eq!(world.sink.accepted("all").len(), 30);
    assert_eq!(standing(&world).await, ["0", "0", "-"]);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_held_one_event_is_tried_at_a_time_and_says_that_it_is_a_probe() {
    let mut world = refused(12, "retry = [\"10s\", \"10s\", \"10s\", \"10s\"]").await;
    world.until_ended(HOUR).await;
    let attempts = world
        .rows("SELECT event_id, trigger, started_at, started_at + duration_ms FROM attempts ORDER BY started_at, number")
        .await;
    let probes: Vec<&Vec<String>> = attempts.iter().filter(|row| row[1] == "probe").collect();
    let first = attempts.iter().position(|row| row[1] == "probe").unwrap();
    assert!(attempts[first..].iter().all(|row| row[1] == "probe"));
    assert_eq!(attempts.len(), 12 * 5, "each has its whole schedule");
    let at = |row: &[String]| row[2].parse::<i64>().unwrap();
    for pair in probes.windows(2) {
        let gap = at(pair[1]) - at(pair[0]);
        assert!(gap >= 10_000, "{gap} ms between two probes");
    }
    let mut runs: Vec<&str> = probes.iter().map(|row| row[0].as_str()).collect();
    runs.dedup();
    assert_eq!(
        runs.len(),
        12,
        "one after the other, each to its end: {runs:?}"
    );
    let states = world.rows("SELECT DISTINCT state FROM deliveries").await;
    assert_eq!(states, [["exhausted"]]);
}

#[tokio::test(start_paused = true)]
async fn one_success_in_between_and_it_is_not_held() {
    let mut world = told("events = [\"job.completed\"]\nmax_in_flight = 1", "").await;
    for round in 0..4 {
        world.sink.answers("all", &[(500, ""); 4]);
        world.sink.answers("all", &[(204, "")]);
        for job in 0..5 {
            done(&mut world, &format!("{round}-{job}")).await;
        }
        world.until_ended(MINUTE).await;
    }
    let probes = "SELECT count(*) FROM attempts WHERE trigger = 'probe'";
    assert_eq!(world.value(probes).await, "0");
    assert_eq!(standing(&world).await, ["0", "0", "-"]);
}

#[tokio::test(start_paused = true)]
async fn a_hold_survives_a_restart_and_a_recovery_too() {
    let lines = "retry = [\"1h\", \"1h\", \"1h\"]\ntimeout = \"10m\"";
    let mut world = refused(20, lines).await;
    world.pass(MINUTE).await;
    let before = world.sink.requests("all").len();
    for _ in 0..3 {
        world.kill();
        world.start().await;
        world.pass(MINUTE).await;
    }
    assert_eq!(
        world.sink.requests("all").len(),
        before,
        "nothing is tried anew"
    );
    assert_eq!(standing(&world).await[1..], ["1", "-"]);

    // The probe is taken, and the next one hangs until the daemon is gone.
    world.sink.recovers("all");
    world
        .sink
        .answers("all", &[(204, ""), (crate::support::sink::HANG, "")]);
    world
        .until(2 * HOUR, "SELECT ramp FROM webhooks", "1")
        .await;
    world.kill();
    world.sink.hold(true);
    world.start().await;
    world.pass(SECOND).await;
    let open = world.sink.requests("all").len() - world.sink.accepted("all").len();
    assert!(
        open <= before + 3,
        "{open}: it goes on with one request at a time"
    );
    world.sink.hold(false);
    world.until_ended(6 * HOUR).await;
    assert_eq!(standing(&world).await, ["0", "0", "-"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_held_delays_no_other() {
    let mut world = told(
        "events = [\"job.completed\"]",
        &webhook("quick", "events = [\"job.completed\"]"),
    )
    .await;
    world.sink.answers("all", &[(500, ""); 200]);
    for job in 0..20 {
        done(&mut world, &format!("j{job}")).await;
    }
    world.pass(2 * SECOND).await;
    assert_eq!(world.sink.accepted("quick").len(), 20);
    assert_eq!(standing(&world).await[1], "1");
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_tried_at_once_also_while_the_webhook_is_held() {
    let mut world = told("retry = [\"1h\", \"1h\"]", "").await;
    world.sink.answers("all", &[(500, ""); 12]);
    for job in 0..12 {
        done(&mut world, &format!("j{job}")).await;
    }
    world.pass(MINUTE).await;
    assert_eq!(standing(&world).await[1], "1");
    let before = world.sink.requests("all").len();
    let due = "SELECT count(*) FROM deliveries WHERE attempts = 0";
    let due: usize = world.value(due).await.parse().unwrap();
    assert!(due > 0);
    world.sink.recovers("all");
    world.sink.answers("all", &[(500, ""), (500, "")]);
    ask(
        &world.control(),
        "asks",
        None,
        &mfa("/jobs/asks/mfa"),
        &["1234"],
        crate::support::asking::done(),
    );
    world.enqueue("asks").await;
    world.pass(10 * SECOND).await;
    let after = &world.sink.requests("all")[before..];
    let kinds: Vec<&str> = after.iter().take(3).map(Received::kind).collect();
    assert_eq!(kinds, ["job.action_required"; 3], "it is the probe");
    assert_eq!(world.sink.kinds("all", "asks"), ["job.action_required"]);
    // And since it was taken, the others that are due follow.
    world.pass(10 * SECOND).await;
    assert_eq!(world.sink.accepted("all").len(), 1 + due);
}

#[tokio::test(start_paused = true)]
async fn a_held_webhook_that_asks_for_a_rest_is_probed_when_it_is_over() {
    let lines = "events = [\"job.completed\"]\nretry = [\"5s\", \"5s\"]\nmax_in_flight = 1";
    let mut world = told(lines, "").await;
    world.sink.answers("all", &[(500, ""); 5]);
    world.sink.answers("all", &[(503, "600")]);
    for job in 0..8 {
        done(&mut world, &format!("j{job}")).await;
    }
    world.pass(9 * MINUTE).await;
    assert_eq!(world.sink.requests("all").len(), 6);
    assert_eq!(standing(&world).await[1], "1");
    world.until_ended(5 * MINUTE).await;
    assert_eq!(world.sink.accepted("all").len(), 8);
}
