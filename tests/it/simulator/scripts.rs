//! Jobs by script: what they say, how they look, how long they are kept.

use std::time::Duration;

use jobtrackd::simulator::{
    Challenge, JobFormat, NewJob, Phase, Scenario, Script, Simulator, SimulatorSettings,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{START, Stage, one_step};

#[tokio::test(start_paused = true)]
async fn a_script_is_played_word_for_word_at_its_moments() {
    let stage = Stage::plain().await;
    let first =
        r#"{"type":"job", "id":"61723","steps":[{"title":"a","status":"in-progress"}],"x":1.50}"#;
    let script = format!(
        r#"{{"id":"61723","script":{{"phases":[{{"body":{first}}},{{"at_ms":1500,"text":"<html>"}},{{"at_ms":3000,"error":410}}]}}}}"#
    );
    let request = stage
        .request(Method::POST, "/_control/jobs")
        .body(script.clone());
    assert_eq!(
        stage.send(request).await.unwrap().status,
        StatusCode::CREATED
    );

    assert_eq!(stage.get("/jobs/61723").await.text, first);
    stage.later(1499).await;
    assert_eq!(stage.get("/jobs/61723").await.text, first);
    stage.later(1).await;
    assert_eq!(stage.get("/jobs/61723").await.text, "<html>");
    stage.later(1500).await;
    let (status, code, _) = stage.get("/jobs/61723").await.error();
    assert_eq!(
        (status, code.as_str()),
        (410, "resource-no-longer-available")
    );

    let again = stage.request(Method::POST, "/_control/jobs").body(script);
    assert_eq!(
        stage.send(again).await.unwrap().status,
        StatusCode::CONFLICT
    );
    let truth = stage.control.truth("61723").unwrap();
    assert_eq!(truth.counts.polls, 4);
    assert_eq!(
        truth.counts.last_poll,
        Some(START.plus(Duration::from_secs(3)))
    );
    let at: Vec<i64> = truth
        .moments
        .iter()
        .map(|moment| moment.at.0 - START.0)
        .collect();
    assert_eq!(at, [0, 1500, 3000]);
    assert_eq!(truth.moments[0].body.as_deref(), Some(first));
}

#[tokio::test(start_paused = true)]
async fn scripts_that_cannot_be_played_are_refused_with_the_reason() {
    let stage = Stage::plain().await;
    for (body, reason) in [
        (r#"{"script":{"phases":[]}}"#, "at least one phase"),
        (
            r#"{"script":{"phases":[{"at_ms":5,"error":404},{"error":404}]}}"#,
            "goes down from 5 to 0",
        ),
        (
            r#"{"script":{"phases":[{"at_ms":5}]}}"#,
            "exactly one of body, text, steps, operation and error",
        ),
        (r#"{"scenario":"sucess"}"#, "unknown variant"),
        (r#"{"id":"a b"}"#, "1 to 200 characters"),
        (r#"{"id":".."}"#, "not only dots"),
        (r#"{"idd":"1"}"#, "unknown field"),
    ] {
        let request = stage.request(Method::POST, "/_control/jobs").body(body);
        let answer = stage.send(request).await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_wear_the_shapes_of_their_versions_and_kinds() {
    let stage = Stage::plain().await;
    let base = stage.control.base_url().to_owned();
    let running = |dress| {
        NewJob::scripted(Script::new(vec![
            Phase::steps(0, &one_step("in-progress")),
            Phase::steps(1000, &one_step("failed")),
        ]))
        .in_format(dress)
    };
    for (id, dress) in [
        ("v3", JobFormat::V3),
        ("seed", JobFormat::Seed),
        ("rep", JobFormat::Report),
        ("pdf", JobFormat::BankStatement),
    ] {
        stage.control.create(running(dress).with_id(id)).unwrap();
    }
    let v3 = stage.job("v3").await;
    assert_eq!(v3["jobType"], "connection");
    assert_eq!(v3["created"], "2026-11-22T15:04:05Z");
    assert_eq!(v3["links"], json!({"self": format!("{base}/jobs/v3")}));
    let seed = stage.job("seed").await;
    assert_eq!(seed["created"], "2026-11-22T15:04:05.000Z");
    assert_eq!(seed["links"]["self"], "/jobs/seed");
    assert!(seed["links"]["source"].is_string() && seed.get("jobType").is_none());
    let report = stage.job("rep").await;
    assert_eq!(
        (&report["status"], &report["jobType"]),
        (&json!("in-progress"), &json!("report"))
    );
    let pdf = stage.job("pdf").await;
    assert!(pdf["createdDate"].is_string() && pdf.get("created").is_none());

    stage.later(1000).await;
    assert!(stage.job("v3").await["links"]["source"].is_string());
    let report = stage.job("rep").await;
    assert_eq!(
        (&report["status"], &report["links"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(report["updated"], "2026-11-22T15:04:06.000Z");
}

#[tokio::test(start_paused = true)]
async fn links_lead_to_the_host_the_client_called() {
    let stage = Stage::plain().await;
    let new = NewJob::of(Scenario::NeverEnds)
        .with_id("1")
        .in_format(JobFormat::V3);
    stage.control.create(new).unwrap();
    let request = stage
        .request(Method::GET, "/jobs/1")
        .header("host", "jobs.test:81");
    let job = stage.send(request).await.unwrap().json();
    assert_eq!(job["links"]["self"], "http://jobs.test:81/jobs/1");
}

#[tokio::test(start_paused = true)]
async fn ids_and_routes_that_are_not_there_are_refused_as_the_api_does() {
    let stage = Stage::plain().await;
    for (method, path, status, code) in [
        (Method::GET, "/jobs/nobody", 404, "resource-not-found"),
        (Method::GET, "/jobs/a%20b", 400, "parameter-not-valid"),
        (Method::GET, "/jobs", 400, "parameter-not-supplied"),
        (Method::DELETE, "/jobs/1", 405, "method-not-allowed"),
        (Method::GET, "/nowhere", 404, "resource-not-found"),
    ] {
        let answer = stage.send(stage.request(method, path)).await.unwrap();
        let (got, got_code, _) = answer.error();
        assert_eq!((got, got_code.as_str()), (status, code), "{path}");
    }
    let picky = stage
        .request(Method::GET, "/jobs/1")
        .header("accept", "text/html");
    assert_eq!(
        stage.send(picky).await.unwrap().error().1,
        "unsupported-accept"
    );
}

#[tokio::test(start_paused = true)]
async fn the_oldest_finished_job_makes_room_and_unfinished_ones_are_kept() {
    let stage = Stage::set(SimulatorSettings {
        max_jobs: 2,
        max_log: 3,
        ..SimulatorSettings::default()
    })
    .await;
    let asking = Script::new(vec![Phase::steps(0, &one_step("in-progress"))]).asking(Challenge {
        expected: vec!["1".to_owned()],
        expires_ms: None,
        accepted: Script::new(vec![Phase::steps(0, &one_step("success"))]),
        refused: None,
        expired: None,
    });
    stage
        .control
        .create(NewJob::scripted(asking).with_id("open"))
        .unwrap();
    stage
        .control
        .create(NewJob::of(Scenario::Instant).with_id("done"))
        .unwrap();
    stage
        .control
        .create(NewJob::of(Scenario::Success).with_id("new"))
        .unwrap();
    assert!(stage.control.truth("done").is_none());
    assert!(stage.control.create(NewJob::of(Scenario::Success)).is_err());
    assert_eq!(stage.post("/reports", &json!({})).await.error().0, 429);
    for _ in 0..4 {
        stage.job("open").await;
    }
    let numbers: Vec<u64> = stage
        .control
        .requests()
        .iter()
        .map(|entry| entry.number)
        .collect();
    assert_eq!(numbers, [4, 5, 6]);
    assert_eq!(stage.control.totals().requests, 6);
}

#[tokio::test(start_paused = true)]
async fn a_simulator_that_could_not_run_does_not_start() {
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let settings = SimulatorSettings {
            speed,
            ..SimulatorSettings::default()
        };
        let error = Simulator::start(settings).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
