//! A webhook gets another name: what waits for the old one is handed to the new one, and until then it is seen to wait.

use jobtrackd::core::delivery::WebhookName;
use jobtrackd::store::Backlogs as _;
use serde_json::Value;

use super::{HOUR, MINUTE, SECOND, delivering_world, done, outsider};
use crate::delivering::webhook;
use crate::support::receiver::sequences_of;
use crate::support::world::World;

/// Hands over what waits for one webhook to another, and answers how many deliveries and how many jobs that were.
async fn hand_over(world: &mut World, from: &str, to: &str) -> (u64, u64) {
    let store = outsider(world).await;
    let (from, to) = (WebhookName::new(from), WebhookName::new(to));
    let (mut deliveries, mut jobs) = (0, 0);
    loop {
        let moved = store.move_deliveries(&from, &to).await.unwrap();
        deliveries += moved.deliveries;
        jobs += moved.jobs;
        if moved.is_last {
            store.leave().await;
            world.daemon().wakeup();
            return (deliveries, jobs);
        }
    }
}

async fn readiness(world: &mut World) -> (String, String) {
    let (_, body) = world.get("/readyz").await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&body["status"]), body["reasons"].to_string())
}

#[tokio::test(start_paused = true)]
async fn events_of_a_webhook_that_got_another_name_are_seen_to_wait_and_handed_over_in_order() {
    let everything = "events = [\"*\"]";
    let mut world =
        delivering_world("events = [\"job.failed\"]", &webhook("old", everything)).await;
    world.sink.reply_in_turn("old", &[(500, ""); 100]);
    for job in ["a", "b", "c"] {
        done(&mut world, job).await;
        world.pass(SECOND).await;
    }
    // One goes on, and its row names the old one.
    world.make(
        "d",
        &[(0, &[("x", "pending")]), (300_000, &[("x", "success")])],
    );
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('d', 'old')")
        .await;
    world.pass(SECOND).await;
    assert_eq!(readiness(&mut world).await.0, "ok");
    world.more = webhook("new", everything);
    world.reload();
    world.pass(5 * SECOND).await;
    let (status, reasons) = readiness(&mut world).await;
    assert_eq!(status, "degraded");
    assert!(
        reasons.contains("7 events wait for the webhook \\\"old\\\", which is not configured"),
        "{reasons}"
    );
    world.pass(HOUR).await;
    assert_eq!(
        world.value("SELECT state FROM jobs WHERE id = 'd'").await,
        "success",
        "it is followed all the same"
    );
    assert!(world.sink.requests("new").is_empty());
    assert_eq!(hand_over(&mut world, "old", "new").await, (8, 0));
    world.until_ended(MINUTE).await;
    let accepted = world.sink.accepted("new");
    for job in ["a", "b", "c"] {
        assert_eq!(sequences_of(&accepted, job), [1, 2], "{job}");
    }
    // Of a webhook that is not there it is not known what it wants; the default is what it gets.
    assert_eq!(sequences_of(&accepted, "d"), [1, 3]);
    let jobs: Vec<String> = accepted
        .iter()
        .take(3)
        .map(|each| each.job.as_str().to_owned())
        .collect();
    assert_eq!(jobs, ["a", "b", "c"], "the oldest first");
    world.pass(5 * SECOND).await;
    assert_eq!(readiness(&mut world).await.0, "ok");
    let left = world
        .rows("SELECT DISTINCT state, last_error LIKE 'moved to new%' FROM deliveries WHERE webhook = 'old'")
        .await;
    assert_eq!(left, [["exhausted", "1"]]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_goes_on_names_the_other_webhook_and_keeps_its_order() {
    let mut world = delivering_world("", "").await;
    world.make(
        "j",
        &[(0, &[("x", "pending")]), (60_000, &[("x", "failed")])],
    );
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('j', 'old')")
        .await;
    world.pass(SECOND).await;
    assert_eq!(hand_over(&mut world, "old", "all").await, (0, 1));
    assert_eq!(world.value("SELECT webhook FROM jobs").await, "all");
    world.until_ended(5 * MINUTE).await;
    assert_eq!(sequences_of(&world.sink.accepted("all"), "j"), [3]);
    assert_eq!(
        hand_over(&mut world, "old", "all").await,
        (0, 0),
        "once is enough"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_over_by_mistake_can_be_handed_back() {
    let mut world = delivering_world("events = [\"*\"]", "").await;
    world.sink.reply_in_turn("all", &[(500, ""); 3]);
    done(&mut world, "j").await;
    world.pass(SECOND / 100).await;
    assert_eq!(hand_over(&mut world, "all", "wrong").await.0, 2);
    world.pass(MINUTE).await;
    assert!(world.sink.accepted("all").is_empty());
    assert_eq!(hand_over(&mut world, "wrong", "all").await.0, 2);
    world.until_ended(HOUR).await;
    assert_eq!(sequences_of(&world.sink.accepted("all"), "j"), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_was_never_there_gets_what_waited_for_it_once_it_is() {
    let mut world = delivering_world("", "").await;
    world.make("j", &[(0, &[("x", "success")])]);
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('j', 'late')")
        .await;
    world.pass(MINUTE).await;
    let (status, reasons) = readiness(&mut world).await;
    assert_eq!(status, "degraded");
    assert!(
        reasons.contains("1 event waits for the webhook \\\"late\\\""),
        "{reasons}"
    );
    world.more = webhook("late", "");
    world.reload();
    world.until_ended(MINUTE).await;
    assert_eq!(sequences_of(&world.sink.accepted("late"), "j"), [2]);
    world.pass(5 * SECOND).await;
    assert_eq!(readiness(&mut world).await.0, "ok");
}
