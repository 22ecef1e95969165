//! A webhook that fails is held, probed and ramped up again, and what waits meanwhile pays nothing for it.

use std::collections::HashSet;

use jobtrackd::simulator::Reply;

use super::{HOUR, MINUTE, SECOND, delivering_world, done, webhook};
use crate::support::challenges::{ask, mfa};
use crate::support::world::World;

/// How the webhook "all" stands, as its row says.
async fn webhook_row(world: &World) -> Vec<String> {
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
    let mut world = delivering_world(&format!("events = [\"job.completed\"]\n{lines}"), "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 2000]);
    for job in 0..jobs {
        done(&mut world, &format!("j{job}")).await;
    }
    world
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_six_hours_costs_a_probe_every_five_minutes_and_no_event() {
    let mut world = refused(30, "").await;
    world.pass(6 * HOUR).await;
    let during = world.sink.requests("all").len();
    // Those that go at once, nine probes until they are five minutes apart, and twelve an hour from then on.
    assert!((75..=90).contains(&during), "{during} requests");
    let attempts = world
        .rows("SELECT attempts, count(*) FROM deliveries GROUP BY 1 ORDER BY 1")
        .await;
    let first = attempts[0][0].parse::<i64>().unwrap();
    let last = attempts.last().unwrap()[0].parse::<i64>().unwrap();
    assert!(first >= 2 && last <= first + 2, "all alike: {attempts:?}");
    assert_eq!(webhook_row(&world).await[1], "1");

    world.sink.forget_replies("all");
    world.until_ended(6 * HOUR).await;
    let states = world.rows("SELECT DISTINCT state FROM deliveries").await;
    assert_eq!(states, [["delivered"]]);
    assert_eq!(world.sink.accepted("all").len(), 30);
    assert_eq!(webhook_row(&world).await, ["0", "0", "-"]);
}

#[tokio::test(start_paused = true)]
async fn probes_go_round_the_lanes_at_the_pace_of_the_hold() {
    let mut world = refused(12, "max_in_flight = 3").await;
    world.pass(HOUR).await;
    let attempts = world
        .rows("SELECT event_id, trigger, started_at FROM attempts ORDER BY started_at, number")
        .await;
    let at_once = attempts.iter().position(|row| row[1] == "probe").unwrap();
    let (before, probes) = attempts.split_at(at_once);
    assert!(before.len() >= 3 && before.len() <= 5, "{attempts:?}");
    assert!(probes.iter().all(|row| row[1] == "probe"));
    let at: Vec<i64> = attempts[at_once - 1..]
        .iter()
        .map(|row| row[2].parse().unwrap())
        .collect();
    let gaps: Vec<i64> = at
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) / 1000)
        .collect();
    assert_eq!(gaps[..9], [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(gaps[9..], [300; 10]);
    let events: Vec<&str> = attempts.iter().map(|row| row[0].as_str()).collect();
    let different = |events: &[&str]| events.iter().collect::<HashSet<_>>().len();
    assert_eq!(different(&events[..12]), 12, "first those never tried");
    let (first, rest) = events[at_once..].split_at(12);
    assert_eq!(different(first), 12, "then those that went at once");
    assert_eq!(rest[..6], first[..6], "then round and round");
}

#[tokio::test(start_paused = true)]
async fn a_probe_before_its_event_s_own_time_uses_up_none_of_its_retries() {
    let mut world = refused(3, "retry = [\"2h\", \"2h\"]").await;
    world.pass(HOUR).await;
    let found = world
        .rows("SELECT DISTINCT retries_used, attempts > 4, state FROM deliveries")
        .await;
    assert_eq!(found, [["1", "1", "pending"]]);
    world.sink.forget_replies("all");
    world.pass(6 * MINUTE).await;
    let accepted = world.sink.accepted("all").len();
    assert_eq!(accepted, 1, "the next probe, long before its own time");
    world.until_ended(3 * HOUR).await;
    assert_eq!(world.sink.accepted("all").len(), 3);
}

/// Makes a job that fails, which "all" is delivered of with `job.failed`.
async fn failed(world: &mut World, id: &str) {
    world.follow(id, &[(0, &[("a", "failed")])]).await;
}

#[tokio::test(start_paused = true)]
async fn events_that_a_webhook_refuses_delay_no_events_of_other_jobs() {
    let lines = "events = [\"job.completed\", \"job.failed\"]\nretry = [\"100ms\", \"500ms\", \"3s\", \"10s\"]";
    let mut world = delivering_world(lines, "").await;
    world.sink.reply(Reply::always("all", "job.failed", 500));
    failed(&mut world, "bad").await;
    world.pass(2 * MINUTE).await;
    let bad = world
        .rows("SELECT DISTINCT state, attempts FROM deliveries")
        .await;
    assert_eq!(bad, [["exhausted", "5"]], "its schedule, and no more");
    assert_eq!(webhook_row(&world).await, ["5", "0", "-"]);
    for job in 0..20 {
        failed(&mut world, &format!("worse{job}")).await;
        done(&mut world, &format!("good{job}")).await;
        // Two of them fail between two good ones: one job too few to hold it.
        world.pass(20 * SECOND).await;
        let good = world.sink.accepted("all").len();
        assert_eq!(good, job + 1, "though others are refused");
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_recovers_an_event_that_had_failed_before_holds_nothing() {
    let lines =
        "events = [\"job.completed\", \"job.failed\"]\nretry = [\"2s\", \"2s\", \"2s\", \"1h\"]";
    let mut world = delivering_world(lines, "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 8]);
    for job in 0..4 {
        failed(&mut world, &format!("bad{job}")).await;
        done(&mut world, &format!("good{job}")).await;
    }
    world.pass(SECOND).await;
    assert_eq!(webhook_row(&world).await[1], "1");
    world.sink.forget_replies("all");
    world.sink.reply(Reply::always("all", "job.failed", 500));
    // The probe is a good one sooner or later; from then on the bad ones fail again and again, and hold nothing.
    world
        .until(MINUTE, "SELECT held_since FROM webhooks", "-")
        .await;
    for _ in 0..100 {
        world.pass(SECOND / 10).await;
        assert_eq!(webhook_row(&world).await[1], "0");
    }
    assert_eq!(world.sink.accepted("all").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_success_in_between_and_it_is_not_held() {
    let mut world = delivering_world("events = [\"job.completed\"]\nmax_in_flight = 1", "").await;
    for round in 0..4 {
        world.sink.reply_in_turn("all", &[(500, ""); 2]);
        world.sink.reply_in_turn("all", &[(204, "")]);
        for job in 0..5 {
            done(&mut world, &format!("{round}-{job}")).await;
        }
        world.until_ended(MINUTE).await;
    }
    let probes = "SELECT count(*) FROM attempts WHERE trigger = 'probe'";
    assert_eq!(world.value(probes).await, "0");
    assert_eq!(webhook_row(&world).await, ["0", "0", "-"]);
}

#[tokio::test(start_paused = true)]
async fn a_hold_survives_a_restart_and_a_recovery_too() {
    let mut world = refused(20, "timeout = \"10m\"").await;
    world.pass(HOUR).await;
    let before = world.sink.requests("all").len();
    for _ in 0..3 {
        world.kill();
        world.start().await;
        world.pass(MINUTE).await;
    }
    assert!(
        world.sink.requests("all").len() <= before + 1,
        "the pace is kept"
    );
    assert_eq!(webhook_row(&world).await[1..], ["1", "-"]);

    // The probe is taken, and the next one hangs until the daemon is gone.
    world.sink.forget_replies("all");
    world
        .sink
        .reply_in_turn("all", &[(204, ""), (jobtrackd::simulator::HANG, "")]);
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
    assert_eq!(webhook_row(&world).await, ["0", "0", "-"]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_is_held_delays_no_other() {
    let mut world = delivering_world(
        "events = [\"job.completed\"]",
        &webhook("quick", "events = [\"job.completed\"]"),
    )
    .await;
    world.sink.reply_in_turn("all", &[(500, ""); 200]);
    for job in 0..20 {
        done(&mut world, &format!("j{job}")).await;
    }
    world.pass(2 * SECOND).await;
    assert_eq!(world.sink.accepted("quick").len(), 20);
    assert_eq!(webhook_row(&world).await[1], "1");
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_tried_at_once_also_while_the_webhook_is_held() {
    let mut world = delivering_world("retry = [\"1h\", \"1h\"]", "").await;
    // More of both than the first attempts, at most 8 at once, and the probes of a minute use up.
    world.sink.reply_in_turn("all", &[(500, ""); 30]);
    for job in 0..24 {
        done(&mut world, &format!("j{job}")).await;
    }
    world.pass(MINUTE).await;
    assert_eq!(webhook_row(&world).await[1], "1");
    let before = world.sink.requests("all").len();
    let due = "SELECT count(*) FROM deliveries WHERE attempts = 0";
    let due: usize = world.value(due).await.parse().unwrap();
    assert!(due > 0);
    world.sink.forget_replies("all");
    world.sink.reply_in_turn("all", &[(500, ""), (500, "")]);
    ask(
        &world.control(),
        "asks",
        None,
        &mfa("/jobs/asks/mfa"),
        &["1234"],
        crate::support::challenges::done(),
    );
    world.enqueue("asks").await;
    world.pass(10 * SECOND).await;
    let after = &world.sink.requests("all")[before..];
    let kinds: Vec<&str> = after
        .iter()
        .take(2)
        .map(|each| each.event.as_str())
        .collect();
    assert_eq!(
        kinds, ["job.action_required"; 2],
        "it does not keep to the pace"
    );
    assert_eq!(world.sink.kinds("all", "asks"), ["job.action_required"]);
    // And since one was taken, the others that are due follow.
    world.pass(10 * SECOND).await;
    assert_eq!(world.sink.accepted("all").len(), 1 + due);
}

#[tokio::test(start_paused = true)]
async fn a_held_webhook_that_asks_for_a_pause_is_probed_when_it_is_over() {
    let lines = "events = [\"job.completed\"]\nretry = [\"5s\", \"5s\"]\nmax_in_flight = 1";
    let mut world = delivering_world(lines, "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 5]);
    world.sink.reply_in_turn("all", &[(503, "600")]);
    for job in 0..8 {
        done(&mut world, &format!("j{job}")).await;
    }
    world.pass(9 * MINUTE).await;
    assert_eq!(world.sink.requests("all").len(), 6);
    assert_eq!(webhook_row(&world).await[1], "1");
    world.until_ended(5 * MINUTE).await;
    assert_eq!(world.sink.accepted("all").len(), 8);
}
