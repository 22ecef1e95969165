//! Every shape in which the API is known to describe a job.

use jobtrackd::simulator::Phase;
use serde_json::{Value, json};

use super::MINUTE;
use super::documents::{
    ALL_DONE, ANSWERED_STEP, FAILED_STEPS, NO_SOURCE, QUESTIONS_STEP, QUEUED_STEP, REFUSED,
    SKIPPED_STEP, STATEMENT,
};
use crate::support::world::World;

/// A job around steps, with these keys beside them.
fn around(keys: &str, steps: &str) -> String {
    format!(r#"{{"type":"job","id":"ID",{keys}"steps":[{steps}]}}"#)
}

fn step(title: &str, status: &str) -> String {
    json!({"title": title, "status": status, "result": null}).to_string()
}

/// Follows one job per body until each was polled, and checks that each is kept as it came.
async fn seen(bodies: &[String]) -> World {
    let mut world = World::running().await;
    let mut inserts = String::from("BEGIN;");
    for (number, body) in bodies.iter().enumerate() {
        let id = format!("job-{number:02}");
        let own: Value = serde_json::from_str(body).unwrap();
        // Samples have ids of their own; they stay as they are where the row has a url.
        world.tell(
            &id,
            vec![Phase::verbatim(
                0,
                body.replace("\"ID\"", &format!("\"{id}\"")),
            )],
        );
        let url = if own["id"] == "ID" {
            "NULL".to_owned()
        } else {
            format!("'/jobs/{id}'")
        };
        inserts.push_str(&format!(
            "INSERT INTO jobs (id, url) VALUES ('{id}', {url});"
        ));
    }
    world.sql(&format!("{inserts} COMMIT")).await;
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM jobs WHERE state = 'pending'",
            "0",
        )
        .await;
    for (number, row) in world
        .rows("SELECT resource FROM jobs ORDER BY id")
        .await
        .iter()
        .enumerate()
    {
        let id = format!("\"job-{number:02}\"");
        assert_eq!(row[0].replace(&id, "\"ID\""), bodies[number]);
    }
    world
}

