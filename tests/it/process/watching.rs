//! `watch` beside a daemon: on a terminal, in lines, and at every kind of end.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use serde_json::Value;

use super::house::House;
use crate::support::pty::{Glass, Pty};
use crate::support::waiting::{PATIENCE, found, until};

/// A job that goes on for ever.
const RUNNING: [(u64, &[(&str, &str)]); 1] =
    [(0, &[("first", "success"), ("second", "in-progress")])];

fn watch(house: &House, arguments: &[&str]) -> Command {
    let mut command = house.command("watch");
    command.args(arguments);
    command
}

/// Nothing of what was drawn is left, and the terminal is as it was.
fn assert_clean(glass: &Glass) {
    assert!(glass.is_clean(), "{glass:?}");
    assert!(!glass.text().contains("running"), "{}", glass.text());
    assert!(!glass.text().contains('━'), "{}", glass.text());
}

#[tokio::test]
async fn a_terminal_shows_jobs_while_they_run_fits_its_size_and_is_clean_after_ctrl_c() {
    let house = House::new().await;
    let daemon = house.running().await;
    house.follow("61723", &RUNNING).await;
    let mut pty = Pty::start(&watch(&house, &[]), 100, 12);
    let drawn = pty.shows("1/2 second in-progress").await;
    assert!(drawn.is_other() && drawn.hides_cursor(), "{drawn:?}");
    assert!(
        drawn.lines()[0].starts_with("1 running, 0 ended"),
        "{}",
        drawn.text()
    );
    let row = &drawn.lines()[3];
    assert!(
        row.starts_with("◐ 61723  ━━━━━━──────  1/2 second"),
        "{row}"
    );
    assert!(drawn.raw.contains("\u{1b}[36m"), "colours");

    house.follow("other", &[(0, &[("only", "success")])]).await;
    let both = pty.shows("✓ other").await;
    assert!(both.text().contains("1/1 success"), "{}", both.text());
    assert!(both.text().contains("1 ended in the last minute"));

    pty.resize(50, 4);
    let small = pty
        .until("a small screen", |glass| {
            glass.lines()[0].ends_with('…') && glass.text().contains("… and 2 more")
        })
        .await;
    assert!(small.lines().iter().all(|line| line.chars().count() <= 50));
    pty.resize(100, 12);
    pty.until("a large one", |glass| glass.text().contains("61723  ━━"))
        .await;

    pty.types("\u{3}");
    let (ended, left) = pty.ended().await;
    assert_eq!(ended.code(), Some(0));
    assert_clean(&left);
    daemon.stop().await;
}

#[tokio::test]
async fn a_terminal_is_clean_after_sigterm_and_while_the_program_is_suspended() {
    let house = House::new().await;
    house.migrate().await;
    house.sql("INSERT INTO jobs (id) VALUES ('61723')").await;
    let mut pty = Pty::start(&watch(&house, &["61723"]), 80, 10);
    let drawn = pty.shows("○ 61723").await;
    let lonely = "no daemon follows this database; start it with: systemctl start jobtrackd";
    assert_eq!(drawn.lines()[1], lonely);

    pty.types("\u{1a}");
    let away = pty.until("the ordinary screen", Glass::is_clean).await;
    assert_clean(&away);
    pty.stops().await;
    pty.signal(Signal::CONT);
    pty.until("the other screen again", |glass| {
        glass.is_other() && glass.text().contains("○ 61723")
    })
    .await;

    pty.signal(Signal::TERM);
    let (ended, left) = pty.ended().await;
    assert_eq!(ended.code(), Some(1), "it was asked for, and still ran");
    assert!(left.is_clean(), "{left:?}");
    assert!(
        left.text().contains("interrupted while 1 of 1 jobs ran"),
        "{}",
        left.text()
    );
}

#[tokio::test]
async fn jobs_that_were_asked_for_are_watched_to_their_end_and_the_exit_code_says_how() {
    let house = House::new().await;
    let daemon = house.running().await;
    let phases: [(u64, &[(&str, &str)]); 2] = [
        (0, &[("only", "in-progress")]),
        (300, &[("only", "success")]),
    ];
    house.follow("good", &phases).await;
    let mut pty = Pty::start(&watch(&house, &["good"]), 80, 10);
    let (ended, left) = pty.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", left.text());
    assert!(left.is_clean(), "{left:?}");
    assert!(
        left.lines()[0].starts_with("1 of 1 job ended"),
        "{}",
        left.text()
    );
    assert!(
        left.text().contains("✓ good  ━━━━━━━━━━━━  1/1 success"),
        "{}",
        left.text()
    );

    house.follow("bad", &[(0, &[("only", "failed")])]).await;
    house
        .until("SELECT state FROM jobs WHERE id = 'bad'", "failed")
        .await;
    let mut pty = Pty::start(&watch(&house, &["bad", "good"]), 80, 10);
    let (ended, left) = pty.ended().await;
    assert_eq!(ended.code(), Some(1));
    assert!(
        left.text()
            .contains("error: 1 of 2 jobs failed; see why with: jobtrackd show ID"),
        "{}",
        left.text()
    );
    daemon.stop().await;
}

