//! What counts as a transition, and what does not.

use jobtrackd::simulator::{Phase, Step};
use serde_json::{Value, json};

use super::MINUTE;
use crate::support::world::World;

/// Polls every second, so that a phase of three seconds is never missed.
const OFTEN: &str = "[polling]\nmax_delay = \"1s\"";

/// Shows one phase every three seconds, the last one for good, and answers with the transitions as
/// `title: from > to result`.
async fn transitions(phases: &[Vec<Step>]) -> (World, Vec<String>) {
    let mut world = World::running_with(OFTEN).await;
    let times = (0..).step_by(3000);
    let phases: Vec<Phase> = times
        .zip(phases)
        .map(|(at, steps)| Phase::steps(at, steps))
        .collect();
    let wanted = 3 * phases.len() as u32;
    world.tell("j", phases);
    world.enqueue("j").await;
    world
        .pass(std::time::Duration::from_secs(u64::from(wanted)))
        .await;
    let rows = world
        .rows("SELECT seq, position, title, from_status, to_status, result FROM transitions ORDER BY seq")
        .await;
    let numbers: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=rows.len()).collect::<Vec<_>>());
    let lines = rows
        .iter()
        .map(|row| format!("{} {}: {} > {} {}", row[1], row[2], row[3], row[4], row[5]))
        .collect();
    (world, lines)
}

