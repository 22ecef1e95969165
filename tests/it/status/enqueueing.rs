//! `POST /jobs`: an INSERT without SQL.

use std::time::Duration;

use reqwest::Method;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::client::{answer, get, post, request};
use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_job_that_is_posted_is_followed_at_once_and_a_second_time_changes_nothing() {
    let mut world = World::running().await;
    world.make("j", &[(0, &[("a", "success")])]);
    let body = r#"{"id":"j","metadata":{"b":1,"a":1.50},"webhook":"all","priority":-3,"deadline_at":"2099-01-01T00:00:00+01:00","not_before":1000000000017}"#;
    let first = post(&mut world, body).await;
    let record = first.json();
    assert_eq!((first.status, first.header("location")), (202, "/jobs/j"));
    assert_eq!(
        (&record["id"], &record["webhook"]),
        (&"j".into(), &"all".into())
    );
    assert!(
        first.text.contains(r#""metadata":{"b":1,"a":1.50}"#),
        "{}",
        first.text
    );
    let columns = "SELECT metadata, priority, deadline_at, not_before FROM jobs";
    let row = world.rows(columns).await;
    assert_eq!(
        row,
        [[
            r#"{"b":1,"a":1.50}"#,
            "-3",
            "4070905200000",
            "1000000000017"
        ]]
    );
    // The daemon looks by itself only once a day here.
    world.pass(SECOND).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
    let again = post(&mut world, r#"{"id":"j","priority":9}"#).await;
    assert_eq!(
        (again.status, &again.json()["state"]),
        (200, &"success".into())
    );
    assert_eq!(world.rows(columns).await, row);
    let bare = post(&mut world, r#"{"id":"k","url":null,"webhook":null}"#).await;
    assert_eq!(
        (bare.status, &bare.json()["state"]),
        (202, &"pending".into())
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_table_refuses_is_refused_with_the_same_reason() {
    let mut world = World::running().await;
    let large = format!(
        r#"{{"id":"a","metadata":{{"x":"{}"}}}}"#,
        "x".repeat(17_000)
    );
    let deep = format!(
        r#"{{"id":"a","metadata":{{"x":{}{}}}}}"#,
        "[".repeat(32),
        "]".repeat(32)
    );
    let cases = [
        (r#"{"id":"a b"}"#, "jobs.id must be"),
        (r#"{"id":""}"#, "jobs.id must be"),
        (r#"{"id":"a\u0000b"}"#, "jobs.id must be"),
        (
            r#"{"id":"a","deadline_at":1795320245}"#,
            "jobs.deadline_at must be in Unix milliseconds",
        ),
        (
            r#"{"id":"a","not_before":1795320245}"#,
            "jobs.not_before must be in Unix milliseconds",
        ),
        (
            r#"{"id":"a","deadline_at":"1999-01-01T00:00:00Z"}"#,
            "from 2001 to 9999",
        ),
        (deep.as_str(), "at most 32 levels deep"),
        (r#"{"id":"a","metadata":[1]}"#, "jobs.metadata must be"),
        (large.as_str(), "jobs.metadata must be"),
        (r#"{"id":"a","priority":1.5}"#, "invalid type"),
        (
            r#"{"id":"a","deadline_at":"tomorrow"}"#,
            "deadline_at is a time",
        ),
        (r#"{"id":"a","not_before":-1}"#, "not_before is a time"),
        (r#"{"id":"a","not_before":1e3}"#, "not_before is a time"),
        (r#"{"id":"a","state":"success"}"#, "unknown field `state`"),
        (r#"{"id":"a","id":"b"}"#, "duplicate field"),
        (r#"{"id":7}"#, "invalid type"),
        (r#"{}"#, "missing field `id`"),
        ("[]", "cannot be read"),
        ("", "cannot be read"),
    ];
    for (body, why) in cases {
        let refused = post(&mut world, body).await;
        refused.refused(400, "parameter-not-valid");
        assert!(refused.text.contains(why), "{body}: {}", refused.text);
    }
    let huge = format!(r#"{{"id":"a","url":"{}"}}"#, "x".repeat(70_000));
    post(&mut world, &huge)
        .await
        .refused(413, "content-too-large");
    assert_eq!(world.value("SELECT count(*) FROM jobs").await, "0");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_made_again_is_answered_as_before_whatever_the_rules_say_by_now() {
    let mut world = World::running().await;
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('j', 'gone')")
        .await;
    let body =
        |id: &str| format!(r#"{{"id":"{id}","webhook":"gone","deadline_at":1000000000017}}"#);
    let again = post(&mut world, &body("j")).await;
    assert_eq!((again.status, &again.json()["id"]), (200, &"j".into()));
    let new = post(&mut world, &body("k")).await;
    assert_eq!(new.status, 400, "{}", new.text);
}

#[tokio::test(start_paused = true)]
async fn what_would_never_be_polled_or_sent_is_refused_with_the_reason() {
    let mut world = World::running().await;
    let cases = [
        (r#"{"id":"a","webhook":"al"}"#, "did you mean all?"),
        (r#"{"id":"a","webhook":""}"#, "name is empty"),
        (r#"{"id":"a","url":"//evil"}"#, "starts with //"),
        (
            r#"{"id":"a","url":"https://evil.example/jobs/a"}"#,
            "is not that of upstream.base_url",
        ),
        (r#"{"id":"a","url":"/x/%2e%2e%2ftoken"}"#, "dot segments"),
        (
            r#"{"id":"a","deadline_at":"2020-01-01T00:00:00Z"}"#,
            "the deadline 2020-01-01T00:00:00.000Z has passed",
        ),
        (
            r#"{"id":"a","deadline_at":4000000000000,"not_before":"2099-01-01T00:00:00Z"}"#,
            "is not later",
        ),
        (
            r#"{"id":"a","not_before":"2099-01-01T00:00:00Z"}"#,
            "(polling.deadline) is not later",
        ),
    ];
    for (body, why) in cases {
        let refused = post(&mut world, body).await;
        refused.refused(400, "parameter-not-valid");
        assert!(refused.text.contains(why), "{body}: {}", refused.text);
    }
    assert_eq!(world.value("SELECT count(*) FROM jobs").await, "0");
    world.more =
        "[webhooks.al]\nurl = \"http://SINK/al\"\nsecret = \"SECRET\"\nallow_private = true\n"
            .to_owned();
    world.reload();
    assert_eq!(post(&mut world, cases[0].0).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn while_another_program_keeps_the_lock_a_job_is_turned_away_and_reads_go_on() {
    let mut world = World::running().await;
    world.enqueue("known").await;
    world.pass(SECOND).await;
    let options = SqliteConnectOptions::new().filename(world.database());
    let mut other = SqliteConnection::connect_with(&options).await.unwrap();
    let locked = sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other);
    world.clock.held(locked).await.unwrap();
    let posting = request(&mut world, Method::POST, "/jobs").body(r#"{"id":"new"}"#);
    let refused = answer(&world, posting).await;
    refused.refused(503, "service-unavailable");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(get(&mut world, "/jobs/known").await.status, 200);
    let released = sqlx::raw_sql("ROLLBACK").execute(&mut other);
    world.clock.held(released).await.unwrap();
    assert_eq!(post(&mut world, r#"{"id":"new"}"#).await.status, 202);
}
