//! `jobtrackd mfa`: from the command line, a pipe or a terminal to the API, with the daemon up or down.

mod canary;

use std::process::{Output, Stdio};

use jobtrackd::simulator::{Fault, FaultRule};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::house::House;
use crate::support::challenges::{ask, done, mfa};
use crate::support::pty::Pty;
use crate::support::receiver::SECRET;
use crate::support::waiting::until;

const CHALLENGES_SENT: &str = "SELECT count(*) FROM events WHERE type = 'job.action_required'";

/// A house in which job `m` of user `u1` has asked for these; the daemon is down.
async fn asked(inputs: Value, expected: &[&str]) -> House {
    let house = House::new().await;
    let mut mfa = mfa("/jobs/m/mfa");
    mfa["input"] = inputs;
    ask(&house.control(), "m", Some("u1"), &mfa, expected, done());
    let daemon = house.running().await;
    house.sql("INSERT INTO jobs (id) VALUES ('m')").await;
    house.until(CHALLENGES_SENT, "1").await;
    daemon.stop().await;
    house
}

async fn asked_for_code() -> House {
    asked(json!(["Code"]), &["1234"]).await
}

async fn asked_twice() -> House {
    asked(
        json!(["Your company?", "Your\u{7} bank?"]),
        &["Basiq", "AU00002"],
    )
    .await
}

/// Runs the command with this as its standard input; answers its exit code, standard output and standard error.
async fn run(house: &House, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = house.command("mfa");
    command.args(arguments);
    let mut child = tokio::process::Command::from(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may be gone by now.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let Output {
        status,
        stdout,
        stderr,
    } = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// How many requests with answers the API has had, and the user of the last one's token.
fn relayed(house: &House) -> (usize, Option<String>) {
    let log = house.control().requests().into_iter();
    let relayed: Vec<_> = log.filter(|each| each.path.ends_with("/mfa")).collect();
    let user = relayed.last().and_then(|last| last.user.clone());
    (relayed.len(), user)
}

async fn succeeds(house: &House) {
    house
        .until("SELECT state FROM jobs WHERE id = 'm'", "success")
        .await;
}

#[tokio::test]
async fn answers_reach_the_api_with_the_daemon_down_and_the_next_start_polls_at_once() {
    let mut house = asked_twice().await;
    // After the start no poll comes by itself.
    house.set("polling", "initial_delay", "1m");
    house.set("polling", "max_delay", "1m");
    // Nor does the command need the secrets of webhooks.
    house.unset("webhooks.all", "secret");
    let later = "UPDATE jobs SET next_poll_at = next_poll_at + 3600000";
    house.sql(later).await;
    let (code, out, err) = run(&house, &["m", "Basiq", "AU00002"], "").await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(
        out.contains("the API accepted the answers: HTTP 202"),
        "{out}"
    );
    assert!(out.contains("\"id\":\"m\""), "{out}");
    assert!(out.contains("jobtrackd show m"), "{out}");
    assert_eq!(relayed(&house), (1, Some("u1".to_owned())));
    assert_eq!(house.value("SELECT poll_requested FROM jobs").await, "1");
    house.set("webhooks.all", "secret", SECRET);
    let asked = house.asked("m");
    let daemon = house.running().await;
    house
        .until("SELECT polls > 0 AND poll_requested = 0 FROM jobs", "1")
        .await;
    until("a poll", || house.asked("m") > asked).await;
    daemon.stop().await;
}

#[tokio::test]
async fn with_the_daemon_up_the_job_is_polled_at_once() {
    let mut house = asked_for_code().await;
    // After the poll of the start none comes by itself.
    house.set("polling", "initial_delay", "1m");
    house.set("polling", "max_delay", "1m");
    let asked = house.asked("m");
    let daemon = house.running().await;
    until("the poll of the start", || house.asked("m") > asked).await;
    let (code, out, err) = run(&house, &["m", "--json", "-"], "1234\r\n").await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let record: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&record["id"], &record["taken"], &record["status"]),
        (&json!("m"), &json!(true), &json!(202))
    );
    assert_eq!(record["body"]["type"], "job", "{record}");
    succeeds(&house).await;
    daemon.stop().await;
}