#[tokio::test]
async fn no_color_means_none_and_a_dumb_terminal_gets_lines() {
    let house = House::new().await;
    house.migrate().await;
    house.sql("INSERT INTO jobs (id) VALUES ('61723')").await;
    let mut command = watch(&house, &[]);
    command.env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1");
    let mut pty = Pty::start(&command, 80, 10);
    pty.shows("○ 61723").await;
    pty.signal(Signal::TERM);
    let (_, left) = pty.ended().await;
    assert!(
        !left.raw.contains("\u{1b}[3"),
        "{}",
        left.raw.escape_debug()
    );
    assert!(
        !left.raw.contains("\u{1b}[9"),
        "{}",
        left.raw.escape_debug()
    );

    for arguments in [&["watch"][..], &["list"], &["show", "61723"]] {
        let mut command = house.command(arguments[0]);
        command.args(&arguments[1..]).env("TERM", "dumb");
        let mut pty = Pty::start(&command, 80, 10);
        let shown = pty.shows("61723").await;
        if arguments == ["watch"] {
            pty.signal(Signal::INT);
        }
        let (ended, left) = pty.ended().await;
        assert_eq!(ended.code(), Some(0));
        assert!(!left.raw.contains('\u{1b}'), "{}", shown.raw.escape_debug());
    }
}

/// The lines of a child's standard output as they come.
fn lines_of(child: &mut std::process::Child) -> Receiver<String> {
    let (line, lines) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        for text in out.lines() {
            if line.send(text.unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}

fn assert_keys(record: &Value, expected: &str) {
    let mut expected: Vec<&str> = expected.split(' ').collect();
    expected.sort_unstable();
    let keys: Vec<&String> = record.as_object().unwrap().keys().collect();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn without_a_terminal_each_change_is_a_line_with_keys_to_rely_on() {
    let house = House::new().await;
    let daemon = house.running().await;
    let phases: [(u64, &[(&str, &str)]); 2] = [
        (0, &[("only", "in-progress")]),
        (300, &[("only", "failed")]),
    ];
    let mut child = watch(&house, &["--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines_of(&mut child);
    // It watches once it has shown what there was.
    house.follow("before", &RUNNING).await;
    let shown = found(PATIENCE, async || lines.try_iter().next()).await;
    assert!(shown.is_some_and(|line| line.contains("\"before\"")));
    house.follow("61723", &phases).await;
    let mut seen: Vec<Value> = Vec::new();
    let delivered = |seen: &[Value]| {
        let seen = seen.iter().filter(|each| each["type"] == "delivery");
        seen.filter(|each| each["state"] == "delivered").count()
    };
    // Two transitions and the end.
    until("all changes", || {
        seen.extend(
            lines
                .try_iter()
                .map(|line| serde_json::from_str::<Value>(&line).unwrap())
                .filter(|each| each["job_id"] == "61723"),
        );
        delivered(&seen) == 3
    })
    .await;
    let of =
        |kind: &str| -> Vec<&Value> { seen.iter().filter(|each| each["type"] == kind).collect() };
    let steps: Vec<_> = of("step")
        .iter()
        .map(|each| each["to"].as_str().unwrap())
        .collect();
    assert_eq!(steps, ["in-progress", "failed"], "{seen:#?}");
    let jobs = of("job");
    let end = jobs.last().unwrap();
    assert_eq!(
        (&end["state"], &end["failure"]["kind"]),
        (&"failed".into(), &"step".into())
    );
    assert_keys(
        end,
        "type at job_id state steps_done steps failure last_error",
    );
    assert_keys(of("step")[0], "type at job_id seq position title from to");
    assert_keys(
        of("delivery")[0],
        "type at job_id event_id event sequence webhook attempt state status error",
    );

    child.kill().unwrap();
    child.wait().unwrap();
    daemon.stop().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_it_though_nothing_happens() {
    let house = House::new().await;
    house.migrate().await;
    let mut child = watch(&house, &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It listens to signals, and has tried the lock of the daemon.
    let mut note = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut note)
        .unwrap();
    assert!(note.starts_with("note: no daemon follows"), "{note}");
    drop(child.stdout.take());
    let ended = found(PATIENCE, async || child.try_wait().unwrap()).await;
    assert_eq!(ended.expect("it ends").code(), Some(0));
}
