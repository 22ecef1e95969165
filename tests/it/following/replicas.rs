//! APIs that answer from several machines: some of them lag, and what a challenge still allows counts down.

use jobtrackd::simulator::Phase;
use serde_json::{Value, json};

use super::{MINUTE, events};
use crate::support::world::World;

const EVERY_SECOND: &str = "[polling]\nmax_delay = \"1s\"\njitter = 0.0";

/// What the API says second by second: when it was updated, and the steps.
async fn seen(answers: &[(&str, Value)]) -> World {
    let mut world = World::running_with(EVERY_SECOND).await;
    let phases = answers.iter().zip((0_u64..).step_by(1000));
    let phases = phases.map(|((updated, steps), at)| {
        let body = json!({"type": "job", "id": "j", "updated": updated, "steps": steps});
        Phase::verbatim(at.saturating_sub(500), body.to_string())
    });
    world.tell("j", phases.collect());
    world.enqueue("j").await;
    let time = std::time::Duration::from_secs(answers.len() as u64);
    world.pass(time).await;
    world
}

fn at(second: usize) -> String {
    format!("2026-11-22T15:04:{second:02}.000Z")
}

fn asks(expiry: usize) -> Value {
    json!([{"title": "mfa", "status": "in-progress", "result": {
        "type": "mfa", "method": "token", "input": ["OTP"], "expiryMs": expiry, "links": {"response": "/jobs/j/mfa"}}}])
}

fn works() -> Value {
    json!([{"title": "mfa", "status": "in-progress", "result": null}])
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_counts_down_is_sent_once_beside_replicas_that_lag() {
    let answers: Vec<(String, Value)> = (0..40)
        .map(|second| match second % 2 {
            0 => (at(second + 1), asks(120_000 - second * 1000)),
            _ => (at(0), works()),
        })
        .collect();
    let answers: Vec<(&str, Value)> = answers
        .iter()
        .map(|(updated, steps)| (updated.as_str(), steps.clone()))
        .collect();
    let world = seen(&answers).await;
    assert!(world.polled_at("j").len() >= 39);
    let delivered = events(&world, "job.action_required");
    assert_eq!(delivered.len(), 1);
    let expires = &delivered[0]["data"]["challenge"]["expires_at"];
    let kept = world
        .value("SELECT challenge_expires_at FROM steps WHERE title = 'mfa'")
        .await;
    let kept = jobtrackd::core::time::UnixMillis(kept.parse().unwrap());
    assert_eq!(expires, &kept.rfc3339());
    let steps = "SELECT count(*) FROM transitions WHERE result IS NULL";
    assert_eq!(
        world.value(steps).await,
        "0",
        "nothing of the lagging one is recorded"
    );
    let row = "SELECT consecutive_errors, last_error FROM jobs";
    assert_eq!(world.rows(row).await, [["0", "-"]], "they were good polls");
}

#[tokio::test(start_paused = true)]
async fn an_earlier_answer_is_believed_when_three_polls_in_a_row_bring_it() {
    let pending = json!([{"title": "a", "status": "pending", "result": null}]);
    let running = json!([{"title": "a", "status": "in-progress", "result": null}]);
    let failed = json!([{"title": "a", "status": "failed", "result": null}]);
    let (late, early, other) = (at(30), at(10), at(20));
    // Twice the same, then another one, then twice again: never three in a row.
    let mut answers = vec![
        (late.as_str(), running.clone()),
        (early.as_str(), failed.clone()),
        (early.as_str(), failed.clone()),
        (other.as_str(), failed.clone()),
        (early.as_str(), failed.clone()),
        (early.as_str(), failed.clone()),
        (late.as_str(), running.clone()),
    ];
    let world = seen(&answers).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "in-progress");
    answers.truncate(3);
    answers.push((early.as_str(), failed));
    let world = seen(&answers).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "failed");
    // What is newer than the believed one goes on as ever.
    let back = [
        (late.as_str(), running.clone()),
        (early.as_str(), pending.clone()),
        (early.as_str(), pending.clone()),
        (early.as_str(), pending),
        (other.as_str(), running),
        (
            late.as_str(),
            json!([{"title": "a", "status": "success", "result": null}]),
        ),
    ];
    let world = seen(&back).await;
    let path = "SELECT group_concat(to_status, ' ') FROM (SELECT * FROM transitions ORDER BY seq)";
    assert_eq!(
        world.value(path).await,
        "in-progress pending in-progress success"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_tells_no_challenge_again_and_keeps_its_time() {
    let mut world = World::running_with(EVERY_SECOND).await;
    let body = |expiry| {
        json!({"type": "job", "id": "j", "updated": at(1), "steps": asks(expiry)}).to_string()
    };
    let phases = (0..30)
        .map(|second| Phase::verbatim(second * 1000, body(120_000 - second as usize * 1000)));
    world.tell("j", phases.collect());
    world.enqueue("j").await;
    world.pass(MINUTE / 12).await;
    world.kill();
    world.start().await;
    world.pass(MINUTE / 12).await;
    world.stop().await;
    world.start().await;
    world.pass(MINUTE / 6).await;
    assert_eq!(events(&world, "job.action_required").len(), 1);
}