#[tokio::test]
async fn what_is_refused_says_why_and_what_to_type() {
    let house = asked_twice().await;
    let long = "x".repeat(5000);
    for (arguments, input, code, says) in [
        (&["nobody", "1"][..], "", 1, "jobtrackd list"),
        (&["m", "1"], "", 1, "takes 2 answers, not 1"),
        (&["m", "1"], "", 1, "Your\\u0007 bank?"),
        (&["m", "-"], "1\n", 1, "takes 2 answers, not 1"),
        (&["m", "-"], "1\n\n", 1, "answer 2 is empty"),
        (&["m", "1", &long], "", 1, "longer than 4096 bytes"),
        (&["m"], "", 1, "jobtrackd mfa m -"),
        (&["a b", "1"], "", 2, "a job id is"),
        (&[], "", 2, "Usage"),
    ] {
        let (found, out, err) = run(&house, arguments, input).await;
        assert_eq!(found, code, "{arguments:?}: {out}{err}");
        assert!(err.contains(says), "{arguments:?}: {err}");
        assert_eq!(relayed(&house).0, 0, "{arguments:?}");
    }
    let broken = Fault::Status {
        status: 400,
        retry_after: None,
        body: Some("{\"said\":\"\u{1b}[2Jno\"}".to_owned()),
    };
    let rule = FaultRule::new(broken).on_path("/jobs/m/mfa");
    house.control().inject(rule).unwrap();
    let (code, out, err) = run(&house, &["m", "a", "b"], "").await;
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("HTTP 400\n{\"said\":\"\\u{1b}[2Jno\"}"),
        "{out}"
    );
    assert!(err.contains("jobtrackd show m"), "{err}");
    let (code, out, _) = run(&house, &["m", "a", "b", "--json"], "").await;
    let record: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &record["taken"]), (1, &json!(false)));
    assert_eq!(house.value("SELECT poll_requested FROM jobs").await, "1");
}

#[tokio::test]
async fn on_a_terminal_each_input_is_asked_for_and_nothing_typed_is_shown() {
    let house = asked_twice().await;
    let mut command = house.command("mfa");
    command.arg("m");
    let mut pty = Pty::start(&command, 100, 24);
    pty.shows("Your company?:").await;
    assert!(!pty.echoes());
    pty.types("Basik\u{7f}q\n");
    pty.shows("Your\\u{7} bank?:").await;
    pty.types("AU00002\n");
    pty.shows("the API accepted the answers").await;
    let (ended, left) = pty.ended().await;
    let text = left.raw;
    assert_eq!(ended.code(), Some(0), "{text}");
    assert!(pty.echoes());
    assert!(!text.contains("Basi") && !text.contains("AU0"), "{text}");
    let daemon = house.running().await;
    succeeds(&house).await;
    daemon.stop().await;
}

#[tokio::test]
async fn breaking_off_sends_nothing_and_gives_the_terminal_back() {
    let house = asked_for_code().await;
    for (keys, says) in [
        ("12\u{3}", "interrupted"),
        ("\u{4}", "nothing was typed"),
        ("\n", "answer 1 is empty"),
    ] {
        let mut command = house.command("mfa");
        command.arg("m");
        let mut pty = Pty::start(&command, 100, 24);
        pty.shows("Code:").await;
        pty.types(keys);
        let (ended, left) = pty.ended().await;
        assert_eq!(ended.code(), Some(1), "{}", left.text());
        assert!(left.text().contains(says), "{}", left.text());
        assert!(pty.echoes(), "{says}");
    }
    assert_eq!(relayed(&house).0, 0);
}
