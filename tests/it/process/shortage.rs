//! Too little of something: the process stays, says so, and goes on when there is enough. A broken disk ends it.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::net::TcpStream;

use super::backup::cannot_be_traced;
use super::house::{House, PROGRAM, get, readyz};
use super::program::Program;
use crate::support::waiting::until;

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
async fn connections_that_cannot_be_opened_for_want_of_files_are_no_failure_of_anybody() {
    let mut house = House::new().await;
    house.raw("webhooks.all", "events", "[\"job.failed\"]");
    house.set("webhooks.all", "timeout", "1s");
    house.raw("webhooks.all", "retry", "[\"50ms\"]");
    let program = house.running().await;
    let status = program.ready().await;
    for id in ["delivered", "polled"] {
        house.follow(id, &[(0, &[("a", "in-progress")])]).await;
    }
    let started = "SELECT count(*) FROM jobs WHERE state = 'in-progress'";
    house.until(started, "2").await;
    jobtrackd::tls::install_provider();
    let operator = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{status}/readyz");
    let ready = async || operator.get(&url).send().await.unwrap().text().await;
    assert!(ready().await.unwrap().contains("\"ok\""));

    let enough = limit(&program, Resource::Nofile, Some(0)).current;
    let cancel = |id| format!("UPDATE jobs SET cancel_requested = 1 WHERE id = '{id}'");
    house.sql(&cancel("delivered")).await;
    let line = program.says("connections cannot be opened").await;
    assert!(line.contains("too few file descriptors"), "{line}");
    // The connection that polls had is given up as well.
    let polled = |column: &str| format!("SELECT {column} FROM jobs WHERE id = 'polled'");
    let reason = "not polled: too few file descriptors";
    house.until(&polled("last_error"), reason).await;
    let asked = house.asked("polled");
    // Longer than all attempts and retries would take.
    for _ in 0..4 {
        let next = house.value(&polled("next_poll_at")).await;
        let later = polled(&format!("next_poll_at > {next}"));
        house.until(&later, "1").await;
    }
    let body = ready().await.unwrap();
    let reason = "connections cannot be opened: too few file descriptors";
    assert!(
        body.contains("\"degraded\"") && body.contains(reason),
        "{body}"
    );
    assert_eq!(house.asked("polled"), asked);
    assert_eq!(house.value(&polled("polls")).await, asked.to_string());
    assert_eq!(house.value(&polled("consecutive_errors")).await, "0");
    assert_eq!(house.value("SELECT count(*) FROM attempts").await, "0");

    limit(&program, Resource::Nofile, enough);
    until("the event", || house.sink.received().len() == 1).await;
    until("a poll", || house.asked("polled") > asked).await;
    house.sql(&cancel("polled")).await;
    house.until_ended().await;
    let statuses = house.rows("SELECT status, number FROM attempts").await;
    assert_eq!(statuses, [["204", "1"], ["204", "1"]]);
    let ended = program.stop().await;
    let said = ended.text.matches("connections cannot be opened").count();
    assert_eq!(said, 1, "{}", ended.text);
    assert!(!ended.text.contains("the upstream"), "{}", ended.text);
}

#[tokio::test]
async fn a_name_and_a_token_that_are_out_of_reach_for_want_of_files_are_waited_for() {
    let mut house = House::new().await;
    let url = house.simulator.base_url().replace("127.0.0.1", "localhost");
    house.set("upstream", "base_url", &url);
    let program = house.running().await;
    let enough = limit(&program, Resource::Nofile, Some(0)).current;
    house.follow("1", &[(0, &[("a", "success")])]).await;
    program.says("connections cannot be opened").await;

    limit(&program, Resource::Nofile, enough);
    house.until_ended().await;
    assert_eq!(
        house.rows("SELECT state, polls FROM jobs").await,
        [["success", "1"]]
    );
    let ended = program.stop().await;
    for wrong in ["no token", "the upstream"] {
        assert!(!ended.text.contains(wrong), "{}", ended.text);
    }
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
        "nothing is delivered before its commit"
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
