//! A kill between any two stages: whatever was done is done, whatever was not is done after the next start, and every
//! event has one id and one text for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use jobtrackd::simulator::Received;

use crate::support::world::World;

const PATIENCE: Duration = Duration::from_secs(120);

/// Runs two jobs with the daemon killed at point `at`, then again without; answers how many points were passed before.
async fn killed_at(at: u64) -> u64 {
    let mut world = World::new().await;
    world.make(
        "good",
        &[(0, &[("a", "in-progress")]), (1500, &[("a", "success")])],
    );
    world.make("bad", &[(0, &[("a", "failed"), ("b", "pending")])]);
    world.sink.reply_in_turn("all", &[(500, "")]);
    let (clock, halt) = world.clock.halting(at);
    let halted = {
        // The start itself may be cut, too.
        let running = async {
            world.start_with(clock).await;
            world
                .sql("INSERT INTO jobs (id) VALUES ('good'), ('bad')")
                .await;
            world.until_ended(PATIENCE).await;
        };
        tokio::select! {
            biased;
            () = halt.reached() => true,
            () = running => false,
        }
    };
    if halted {
        world.kill();
        world.start().await;
        world
            .sql("INSERT OR IGNORE INTO jobs (id) VALUES ('good'), ('bad')")
            .await;
        world.until_ended(PATIENCE).await;
    }
    check(&world, at).await;
    halt.passed()
}

async fn check(world: &World, at: u64) {
    let states = world.rows("SELECT id, state FROM jobs ORDER BY id").await;
    assert_eq!(
        states,
        [["bad", "failed"], ["good", "success"]],
        "killed at {at}"
    );
    let gaps = "SELECT count(*) FROM (SELECT count(*) AS n, max(seq) AS last FROM transitions GROUP BY job_id) WHERE n <> last";
    assert_eq!(world.value(gaps).await, "0", "killed at {at}");
    assert_eq!(
        world.value("SELECT count(*) FROM transitions").await,
        "4",
        "killed at {at}"
    );
    assert_eq!(
        world
            .value("SELECT count(*) FROM events WHERE type = 'job.step_changed'")
            .await,
        "4",
        "killed at {at}"
    );
    assert_eq!(
        world.value("PRAGMA integrity_check").await,
        "ok",
        "killed at {at}"
    );
    assert_eq!(
        world
            .value("SELECT count(*) FROM deliveries WHERE state <> 'delivered'")
            .await,
        "0",
        "killed at {at}"
    );

    check_what_was_sent(world, at).await;
}

/// Every recorded event was accepted in its job's order, and came with one text under one id, however often.
async fn check_what_was_sent(world: &World, at: u64) {
    let recorded = world
        .rows("SELECT job_id, sequence, id, body FROM events ORDER BY job_id, sequence")
        .await;
    let mut first: BTreeMap<String, Received> = BTreeMap::new();
    let mut delivered: Vec<[String; 4]> = Vec::new();
    let mut repeats = 0;
    for each in world.sink.received() {
        let fact = [
            each.job.as_str().to_owned(),
            each.sequence.to_string(),
            each.id.clone(),
            each.text(),
        ];
        if let Some(before) = first.get(&each.id) {
            assert_eq!(before.body, each.body, "killed at {at}: one id, one text");
            assert!(before.timestamp() <= each.timestamp());
            repeats += 1;
        }
        first.entry(each.id.clone()).or_insert(each.clone());
        if each.status == 204 && !delivered.contains(&fact) {
            delivered.push(fact);
        }
    }
    assert!(repeats > 0, "killed at {at}: the refused one came again");
    for job in ["good", "bad"] {
        let in_order = |facts: &[[String; 4]]| {
            facts
                .iter()
                .filter(|fact| fact[0] == job)
                .cloned()
                .collect::<Vec<_>>()
        };
        let expected: Vec<_> = recorded.iter().filter(|fact| fact[0] == job).collect();
        assert_eq!(
            in_order(&delivered)
                .iter()
                .map(|fact| fact.to_vec())
                .collect::<Vec<_>>()
                .iter()
                .collect::<Vec<_>>(),
            expected,
            "killed at {at}"
        );
    }
}

/// Every n-th point, so that several tests share the work.
async fn killed_at_every(start: u64, stride: u64) {
    let mut at = start;
    while killed_at(at).await >= at {
        at += stride;
    }
    assert!(
        at > 40,
        "only {at} points were found; is anything held at all?"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_even_point_loses_and_changes_nothing() {
    killed_at_every(2, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_odd_point_loses_and_changes_nothing() {
    killed_at_every(1, 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_rows_were_spoilt_by_another_hand_stops_no_other() {
    let mut world = World::running().await;
    for id in ["spoilt", "fine"] {
        world.make(
            id,
            &[(0, &[("a", "in-progress")]), (5000, &[("a", "success")])],
        );
    }
    world
        .sql("INSERT INTO jobs (id) VALUES ('spoilt'), ('fine')")
        .await;
    world
        .until(PATIENCE, "SELECT count(*) FROM transitions", "2")
        .await;
    let spoil = "INSERT INTO events (id, job_id, sequence, type, created_at, body) VALUES ('x', 'spoilt', 9, 'job.failed', 1, '{}')";
    world.sql(spoil).await;
    world
        .until(
            PATIENCE,
            "SELECT state FROM jobs WHERE id = 'fine'",
            "success",
        )
        .await;
    world
        .until(PATIENCE, "SELECT last_error LIKE 'cannot be recorded: %' AND consecutive_errors > 1 FROM jobs WHERE id = 'spoilt'", "1")
        .await;
    assert_eq!(
        world.sink.kinds("all", "fine").last().unwrap(),
        "job.completed"
    );
    let log = "SELECT count(*) FROM transitions WHERE job_id = 'spoilt'";
    assert_eq!(
        world.value(log).await,
        "1",
        "nothing of what was refused is recorded"
    );
}