fn steps(all: &[(&str, &str)]) -> Vec<Step> {
    all.iter()
        .map(|(title, status)| Step::new(*title, *status))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn unknown_words_a_leap_and_a_way_back_are_kept_word_for_word() {
    let (world, lines) = transitions(&[
        steps(&[("a", "pending")]),
        steps(&[("a", "Non-Interactive MFA ✓")]),
        steps(&[("a", "success"), ("b", "SUCCESS")]),
        steps(&[("a", "in-progress"), ("b", "missing")]),
        steps(&[("a", "success"), ("b", "")]),
    ])
    .await;
    let expected = [
        "0 a: - > pending -",
        "0 a: pending > Non-Interactive MFA ✓ -",
        "0 a: Non-Interactive MFA ✓ > success -",
        "1 b: - > SUCCESS -",
        "0 a: success > in-progress -",
        "1 b: SUCCESS > missing -",
        "0 a: in-progress > success -",
        "1 b: missing >  -",
    ];
    assert_eq!(lines, expected);
    assert_eq!(world.value("SELECT state FROM jobs").await, "in-progress");
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_row_another_program_has_changed_is_not_polled_once_more_for_that() {
    let mut world = World::running_with(OFTEN).await;
    let phases = [(0, "pending"), (5000, "in-progress"), (10_000, "success")];
    let phases = phases.map(|(at, status)| Phase::steps(at, &steps(&[("a", status)])));
    world.tell("j", phases.into());
    world.enqueue("j").await;
    for webhook in ["'all'", "NULL"] {
        world.pass(std::time::Duration::from_secs(3)).await;
        // As `webhook move` does it.
        let moved = format!("UPDATE jobs SET webhook = {webhook}, revision = revision + 1");
        world.sql(&moved).await;
    }
    world.pass(std::time::Duration::from_secs(20)).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
    let polls = world.polled_at("j");
    let gaps: Vec<_> = polls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap > 500), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_result_alone_is_a_transition_and_the_order_of_its_keys_is_not() {
    let with = |result: Value| vec![Step::new("a", "in-progress").with(result)];
    let (world, lines) = transitions(&[
        with(Value::Null),
        with(json!({"x": 1, "y": [2]})),
        with(json!({"x": 1, "y": [2, 3]})),
    ])
    .await;
    assert_eq!(lines[1..].len(), 2, "{lines:?}");
    assert!(lines[1].starts_with("0 a: in-progress > in-progress {"));
    let delivered = world.sink.accepted("all").pop().unwrap();
    assert_eq!(
        delivered.json()["data"]["transition"],
        json!({"seq": 3, "position": 0, "title": "a", "from": "in-progress", "to": "in-progress",
               "result": {"x": 1, "y": [2, 3]}})
    );

    let mut world = World::running_with(OFTEN).await;
    let body = |result: &str| {
        format!(
            r#"{{"type":"job","id":"k","steps":[{{"title":"a","status":"x","result":{result}}}]}}"#
        )
    };
    let phases = vec![
        Phase::verbatim(0, body(r#"{"p":1,"q":"é"}"#)),
        Phase::verbatim(3000, body(r#"{ "q":"\u00e9", "p":1 }"#)),
    ];
    world.tell("k", phases);
    world.enqueue("k").await;
    world.pass(std::time::Duration::from_secs(6)).await;
    assert_eq!(world.value("SELECT count(*) FROM transitions").await, "1");
    let resource = world.value("SELECT resource FROM jobs").await;
    assert!(
        resource.contains("\\u00e9"),
        "the latest answer is shown: {resource}"
    );
}

#[tokio::test(start_paused = true)]
async fn steps_that_appear_vanish_and_come_back_are_distinguished_from_a_reorder() {
    let (world, lines) = transitions(&[
        steps(&[("a", "success"), ("b", "pending")]),
        steps(&[("b", "pending"), ("a", "success")]),
        steps(&[("a", "success"), ("new", "pending"), ("b", "pending")]),
        steps(&[("a", "success"), ("b", "pending")]),
        steps(&[("a", "success"), ("new", "pending"), ("b", "pending")]),
    ])
    .await;
    let expected = [
        "0 a: - > success -",
        "1 b: - > pending -",
        "1 new: - > pending -",
        "1 new: pending > missing -",
        "1 new: missing > pending -",
    ];
    assert_eq!(lines, expected);
    let known = world
        .rows("SELECT title, position FROM steps ORDER BY position")
        .await;
    assert_eq!(known, [["a", "0"], ["new", "1"], ["b", "2"]]);
}

#[tokio::test(start_paused = true)]
async fn only_the_latest_steps_decide_success() {
    let (world, lines) = transitions(&[
        steps(&[("a", "success"), ("b", "pending")]),
        steps(&[]),
        steps(&[("a", "success")]),
    ])
    .await;
    assert_eq!(
        lines[2..],
        [
            "0 a: success > missing -",
            "1 b: pending > missing -",
            "0 a: missing > success -"
        ]
    );
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
    let end = world.sink.accepted("all").pop().unwrap();
    assert_eq!((end.event.as_str(), end.sequence), ("job.completed", 6));
}

#[tokio::test(start_paused = true)]
async fn equal_titles_are_different_steps() {
    let (_, lines) = transitions(&[
        steps(&[("a", "success"), ("a", "pending")]),
        steps(&[("a", "success"), ("a", "in-progress")]),
        steps(&[("a", "success")]),
    ])
    .await;
    let expected = [
        "0 a: - > success -",
        "1 a: - > pending -",
        "1 a: pending > in-progress -",
        "1 a: in-progress > missing -",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_final_whatever_the_api_says_later() {
    let mut world = World::running_with(OFTEN).await;
    let failed = [("a", "failed"), ("b", "pending")];
    world
        .follow(
            "wrong",
            &[(0, &failed), (2000, &[("a", "success"), ("b", "success")])],
        )
        .await;
    world
        .follow(
            "done",
            &[(0, &[("a", "success")]), (2000, &[("a", "failed")])],
        )
        .await;
    world.until_ended(MINUTE).await;
    world.sql("UPDATE jobs SET poll_requested = 1, cancel_requested = 1, priority = 3, deadline_at = 1").await;
    world.pass(2 * MINUTE).await;
    let rows = world
        .rows("SELECT id, state, polls, next_poll_at FROM jobs ORDER BY id")
        .await;
    assert_eq!(
        rows,
        [["done", "success", "1", "-"], ["wrong", "failed", "1", "-"]]
    );
    assert_eq!(
        (
            world.polled_at("done").len(),
            world.polled_at("wrong").len()
        ),
        (1, 1)
    );
    assert_eq!(
        world.sink.kinds("all", "wrong").last().unwrap(),
        "job.failed"
    );
    assert_eq!(world.sink.received().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn each_new_challenge_is_sent_and_the_same_one_only_once() {
    let mfa = |text: &str| {
        let mfa = json!({"type": "mfa", "method": "token", "description": text, "input": ["OTP"],
                         "expiryMs": 120_000, "links": {"response": "/jobs/j/mfa"}});
        vec![Step::new("mfa-challenge", "in-progress").with(mfa)]
    };
    let checking = steps(&[("mfa-challenge", "in-progress")]);
    let (world, _) = transitions(&[
        mfa("first"),
        mfa("first"),
        checking.clone(),
        mfa("first"),
        mfa("changed"),
        checking,
        steps(&[("mfa-challenge", "success")]),
    ])
    .await;
    let delivered = world.sink.accepted("all");
    let asked: Vec<Value> = delivered
        .iter()
        .filter(|each| each.event == "job.action_required")
        .map(|each| each.json()["data"]["challenge"]["description"].clone())
        .collect();
    assert_eq!(asked, ["first", "first", "changed"]);
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
}

#[tokio::test(start_paused = true)]
async fn metadata_and_numbers_reach_the_receiver_as_they_were_written() {
    let mut world = World::running_with(OFTEN).await;
    let metadata = r#"{ "a":1.0, "b":123456789012345678901234567890, "a":"é\u00e9" }"#;
    let body = r#"{"id":5,"type":"job","n":1.50,"steps":[{"title":"a","status":"success","result":{"n":1e400}}]}"#;
    world.tell("5", vec![Phase::verbatim(0, body)]);
    world
        .sql(&format!(
            "INSERT INTO jobs (id, metadata) VALUES ('5', '{metadata}')"
        ))
        .await;
    world.until_ended(MINUTE).await;
    let delivered = world.sink.accepted("all");
    assert!(
        delivered
            .iter()
            .all(|each| each.text().contains(&format!("\"metadata\":{metadata}")))
    );
    assert!(delivered[0].text().contains("\"result\":{\"n\":1e400}"));
    assert!(delivered[1].text().contains(body));
}
