//! Many jobs at a glance, as a watcher needs them.

use jobtrackd::core::delivery::AfterAttempt;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::store::{DeliveryCounts, Overview, Watching as _};

use super::bench::Bench;
use super::fixtures::{T0, body, id, t};

async fn lively(bench: &Bench, ended_since: UnixMillis, limit: u32) -> Vec<String> {
    let jobs = bench
        .store
        .recently_changed(ended_since, limit)
        .await
        .unwrap();
    jobs.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn jobs_that_run_or_have_just_ended_come_with_the_latest_change_first() {
    let mut bench = Bench::with_jobs(&["1", "2", "3", "4"]).await;
    // What was observed lies in the future of the rows, which were inserted now.
    let long_ago = "UPDATE jobs SET created_at = 1000 + rowid";
    bench.outsider.run(long_ago).await.unwrap();
    bench.sees("2", &body(&[("a", "in-progress")]), &[]).await;
    bench.sees("3", &body(&[("a", "success")]), &[]).await;
    assert_eq!(lively(&bench, T0, 10).await, ["3", "2", "4", "1"]);
    assert_eq!(lively(&bench, T0, 2).await, ["3", "2"]);
    assert_eq!(lively(&bench, t(1), 10).await, ["2", "4", "1"]);
}

#[tokio::test]
async fn a_watched_job_has_its_steps_its_latest_change_and_its_deliveries() {
    let bench = Bench::with_jobs(&["1", "2"]).await;
    bench
        .sees(
            "1",
            &body(&[("a", "success"), ("b", "failed")]),
            &["w", "v"],
        )
        .await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Delivered).await;
    let ids = ["2", "nobody", "1"].map(id);
    let watched = bench.store.progress(&ids).await.unwrap();
    let found: Vec<_> = watched
        .iter()
        .map(|job| job.summary.row.id.as_str())
        .collect();
    assert_eq!(found, ["2", "1"]);
    let (waits, failed) = (&watched[0], &watched[1]);
    assert_eq!(
        (waits.last_seq, waits.deliveries),
        (0, DeliveryCounts::default())
    );
    assert_eq!(waits.changed_at, waits.summary.row.created_at);
    assert_eq!((failed.last_seq, failed.changed_at), (2, T0));
    assert_eq!(failed.summary, bench.detail("1").await.summary);
    let delivered = DeliveryCounts {
        delivered: 1,
        pending: failed.deliveries.pending,
        attempts: 1,
        ..DeliveryCounts::default()
    };
    assert_eq!(failed.deliveries, delivered);
    assert_eq!(
        failed.deliveries.pending + 1,
        bench.detail("1").await.deliveries.len() as u64
    );
}

#[tokio::test]
async fn the_overview_counts_what_runs_and_names_the_webhooks_in_trouble() {
    let mut bench = Bench::with_jobs(&["1", "2"]).await;
    assert_eq!(
        bench.store.overview(T0).await.unwrap(),
        Overview {
            running: 2,
            ..Overview::default()
        }
    );
    bench
        .sees("1", &body(&[("a", "success")]), &["a", "b", "c"])
        .await;
    let again = AfterAttempt::Retry(t(5));
    let head = bench.heads("b").await.remove(0);
    bench.attempts("b", &head, again).await;
    bench
        .outsider
        .run("INSERT INTO webhooks (name, disabled_at, disabled_reason) VALUES ('old', 1, 'gone')")
        .await
        .unwrap();
    let seen = bench.store.overview(T0).await.unwrap();
    assert_eq!((seen.running, seen.ended), (1, 1));
    assert_eq!(seen.failing, ["b"]);
    assert_eq!(seen.disabled, ["old"]);
    assert_eq!(
        seen.pending as usize,
        bench.detail("1").await.deliveries.len()
    );
    assert_eq!(bench.store.overview(t(1)).await.unwrap().ended, 0);
}
