//! 429 and its kin: one job's wait is its own, and what two jobs are delivered is for all.

use jobtrackd::simulator::{Fault, FaultRule, RetryAfter};
use jobtrackd::store::{Store, Upstreams as _};

use super::{MINUTE, SECOND, assert_gaps, endless, gaps};
use crate::support::world::{EPOCH, World};

fn status(status: u16, retry_after: Option<RetryAfter>) -> Fault {
    Fault::Status {
        status,
        retry_after,
        body: None,
    }
}

/// Three jobs that never end, polled for ten seconds.
async fn three() -> World {
    let mut world = World::running().await;
    endless(&mut world, &["a", "b", "c"]).await;
    world.pass(10 * SECOND).await;
    world
}

/// Has job `a` polled and struck by this fault; when that was.
async fn strike(world: &mut World, fault: Fault) -> i64 {
    let rule = FaultRule::new(fault).on_job("a").times(1);
    world.control().inject(rule).unwrap();
    world
        .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'a'")
        .await;
    world.pass(SECOND / 2).await;
    assert!(world.control().faults().is_empty(), "it has struck");
    *world.polled_at("a").last().unwrap()
}

/// When this job is polled next after a moment.
fn next(world: &World, id: &str, after: i64) -> Option<i64> {
    world.polled_at(id).into_iter().find(|at| *at > after)
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_is_kept_to_its_last_millisecond_by_the_job_it_was_for_alone() {
    let limited = r#"{"data":[{"code":"too-many-requests","title":"Too many requests"}]}"#;
    for (code, retry_after, body, pause, closes) in [
        (429, RetryAfter::Seconds(60), None, 60_000, true),
        (503, RetryAfter::Seconds(60), None, 60_000, true),
        (403, RetryAfter::Seconds(60), Some(limited), 60_000, true),
        (429, RetryAfter::DateInSeconds(60), None, 59_000, true),
        (
            429,
            RetryAfter::Text("4, 60".to_owned()),
            None,
            60_000,
            true,
        ),
        (
            429,
            RetryAfter::Text(EPOCH.0.to_string()),
            None,
            3_600_000,
            true,
        ),
        (429, RetryAfter::Seconds(86_400), None, 3_600_000, true),
        (500, RetryAfter::Seconds(60), None, 60_000, false),
        (418, RetryAfter::Seconds(60), None, 60_000, false),
        (403, RetryAfter::Seconds(60), None, 60_000, false),
        (404, RetryAfter::Seconds(60), None, 60_000, false),
        (404, RetryAfter::Seconds(60), Some("<html>"), 60_000, false),
    ] {
        let case = format!("{code} {retry_after:?}");
        let mut world = three().await;
        let struck_at = strike(
            &mut world,
            Fault::Status {
                status: code,
                retry_after: Some(retry_after),
                body: body.map(str::to_owned),
            },
        )
        .await;
        let degraded = world.get("/readyz").await.1["status"] == "degraded";
        assert_eq!(degraded, closes, "{case}");
        world
            .sql("UPDATE jobs SET poll_requested = 1 WHERE id <> 'a'")
            .await;
        world.pass(2 * SECOND).await;
        for other in ["b", "c"] {
            let at = next(&world, other, struck_at).unwrap() - struck_at;
            let second = if closes { 1000..1100 } else { 500..600 };
            assert!(second.contains(&at), "{case}: {other} after {at} ms");
        }
        assert_eq!(world.get("/readyz").await.1["status"], "ok", "{case}");
        world.pass(70 * MINUTE).await;
        let back = next(&world, "a", struck_at).unwrap() - struck_at;
        assert!(
            (pause..=pause + pause / 10 + 1000).contains(&back),
            "{case}: {back} ms"
        );
        let well =
            "SELECT count(*) FROM jobs WHERE state = 'in-progress' AND consecutive_errors = 0";
        assert_eq!(world.value(well).await, "3", "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_throttled_for_ever_does_not_slow_the_others_down() {
    for retry_after in [None, Some(RetryAfter::Seconds(5))] {
        let mut world = three().await;
        let rule = FaultRule::new(status(429, retry_after)).on_job("a");
        world.control().inject(rule).unwrap();
        let before = world.polled_at("b").len();
        world.pass(30 * MINUTE).await;
        let polls = world.polled_at("b").len() - before;
        assert!((55..=66).contains(&polls), "{polls} in half an hour");
        let said = "SELECT last_error FROM jobs WHERE id = 'a' AND consecutive_errors > 5";
        assert_eq!(world.value(said).await, "throttled (429)");
        world.control().clear_faults();
        world.pass(10 * MINUTE).await;
        assert_eq!(world.get("/readyz").await.1["status"], "ok");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_named_to_a_second_job_is_kept_by_all() {
    for (retry_after, pause) in [
        (RetryAfter::Seconds(60), 60_000),
        (RetryAfter::DateInSeconds(60), 59_000),
        (RetryAfter::Seconds(86_400), 3_600_000),
    ] {
        let mut world = three().await;
        let rule = FaultRule::new(status(429, Some(retry_after.clone()))).on_path("/jobs");
        world.control().inject(rule.times(2)).unwrap();
        world
            .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'a'")
            .await;
        world.pass(SECOND / 2).await;
        world
            .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'b'")
            .await;
        world.pass(SECOND).await;
        let struck_at = *world.polled_at("b").last().unwrap();
        // While the gate is closed a new row and a request change nothing.
        endless(&mut world, &["new"]).await;
        world
            .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'c'")
            .await;
        let ready = world.get("/readyz").await.1;
        assert_eq!(ready["status"], "degraded");
        let reason = ready["reasons"][0].as_str().unwrap();
        assert!(reason.contains("jobtrackd resume"), "{reason}");
        world.pass(70 * MINUTE).await;
        let log = world.control().requests();
        let mut after = log.iter().map(|r| r.at.0 - EPOCH.0);
        let first = after.find(|at| *at > struck_at).unwrap() - struck_at;
        assert!(
            (pause..=pause + pause / 10 + 1000).contains(&first),
            "{retry_after:?}: {first} ms"
        );
        for id in ["a", "b", "c", "new"] {
            assert!(next(&world, id, struck_at).is_some(), "{id} goes on");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_hangs_keeps_nobody_from_the_trial() {
    let mut world = three().await;
    let hang = FaultRule::new(Fault::Hang).on_job("c").times(1);
    world.control().inject(hang).unwrap();
    world
        .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'c'")
        .await;
    world.pass(SECOND / 10).await;
    let struck_at = strike(&mut world, status(429, Some(RetryAfter::Seconds(60)))).await;
    world
        .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'b'")
        .await;
    world.pass(SECOND).await;
    let at = next(&world, "b", struck_at).unwrap() - struck_at;
    assert!((1000..1100).contains(&at), "{at} ms");
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_one_poll_goes_ahead_of_the_others() {
    let mut world = World::running().await;
    endless(&mut world, &["a", "b", "c", "d"]).await;
    world.pass(10 * SECOND).await;
    let fault = FaultRule::new(status(429, Some(RetryAfter::Seconds(30)))).on_path("/jobs");
    world.control().inject(fault).unwrap();
    let before = world.control().requests().len();
    world.pass(5 * MINUTE).await;
    let log = world.control().requests();
    let times: Vec<i64> = log[before..].iter().map(|r| r.at.0).collect();
    let waves = gaps(&times)
        .into_iter()
        .filter(|gap| *gap >= 29_000)
        .count();
    assert!((8..=10).contains(&waves), "{times:?}");
    assert!(
        times.len() <= waves + 4,
        "more than one per pause: {times:?}"
    );
    let (code, ready) = world.get("/readyz").await;
    assert_eq!((code, ready["status"].as_str()), (200, Some("degraded")));
    assert!(!ready["reasons"].as_array().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_a_word_of_how_long_a_job_backs_off_as_after_any_error() {
    let mut world = World::running().await;
    let fault = FaultRule::new(status(429, None)).on_path("/jobs").times(5);
    world.control().inject(fault).unwrap();
    endless(&mut world, &["a"]).await;
    world.pass(MINUTE).await;
    assert_gaps(
        &world.polled_at("a"),
        &[1000, 2000, 4000, 8000, 16_000, 1000],
    );
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_a_pause_and_the_daemon_polls_at_once() {
    let mut world = three().await;
    let rule = FaultRule::new(status(429, Some(RetryAfter::Seconds(3600)))).on_path("/jobs");
    world.control().inject(rule.times(2)).unwrap();
    world.pass(2 * MINUTE).await;
    let pause = "SELECT paused_until > 0 FROM upstreams";
    assert_eq!(world.value(pause).await, "1");
    let before = world.control().requests().len();
    world.pass(5 * MINUTE).await;
    assert_eq!(world.control().requests().len(), before);
    let path = world.database();
    let store = Store::open(&path, world.clock.clone()).await.unwrap();
    let resumed = store.resume_upstreams().await.unwrap();
    store.leave().await;
    assert_eq!((resumed.pauses.len(), resumed.jobs), (1, 2));
    world.daemon().wakeup();
    let resumed_at = world.elapsed();
    world.pass(SECOND).await;
    for id in ["a", "b", "c"] {
        let at = next(&world, id, resumed_at - 1).map(|at| at - resumed_at);
        assert!(at.is_some_and(|at| at < 200), "{id} after {at:?} ms");
    }
    assert_eq!(world.get("/readyz").await.1["status"], "ok");
    assert_eq!(world.value(pause).await, "0");
    world.stop().await;
    world.start().await;
    let restarted_at = world.elapsed();
    world.pass(MINUTE).await;
    assert!(next(&world, "a", restarted_at).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_was_written_down_under_other_settings_is_cut_to_what_it_can_be() {
    let mut world = World::new().await;
    world.upstream.push_str("\nmax_retry_after = \"10m\"");
    world.start().await;
    endless(&mut world, &["a"]).await;
    world.pass(SECOND).await;
    world.stop().await;
    let year = world.clock.now().0 + 366 * 24 * 3_600_000;
    let origin = world.simulator.base_url();
    world
        .sql(&format!(
            "INSERT OR REPLACE INTO upstreams (origin, paused_until) VALUES ('{origin}', {year})"
        ))
        .await;
    world.start().await;
    let started_at = world.elapsed();
    world.pass(11 * MINUTE).await;
    let first = next(&world, "a", started_at).unwrap() - started_at;
    assert!((600_000..601_000).contains(&first), "{first} ms");
}
