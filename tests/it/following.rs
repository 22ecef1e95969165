//! The path of one job, from a row to its end and to a webhook.

mod bounds;
mod changes;
mod documents;
mod loose;
mod poison;
mod replicas;
mod samples;
mod urls;

use std::time::Duration;

use jobtrackd::core::time::UnixMillis;
use jobtrackd::simulator::{Phase, Received};
use serde_json::{Value, json};

use crate::support::world::World;
use documents::{SEED, SEED_MFA};

const MINUTE: Duration = Duration::from_secs(60);

/// The bodies of the events of one type that webhook "all" was sent.
fn events(world: &World, kind: &str) -> Vec<Value> {
    let received = world.sink.received().into_iter();
    let bodies = received.map(|event| event.json());
    bodies.filter(|body| body["type"] == kind).collect()
}

#[tokio::test(start_paused = true)]
async fn a_row_is_followed_to_its_end_and_a_webhook_gets_its_events_in_order() {
    let mut world = World::running().await;
    world.make(
        "61723",
        &[
            (
                0,
                &[
                    ("verify-credentials", "in-progress"),
                    ("retrieve-accounts", "pending"),
                ],
            ),
            (
                3000,
                &[
                    ("verify-credentials", "success"),
                    ("retrieve-accounts", "in-progress"),
                ],
            ),
            (
                8000,
                &[
                    ("verify-credentials", "success"),
                    ("retrieve-accounts", "success"),
                ],
            ),
        ],
    );
    world
        .sql("INSERT INTO jobs (id, metadata) VALUES ('61723', '{\"customer\":\"c_9\"}')")
        .await;
    world.until_ended(MINUTE).await;
    let transitions = world
        .rows("SELECT seq, position, title, from_status, to_status FROM transitions ORDER BY seq")
        .await;
    let expected = [
        ["1", "0", "verify-credentials", "-", "in-progress"],
        ["2", "1", "retrieve-accounts", "-", "pending"],
        ["3", "0", "verify-credentials", "in-progress", "success"],
        ["4", "1", "retrieve-accounts", "pending", "in-progress"],
        ["5", "1", "retrieve-accounts", "in-progress", "success"],
    ];
    assert_eq!(transitions, expected);
    let mut kinds = vec!["job.step_changed"; 5];
    kinds.push("job.completed");
    assert_eq!(world.sink.kinds("all", "61723"), kinds);
    let received = world.sink.received();
    let sequences: Vec<u64> = received.iter().map(|each| each.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    let end = &received[5].json()["data"];
    assert_eq!(
        (&end["state"], &end["metadata"]),
        (&json!("success"), &json!({"customer": "c_9"}))
    );
    assert_eq!(end["job"]["steps"][1]["status"], "success");
    assert_eq!(received[0].json()["data"]["job"], json!(null));
    let polls = world.value("SELECT polls FROM jobs").await;
    assert_eq!(polls, world.polled_at("61723").len().to_string());
}

#[tokio::test(start_paused = true)]
async fn the_page_s_first_example_is_kept_and_sent_word_for_word() {
    let mut world = World::running().await;
    let done = SEED.replace(
        "\"status\": \"in-progress\",\n      \"result\": null",
        "\"status\": \"success\",\n      \"result\": []",
    );
    assert_ne!(done, SEED);
    let phases = vec![
        Phase::verbatim(0, format!("\n{SEED}\n")),
        Phase::verbatim(5000, done.as_str()),
    ];
    world.tell("61723", phases);
    world.enqueue("61723").await;
    world.until(MINUTE, "SELECT polls > 0 FROM jobs", "1").await;
    let row = world.rows("SELECT state, resource FROM jobs").await;
    assert_eq!(row, [["in-progress", SEED]]);
    let (status, mirrored) = world.get("/jobs/61723").await;
    assert_eq!(
        (status, mirrored),
        (200, serde_json::from_str::<Value>(SEED).unwrap())
    );

    world.until_ended(MINUTE).await;
    let row = world
        .rows("SELECT state, resource, failure FROM jobs")
        .await;
    assert_eq!(row, [["success", done.as_str(), "-"]]);
    let transitions = world
        .rows("SELECT title, to_status, result, remote_updated FROM transitions ORDER BY seq")
        .await;
    let link = |url: &str| json!([{"type": "link", "url": url}]);
    let result = |row: &Vec<String>| serde_json::from_str::<Value>(&row[2]).unwrap();
    assert_eq!(
        (result(&transitions[0]), result(&transitions[1])),
        (
            link("/users/ea3a81/connections/8fce3b"),
            link("/users/ea3a81/accounts?filter=institution.id.eq('AU00000')")
        )
    );
    assert_eq!(
        transitions[2][1..],
        ["in-progress", "-", "2016-06-08T09:14:28.000Z"]
    );
    assert_eq!(transitions[3][1..3], ["success", "[]"]);
    let end = world.sink.received().pop().unwrap();
    assert_eq!(end.event, "job.completed");
    assert!(end.body.ends_with(format!("\"job\":{done}}}}}").as_bytes()));
    assert_eq!(end.json()["data"]["metadata"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn the_page_s_second_example_asks_for_action_once_with_absolute_time_and_url() {
    let mut world = World::running().await;
    let answered = SEED_MFA.replace("in-progress", "success");
    let done = answered.replace("pending", "success");
    let phases = vec![
        Phase::verbatim(0, SEED_MFA),
        Phase::verbatim(30_000, answered),
        Phase::verbatim(33_000, done),
    ];
    world.tell("61723", phases);
    world.enqueue("61723").await;
    world.until_ended(MINUTE).await;
    let delivered: Vec<Received> = world.sink.accepted("all");
    let asked: Vec<&Received> = delivered
        .iter()
        .filter(|each| each.event == "job.action_required")
        .collect();
    assert_eq!(asked.len(), 1, "{asked:#?}");
    let first_seen = world
        .value("SELECT first_seen_at FROM steps WHERE position = 1")
        .await;
    let expires = UnixMillis(first_seen.parse::<i64>().unwrap() + 3600);
    let challenge = json!({
        "step": "mfa-challenge",
        "method": "token",
        "description": "A SMS code has been sent to your device, please enter valid number",
        "input": ["OTP Password"],
        "expires_at": expires.rfc3339(),
        "response_url": format!("{}/jobs/61723/mfa", world.simulator.base_url()),
    });
    assert_eq!(asked[0].json()["data"]["challenge"], challenge);
    assert_eq!(asked[0].json()["data"]["state"], "in-progress");
    assert!(asked[0].text().contains(SEED_MFA));
    assert_eq!(delivered.last().unwrap().event, "job.completed");
}
