//! Webhooks switched off and on.

use jobtrackd::core::delivery::WebhookName;
use jobtrackd::store::Webhooks as _;

use super::{HOUR, MINUTE, SECOND, delivering_world, disable, done, enable, outsider};
use crate::support::challenges::{ask, mfa};
use crate::support::receiver::sequences_of;

#[tokio::test(start_paused = true)]
async fn a_webhook_that_answered_410_gets_everything_in_order_once_it_is_enabled() {
    let mut world = delivering_world("events = [\"*\"]", "").await;
    world.sink.reply_in_turn("all", &[(204, ""), (410, "")]);
    done(&mut world, "a").await;
    world.pass(SECOND).await;
    for job in ["b", "c"] {
        done(&mut world, job).await;
    }
    world.pass(HOUR).await;
    assert_eq!(world.sink.requests("all").len(), 2);
    // From here on nobody nudges the daemon: it notices within the 100 ms of any other change.
    world.stop().await;
    world.looking.tick = SECOND / 25;
    world.start().await;
    world.pass(SECOND).await;
    assert_eq!(enable(&world, "all").await, 5);
    world.pass(SECOND / 10).await;
    assert!(world.sink.requests("all").len() > 2, "it acts at once");
    world.until_ended(MINUTE).await;
    let accepted = world.sink.accepted("all");
    for job in ["a", "b", "c"] {
        assert_eq!(sequences_of(&accepted, job), [1, 2], "{job}");
    }
    let row = world
        .rows("SELECT disabled_at, failures, held_since, generation, asks FROM webhooks")
        .await;
    assert_eq!(row, [["-", "0", "-", "1", "1"]]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_an_operator_disables_gets_nothing_until_it_is_enabled() {
    let mut world = delivering_world("events = [\"*\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, "")]);
    done(&mut world, "a").await;
    world.pass(SECOND).await;
    assert_eq!(disable(&world, "all").await, 2);
    world.daemon().wakeup();
    done(&mut world, "b").await;
    world.pass(HOUR).await;
    assert_eq!(world.sink.requests("all").len(), 1);
    let why = world.value("SELECT disabled_reason FROM webhooks").await;
    assert_eq!(why, "by an operator: test");
    assert_eq!(disable(&world, "all").await, 0, "once is enough");
    enable(&world, "all").await;
    world.daemon().wakeup();
    world.until_ended(MINUTE).await;
    assert_eq!(world.sink.accepted("all").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_hold_and_a_pause_end_when_an_operator_says_so() {
    for answer in [(500, ""), (429, "86400")] {
        let lines = "events = [\"job.completed\"]\nretry = [\"1d\"]\nmax_in_flight = 1";
        let mut world = delivering_world(lines, "").await;
        world.sink.reply_in_turn("all", &[answer; 100]);
        for job in 0..12 {
            done(&mut world, &format!("j{job}")).await;
        }
        world.pass(HOUR).await;
        // Three that fail, and the probes of an hour.
        let before = world.sink.requests("all").len();
        assert!(before <= 3 + 19, "{before}");
        world.sink.forget_replies("all");
        enable(&world, "all").await;
        world.daemon().wakeup();
        world.pass(SECOND).await;
        let accepted = world.sink.accepted("all").len();
        assert_eq!(accepted, 12, "also what waits for its retry: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn enabling_that_is_killed_in_the_middle_leaves_it_disabled_and_can_be_finished() {
    let mut world = delivering_world("events = [\"job.completed\"]", "").await;
    world.sink.reply_in_turn("all", &[(410, "")]);
    done(&mut world, "first").await;
    world.pass(SECOND).await;
    // More than one page, written as the daemon would have.
    world.stop().await;
    world
        .foreign_sql(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
             INSERT INTO jobs (id) SELECT 'many-' || i FROM n;
             INSERT INTO events (id, job_id, sequence, type, created_at, body)
             SELECT 'evt_' || id, id, 1, 'job.step_changed', 1,
                    '{\"type\":\"job.step_changed\",\"data\":{\"job_id\":\"' || id || '\",\"sequence\":1}}'
             FROM jobs WHERE id LIKE 'many-%';
             INSERT INTO deliveries (event_id, webhook, job_id, sequence, state)
             SELECT id, 'all', job_id, sequence, 'disabled' FROM events WHERE id LIKE 'evt_many-%';
             UPDATE jobs SET cancel_requested = 1 WHERE id LIKE 'many-%';",
        )
        .await;
    let (store, name) = (outsider(&world).await, WebhookName::new("all"));
    let first = store.enable_webhook(&name).await.unwrap();
    assert_eq!((first.deliveries, first.is_last), (1000, false));
    store.leave().await;
    world.start().await;
    world.pass(SECOND).await;
    assert_eq!(
        world.sink.requests("all").len(),
        1,
        "half of it is as good as nothing"
    );
    assert_ne!(world.value("SELECT disabled_at FROM webhooks").await, "-");
    enable(&world, "all").await;
    let daemon = world.daemon();
    daemon.wakeup();
    world
        .until(
            10 * MINUTE,
            "SELECT count(*) FROM deliveries WHERE state IN ('pending', 'disabled')",
            "0",
        )
        .await;
    let accepted = world.sink.accepted("all");
    let many = accepted
        .iter()
        .filter(|each| each.event == "job.step_changed");
    assert_eq!(many.count(), 1500);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_has_expired_meanwhile_is_not_sent_but_given_up() {
    let mut world = delivering_world("", "").await;
    world.sink.reply_in_turn("all", &[(410, "")]);
    let challenge = mfa("/jobs/asks/mfa");
    let accepted = crate::support::challenges::done();
    ask(&world.control(), "asks", None, &challenge, &["1"], accepted);
    world.enqueue("asks").await;
    world.pass(SECOND).await;
    world.stop().await;
    world.pass(HOUR).await;
    enable(&world, "all").await;
    world.start().await;
    world.pass(SECOND).await;
    assert_eq!(world.sink.requests("all").len(), 1);
    let row = world
        .rows("SELECT state, expired_at IS NOT NULL FROM deliveries")
        .await;
    assert_eq!(row, [["exhausted", "1"]]);
}
