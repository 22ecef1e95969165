//! What an operator reads: one line for each thing worth knowing, and none for each poll or attempt.

use jobtrackd::simulator::{Fault, FaultRule, Reply};
use serde_json::Value;

use super::house::House;
use super::program::Program;
use crate::support::waiting::until;

/// The lines with these words, as objects.
fn lines(text: &str, words: &str) -> Vec<Value> {
    let found = text.lines().filter(|line| line.contains(words));
    found
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The levels and messages of everything but the start and the stop, sorted: which of two lines about one moment comes
/// first is not promised.
fn messages(text: &str) -> Vec<String> {
    let frame = |line: &Value| {
        let target = line["target"].as_str().unwrap();
        let frames = [
            "jobtrackd::app",
            "jobtrackd::lifecycle",
            "jobtrackd::cli",
            "jobtrackd_store::sqlite::open",
        ];
        frames.iter().any(|frame| target.starts_with(frame))
    };
    let said = |line: Value| {
        let (level, message) = (line["level"].as_str(), line["message"].as_str());
        format!("{} {}", level.unwrap(), message.unwrap())
    };
    let inner = lines(text, "").into_iter().filter(|line| !frame(line));
    let mut said: Vec<String> = inner.map(said).collect();
    said.sort();
    said
}

#[tokio::test]
async fn at_info_a_job_is_one_line_however_often_it_is_polled() {
    let house = House::new().await;
    let program = house.running().await;
    house.follow("61723", &[(0, &[("a", "in-progress")])]).await;
    until("the polls", || house.asked("61723") >= 25).await;
    house.sql("UPDATE jobs SET cancel_requested = 1").await;
    house.until_ended().await;
    house.follow("61724", &[(0, &[("a", "success")])]).await;
    house.until_ended().await;
    let text = program.stop().await.text;
    assert_eq!(
        messages(&text),
        ["INFO job completed", "INFO job failed"],
        "{text}"
    );
    let failed = &lines(&text, "job failed")[0];
    assert_eq!(failed["job_id"], "61723");
    assert_eq!(failed["kind"], "cancelled");
    assert!(failed["polls"].as_u64().unwrap() >= 25, "{failed}");
    let completed = &lines(&text, "job completed")[0];
    assert_eq!(completed["job_id"], "61724");
    assert_eq!(completed["polls"], 1);
}

#[tokio::test]
async fn the_failure_of_a_step_is_logged_with_its_code_and_without_its_texts() {
    let mut house = House::new().await;
    house.set("log", "level", "debug");
    let program = house.running().await;
    let body = r#"{"type":"job","id":"1","steps":[{"title":"a","status":"failed",
        "result":{"code":"invalid-credentials","title":"sorry alice@example","detail":"sorry"}}]}"#;
    let rule = FaultRule::new(Fault::Status {
        status: 200,
        retry_after: None,
        body: Some(body.to_owned()),
    });
    house.control().inject(rule.on_job("1")).unwrap();
    house.sql("INSERT INTO jobs (id) VALUES ('1')").await;
    house.until_ended().await;
    let text = program.stop().await.text;
    let failed = &lines(&text, "job failed")[0];
    assert_eq!(failed["kind"], "step");
    assert_eq!(failed["code"], "invalid-credentials");
    assert!(!text.contains("sorry"), "{text}");
}

#[tokio::test]
async fn an_upstream_that_fails_every_poll_is_said_once_and_so_is_its_end() {
    let mut house = House::new().await;
    house.set("polling", "error_max_delay", "50ms");
    let program = house.running().await;
    let broken = FaultRule::new(Fault::Status {
        status: 500,
        retry_after: None,
        body: None,
    });
    house.control().inject(broken.on_job("1")).unwrap();
    house.follow("1", &[(0, &[("a", "success")])]).await;
    until("the polls", || house.asked("1") >= 20).await;
    house.control().clear_faults();
    house.until_ended().await;
    let text = program.stop().await.text;
    assert_eq!(
        messages(&text),
        [
            "INFO job completed",
            "INFO the upstream gives usable answers again",
            "WARN the upstream gives no usable answers",
        ],
        "{text}"
    );
    let trouble = &lines(&text, "no usable answers")[0];
    assert!(
        trouble["error"].as_str().unwrap().contains("HTTP 500"),
        "{trouble}"
    );
}

