//! `events` beside a daemon: as they happen, behind a cursor, to a reader that goes away.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::house::{House, get};

fn events(house: &House, arguments: &[&str]) -> Command {
    let mut command = house.command("events");
    command.args(arguments);
    command
}

fn lines(house: &House, arguments: &[&str]) -> Vec<Value> {
    let output = events(house, arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A program that follows, and the lines it prints.
fn following(house: &House, arguments: &[&str]) -> (Child, impl Iterator<Item = Value>) {
    let mut child = events(house, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines = out
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    (child, lines)
}

async fn ended(house: &House, id: &str) {
    house.follow(id, &[(0, &[("a", "success")])]).await;
    house.until_ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_followed_as_they_happen_and_each_comes_once_behind_its_cursor() {
    let house = House::new().await;
    let daemon = house.running().await;
    ended(&house, "before").await;
    let (mut child, mut printed) = following(&house, &["--follow", "--json", "--after", "0"]);
    let first: Vec<Value> = printed.by_ref().take(2).collect();
    let jobs: Vec<&Value> = first.iter().map(|event| &event["job_id"]).collect();
    assert_eq!(jobs, ["before", "before"]);
    ended(&house, "while").await;
    let second: Vec<Value> = printed.by_ref().take(2).collect();
    let kinds: Vec<&str> = second
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["job.step_changed", "job.completed"]);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());

    daemon.stop().await;
    let place = first[1]["cursor"].as_str().unwrap();
    assert_eq!(
        lines(&house, &["--json", "--after", place]),
        second,
        "the daemon is down"
    );
    let last = second[1]["cursor"].as_str().unwrap();
    assert!(lines(&house, &["--json", "--after", last]).is_empty());
    assert_eq!(lines(&house, &["--json", "--limit", "1"]), second[1..]);
    assert_eq!(
        lines(&house, &["--json", "--type", "job.completed"]).len(),
        2
    );
    assert_eq!(lines(&house, &["--json", "--job", "while"]), second);
    assert_eq!(
        lines(&house, &["--json", "--after", "0", "--limit", "3"]).len(),
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_are_those_of_the_status_server() {
    let house = House::new().await;
    let daemon = house.running().await;
    let address = daemon.ready().await;
    ended(&house, "j").await;
    let (_, page) = get(&address, "/events").await.unwrap();
    assert_eq!(Value::from(lines(&house, &["--json"])), page["data"]);
    let text = events(&house, &[]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("  j  #1 job.step_changed  a: success\n"),
        "{text}"
    );
    assert!(text.contains("  j  #2 job.completed\n"), "{text}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_reader_goes_away_ends_and_bad_words_are_usage_errors() {
    let house = House::new().await;
    house.migrate().await;
    let (mut child, printed) = following(&house, &["--follow", "--json"]);
    drop(printed);
    assert!(child.wait().unwrap().success());
    for bad in [
        &["--after", "-1"][..],
        &["--after", "x"],
        &["--type", "job.ended"],
        &["--job", "../x"],
    ] {
        let output = events(&house, bad).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad:?}");
    }
}
