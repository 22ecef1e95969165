//! Answers that are loose where the wire is loose: nothing else of them is lost.

use serde_json::{Value, json};

use jobtrackd::simulator::Phase;

use super::{MINUTE, events};
use crate::support::world::World;

#[tokio::test(start_paused = true)]
async fn half_a_pair_of_surrogates_costs_neither_the_challenge_nor_the_code_nor_the_slow_lane() {
    let mut world = World::running().await;
    let step = |status: &str, result: &str| {
        format!(
            r#"{{"type":"job","id":"j","steps":[{{"title":"verify-credentials","status":"{status}","result":{result}}}]}}"#
        )
    };
    let queued =
        r#"{"code":"temporary-unavailable-queued","title":"cut \ud83d","detail":"\ude00"}"#;
    let asks = r#"{"type":"mfa","method":"token","description":"cut \ud83d","input":["a\ud83d"],"expiryMs":1.2e5,"links":{"response":"/jobs/j/mfa"}}"#;
    let failed =
        r#"{"code":"invalid-credentials","title":"cut \ud83d\n\ude00","detail":"😀 \ud83d\ude00"}"#;
    let phases = vec![
        Phase::verbatim(0, step("pending", queued)),
        Phase::verbatim(5_000_000, step("in-progress", asks)),
        Phase::verbatim(8_000_000, format!("\u{feff}{}", step("failed", failed))),
    ];
    world.tell("j", phases);
    world.enqueue("j").await;
    world.until_ended(300 * MINUTE).await;
    let delayed = events(&world, "job.delayed").remove(0);
    assert_eq!(
        delayed["data"]["reason"],
        json!({"code": "temporary-unavailable-queued", "title": "cut \u{fffd}", "detail": "\u{fffd}"})
    );
    let asked = events(&world, "job.action_required").remove(0);
    let challenge = &asked["data"]["challenge"];
    assert_eq!(challenge["description"], "cut \u{fffd}");
    assert_eq!(challenge["input"], json!(["a\u{fffd}"]));
    assert!(challenge["expires_at"].is_string(), "{challenge}");
    let failed = events(&world, "job.failed").remove(0);
    let failure = &failed["data"]["failure"];
    assert_eq!(failure["code"], "invalid-credentials");
    assert_eq!(failure["title"], "cut \u{fffd}\n\u{fffd}");
    assert_eq!(failure["detail"], "😀 😀");
    let resource = world.value("SELECT resource FROM jobs").await;
    assert!(resource.contains(r#""cut \ufffd\n\ufffd""#), "{resource}");
    assert!(resource.contains(r"😀 \ud83d\ude00"), "{resource}");
    assert!(serde_json::from_str::<Value>(&resource).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_uuid_in_another_case_is_the_same_job() {
    let mut world = World::running().await;
    let id = "A03E4DF4-DC05-4CD3-9AF0-0F28A13EA614";
    let body = json!({
        "type": "job",
        "id": id.to_ascii_lowercase(),
        "steps": [{"title": "a", "status": "success"}],
    });
    world.tell(id, vec![Phase::verbatim(0, body.to_string())]);
    world.enqueue(id).await;
    world.until_ended(MINUTE).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_never_expires_by_any_number_is_recorded_and_so_is_its_end() {
    let mut world = World::running().await;
    for (id, expiry) in [
        ("least", "9223372036854775808"),
        ("text", "\"1e30\""),
        ("most", "1e308"),
    ] {
        let body = |status: &str| {
            format!(
                r#"{{"type":"job","id":"{id}","steps":[{{"title":"a","status":"{status}","result":{{"type":"mfa","expiryMs":{expiry}}}}}]}}"#
            )
        };
        let phases = vec![
            Phase::verbatim(0, body("in-progress")),
            Phase::verbatim(5_000, body("success")),
        ];
        world.tell(id, phases);
        world.enqueue(id).await;
    }
    world.until_ended(MINUTE).await;
    let asked = events(&world, "job.action_required");
    assert_eq!(asked.len(), 3);
    for event in asked {
        let expires_at = event["data"]["challenge"]["expires_at"].as_str().unwrap();
        assert!(expires_at.starts_with("9999-12-"), "{expires_at}");
    }
}
