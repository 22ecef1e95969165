//! Too little of something: the process stays, says so, and goes on when there is enough. A broken disk ends it.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::net::TcpStream;

use super::backup::cannot_be_traced;
use super::house::{House, PROGRAM, get, readyz};
use super::program::Program;
use crate::support::patience::until;

/// Sets the soft limit of a program, and answers the one before.
fn limit(program: &Program, resource: Resource, current: Option<u64>) -> Rlimit {
    let pid = Pid::from_raw(program.pid.cast_signed()).unwrap();
    let keep = |limits: Rlimit| Rlimit {
        current: limits.current,
        maximum: limits.maximum,
    };
    // The hard limit stays as it is.
    let limits = format!("/proc/{}/limits", program.pid);
    let limits = std::fs::read_to_string(limits).unwrap();
    let name = match resource {
        Resource::Nofile => "Max open files",
        _ => "Max file size",
    };
    let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
    let maximum = line[name.len()..].split_whitespace().nth(1).unwrap();
    let maximum = maximum.parse().ok();
    let new = Rlimit { current, maximum };
    keep(prlimit(Some(pid), resource, new).unwrap())
}

/// Starts the daemon with so many files.
fn with_files(house: &House, soft: u64, hard: u64) -> Program {
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\"");
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", &script, "sh", PROGRAM])
        .args(house.command("run").get_args())
        .env_clear();
    Program::start(&mut shell)
}

fn assert_trusted(text: &str) {
    for wrong in ["cannot be trusted", "cannot go on", "damaged"] {
        assert!(!text.contains(wrong), "{text}");
    }
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_at_the_start_and_said_once() {
    let house = House::new().await;
    let program = with_files(&house, 64, 300);
    program.ready().await;
    let line = program.says("the limit of open files was raised").await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!([&line["before"], &line["after"]], ["64", "300"]);
    let before = limit(&program, Resource::Nofile, Some(300));
    assert_eq!((before.current, before.maximum), (Some(300), Some(300)));
    let ended = program.stop().await;
    assert_eq!(ended.text.matches("the limit of open files").count(), 1);

    let program = with_files(&house, 300, 300);
    program.ready().await;
    let ended = program.stop().await;
    assert!(
        !ended.text.contains("the limit of open files"),
        "{}",
        ended.text
    );
}

#[tokio::test]
async fn a_database_that_cannot_be_opened_for_want_of_files_is_waited_for() {
    let house = House::new().await;
    let program = house.running().await;
    // A refused record is what makes the writer open the database again.
    house
        .sql(
            "CREATE TRIGGER refusal BEFORE UPDATE ON jobs WHEN new.state = 'success'
             BEGIN SELECT RAISE(ABORT, 'not now'); END",
        )
        .await;
    house
        .follow(
            "1",
            &[(0, &[("a", "in-progress")]), (300, &[("a", "success")])],
        )
        .await;
    until("an event", || !house.sink.received().is_empty()).await;
    let enough = limit(&program, Resource::Nofile, Some(0)).current;
    let line = program.says("the database cannot be written").await;
    assert!(line.contains("too few file descriptors"), "{line}");

    house.sql("DROP TRIGGER refusal").await;
    limit(&program, Resource::Nofile, enough);
    program.says("the database can be written again").await;
    house.until_ended().await;
    let state = house.value("SELECT state FROM jobs").await;
    assert_eq!(state, "success");
    let ended = program.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_trusted(&ended.text);
}

#[tokio::test]
async fn connections_that_use_up_all_files_delay_the_daemon_and_end_nothing() {
    let house = House::new().await;
    house.migrate().await;
    let program = with_files(&house, 40, 64);
    let status = program.ready().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(&status).await.unwrap());
    }
    program
        .says("the status server cannot accept connections")
        .await;
    for id in 0..3 {
        let steps: &[_] = &[("a", "success")];
        house.follow(&id.to_string(), &[(0, steps)]).await;
    }
    drop(idle);
    house.until_ended().await;
    let status = get(&status, "/readyz").await.unwrap();
    assert_eq!(status.0, 200, "{}", status.1);
    let ended = program.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_trusted(&ended.text);
}

