//! Ends that the tracker decides: not found, rejected, cancelled. Those of deadlines stand in `expiring.rs`.

use std::time::Duration;

use jobtrackd::simulator::{Fault, FaultRule};
use serde_json::Value;

use super::{MINUTE, SECOND, endless};
use crate::support::world::{EPOCH, World};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) async fn failure(world: &World, id: &str) -> Value {
    let text = world
        .value(&format!("SELECT failure FROM jobs WHERE id = '{id}'"))
        .await;
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// That a job has failed with this kind, at about this moment (ms), and that its webhook was delivered so once.
pub(super) async fn assert_failed(world: &World, id: &str, kind: &str, at: i64) {
    let failure = failure(world, id).await;
    assert_eq!(failure["kind"], kind, "{id}");
    assert!(failure["step"].is_null() && failure["code"].is_null());
    assert!(failure["title"].is_string() && failure["detail"].is_string());
    let row = world
        .rows(&format!(
            "SELECT state, finished_at, next_poll_at FROM jobs WHERE id = '{id}'"
        ))
        .await;
    assert_eq!((row[0][0].as_str(), row[0][2].as_str()), ("failed", "-"));
    let finished = row[0][1].parse::<i64>().unwrap() - EPOCH.0;
    assert!(
        (finished - at).abs() <= 100,
        "{id} ended at {finished} and not {at}"
    );
    let delivered = world.sink.accepted("all");
    let ends: Vec<_> = delivered
        .iter()
        .filter(|each| each.job == id && each.event == "job.failed")
        .collect();
    assert_eq!(ends.len(), 1, "{id}");
    assert_eq!(ends[0].json()["data"]["failure"], failure);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_found_within_the_grace_goes_on() {
    let mut world = World::running().await;
    world.make(
        "late",
        &[(0, &[("a", "in-progress")]), (130_000, &[("a", "success")])],
    );
    let rule = FaultRule::new(Fault::NotFoundFor { ms: 100_000 });
    world.control().inject(rule.on_job("late")).unwrap();
    world.enqueue("late").await;
    world.pass(MINUTE).await;
    let row = world
        .rows("SELECT state, last_error LIKE '%404%', not_found_since FROM jobs")
        .await;
    assert_eq!(row[0][..2], ["pending", "1"]);
    assert_ne!(row[0][2], "-");
    world.until_ended(4 * MINUTE).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
}

#[tokio::test(start_paused = true)]
async fn a_job_that_stays_unknown_fails_when_the_grace_is_over() {
    let mut world = World::running().await;
    world.make("gone", &[(0, &[("a", "in-progress")])]);
    let gone = Fault::Status {
        status: 410,
        retry_after: None,
        body: None,
    };
    world
        .control()
        .inject(FaultRule::new(gone).on_job("gone"))
        .unwrap();
    world.make("deleted", &[(0, &[("a", "in-progress")])]);
    for id in ["nowhere", "gone", "deleted"] {
        world.enqueue(id).await;
    }
    world.pass(MINUTE).await;
    let missing = Fault::Status {
        status: 404,
        retry_after: None,
        body: None,
    };
    world
        .control()
        .inject(FaultRule::new(missing).on_job("deleted"))
        .unwrap();
    world
        .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'deleted'")
        .await;
    world.until_ended(5 * MINUTE).await;
    assert_failed(&world, "nowhere", "not_found", 120_000).await;
    assert_failed(&world, "gone", "not_found", 120_000).await;
    assert_failed(&world, "deleted", "not_found", 180_000).await;
    let end = world
        .sink
        .accepted("all")
        .into_iter()
        .rfind(|each| each.job == "deleted")
        .unwrap();
    assert_eq!(
        end.json()["data"]["job"]["id"],
        "deleted",
        "what was last seen is delivered"
    );
    assert!(world.polled_at("nowhere").len() > 5);
}

#[tokio::test(start_paused = true)]
async fn the_grace_starts_anew_after_a_good_answer() {
    let mut world = World::running().await;
    let missing = || {
        FaultRule::new(Fault::Status {
            status: 404,
            retry_after: None,
            body: None,
        })
        .on_job("j")
    };
    world.control().inject(missing()).unwrap();
    endless(&mut world, &["j"]).await;
    world.pass(70 * SECOND).await;
    world.control().clear_faults();
    world.pass(MINUTE).await;
    world.control().inject(missing()).unwrap();
    world.pass(80 * SECOND).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "in-progress");
    world
        .until(3 * MINUTE, "SELECT state FROM jobs", "failed")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_id_that_the_api_rejects_ends_at_once() {
    let mut world = World::running().await;
    let bad = Fault::Status {
        status: 400,
        retry_after: None,
        body: None,
    };
    world
        .control()
        .inject(FaultRule::new(bad).on_job("bad"))
        .unwrap();
    endless(&mut world, &["bad"]).await;
    world.until_ended(MINUTE).await;
    assert_failed(&world, "bad", "rejected", 0).await;
    assert_eq!(world.value("SELECT polls FROM jobs").await, "1");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_ends_also_while_its_poll_hangs_and_before_its_first_poll() {
    let mut world = World::running().await;
    world
        .control()
        .inject(FaultRule::new(Fault::Hang).on_job("hung"))
        .unwrap();
    endless(&mut world, &["hung", "well"]).await;
    let later = world.clock.now().0 + 3_600_000;
    world
        .sql(&format!(
            "INSERT INTO jobs (id, not_before) VALUES ('held', {later})"
        ))
        .await;
    world
        .sql("INSERT INTO jobs (id, cancel_requested) VALUES ('born-cancelled', 1)")
        .await;
    world.pass(3 * SECOND).await;
    let cancelled_at = world.elapsed();
    world
        .sql("UPDATE jobs SET cancel_requested = 1 WHERE finished_at IS NULL")
        .await;
    world.pass(SECOND).await;
    for id in ["hung", "well", "held"] {
        assert_failed(&world, id, "cancelled", cancelled_at).await;
    }
    assert_failed(&world, "born-cancelled", "cancelled", 0).await;
    let well = world
        .sink
        .accepted("all")
        .into_iter()
        .rfind(|each| each.job == "well")
        .unwrap();
    assert_eq!(well.json()["data"]["job"]["id"], "well");
    let requests = world.control().requests().len();
    world.pass(5 * MINUTE).await;
    assert_eq!(
        world.control().requests().len(),
        requests,
        "nothing is polled after an end"
    );
}

#[tokio::test(start_paused = true)]
async fn polls_count_the_request_that_a_cancel_cut_short() {
    let mut world = World::running().await;
    world
        .control()
        .inject(FaultRule::new(Fault::Hang).on_job("hung"))
        .unwrap();
    endless(&mut world, &["hung"]).await;
    world.pass(3 * SECOND).await;
    world.sql("UPDATE jobs SET cancel_requested = 1").await;
    world.until_ended(MINUTE).await;
    assert_eq!(world.polled_at("hung").len(), 1);
    assert_eq!(world.value("SELECT polls FROM jobs").await, "1");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_is_down_for_hours_ends_nothing() {
    let mut world = World::running().await;
    endless(&mut world, &["a", "b"]).await;
    world.pass(10 * SECOND).await;
    let down = FaultRule::new(Fault::Reset { after_bytes: 0 });
    world.control().inject(down).unwrap();
    world.pass(5 * HOUR).await;
    let rows = world
        .rows("SELECT state, consecutive_errors > 10 FROM jobs")
        .await;
    assert_eq!(rows, [["in-progress", "1"], ["in-progress", "1"]]);
    let (code, ready) = world.get("/readyz").await;
    assert_eq!(
        (code, ready["status"].as_str()),
        (200, Some("degraded")),
        "{ready}"
    );
    world.control().clear_faults();
    world.pass(6 * MINUTE).await;
    assert_eq!(
        world
            .value("SELECT max(consecutive_errors) FROM jobs")
            .await,
        "0"
    );
    let (code, ready) = world.get("/readyz").await;
    assert_eq!(
        (code, ready["status"].as_str()),
        (200, Some("ok")),
        "{ready}"
    );
}