async fn states(world: &World) -> Vec<String> {
    let rows = world.rows("SELECT state FROM jobs ORDER BY id").await;
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[tokio::test(start_paused = true)]
async fn published_samples_end_as_their_steps_say() {
    let text = |text: &str| text.to_owned();
    let world = seen(&[
        text(ALL_DONE),
        text(NO_SOURCE),
        text(REFUSED),
        text(STATEMENT),
        around("", &format!("{},{QUESTIONS_STEP}", step("a", "success"))),
        around("", &format!("{},{SKIPPED_STEP}", step("a", "success"))),
        around("", &format!("{},{ANSWERED_STEP}", step("a", "success"))),
        around("", SKIPPED_STEP),
        around(r#""status":"success","#, ""),
    ])
    .await;
    let expected = [
        "success",
        "in-progress",
        "failed",
        "failed",
        "in-progress",
        "success",
        "in-progress",
        "success",
        "in-progress",
    ];
    assert_eq!(states(&world).await, expected);
    let left = world
        .rows("SELECT title, status FROM steps WHERE job_id = 'job-02' ORDER BY position")
        .await;
    assert_eq!(
        left[1..],
        [
            ["retrieve-accounts", "pending"],
            ["retrieve-transactions", "pending"]
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_api_says_of_a_failure_is_passed_through_untouched() {
    let mut steps: Vec<String> = FAILED_STEPS.iter().map(|&step| step.to_owned()).collect();
    let with = |result: &str| format!(r#"{{"title":"t","status":"failed","result":{result}}}"#);
    steps.push(with(
        r#"{"code":"c","title":"T","details":"in the other field"}"#,
    ));
    steps.push(with(
        r#"[{"code":7,"title":null,"detail":{"deep":[1.50]}}]"#,
    ));
    steps.push(with(r#"[{"type":"link","url":"/x"},{"code":"later"}]"#));
    steps.push(with("\"a text\""));
    steps.push(r#"{"title":"t","status":"failed"}"#.to_owned());
    let bodies: Vec<String> = steps
        .iter()
        .map(|failed| around("", &format!("{failed},{}", step("after", "pending"))))
        .collect();
    let mut world = seen(&bodies).await;
    world.until_ended(MINUTE).await;
    let failures = world.rows("SELECT failure FROM jobs ORDER BY id").await;
    assert_eq!(failures.len(), steps.len());
    let delivered = world.sink.accepted("all");
    for (number, (sent, failure)) in steps.iter().zip(&failures).enumerate() {
        let sent: Value = serde_json::from_str(sent).unwrap();
        let expected = match number {
            5 => json!({"code": "c", "title": "T", "detail": "in the other field"}),
            6 => sent["result"][0].clone(),
            7 => json!({"code": "later", "title": null, "detail": null}),
            0..=3 => sent["result"].clone(),
            _ => json!({"code": null, "title": null, "detail": null}),
        };
        let mut expected = expected;
        expected["kind"] = json!("step");
        expected["step"] = sent["title"].clone();
        assert_eq!(
            serde_json::from_str::<Value>(&failure[0]).unwrap(),
            expected,
            "{number}"
        );
        let end = delivered
            .iter()
            .find(|each| each.job == format!("job-{number:02}") && each.event == "job.failed")
            .unwrap();
        assert_eq!(end.json()["data"]["failure"], expected);
        assert_eq!(end.json()["data"]["state"], "failed");
    }
}

#[tokio::test(start_paused = true)]
async fn other_dates_null_links_and_odd_values_do_not_stand_in_the_way() {
    let world = seen(&[
        around(
            r#""createdDate":"2024-01-01","updatedDate":"2024-01-02","sourceId":"s","#,
            &step("a", "success"),
        ),
        around(
            r#""links":null,"institution":{"id":"AU00000"},"#,
            &step("a", "failed"),
        ),
        around(
            r#""updated":1.5e3,"links":7,"big":123456789012345678901234567890,"#,
            &step("a", "skipped"),
        ),
        around(
            "",
            r#"{"title":7,"status":"success","extra":[]},{"status":"success"}"#,
        ),
        around("", r#"{"title":"a","status":null},{"title":"b"}"#),
        around("", "").replace("[]", "null"),
    ])
    .await;
    let expected = [
        "success",
        "failed",
        "success",
        "success",
        "in-progress",
        "in-progress",
    ];
    assert_eq!(states(&world).await, expected);
    let updated = world
        .rows("SELECT remote_updated FROM transitions WHERE seq = 1 ORDER BY job_id")
        .await;
    assert_eq!(updated.concat()[..3], ["2024-01-02", "-", "1.5e3"]);
    let titles = world
        .rows("SELECT title FROM steps WHERE job_id = 'job-03' ORDER BY position")
        .await;
    assert_eq!(titles.concat(), ["7", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_in_an_object_and_a_queued_step_are_sent_once() {
    let mut world = seen(&[
        around("", QUESTIONS_STEP),
        around("", QUEUED_STEP),
        around("", &QUEUED_STEP.replace("pending\"", "success\"")),
        around("", &QUESTIONS_STEP.replace("in-progress", "success")),
    ])
    .await;
    world.pass(3 * MINUTE).await;
    let delivered = world.sink.accepted("all");
    let of = |kind: &str| {
        let mut found = delivered.iter().filter(|each| each.event == kind);
        let only = found.next().unwrap().clone();
        assert!(found.next().is_none(), "{kind} twice");
        only
    };
    let asked = of("job.action_required");
    let challenge = &asked.json()["data"]["challenge"];
    assert_eq!(asked.job, "job-00");
    assert_eq!(
        challenge["response_url"],
        "https://au-api.basiq.io/jobs/61723/mfa"
    );
    assert_eq!(challenge["method"], "security-questions");
    assert_eq!(challenge["input"].as_array().unwrap().len(), 2);
    let delayed = of("job.delayed");
    assert_eq!(delayed.job, "job-01");
    assert_eq!(delayed.json()["data"]["step"], "verify-credentials");
    assert_eq!(
        delayed.json()["data"]["reason"],
        json!({
            "code": "temporary-unavailable-queued",
            "title": "Institution temporary unavailable, retry pending",
            "detail": "3rd party service temporary unavailable. Job queued, retry in 2 hours.",
        })
    );
}
