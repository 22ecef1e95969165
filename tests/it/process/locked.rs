//! Other programs on the same database: a second daemon, and writers that keep the lock.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::house::{House, get, readyz};
use super::program::Program;
use crate::support::waiting::until;

/// One wait for a foreign lock takes 5 s.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

const MIGRATED: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'jobs'";

#[tokio::test]
async fn a_second_daemon_ends_at_once_and_names_the_first() {
    let house = House::new().await;
    let first = house.running().await;
    let second = house.run().ended().await;
    assert_eq!(second.code, Some(1));
    let named = format!("in use by another jobtrackd (pid {}, since ", first.pid);
    assert!(second.text.contains(&named), "{}", second.text);

    first.kill().await;
    house.running().await.stop().await;
}

#[tokio::test]
async fn no_other_name_of_the_file_lets_a_second_daemon_in() {
    let mut house = House::new().await;
    let first = house.running().await;
    let (file, link, name) = (
        house.database(),
        house.path("link.db"),
        house.path("name.db"),
    );
    std::os::unix::fs::symlink(&file, &link).unwrap();
    house.set("database", "url", &format!("sqlite://{}", link.display()));
    let second = house.run().ended().await;
    assert_eq!(second.code, Some(1));
    let named = format!("in use by another jobtrackd (pid {}, since ", first.pid);
    assert!(second.text.contains(&named), "{}", second.text);

    std::fs::hard_link(&file, &name).unwrap();
    for (asked, said) in [
        (
            &name,
            "in use by another jobtrackd (which has it under another name",
        ),
        (&link, named.as_str()),
    ] {
        house.set("database", "url", &format!("sqlite://{}", asked.display()));
        let second = house.run().ended().await;
        assert_eq!(second.code, Some(1));
        assert!(second.text.contains(said), "{}", second.text);
        let enqueued = Program::start(house.command("enqueue").arg("1"))
            .ended()
            .await;
        assert_eq!(enqueued.code, Some(1));
        assert!(
            enqueued.text.contains("has 2 names (hard links)"),
            "{}",
            enqueued.text
        );
        assert!(enqueued.text.contains("-samefile "), "{}", enqueued.text);
    }
    // It does not matter to the first one, and to nobody else once the name is gone.
    first.stop().await;
    let alone = house.run().ended().await;
    assert!(
        alone.text.contains("has 2 names (hard links)"),
        "{}",
        alone.text
    );
    std::fs::remove_file(&name).unwrap();
    house.make("1", &[(0, &[("a", "success")])]);
    let program = house.running().await;
    house.sql("INSERT INTO jobs (id) VALUES ('1')").await;
    house.until_ended().await;
    program.stop().await;
    let log = std::fs::symlink_metadata(house.path("link.db-wal"));
    assert!(log.is_err(), "the log lies beside the file itself");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_made_with_a_warning_or_is_an_error() {
    let mut house = House::new().await;
    let first = house.running().await.stop().await;
    let warned = "there was no database and a new one is made";
    assert!(first.text.contains(warned), "{}", first.text);
    assert!(first.text.contains("\"level\":\"WARN\""), "{}", first.text);
    let again = house.running().await.stop().await;
    assert!(!again.text.contains(warned), "{}", again.text);

    house.raw("database", "create", "false");
    house.running().await.stop().await;
    std::fs::remove_file(house.database()).unwrap();
    let refused = house.run().ended().await;
    assert_eq!(refused.code, Some(1));
    let next = "database.create = false: if its volume is not mounted, mount it; to make a new one, run: jobtrackd migrate";
    assert!(refused.text.contains(next), "{}", refused.text);
    assert!(!house.database().exists());
    house.migrate().await;
    house.running().await.stop().await;
}

#[tokio::test]
async fn an_up_to_date_database_is_followed_although_another_program_writes() {
    let house = House::new().await;
    house.migrate().await;
    house.follow("1", &[(0, &[("a", "success")])]).await;
    let mut writer = house.outsider().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    let program = house.running().await;
    until("the poll", || house.asked("1") == 1).await;
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.unwrap();
    house.until_ended().await;
    let ended = program.stop().await;
    assert!(!ended.text.contains("ERROR"), "{}", ended.text);
}

#[tokio::test]
async fn a_new_database_that_another_program_has_locked_is_waited_for() {
    let house = House::new().await;
    let mut writer = house.outsider_of_new().await;
    sqlx::raw_sql("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    let program = house.run();
    let waiting = "the database cannot be opened yet; waiting";
    let line = program.says_within(LOCK_PATIENCE, waiting, 1).await;
    assert!(line.contains("locked by another program"), "{line}");
    assert_eq!(house.value(MIGRATED).await, "0");
    sqlx::raw_sql("ROLLBACK")
        .execute(&mut writer)
        .await
        .unwrap();
    program.ready().await;
    let ended = program.stop().await;
    assert_eq!(ended.text.matches(waiting).count(), 1, "{}", ended.text);
}

#[tokio::test]
async fn while_another_program_keeps_the_lock_polls_go_on_and_nothing_is_sent() {
    let mut house = House::new().await;
    house.raw(
        "webhooks.all",
        "retry",
        &format!("[{}]", ["\"50ms\""; 40].join(", ")),
    );
    house.sink.reply_in_turn("all", &[(500, ""); 20]);
    let program = house.running().await;
    let status = program.ready().await;
    house.follow("delivered", &[(0, &[("a", "success")])]).await;
    house
        .follow("steady", &[(0, &[("a", "in-progress")])])
        .await;
    until("an event", || !house.sink.received().is_empty()).await;
    let state = "SELECT state FROM jobs WHERE id = 'steady'";
    house.until(state, "in-progress").await;

    let mut writer = house.outsider().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    program
        .says_within(LOCK_PATIENCE, "the database cannot be written", 1)
        .await;
    let body = readyz(&status, 503).await;
    let reason = "the database cannot be written: another program holds its lock";
    assert_eq!(body["reasons"], serde_json::json!([reason]));
    let (asked, delivered) = (house.asked("steady"), house.sink.received().len());
    for _ in 0..100 {
        assert_eq!(get(&status, "/readyz").await.unwrap().0, 503);
        assert_eq!(get(&status, "/healthz").await.unwrap().0, 200);
    }
    until("two more polls", || house.asked("steady") > asked + 1).await;
    assert_eq!(house.sink.received().len(), delivered);

    sqlx::raw_sql("ROLLBACK")
        .execute(&mut writer)
        .await
        .unwrap();
    program.says("the database can be written again").await;
    readyz(&status, 200).await;
    until("another poll", || house.asked("steady") > asked).await;
    house
        .until(
            "SELECT count(*) FROM deliveries WHERE state = 'pending'",
            "0",
        )
        .await;
    let gaps = "SELECT count(*) FROM (SELECT count(*) AS n, max(number) AS last FROM attempts GROUP BY event_id) WHERE n <> last";
    assert_eq!(house.value(gaps).await, "0");
    assert_eq!(
        house.value("SELECT count(*) FROM attempts").await,
        house.sink.received().len().to_string()
    );
    program.stop().await;
}

#[tokio::test]
async fn jobs_that_are_posted_meanwhile_are_turned_away_in_time_and_keep_no_loop_waiting() {
    let house = House::new().await;
    let program = house.running().await;
    let status = program.ready().await;
    house
        .follow("steady", &[(0, &[("a", "in-progress")])])
        .await;
    until("a poll", || house.asked("steady") > 0).await;
    let mut other = house.outsider().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let began = Instant::now();
    let posts: Vec<_> = (0..50)
        .map(|n: u32| {
            let post = client
                .post(format!("http://{status}/jobs"))
                .header("content-type", "application/json")
                .body(format!(r#"{{"id":"posted-{n}"}}"#));
            tokio::spawn(async move {
                let answer = post.send().await.unwrap();
                let code = answer.status().as_u16();
                (
                    code,
                    answer.headers()["retry-after"].clone(),
                    began.elapsed(),
                )
            })
        })
        .collect();
    // Its own wait takes 5 s; behind one request it would be 10 s.
    program
        .says_within(LOCK_PATIENCE, "the database cannot be written", 1)
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "{:?}",
        began.elapsed()
    );
    for post in posts {
        let (code, retry_after, took) = post.await.unwrap();
        assert_eq!((code, retry_after.to_str().unwrap()), (503, "1"));
        assert!(took < Duration::from_secs(7), "{took:?}");
    }
    let body = readyz(&status, 503).await;
    let reason = "the database cannot be written: another program holds its lock";
    assert_eq!(body["reasons"], serde_json::json!([reason]));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    program.says("the database can be written again").await;
    let post = client
        .post(format!("http://{status}/jobs"))
        .header("content-type", "application/json")
        .body(r#"{"id":"posted"}"#);
    assert_eq!(post.send().await.unwrap().status().as_u16(), 202);
    until("its poll", || house.asked("posted") > 0).await;
    assert_eq!(house.value("SELECT count(*) FROM jobs").await, "2");
    program.stop().await;
}

#[tokio::test]
async fn two_signals_end_it_also_while_another_program_keeps_the_lock() {
    let house = House::new().await;
    let program = house.running().await;
    house.delay("1", 50);
    house.follow("1", &[(0, &[("a", "success")])]).await;
    let mut writer = house.outsider().await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    until("the poll", || house.asked("1") == 1).await;
    program.signal(Signal::TERM);
    program.says("stopping").await;
    program.signal(Signal::TERM);
    let ended = program.ended_within(Duration::from_secs(4)).await;
    assert_eq!(ended.code, Some(1), "{}", ended.text);

    sqlx::raw_sql("ROLLBACK")
        .execute(&mut writer)
        .await
        .unwrap();
    let program = house.running().await;
    house.until_ended().await;
    program.stop().await;
}

#[tokio::test]
async fn an_idle_daemon_stops_at_once_although_another_program_reads_and_writes() {
    let house = House::new().await;
    let program = house.running().await;
    let (mut reader, mut writer) = (house.outsider().await, house.outsider().await);
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM jobs")
        .execute(&mut reader)
        .await
        .unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut writer)
        .await
        .unwrap();
    program.signal(Signal::TERM);
    let ended = program.ended_within(Duration::from_secs(4)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.text);
}
