//! What the status server shows, before, between and after starts.

use std::time::Duration;

use jobtrackd::simulator::Phase;
use serde_json::json;

use crate::support::world::World;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_job_is_mirrored_as_a_stub_then_word_for_word_also_after_a_restart() {
    let mut world = World::running().await;
    let later = world.clock.now().0 + 10_000;
    world
        .sql(&format!(
            "INSERT INTO jobs (id, not_before) VALUES ('61723', {later})"
        ))
        .await;
    let stub = json!({"type": "job", "id": "61723", "steps": [], "links": {"self": "/jobs/61723"}});
    assert_eq!(world.get("/jobs/61723").await, (200, stub));
    let body = r#"{"type":"job","id":"61723","steps":[{"title":"a","status":"odd","result":[]}],"links":null,"n":1.50}"#;
    world.tell("61723", vec![Phase::verbatim(0, body)]);
    world.pass(11 * SECOND).await;
    let expected = (200, serde_json::from_str(body).unwrap());
    assert_eq!(world.get("/jobs/61723").await, expected);
    world.stop().await;
    world.start().await;
    assert_eq!(world.get("/jobs/61723").await, expected);
    world.sql("UPDATE jobs SET cancel_requested = 1").await;
    world.pass(SECOND).await;
    assert_eq!(
        world.get("/jobs/61723").await,
        expected,
        "also after its end"
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_and_impossible_ids_are_refused_in_the_api_s_envelope() {
    let mut world = World::running().await;
    let too_long = format!("/jobs/{}", "x".repeat(201));
    let cases = [
        ("/jobs/none", 404, "resource-not-found"),
        ("/jobs/a%20b", 400, "parameter-not-valid"),
        ("/jobs/a%2Fb", 400, "parameter-not-valid"),
        ("/jobs/%00", 400, "parameter-not-valid"),
        ("/jobs/%FF", 400, "parameter-not-valid"),
        ("/jobs/...", 400, "parameter-not-valid"),
        (too_long.as_str(), 400, "parameter-not-valid"),
        ("/nowhere", 404, "resource-not-found"),
    ];
    for (path, status, code) in cases {
        let (found, body) = world.get(path).await;
        assert_eq!(found, status, "{path}");
        assert_eq!(
            (body["type"].as_str(), body["data"][0]["type"].as_str()),
            (Some("list"), Some("error")),
            "{path}"
        );
        assert_eq!(body["data"][0]["code"], code, "{path}");
        for key in ["title", "detail"] {
            assert!(body["data"][0][key].is_string(), "{path}: {key}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_daemon_without_trouble_is_ready_and_says_how_much_it_follows() {
    let mut world = World::running().await;
    world.follow("a", &[(0, &[("x", "in-progress")])]).await;
    world.follow("b", &[(0, &[("x", "success")])]).await;
    world.pass(5 * SECOND).await;
    let (code, ready) = world.get("/readyz").await;
    assert_eq!(
        (code, &ready["status"], &ready["jobs_followed"]),
        (200, &json!("ok"), &json!(1))
    );
    assert_eq!(ready["reasons"], json!([]));
    assert_eq!(world.get("/healthz").await.0, 200);
}