#[tokio::test]
async fn an_event_that_cannot_be_sent_for_want_of_files_uses_up_no_retry() {
    let mut house = House::new().await;
    house.raw("webhooks.all", "events", "[\"job.completed\"]");
    let program = house.running().await;
    house
        .follow("steady", &[(0, &[("a", "in-progress")])])
        .await;
    house
        .until("SELECT state FROM jobs WHERE id = 'steady'", "in-progress")
        .await;
    let enough = limit(&program, Resource::Nofile, Some(0)).current;
    house.follow("1", &[(0, &[("a", "success")])]).await;
    house
        .until(
            "SELECT count(*) FROM events WHERE type = 'job.completed'",
            "1",
        )
        .await;
    let asked = house.asked("steady");
    until("ten more polls", || house.asked("steady") > asked + 10).await;
    assert_eq!(house.sink.received().len(), 0);

    limit(&program, Resource::Nofile, enough);
    until("the event", || house.sink.received().len() == 1).await;
    house.until("SELECT count(*) FROM attempts", "1").await;
    assert_eq!(house.value("SELECT status FROM attempts").await, "204");
    program.stop().await;
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_waited_for_and_no_signal_ends_the_process() {
    let house = House::new().await;
    let program = house.running().await;
    let status = program.ready().await;
    house.follow("1", &[(0, &[("a", "in-progress")])]).await;
    until("an event", || !house.sink.received().is_empty()).await;
    let log = std::fs::metadata(house.path("jobs.db-wal")).unwrap().len();
    let unlimited = limit(&program, Resource::Fsize, Some(log)).current;
    house.follow("2", &[(0, &[("a", "in-progress")])]).await;

    let reason = "the database cannot be written: the largest file size is reached (ulimit -f)";
    let body = readyz(&status, 503).await;
    assert_eq!(body["reasons"], serde_json::json!([reason]));
    let asked = house.asked("1");
    for _ in 0..20 {
        assert_eq!(get(&status, "/healthz").await.unwrap().0, 200);
    }
    assert_eq!(house.asked("1"), asked, "nothing is polled meanwhile");

    limit(&program, Resource::Fsize, unlimited);
    readyz(&status, 200).await;
    house.sql("UPDATE jobs SET cancel_requested = 1").await;
    house.until_ended().await;
    let ended = program.stop().await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
    assert_trusted(&ended.text);
}

/// Starts the daemon on a disk whose every write fails in this way.
fn on_a_disk_that_says(house: &House, error: &str) -> Program {
    let inject = format!("inject=pwrite64:error={error}");
    let mut traced = Command::new("strace");
    traced
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &inject, PROGRAM])
        .args(house.command("run").get_args())
        .env_clear()
        .process_group(0);
    Program::start(&mut traced)
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_waited_for_and_a_broken_disk_is_not() {
    if let Some(why) = cannot_be_traced() {
        eprintln!("skipped: {why}");
        return;
    }
    let house = House::new().await;
    house.migrate().await;
    house.follow("1", &[(0, &[("a", "success")])]).await;

    let program = on_a_disk_that_says(&house, "EDQUOT");
    let line = program.says("the disk quota is used up").await;
    assert!(line.contains("waiting"), "{line}");
    assert_eq!(
        house.sink.received().len(),
        0,
        "nothing is told before its commit"
    );
    program.signal(Signal::TERM);
    program.signal(Signal::TERM);
    let ended = program.ended().await;
    assert_trusted(&ended.text);

    let ended = on_a_disk_that_says(&house, "EIO").ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);
    assert!(ended.text.contains("disk I/O error"), "{}", ended.text);

    let program = house.running().await;
    house.until_ended().await;
    program.stop().await;
}
