//! The path of one job, from a row to its end and to a webhook.

use std::time::Duration;

use serde_json::json;

use crate::support::world::World;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_row_is_followed_to_its_end_and_a_webhook_is_told_in_order() {
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
    let sequences: Vec<u64> = received
        .iter()
        .map(super::support::sink::Received::sequence)
        .collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5, 6]);
    let end = &received[5].body["data"];
    assert_eq!(
        (&end["state"], &end["metadata"]),
        (&json!("success"), &json!({"customer": "c_9"}))
    );
    assert_eq!(end["job"]["steps"][1]["status"], "success");
    assert_eq!(received[0].body["data"]["job"], json!(null));
    let polls = world.value("SELECT polls FROM jobs").await;
    assert_eq!(polls, world.polled_at("61723").len().to_string());
}
