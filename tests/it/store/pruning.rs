//! Retention: what is deleted, when, and what never is.

use std::collections::BTreeMap;

use jobtrackd::core::retention::{Retention, Stage};
use jobtrackd::core::time::UnixMillis;
use jobtrackd::store::{Prunable, Prune, Pruned, Retention as _};
use proptest::prelude::*;
use strum::IntoEnumIterator;

use super::bench::Bench;

/// Days since the beginning of time, as the tests count.
fn day(days: i64) -> UnixMillis {
    UnixMillis(days * 86_400_000)
}

/// One delivery of a job's only event.
#[derive(Debug, Clone)]
struct DeliverySpec {
    state: &'static str,
    /// The day of its only attempt, if there was one.
    tried: Option<i64>,
}

impl Bench {
    /// A job that ended on this day, with an event whose deliveries to w0, w1 … are as given.
    async fn ended(&mut self, id: &str, on: Option<i64>, delivered: &[DeliverySpec]) {
        let mut sql = format!("INSERT INTO jobs (id) VALUES ('{id}');");
        if let Some(on) = on {
            let at = day(on).0;
            sql += &format!(
                "UPDATE jobs SET state = 'success', finished_at = {at} WHERE id = '{id}';"
            );
        }
        sql += &format!(
            "INSERT INTO steps (job_id, title, occurrence, position, status, first_seen_at, updated_at) VALUES ('{id}', 'a', 0, 0, 'success', 1, 1);
             INSERT INTO transitions (job_id, seq, position, title, occurrence, to_status, observed_at) VALUES ('{id}', 1, 0, 'a', 0, 'success', 1);
             INSERT INTO events (id, job_id, sequence, type, created_at, body) VALUES ('evt_{id}', '{id}', 1, 'job.step_changed', 1, '{{}}');"
        );
        for (webhook, delivery) in delivered.iter().enumerate() {
            let tried = delivery
                .tried
                .map_or("NULL".to_owned(), |on| day(on).0.to_string());
            let delivered = if delivery.state == "delivered" {
                &tried
            } else {
                "NULL"
            };
            let attempts = i64::from(delivery.tried.is_some());
            sql += &format!(
                "INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, attempts, last_attempt_at, delivered_at)
                 VALUES ('evt_{id}', 'w{webhook}', '{id}', 1, '{}', {attempts}, {tried}, {delivered});",
                delivery.state
            );
            if delivery.tried.is_some() {
                sql += &format!(
                    "INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, \"trigger\")
                     VALUES ('evt_{id}', 'w{webhook}', 1, {tried}, 1, 200, 'schedule');"
                );
            }
        }
        self.outsider.run(&sql).await.unwrap();
    }

    async fn prunable(&self, stage: Stage, before: UnixMillis) -> Vec<Prunable> {
        let (found, stopped) = self.store.prunable(stage, before, None).await.unwrap();
        assert_eq!(stopped, None);
        found
    }

    /// One transaction.
    async fn prune(
        &self,
        stage: Stage,
        before: UnixMillis,
        jobs: &[Prunable],
        rows: u32,
    ) -> Pruned {
        let prune = Prune {
            stage,
            before,
            jobs,
            rows,
        };
        self.store.prune(prune).await.unwrap()
    }

    /// What the daemon does at one look, with transactions of this size.
    async fn look(&self, retention: &Retention, now: UnixMillis, rows: u32) {
        for stage in Stage::iter() {
            let Some(before) = retention.before(stage, now) else {
                continue;
            };
            let found = self.prunable(stage, before).await;
            let mut jobs = found.as_slice();
            while !jobs.is_empty() {
                let pruned = self.prune(stage, before, jobs, rows).await;
                assert!(pruned.jobs > 0 || pruned.rows > 0, "it goes on");
                jobs = &jobs[pruned.jobs..];
            }
        }
    }

    /// For each job that has any rows: its mark, and the numbers of its events, deliveries, attempts and transitions.
    async fn left(&mut self) -> BTreeMap<String, String> {
        let rows = self
            .outsider
            .rows(
                "SELECT id || ' ' || pruned || ': ' || (SELECT count(*) FROM events WHERE job_id = jobs.id)
                        || ' ' || (SELECT count(*) FROM deliveries WHERE job_id = jobs.id)
                        || ' ' || (SELECT count(*) FROM attempts WHERE event_id = 'evt_' || jobs.id)
                        || ' ' || (SELECT count(*) FROM transitions WHERE job_id = jobs.id)
                        || ' ' || (SELECT count(*) FROM steps WHERE job_id = jobs.id) FROM jobs",
            )
            .await;
        let parted = rows.iter().map(|row| row.split_once(' ').unwrap());
        parted
            .map(|(id, left)| (id.to_owned(), left.to_owned()))
            .collect()
    }
}

const DELIVERED: DeliverySpec = DeliverySpec {
    state: "delivered",
    tried: Some(100),
};

