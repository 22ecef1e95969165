//! Kills of the real process, again and again, at the moments that matter.

use std::collections::BTreeMap;

use jobtrackd::simulator::{Ending, Fault, FaultRule, Received};

use super::house::{House, UNFINISHED};
use super::program::Program;
use crate::support::waiting::until;

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The upstream has a poll that it has not answered.
    Asked,
    /// The receiver has an event that it has not answered.
    DeliverySpec,
    /// The receiver has just answered an event.
    Answered,
    /// The backlog has just been taken up.
    Started,
}

const MOMENTS: [Moment; 4] = [
    Moment::Asked,
    Moment::DeliverySpec,
    Moment::Answered,
    Moment::Started,
];

const ROUNDS: usize = 12;

#[tokio::test]
async fn a_process_killed_at_any_moment_loses_and_changes_nothing() {
    let house = House::new().await;
    house.migrate().await;
    let slowly = FaultRule::new(Fault::Delay { ms: 15 }).on_path("/jobs");
    house.control().inject(slowly).unwrap();
    let mut ids = Vec::new();
    for round in 0..ROUNDS {
        // Half of the jobs are there when the process starts, the others come while it runs.
        ids.push(enqueue(&house, round, "before").await);
        let program = house.run();
        ids.push(enqueue(&house, round, "after").await);
        let moment = MOMENTS[round % MOMENTS.len()];
        reach(&house, &program, moment).await;
        program.kill().await;
        house.sink.hold(false);
    }
    let unfinished = house.value(UNFINISHED).await;
    assert_ne!(unfinished, "0", "there was always something left to do");
    let program = house.running().await;
    house.until_ended().await;
    program.stop().await;
    check_records(&house, &ids).await;
    check_events(&house).await;
}

/// A job that goes on for most of the rounds.
async fn enqueue(house: &House, round: usize, when: &str) -> String {
    let id = format!("{round}-{when}");
    let ends_well = when == "before";
    house
        .follow(
            &id,
            &[
                (0, &[("a", "in-progress"), ("b", "pending")]),
                (150, &[("a", "success"), ("b", "pending")]),
                (300, &[("a", "success"), ("b", "in-progress")]),
                (450, &[("a", "success"), ("b", "pending")]),
                (
                    600,
                    &[("a", "success"), ("b", "in-progress"), ("c", "pending")],
                ),
                (
                    800,
                    &[("a", "success"), ("b", "success"), ("c", "in-progress")],
                ),
                (
                    1000,
                    &[
                        ("a", "success"),
                        ("b", "success"),
                        ("c", if ends_well { "success" } else { "failed" }),
                    ],
                ),
            ],
        )
        .await;
    id
}

async fn reach(house: &House, program: &Program, moment: Moment) {
    let (control, delivered) = (house.control(), house.sink.received().len());
    let asked = control.totals().requests;
    match moment {
        Moment::Asked => {
            let polled = || {
                let fresh = control.requests_after(asked, usize::MAX);
                fresh
                    .iter()
                    .any(|each| each.job.is_some() && each.status.is_none())
            };
            until("a poll in flight", polled).await;
        }
        Moment::DeliverySpec => {
            house.sink.hold(true);
            until("an event", || house.sink.received().len() > delivered).await;
        }
        Moment::Answered => until("an event", || house.sink.received().len() > delivered).await,
        Moment::Started => {
            program.ready().await;
        }
    }
}

async fn check_records(house: &House, ids: &[String]) {
    assert_eq!(house.value("PRAGMA integrity_check").await, "ok");
    for (wrong, sql) in [
        (
            "sequences of transitions with a gap",
            "SELECT count(*) FROM (SELECT count(*) AS n, max(seq) AS last FROM transitions GROUP BY job_id) WHERE n <> last",
        ),
        (
            "sequences of events with a gap",
            "SELECT count(*) FROM (SELECT count(*) AS n, max(sequence) AS last FROM events GROUP BY job_id) WHERE n <> last",
        ),
        (
            "transitions that do not begin where the last one ended",
            "SELECT count(*) FROM (SELECT from_status, lag(to_status) OVER (PARTITION BY job_id, title ORDER BY seq) AS before FROM transitions) WHERE from_status IS NOT before",
        ),
        (
            "transitions without their event",
            "SELECT (SELECT count(*) FROM transitions) - (SELECT count(*) FROM events WHERE type = 'job.step_changed')",
        ),
        (
            "jobs without exactly one end",
            "SELECT count(*) FROM jobs WHERE (SELECT count(*) FROM events WHERE job_id = jobs.id AND type IN ('job.completed', 'job.failed')) <> 1",
        ),
        (
            "deliveries that are not done",
            "SELECT count(*) FROM deliveries WHERE state <> 'delivered'",
        ),
        (
            "attempts that the receiver refused",
            "SELECT count(*) FROM attempts WHERE error IS NOT NULL",
        ),
    ] {
        assert_eq!(house.value(sql).await, "0", "{wrong}");
    }
    for id in ids {
        let truth = house.control().truth(id).unwrap().ending();
        let expected = match truth {
            Some(Ending::Success) => "success",
            _ => "failed",
        };
        let state = format!("SELECT state FROM jobs WHERE id = '{id}'");
        assert_eq!(house.value(&state).await, expected, "{id}");
    }
}

async fn check_events(house: &House) {
    let recorded = house
        .rows("SELECT job_id, sequence, id, body FROM events ORDER BY job_id, sequence")
        .await;
    let mut delivered: BTreeMap<String, Vec<Received>> = BTreeMap::new();
    for each in house.sink.received() {
        let lane = delivered.entry(each.job.as_str().to_owned()).or_default();
        let before = lane.last().map_or(0, |each| each.sequence);
        match each.sequence {
            again if again == before => {
                let last = lane.last().unwrap();
                assert_eq!((&last.id, &last.body), (&each.id, &each.body));
            }
            next => {
                assert_eq!(
                    next,
                    before + 1,
                    "{}: in order, without a gap",
                    each.job.as_str()
                );
                lane.push(each);
            }
        }
    }
    let facts = delivered.values().flatten().map(|each| {
        vec![
            each.job.as_str().to_owned(),
            each.sequence.to_string(),
            each.id.clone(),
            each.text(),
        ]
    });
    assert_eq!(facts.collect::<Vec<_>>(), recorded);
}
