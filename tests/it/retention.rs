//! Retention through the daemon: in paused time.

use std::time::Duration;

use serde_json::json;

use crate::delivering::{delivering_world, done, webhook};

const HOUR: Duration = Duration::from_secs(3600);

const COUNTS: &str = "SELECT (SELECT count(*) FROM jobs) || ' ' || (SELECT count(*) FROM events) || ' ' \
    || (SELECT count(*) FROM deliveries) || ' ' || (SELECT count(*) FROM attempts)";

#[tokio::test(start_paused = true)]
async fn a_job_goes_in_parts_at_the_ages_of_the_configuration_and_what_is_undelivered_stays() {
    let more = [
        webhook(
            "stuck",
            "events = [\"job.failed\"]\nretry = [\"9d\", \"9d\"]",
        ),
        "[retention]\njobs = \"12h\"\nevents = \"8h\"\nattempts = \"4h\"\n".to_owned(),
    ]
    .concat();
    let mut world = delivering_world("", &more).await;
    world.sink.reply_in_turn("stuck", &[(500, ""); 9]);
    done(&mut world, "good").await;
    world.follow("bad", &[(0, &[("a", "failed")])]).await;
    world.pass(3 * HOUR).await;
    assert_eq!(world.value(COUNTS).await, "2 4 3 3");
    world.pass(2 * HOUR).await;
    assert_eq!(
        world.value(COUNTS).await,
        "2 4 3 2",
        "the attempt at one event is gone"
    );
    let (_, timeline) = world.get("/jobs/good/timeline").await;
    assert_eq!(timeline["data"].as_array().unwrap().len(), 4);
    world.pass(4 * HOUR).await;
    assert_eq!(world.value(COUNTS).await, "2 2 2 2");
    let (status, job) = world.get("/jobs/good").await;
    assert_eq!(
        (status, &job["steps"][0]["status"]),
        (200, &json!("success"))
    );
    world.pass(4 * HOUR).await;
    assert_eq!(world.value(COUNTS).await, "1 2 2 2");
    let (status, _) = world.get("/jobs/good").await;
    assert_eq!(status, 404);
    world.pass(24 * HOUR).await;
    assert_eq!(
        world.value("SELECT id FROM jobs").await,
        "bad",
        "it waits for a webhook"
    );
}

#[tokio::test(start_paused = true)]
async fn for_ever_is_for_ever() {
    let forever = "[retention]\njobs = \"forever\"\nevents = \"forever\"\nattempts = \"forever\"\n";
    let mut world = delivering_world("", forever).await;
    done(&mut world, "j").await;
    world.pass(48 * HOUR).await;
    assert_eq!(world.value(COUNTS).await, "1 2 1 1");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_catches_up_goes_on_behind_what_was_deleted_and_numbers_never_come_again() {
    let short = "[retention]\njobs = \"2h\"\nevents = \"2h\"\nattempts = \"1h\"\n";
    let mut world = delivering_world("", short).await;
    done(&mut world, "a").await;
    world.pass(HOUR).await;
    let (_, page) = world.get("/events?limit=1").await;
    let early = page["next"].as_str().unwrap().to_owned();
    world.pass(3 * HOUR).await;
    assert_eq!(world.value(COUNTS).await, "0 0 0 0");
    let (status, page) = world.get(&format!("/events?after={early}")).await;
    assert_eq!((status, &page["data"]), (200, &json!([])));
    let next = page["next"].as_str().unwrap().to_owned();
    done(&mut world, "b").await;
    world.pass(Duration::from_secs(1)).await;
    let (_, page) = world.get(&format!("/events?after={next}")).await;
    let events = page["data"].as_array().unwrap();
    let seen: Vec<(&str, u64)> = events
        .iter()
        .map(|event| {
            let cursor = event["cursor"].as_str().unwrap().parse().unwrap();
            (event["job_id"].as_str().unwrap(), cursor)
        })
        .collect();
    assert_eq!(seen, [("b", 3), ("b", 4)]);
}

#[tokio::test(start_paused = true)]
async fn other_ages_come_into_force_by_a_reload() {
    let mut world = delivering_world("", "").await;
    done(&mut world, "j").await;
    world.pass(4 * HOUR).await;
    assert_eq!(world.value(COUNTS).await, "1 2 1 1");
    world.more = "[retention]\njobs = \"2h\"\nevents = \"2h\"\nattempts = \"2h\"\n".to_owned();
    world.reload();
    world.pass(2 * HOUR).await;
    assert_eq!(world.value(COUNTS).await, "0 0 0 0");
}
