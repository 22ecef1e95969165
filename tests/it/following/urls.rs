//! Jobs that are polled elsewhere than at `/jobs/{id}`, and answers with another id.

use std::collections::BTreeSet;

use jobtrackd::simulator::{Fault, FaultRule, Phase};
use serde_json::Value;

use super::MINUTE;
use crate::support::world::World;

fn body(id: &str) -> String {
    format!(
        r#"{{"type":"job","id":{id},"steps":[{{"title":"a","status":"success","result":null}}]}}"#
    )
}

#[tokio::test(start_paused = true)]
async fn a_url_of_the_row_is_polled_instead_and_its_answer_may_have_another_id() {
    let mut world = World::running().await;
    let base = world.simulator.base_url().to_owned();
    world.tell("theirs", vec![Phase::verbatim(0, body("\"another\""))]);
    for (id, url) in [
        ("by-path", "/jobs/theirs?view=full&x=%2F".to_owned()),
        ("absolute", format!("{base}/jobs/theirs?a")),
        (
            "shouting",
            format!("{}/jobs/theirs?s", base.replace("http", "HTTP")),
        ),
    ] {
        world
            .sql(&format!(
                "INSERT INTO jobs (id, url) VALUES ('{id}', '{url}')"
            ))
            .await;
    }
    world.until_ended(MINUTE).await;
    assert_eq!(
        world
            .value("SELECT count(*) FROM jobs WHERE state = 'success'")
            .await,
        "3"
    );
    let mut paths: Vec<String> = world
        .control()
        .requests()
        .into_iter()
        .map(|r| r.path)
        .collect();
    paths.retain(|path| path != "/token");
    paths.sort();
    assert_eq!(
        paths,
        [
            "/jobs/theirs?a",
            "/jobs/theirs?s",
            "/jobs/theirs?view=full&x=%2F"
        ]
    );
    let received = world.sink.received();
    let jobs: BTreeSet<&str> = received.iter().map(|each| each.job.as_str()).collect();
    assert_eq!(jobs, BTreeSet::from(["absolute", "by-path", "shouting"]));
}

#[tokio::test(start_paused = true)]
async fn without_a_url_another_id_is_an_error_that_ends_nothing() {
    let mut world = World::running().await;
    world.tell("mine", vec![Phase::verbatim(0, body("\"mine\""))]);
    let theirs = FaultRule::new(Fault::WrongId {
        id: "theirs".to_owned(),
    });
    world
        .control()
        .inject(theirs.on_job("mine").times(3))
        .unwrap();
    world.enqueue("mine").await;
    world.pass(std::time::Duration::from_secs(5)).await;
    let row = world
        .rows(
            "SELECT state, consecutive_errors, resource, last_error LIKE '%another job%' FROM jobs",
        )
        .await;
    assert_eq!(row, [["pending", "3", "-", "1"]]);
    assert!(world.sink.received().is_empty());
    world.until_ended(MINUTE).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
}

#[tokio::test(start_paused = true)]
async fn an_id_may_be_a_number_in_the_answer_or_not_be_there() {
    let mut world = World::running().await;
    world.tell("61723", vec![Phase::verbatim(0, body("61723"))]);
    world.tell("none", vec![Phase::verbatim(0, body("null"))]);
    world.enqueue("61723").await;
    world.enqueue("none").await;
    world.until_ended(MINUTE).await;
    assert_eq!(
        world
            .value("SELECT count(*) FROM jobs WHERE state = 'success'")
            .await,
        "2"
    );
}

#[tokio::test(start_paused = true)]
async fn urls_that_may_not_be_requested_end_the_job_without_a_request() {
    let mut world = World::running().await;
    let base = world.simulator.base_url().to_owned();
    let port = base.rsplit(':').next().unwrap().to_owned();
    let good = "/jobs/good";
    let bad = [
        "https://au-api.basiq.io/jobs/1".to_owned(),
        format!("http://localhost:{port}/jobs/1"),
        format!("https://127.0.0.1:{port}/jobs/1"),
        format!("http://127.0.0.1.evil.example:{port}/jobs/1"),
        format!("http://user@127.0.0.1:{port}/jobs/1"),
        "//127.0.0.1/jobs/1".to_owned(),
        "/jobs/../token".to_owned(),
        "/jobs/%2E%2e/token".to_owned(),
        "/jobs/..%2ftoken".to_owned(),
        "/jobs/1#x".to_owned(),
        "/jobs/1 2".to_owned(),
        "/jobs/\\evil".to_owned(),
        "jobs/1".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ];
    // They get in by an UPDATE, past what the INSERT refuses.
    for number in 0..bad.len() {
        world
            .sql(&format!(
                "INSERT INTO jobs (id, url, not_before) VALUES ('b{number:02}', '{good}', {})",
                world.clock.now().0 + 60_000
            ))
            .await;
    }
    for (number, url) in bad.iter().enumerate() {
        world
            .sql(&format!(
                "UPDATE jobs SET url = '{url}', not_before = NULL WHERE id = 'b{number:02}'"
            ))
            .await;
    }
    world.until_ended(MINUTE).await;
    let rows = world
        .rows("SELECT id, polls, failure, url FROM jobs ORDER BY id")
        .await;
    assert_eq!(rows.len(), bad.len());
    for row in rows {
        let failure: Value = serde_json::from_str(&row[2]).unwrap();
        assert_eq!(
            (failure["kind"].as_str(), row[1].as_str()),
            (Some("rejected"), "0"),
            "{row:?}"
        );
        assert_eq!(failure["step"], Value::Null);
    }
    assert_eq!(
        world.control().requests().len(),
        0,
        "{:?}",
        world.control().requests()
    );
}
