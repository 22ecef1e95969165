//! Challenges: delivered fast, given up when they have expired, and then delivered to whoever stands in.

use jobtrackd::simulator::Reply;

use super::{HOUR, MINUTE, SECOND, delivering_world, webhook};
use crate::support::challenges::{ask, mfa};
use crate::support::world::World;

/// Follows a job that asks for a code from its beginning, for two minutes.
async fn asks(world: &mut World, id: &str) {
    let challenge = mfa(&format!("/jobs/{id}/mfa"));
    let accepted = crate::support::challenges::done();
    ask(&world.control(), id, None, &challenge, &["1234"], accepted);
    world.enqueue(id).await;
}

const OF_CHALLENGE: &str = "FROM deliveries AS d JOIN events AS e ON e.id = d.event_id
    WHERE e.type = 'job.action_required' AND d.webhook = 'all'";

async fn challenge(world: &World, columns: &str) -> Vec<String> {
    let mut rows = world
        .rows(&format!("SELECT {columns} {OF_CHALLENGE}"))
        .await;
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

const STAND_IN: &str = "fallback = \"second\"";

/// A world in which "second" stands in for "all" and is delivered of nothing by itself.
async fn with_stand_in(lines: &str) -> World {
    let second = webhook("second", "events = [\"job.delayed\"]\nretry = [\"1m\"]");
    delivering_world(&format!("{STAND_IN}\n{lines}"), &second).await
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_retried_fast_until_it_expires_and_is_then_shown_as_expired() {
    let mut world = delivering_world("retry = [\"30s\", \"1h\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 100]);
    asks(&mut world, "j").await;
    world.pass(3 * MINUTE).await;
    let times: Vec<i64> = world
        .rows("SELECT started_at FROM attempts ORDER BY number")
        .await
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, least) in gaps.iter().zip([1000, 2000, 4000, 8000, 15_000, 15_000]) {
        assert!((least..=least * 115 / 100 + 50).contains(gap), "{gaps:?}");
    }
    let row = challenge(
        &world,
        "state, expired_at >= expires_at - 1000, expires_at - created_at, last_error, next_attempt_at",
    )
    .await;
    assert_eq!(
        [&row[0], &row[1], &row[2], &row[4]],
        ["exhausted", "1", "120000", "-"]
    );
    assert!(
        row[3].contains("expire") && row[3].contains("500"),
        "{row:?}"
    );
    let last = times.last().unwrap() - times[0];
    assert!(
        (110_000..120_000).contains(&last),
        "the last try was {last} ms after the first"
    );
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_is_taken_in_time_is_sent_to_nobody_else() {
    let mut world = with_stand_in("").await;
    world.sink.reply_in_turn("all", &[(500, ""), (500, "")]);
    asks(&mut world, "j").await;
    world.pass(HOUR).await;
    assert_eq!(world.sink.kinds("all", "j"), ["job.action_required"]);
    assert_eq!(
        challenge(&world, "state, expired_at").await,
        ["delivered", "-"]
    );
    assert!(world.sink.requests("second").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fallback_gets_the_same_event_once_it_has_expired() {
    let mut world = with_stand_in("").await;
    world.sink.reply_in_turn("all", &[(500, ""); 100]);
    world.sink.reply_in_turn("second", &[(500, "")]);
    asks(&mut world, "j").await;
    world.pass(100 * SECOND).await;
    assert!(
        world.sink.requests("second").is_empty(),
        "not before it has expired"
    );
    world.pass(2 * MINUTE).await;
    let delivered = world.sink.requests("second");
    assert_eq!(delivered.len(), 2, "by its own schedule");
    let first = &world.sink.requests("all")[0];
    assert_eq!(
        (&delivered[1].id, &delivered[1].body),
        (&first.id, &first.body)
    );
    let row = world
        .rows("SELECT state, fallback_for, expires_at, attempts FROM deliveries WHERE webhook = 'second'")
        .await;
    assert_eq!(row, [["delivered", "all", "-", "2"]]);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_has_the_event_already_is_not_sent_it_again() {
    let mut world = delivering_world(STAND_IN, &webhook("second", "")).await;
    world.sink.reply_in_turn("all", &[(500, ""); 100]);
    asks(&mut world, "j").await;
    world.pass(HOUR).await;
    assert_eq!(world.sink.requests("second").len(), 1);
    assert_eq!(challenge(&world, "state").await, ["exhausted"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_behind_a_failing_event_expires_without_an_attempt() {
    let mut world = with_stand_in("events = [\"*\"]\nretry = [\"1h\"]").await;
    world.sink.reply_in_turn("all", &[(500, "")]);
    asks(&mut world, "j").await;
    world.pass(119 * SECOND).await;
    assert!(world.sink.requests("second").is_empty());
    world.pass(3 * SECOND).await;
    assert_eq!(world.sink.kinds("second", "j"), ["job.action_required"]);
    let row = challenge(
        &world,
        "state, attempts, expired_at BETWEEN expires_at AND expires_at + 100, last_error",
    )
    .await;
    assert_eq!(row[..3], ["exhausted", "0", "1"]);
    assert!(row[3].starts_with("expired: "), "{row:?}");
    // What stood behind it goes on when the failing one is through.
    world.pass(2 * HOUR).await;
    let delivered = world.sink.kinds("all", "j");
    assert!(
        !delivered.contains(&"job.action_required".to_owned()) && delivered.len() >= 2,
        "{delivered:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_fallback_of_a_webhook_that_cannot_get_an_event_in_time_gets_it_at_once() {
    // A pause beyond the expiry, and a wish to hear no more of it.
    for (status, header) in [
        (429, ("retry-after", "3600")),
        (500, ("webhook-delivery", "abort-message")),
    ] {
        let mut world = with_stand_in("").await;
        let (name, value) = header;
        let reply = Reply::once("all", status).with_header(name, value);
        world.sink.reply(reply);
        asks(&mut world, "j").await;
        world.pass(5 * SECOND).await;
        assert_eq!(
            world.sink.kinds("second", "j"),
            ["job.action_required"],
            "{name}"
        );
        let row = challenge(&world, "state, expired_at IS NULL").await;
        let by_wish = if name == "webhook-delivery" { "1" } else { "0" };
        assert_eq!(row, ["exhausted", by_wish], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_challenge_of_a_disabled_webhook_expires_too() {
    let mut world = with_stand_in("").await;
    world.sink.reply_in_turn("all", &[(410, "")]);
    asks(&mut world, "first").await;
    world.pass(SECOND).await;
    asks(&mut world, "second").await;
    world.pass(SECOND).await;
    let states = world
        .rows(&format!("SELECT DISTINCT d.state {OF_CHALLENGE}"))
        .await;
    assert_eq!(states, [["disabled"]]);
    world.pass(3 * MINUTE).await;
    let states = world
        .rows(&format!(
            "SELECT d.state, expired_at BETWEEN expires_at AND expires_at + 100 {OF_CHALLENGE}"
        ))
        .await;
    assert_eq!(states, [["exhausted", "1"], ["exhausted", "1"]]);
    for id in ["first", "second"] {
        assert_eq!(world.sink.kinds("second", id), ["job.action_required"]);
    }
    assert_eq!(world.sink.requests("all").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_while_the_daemon_was_down_is_not_sent_but_given_up() {
    let mut world = with_stand_in("").await;
    world.sink.reply_in_turn("all", &[(500, "")]);
    asks(&mut world, "j").await;
    world.pass(SECOND / 2).await;
    assert_eq!(world.sink.requests("all").len(), 1);
    world.kill();
    world.pass(HOUR).await;
    world.start().await;
    world.pass(SECOND).await;
    assert_eq!(world.sink.requests("all").len(), 1);
    assert_eq!(
        challenge(&world, "state, attempts").await,
        ["exhausted", "1"]
    );
    assert_eq!(world.sink.kinds("second", "j"), ["job.action_required"]);
}