#[tokio::test]
async fn a_webhook_that_fails_for_three_jobs_is_one_warning_one_hold_and_one_recovery() {
    let mut house = House::new().await;
    // None of them is given up before all three have failed.
    let retry = ["\"100ms\""; 50].join(", ");
    house.raw("webhooks.all", "retry", &format!("[{retry}]"));
    house.raw("webhooks.all", "events", "[\"job.completed\"]");
    let refusal = Reply::always("all", "job.completed", 500);
    house.sink.reply(refusal);
    let program = house.running().await;
    for job in ["1", "2", "3"] {
        house.follow(job, &[(0, &[("a", "success")])]).await;
    }
    let held = "SELECT count(held_since) FROM webhooks";
    house.until(held, "1").await;
    house.sink.forget_replies("all");
    house.until_ended().await;
    let text = program.stop().await.text;
    assert_eq!(
        messages(&text),
        [
            "INFO job completed",
            "INFO job completed",
            "INFO job completed",
            "INFO the webhook takes events again",
            "WARN the webhook does not take events; they are tried again",
            "WARN the webhook is held: one event at a time is tried until it takes one",
        ],
        "{text}"
    );
    let trouble = &lines(&text, "does not take events")[0];
    assert_eq!(trouble["webhook"], "all");
    assert_eq!(trouble["error"], "status: 500 Internal Server Error");
    assert!(trouble["retry_in_ms"].as_u64().is_some(), "{trouble}");
    assert_eq!(lines(&text, "takes events again")[0]["webhook"], "all");
}

#[tokio::test]
async fn at_debug_each_poll_and_each_attempt_is_a_line_with_its_outcome_and_duration() {
    let mut house = House::new().await;
    house.set("log", "level", "debug");
    house.raw("webhooks.all", "events", "[\"job.completed\"]");
    house.sink.reply_in_turn("all", &[(503, ""), (500, "")]);
    let program = house.running().await;
    let script: [(u64, &[(&str, &str)]); 2] =
        [(0, &[("a", "in-progress")]), (200, &[("a", "success")])];
    house.follow("1", &script).await;
    house.until_ended().await;
    let text = program.stop().await.text;

    let polls = lines(&text, "\"polled\"");
    assert_eq!(polls.len(), house.asked("1"), "{text}");
    for poll in &polls {
        assert_eq!(
            (&poll["level"], &poll["job_id"]),
            (&"DEBUG".into(), &"1".into())
        );
        assert_eq!(poll["outcome"], "answered");
        assert_eq!(poll["error"], Value::Null);
        assert!(poll["duration_ms"].as_u64().is_some(), "{poll}");
    }
    let attempts = lines(&text, "\"attempted\"");
    let of = |key: &str| attempts.iter().map(|line| line[key].clone()).collect();
    let (numbers, status): (Vec<Value>, Vec<Value>) = (of("attempt"), of("status"));
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(status, [503, 500, 204]);
    for attempt in &attempts {
        assert_eq!(
            (&attempt["webhook"], &attempt["job_id"]),
            (&"all".into(), &"1".into())
        );
        assert!(attempt["duration_ms"].as_u64().is_some(), "{attempt}");
        assert!(attempt["event_id"].as_str().is_some(), "{attempt}");
    }
    // The libraries stay silent unless they are named.
    for line in lines(&text, "") {
        let target = line["target"].as_str().unwrap();
        assert!(target.starts_with("jobtrackd"), "{line}");
    }
}

#[tokio::test]
async fn a_webhook_that_nobody_configured_is_said_once_for_all_jobs_that_name_it() {
    let house = House::new().await;
    house.migrate().await;
    house
        .sql(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) \
             INSERT INTO jobs (id, webhook) SELECT 'j' || i, 'biling' FROM n",
        )
        .await;
    let program = house.running().await;
    house
        .sql("INSERT INTO jobs (id, webhook) VALUES ('other', 'allx')")
        .await;
    program.says("allx").await;
    let text = program.stop().await.text;
    let said = lines(&text, "is not configured");
    let named: Vec<&Value> = said.iter().map(|line| &line["webhook"]).collect();
    assert_eq!(named, ["biling", "allx"], "{text}");
}

#[tokio::test]
async fn rows_that_another_program_damaged_are_logged_once_and_not_at_every_poll() {
    let mut house = House::new().await;
    house.set("polling", "error_max_delay", "50ms");
    house.migrate().await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    house
        .sql(
            "CREATE TRIGGER spoilt BEFORE UPDATE OF revision ON jobs \
             BEGIN SELECT raise(ABORT, 'not with me'); END",
        )
        .await;
    let program = house.running().await;
    until("the polls", || house.asked("1") >= 10).await;
    let text = program.stop().await.text;
    assert_eq!(
        messages(&text),
        [
            "ERROR what was seen of the job cannot be recorded; its rows were changed by another program"
        ],
        "{text}"
    );
}

#[tokio::test]
async fn an_inherited_journal_stream_does_not_send_the_lines_of_a_pipe_to_the_journal() {
    let house = House::new().await;
    let mut command = house.command("run");
    let program = Program::start(command.env("JOURNAL_STREAM", "9:12345"));
    program.ready().await;
    let text = program.stop().await.text;
    assert!(lines(&text, "").len() >= 2, "{text}");
    assert!(lines(&text, "journald").is_empty(), "{text}");
}
