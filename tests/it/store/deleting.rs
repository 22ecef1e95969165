//! Deleting jobs.

use jobtrackd::core::delivery::AfterAttempt;
use jobtrackd::store::Jobs as _;

use super::bench::Bench;
use super::fixtures::{body, t};

const TABLES: [&str; 6] = [
    "jobs",
    "steps",
    "transitions",
    "events",
    "deliveries",
    "attempts",
];

async fn refused(bench: &mut Bench) {
    let mut before = Vec::new();
    for table in TABLES {
        before.push(bench.outsider.rows(&format!("SELECT * FROM {table}")).await);
    }
    let said = bench.outsider.run("DELETE FROM jobs WHERE id = '1'").await;
    assert!(
        said.as_ref()
            .is_err_and(|said| said.starts_with("only a job that has ended and whose events are")),
        "{said:?}"
    );
    for (table, before) in TABLES.iter().zip(before) {
        let after = bench.outsider.rows(&format!("SELECT * FROM {table}")).await;
        assert_eq!(after, before, "{table}");
    }
}

#[tokio::test]
async fn a_job_goes_only_when_nothing_of_it_is_left_to_do() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    refused(&mut bench).await;
    bench
        .sees("1", &body(&[("a", "in-progress")]), &["w", "v"])
        .await;
    refused(&mut bench).await;
    bench
        .sees("1", &body(&[("a", "success")]), &["w", "v"])
        .await;
    refused(&mut bench).await;
    for _ in 0..3 {
        let head = bench.heads("w").await.remove(0);
        bench.attempts("w", &head, AfterAttempt::Retry(t(60))).await;
        refused(&mut bench).await;
        let head = bench.heads("w").await.remove(0);
        bench.attempts("w", &head, AfterAttempt::Exhausted).await;
    }
    refused(&mut bench).await;
    let head = bench.heads("v").await.remove(0);
    bench.attempts("v", &head, AfterAttempt::Disabled).await;
    refused(&mut bench).await;
}

#[tokio::test]
async fn a_second_end_of_a_job_is_refused_by_the_schema() {
    for second in ["job.completed", "job.failed"] {
        let mut bench = Bench::with_jobs(&["1"]).await;
        bench.sees("1", &body(&[("a", "success")]), &["w"]).await;
        let another = format!(
            "INSERT INTO events (id, job_id, sequence, type, created_at, body)
             SELECT 'evt_second', job_id, sequence + 1, '{second}', created_at, body
             FROM events WHERE type = 'job.completed'"
        );
        let refused = bench.outsider.run(&another).await.unwrap_err().to_string();
        assert!(refused.contains("one event for its end"), "{refused}");
        assert_eq!(bench.outsider.count("events").await, 2);
    }
}

#[tokio::test]
async fn a_finished_job_goes_with_all_its_rows_also_without_foreign_keys() {
    for foreign_keys in ["OFF", "ON"] {
        let mut bench = Bench::with_jobs(&["1", "2"]).await;
        for id in ["1", "2"] {
            bench
                .sees(id, &body(&[("a", "success")]), &["w", "v"])
                .await;
        }
        for webhook in ["w", "v"] {
            for after in [AfterAttempt::Delivered, AfterAttempt::Exhausted] {
                for head in bench.heads(webhook).await {
                    bench.attempts(webhook, &head, after).await;
                }
            }
        }
        let kept = bench.detail("2").await;
        let script =
            format!("PRAGMA foreign_keys = {foreign_keys}; DELETE FROM jobs WHERE id = '1'");
        bench.outsider.run(&script).await.unwrap();
        for table in ["steps", "transitions", "events", "deliveries"] {
            let others = bench
                .outsider
                .count(&format!("{table} WHERE job_id <> '2'"))
                .await;
            assert_eq!(others, 0, "{table}");
        }
        assert_eq!(bench.outsider.count("attempts").await, 4);
        assert_eq!(bench.detail("2").await, kept);
        assert_eq!(
            bench
                .store
                .tracked(&super::fixtures::id("1"))
                .await
                .unwrap(),
            None
        );
    }
}