fn with_deliveries(state: &'static str, tried: Option<i64>) -> DeliverySpec {
    DeliverySpec { state, tried }
}

#[tokio::test]
async fn parts_of_a_finished_job_go_at_their_ages() {
    let mut bench = Bench::fresh().await;
    bench.ended("j", Some(100), &[DELIVERED]).await;
    bench.ended("runs", None, &[DELIVERED]).await;
    let retention = Retention::default();
    for (now, left) in [
        (113, Some("0: 1 1 1 1 1")),
        (115, Some("1: 1 1 0 1 1")),
        (129, Some("1: 1 1 0 1 1")),
        (131, Some("2: 0 0 0 1 1")),
        (189, Some("2: 0 0 0 1 1")),
        (191, None),
    ] {
        bench.look(&retention, day(now), 100).await;
        let found = bench.left().await;
        assert_eq!(found.get("j").map(String::as_str), left, "day {now}");
        assert_eq!(
            found["runs"], "0: 1 1 1 1 1",
            "an unfinished job is left alone"
        );
    }
    assert_eq!(bench.outsider.value("PRAGMA integrity_check").await, "ok");
}

#[tokio::test]
async fn nothing_goes_while_anything_is_to_be_sent_and_what_was_given_up_goes() {
    let mut bench = Bench::fresh().await;
    for (id, state) in [
        ("pending", "pending"),
        ("disabled", "disabled"),
        ("exhausted", "exhausted"),
    ] {
        let undelivered = with_deliveries(state, Some(100));
        bench.ended(id, Some(100), &[DELIVERED, undelivered]).await;
    }
    bench.look(&Retention::default(), day(5000), 100).await;
    let left = bench.left().await;
    assert_eq!(left.len(), 2);
    for id in ["pending", "disabled"] {
        assert_eq!(left[id], "0: 1 2 2 1 1");
    }
}

#[tokio::test]
async fn a_late_delivery_keeps_its_attempts_as_long_as_any_other() {
    let mut bench = Bench::fresh().await;
    bench
        .ended(
            "late",
            Some(100),
            &[with_deliveries("delivered", Some(110))],
        )
        .await;
    bench
        .ended(
            "lost",
            Some(100),
            &[with_deliveries("exhausted", Some(110))],
        )
        .await;
    let retention = Retention::default();
    bench.look(&retention, day(120), 100).await;
    let both = |left: &str| ["late", "lost"].map(|id| (id.to_owned(), left.to_owned()));
    assert_eq!(bench.left().await, both("0: 1 1 1 1 1").into());
    bench.look(&retention, day(125), 100).await;
    assert_eq!(bench.left().await, both("1: 1 1 0 1 1").into());
}

#[tokio::test]
async fn what_is_asked_for_again_meanwhile_is_not_deleted() {
    let mut bench = Bench::fresh().await;
    bench.ended("j", Some(100), &[DELIVERED]).await;
    let found = bench.prunable(Stage::Events, day(130)).await;
    assert!(found.is_empty(), "attempts come first");
    let found = bench.prunable(Stage::Attempts, day(130)).await;
    assert_eq!(found.len(), 1);
    let replayed = "UPDATE deliveries SET state = 'pending', delivered_at = NULL";
    bench.outsider.run(replayed).await.unwrap();
    let pruned = bench.prune(Stage::Attempts, day(130), &found, 100).await;
    assert_eq!((pruned.jobs, pruned.rows), (1, 0));
    assert_eq!(bench.left().await["j"], "0: 1 1 1 1 1");
}

#[tokio::test]
async fn a_job_with_thousands_of_events_goes_in_pieces_and_a_kill_in_between_loses_nothing() {
    let mut bench = Bench::fresh().await;
    bench.ended("big", Some(100), &[DELIVERED]).await;
    bench
        .outsider
        .run(
            "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO events (id, job_id, sequence, type, created_at, body)
             SELECT 'evt_big_' || i, 'big', i, 'job.step_changed', 1, printf('%.*c', 4000, 'x') FROM n;
             INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, attempts, delivered_at)
             SELECT id, 'w0', job_id, sequence, 'delivered', 1, 1 FROM events WHERE sequence > 1;
             INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, \"trigger\")
             SELECT event_id, webhook, 1, 1, 1, 200, 'schedule' FROM deliveries WHERE sequence > 1;",
        )
        .await
        .unwrap();
    let mut transactions = 0;
    for stage in Stage::iter() {
        let found = bench.prunable(stage, day(300)).await;
        assert_eq!(found.len(), 1, "{stage:?}");
        loop {
            let pruned = bench.prune(stage, day(300), &found, 500).await;
            transactions += 1;
            assert!(pruned.rows <= 500, "{pruned:?}");
            // As if it had been killed: the next look finds the job again.
            if pruned.jobs == 1 {
                break;
            }
            assert_eq!(bench.prunable(stage, day(300)).await, found);
        }
    }
    // 9,000 rows of 500 each, and bodies of at most 1 MiB a time.
    assert!(transactions >= 18, "{transactions}");
    assert!(bench.left().await.is_empty());
    assert_eq!(bench.outsider.value("PRAGMA integrity_check").await, "ok");
}

