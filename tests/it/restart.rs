//! What a stop, a kill and a start leave as it was.

mod mirror;

use std::time::Duration;

use jobtrackd::app::{Daemon, Environment};
use jobtrackd::simulator::{Fault, FaultRule, HANG, RetryAfter};
use tokio_util::sync::CancellationToken;

use crate::support::world::{EPOCH, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

async fn endless(world: &mut World, id: &str) {
    world.follow(id, &[(0, &[("a", "in-progress")])]).await;
}

fn status(status: u16) -> Fault {
    Fault::Status {
        status,
        retry_after: None,
        body: None,
    }
}

#[tokio::test(start_paused = true)]
async fn polling_goes_on_where_it_was() {
    let mut world = World::running().await;
    endless(&mut world, "j").await;
    world.pass(100 * SECOND).await;
    let polls = world.polled_at("j").len();
    world.stop().await;
    let row = world
        .rows("SELECT polls, quiet_polls, next_poll_at FROM jobs")
        .await;
    assert_eq!(row[0][0], polls.to_string());
    let next = row[0][2].parse::<i64>().unwrap() - EPOCH.0;
    world.start().await;
    world.pass(100 * SECOND).await;
    let times = world.polled_at("j");
    assert!(
        (times[polls] - next).abs() <= 5,
        "announced {next}, polled {times:?}"
    );
    assert!(
        times[polls + 1] - times[polls] >= 27_000,
        "the long delay is kept: {times:?}"
    );
    world.stop().await;
    let polls = world.value("SELECT polls FROM jobs").await;
    assert_eq!(polls, times.len().to_string());
    assert_eq!(world.value("SELECT count(*) FROM transitions").await, "1");
    assert_eq!(world.sink.received().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_stop_knows_is_written_down_even_when_a_poll_hangs() {
    let mut world = World::running().await;
    world
        .control()
        .inject(FaultRule::new(Fault::Hang).on_job("hung"))
        .unwrap();
    endless(&mut world, "well").await;
    world.pass(100 * SECOND).await;
    endless(&mut world, "hung").await;
    world
        .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'well'")
        .await;
    world.pass(SECOND / 10).await;
    let polls = world.polled_at("well").len();
    let before = world.elapsed();
    world.stop().await;
    let took = world.elapsed() - before;
    assert!(
        (9_900..10_200).contains(&took),
        "the grace is ten seconds, not {took} ms"
    );
    let written = world
        .value("SELECT polls FROM jobs WHERE id = 'well'")
        .await;
    assert_eq!(written, polls.to_string());
}

#[tokio::test(start_paused = true)]
async fn overdue_jobs_are_spread_and_no_stampede_follows_a_start() {
    let mut world = World::new().await;
    // A small limit so that the answers of one moment can be distinguished from those of another.
    world.more = "[polling]\nmax_delay = \"20s\"".to_owned();
    world.start().await;
    for number in 0..300 {
        world.make(&format!("j{number}"), &[(0, &[("a", "in-progress")])]);
    }
    world
        .sql("WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 299) INSERT INTO jobs (id, webhook) SELECT 'j' || i, 'nobody' FROM n")
        .await;
    world.pass(10 * SECOND).await;
    world.stop().await;
    world.pass(60 * MINUTE).await;
    let before = world.control().requests().len();
    world.start().await;
    let start = world.clock.now().0;
    world.pass(6 * SECOND).await;
    let log = world.control().requests();
    let times: Vec<i64> = log[before..]
        .iter()
        .filter(|r| r.job.is_some())
        .map(|r| r.at.0 - start)
        .collect();
    assert!(times.len() >= 300, "all are polled soon: {}", times.len());
    for moment in 0..60 {
        let window = moment * 100..(moment + 1) * 100;
        let at_once = times.iter().filter(|at| window.contains(*at)).count();
        assert!(
            at_once < 40,
            "{at_once} polls in a tenth of a second at {window:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_the_grace_of_a_404_are_remembered() {
    let mut world = World::running().await;
    let fault = FaultRule::new(status(500)).on_job("failing");
    world.control().inject(fault).unwrap();
    endless(&mut world, "failing").await;
    world.enqueue("nowhere").await;
    world.pass(70 * SECOND).await;
    let errors = world
        .value("SELECT consecutive_errors FROM jobs WHERE id = 'failing'")
        .await;
    world.stop().await;
    world.pass(20 * SECOND).await;
    world.start().await;
    let kept = world
        .value("SELECT consecutive_errors FROM jobs WHERE id = 'failing'")
        .await;
    assert_eq!(kept, errors);
    world
        .until(
            2 * MINUTE,
            "SELECT state FROM jobs WHERE id = 'nowhere'",
            "failed",
        )
        .await;
    let ended = world
        .value("SELECT finished_at FROM jobs WHERE id = 'nowhere'")
        .await;
    let ended = ended.parse::<i64>().unwrap() - EPOCH.0;
    assert!((119_000..121_000).contains(&ended), "{ended}");
    world.pass(20 * SECOND).await;
    let gaps: Vec<i64> = world
        .polled_at("failing")
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    assert!(
        *gaps.last().unwrap() >= 50_000,
        "the backoff goes on: {gaps:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn rows_of_the_time_while_it_was_down_are_picked_up() {
    let mut world = World::running().await;
    endless(&mut world, "cancelled").await;
    endless(&mut world, "asked").await;
    world.pass(100 * SECOND).await;
    world.stop().await;
    let polls = world.polled_at("asked").len();
    world.make("new", &[(0, &[("a", "success")])]);
    world
        .sql("INSERT INTO jobs (rowid, id) VALUES (-5, 'new')")
        .await;
    world
        .sql("UPDATE jobs SET cancel_requested = 1 WHERE id = 'cancelled'")
        .await;
    world
        .sql("UPDATE jobs SET poll_requested = 1 WHERE id = 'asked'")
        .await;
    world.start().await;
    world.pass(SECOND).await;
    assert_eq!(
        world.value("SELECT state FROM jobs WHERE id = 'new'").await,
        "success"
    );
    assert_eq!(world.polled_at("asked").len(), polls + 1);
    let rows = world
        .rows("SELECT state, json_extract(failure, '$.kind') FROM jobs WHERE id = 'cancelled'")
        .await;
    assert_eq!(rows, [["failed", "cancelled"]]);
    assert_eq!(
        world.value("SELECT max(poll_requested) FROM jobs").await,
        "0"
    );
}

#[tokio::test(start_paused = true)]
async fn deliveries_go_on_where_they_were() {
    let mut world = World::new().await;
    world.all = "events = [\"*\"]\nretry = [\"10m\", \"10m\"]".to_owned();
    world.start().await;
    world.sink.reply_in_turn("all", &[(500, "")]);
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world.pass(10 * SECOND).await;
    world.stop().await;
    world.pass(MINUTE).await;
    world.start().await;
    world.pass(8 * MINUTE).await;
    assert_eq!(world.sink.received().len(), 1, "not before its time");
    world.until_ended(10 * MINUTE).await;
    let received = world.sink.received();
    let sequences: Vec<u64> = received.iter().map(|each| each.sequence).collect();
    assert_eq!(sequences, [1, 1, 2]);
    assert_eq!(
        (&received[0].id, &received[0].body),
        (&received[1].id, &received[1].body)
    );
    let attempts = "SELECT sequence || '.' || number FROM attempts JOIN events ON id = event_id ORDER BY sequence, number";
    assert_eq!(world.rows(attempts).await.concat(), ["1.1", "1.2", "2.1"]);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_delivery_is_given_back_without_an_attempt() {
    let mut world = World::running().await;
    world.sink.reply_in_turn("all", &[(HANG, "")]);
    world.follow("j", &[(0, &[("a", "success")])]).await;
    world.pass(SECOND).await;
    let before = world.elapsed();
    world.stop().await;
    let took = world.elapsed() - before;
    assert!((9_900..10_200).contains(&took), "{took}");
    assert_eq!(world.value("SELECT count(*) FROM attempts").await, "0");
    world.start().await;
    world.until_ended(MINUTE).await;
    let received = world.sink.received();
    assert_eq!((received.len(), &received[0].id), (3, &received[1].id));
    assert_eq!(
        world
            .value("SELECT group_concat(number) FROM attempts")
            .await,
        "1,1"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_the_polls_that_are_in_flight() {
    let mut world = World::running().await;
    world.make("slow", &[(0, &[("a", "success")])]);
    world
        .control()
        .inject(FaultRule::new(Fault::Delay { ms: 4000 }).on_job("slow"))
        .unwrap();
    world.enqueue("slow").await;
    world.pass(SECOND).await;
    let before = world.elapsed();
    world.stop().await;
    assert!(world.elapsed() - before < 4000);
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
    assert_eq!(world.polled_at("slow").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_kill_loses_nothing_and_tells_nothing_under_a_new_id() {
    let mut world = World::new().await;
    world.start().await;
    let phases: &[(u64, &[(&str, &str)])] = &[
        (0, &[("a", "pending"), ("b", "pending")]),
        (5000, &[("a", "success"), ("b", "in-progress")]),
        (30_000, &[("a", "success"), ("b", "success")]),
    ];
    for id in ["x", "y", "z"] {
        world.follow(id, phases).await;
    }
    for pause in [0, 40, 700, 1300, 4000] {
        world.pass(Duration::from_millis(pause)).await;
        world.kill();
        world.pass(Duration::from_millis(20)).await;
        world.start().await;
    }
    world.until_ended(5 * MINUTE).await;
    for id in ["x", "y", "z"] {
        let seqs = world
            .rows(&format!(
                "SELECT seq FROM transitions WHERE job_id = '{id}' ORDER BY seq"
            ))
            .await;
        assert_eq!(seqs.concat(), ["1", "2", "3", "4", "5"], "{id}");
        let accepted = world.sink.accepted("all");
        let mut seen: Vec<(u64, &str)> = accepted
            .iter()
            .filter(|each| each.job == id)
            .map(|each| (each.sequence, each.id.as_str()))
            .collect();
        assert!(
            seen.is_sorted_by_key(|(sequence, _)| *sequence),
            "{id}: {seen:?}"
        );
        seen.dedup();
        assert_eq!(seen.len(), 6, "{id}: {seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_daemon_on_the_same_database_is_refused_and_named_the_owner_of_the_lock() {
    let mut world = World::running().await;
    let environment = Environment {
        clock: world.clock.clone(),
        ..Environment::default()
    };
    let second = Daemon::start(
        world.settings(),
        environment.clone(),
        &CancellationToken::new(),
    )
    .await;
    let error = format!("{:#}", second.unwrap_err());
    assert!(
        error.contains(&format!("pid {}", std::process::id())),
        "{error}"
    );
    world.stop().await;
    let third = Daemon::start(world.settings(), environment, &CancellationToken::new()).await;
    third
        .unwrap()
        .stop(&CancellationToken::new())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_the_upstream_asked_for_outlives_a_stop_a_kill_and_a_reload() {
    let mut world = World::running().await;
    let throttled = Fault::Status {
        status: 429,
        retry_after: Some(RetryAfter::Seconds(600)),
        body: None,
    };
    let rule = FaultRule::new(throttled).on_path("/jobs").times(2);
    world.control().inject(rule).unwrap();
    endless(&mut world, "first").await;
    // One that is under way already would say nothing of the others.
    world.pass(SECOND / 2).await;
    endless(&mut world, "j").await;
    world.pass(MINUTE).await;
    let polls = world.polled_at("j");
    assert_eq!((world.polled_at("first").len(), polls.len()), (1, 1));
    // Jobs that were never throttled themselves wait, too.
    world.stop().await;
    endless(&mut world, "after-a-stop").await;
    world.start().await;
    world.pass(MINUTE).await;
    world.kill();
    endless(&mut world, "after-a-kill").await;
    world.start().await;
    world.pass(MINUTE).await;
    world.reload();
    endless(&mut world, "after-a-reload").await;
    world.pass(6 * MINUTE).await;
    let all = ["j", "after-a-stop", "after-a-kill", "after-a-reload"];
    for job in all {
        let early = world
            .polled_at(job)
            .iter()
            .filter(|at| **at > polls[0])
            .count();
        assert_eq!(early, 0, "{job}: ten minutes are not over");
    }
    world.pass(4 * MINUTE).await;
    for job in all {
        let first = world.polled_at(job).into_iter().find(|at| *at > polls[0]);
        assert!(
            first.is_some_and(|at| at >= polls[0] + 600_000),
            "{job}: {first:?}"
        );
    }
}