#[tokio::test]
async fn the_file_does_not_grow_when_as_much_comes_as_was_deleted() {
    let mut bench = Bench::fresh().await;
    let mut sizes = Vec::new();
    for round in 0..3 {
        let body = "x".repeat(3000);
        for job in 0..200 {
            let id = format!("{round}-{job}");
            bench.ended(&id, Some(100), &[DELIVERED]).await;
            let big = format!(
                "INSERT INTO events (id, job_id, sequence, type, created_at, body) VALUES ('big_{id}', '{id}', 2, 'job.step_changed', 1, '{body}')"
            );
            bench.outsider.run(&big).await.unwrap();
        }
        let pages: u64 = bench
            .outsider
            .value("PRAGMA page_count")
            .await
            .parse()
            .unwrap();
        sizes.push(pages);
        bench.look(&Retention::default(), day(500), 1000).await;
        let free: u64 = bench
            .outsider
            .value("PRAGMA freelist_count")
            .await
            .parse()
            .unwrap();
        assert!(free > pages / 2, "{free} of {pages} pages are free");
    }
    assert!(sizes[2] <= sizes[0] + sizes[0] / 20, "{sizes:?}");
}

#[tokio::test]
async fn attempts_of_tests_go_at_their_age_too() {
    let mut bench = Bench::fresh().await;
    for on in [100, 110] {
        let at = day(on).0;
        let insert = format!(
            "INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, \"trigger\")
             VALUES ('test_{on}', 'w', 1, {at}, 1, 200, 'test')"
        );
        bench.outsider.run(&insert).await.unwrap();
    }
    let pruned = bench.store.prune_tests(day(105), 100).await.unwrap();
    assert_eq!(pruned.rows, 1);
    assert_eq!(
        bench.outsider.value("SELECT event_id FROM attempts").await,
        "test_110"
    );
}

fn some_deliveries() -> impl Strategy<Value = DeliverySpec> {
    prop_oneof![
        6 => (95_i64..140).prop_map(|on| with_deliveries("delivered", Some(on))),
        2 => (95_i64..140).prop_map(|on| with_deliveries("exhausted", Some(on))),
        1 => prop::option::of(95_i64..140).prop_map(|on| with_deliveries("pending", on)),
        1 => prop::option::of(95_i64..140).prop_map(|on| with_deliveries("disabled", on)),
    ]
}

type Given = (Option<i64>, Vec<DeliverySpec>);

/// What must be left of a job: `None` when it must be gone.
fn expected((on, delivered): &Given, ages: [i64; 3], now: i64) -> Option<String> {
    let tried = delivered.iter().filter(|each| each.tried.is_some()).count();
    let undelivered = delivered
        .iter()
        .any(|each| matches!(each.state, "pending" | "disabled"));
    let whole = || Some(format!("0: 1 {} {tried} 1 1", delivered.len()));
    let Some(on) = on.filter(|_| !undelivered) else {
        return whole();
    };
    let last = delivered
        .iter()
        .filter_map(|each| each.tried)
        .chain([on])
        .max()?;
    let [attempts, events, jobs] = ages.map(|age| now - age);
    if last >= attempts {
        whole()
    } else if last >= events {
        Some(format!("1: 1 {} 0 1 1", delivered.len()))
    } else if on >= jobs {
        Some("2: 0 0 0 1 1".to_owned())
    } else {
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_there_is_exactly_what_is_old_enough_and_delivered_goes(
        jobs in prop::collection::vec((prop::option::weighted(0.9, 90_i64..120), prop::collection::vec(some_deliveries(), 0..3)), 1..8),
        mut ages in prop::array::uniform3(1_i64..40),
        now in 120_i64..170,
        rows in 1_u32..30,
    ) {
        ages.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut bench = Bench::fresh().await;
            for (index, (on, delivered)) in jobs.iter().enumerate() {
                bench.ended(&format!("j{index}"), *on, delivered).await;
            }
            let age = |days: i64| Some(std::time::Duration::from_secs(days.unsigned_abs() * 86_400));
            let [attempts, events, whole] = ages;
            let retention = Retention { jobs: age(whole), events: age(events), attempts: age(attempts) };
            bench.look(&retention, day(now), rows).await;
            let left = bench.left().await;
            for (index, given) in jobs.iter().enumerate() {
                let found = left.get(&format!("j{index}"));
                assert_eq!(found, expected(given, ages, now).as_ref(), "{given:?} on day {now} with {ages:?}");
            }
        });
    }
}
