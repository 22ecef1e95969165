//! Many jobs at a glance, as a watcher needs them.

use jobtrackd_core::delivery::AfterAttempt;
use jobtrackd_core::time::UnixMillis;

use super::super::fixtures::{T0, body, id, t};
use super::super::{Backend, Bench};
use crate::{DeliveryCounts, JobUpdate, Overview, Watching as _, Webhooks as _};

async fn lively<B: Backend>(bench: &Bench<B>, ended_since: UnixMillis, limit: u32) -> Vec<String> {
    let jobs = bench
        .store()
        .recently_changed(ended_since, limit)
        .await
        .unwrap();
    jobs.iter().map(ToString::to_string).collect()
}

pub(super) async fn jobs_that_run_or_have_just_ended_come_with_the_latest_change_first<
    B: Backend,
>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2", "3", "4"]).await;
    // What was observed lies in the future of the rows.
    for (number, job) in ["1", "2", "3", "4"].into_iter().enumerate() {
        let at = UnixMillis(1000 + i64::try_from(number).unwrap());
        bench.update(job, JobUpdate::CreatedAt(at)).await.unwrap();
    }
    bench.sees("2", &body(&[("a", "in-progress")]), &[]).await;
    bench.sees("3", &body(&[("a", "success")]), &[]).await;
    assert_eq!(lively(&bench, T0, 10).await, ["3", "2", "4", "1"]);
    assert_eq!(lively(&bench, T0, 2).await, ["3", "2"]);
    assert_eq!(lively(&bench, t(1), 10).await, ["2", "4", "1"]);
}

pub(super) async fn a_watched_job_has_its_steps_its_latest_change_and_its_deliveries<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
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
    let watched = bench.store().progress(&ids).await.unwrap();
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

pub(super) async fn the_overview_counts_what_runs_and_names_the_webhooks_in_trouble<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    let overview = async |since| bench.store().overview(since).await.unwrap();
    let quiet = Overview {
        running: 2,
        ..Overview::default()
    };
    assert_eq!(overview(T0).await, quiet);
    bench
        .sees("1", &body(&[("a", "success")]), &["a", "b"])
        .await;
    let head = bench.heads("b").await.remove(0);
    bench.attempts("b", &head, AfterAttempt::Retry(t(5))).await;
    let old = jobtrackd_core::delivery::WebhookName::new("old");
    bench.store().disable_webhook(&old, "gone").await.unwrap();
    let seen = overview(T0).await;
    assert_eq!((seen.running, seen.ended, seen.pending), (1, 1, 4));
    assert_eq!(seen.failing, ["b"]);
    assert_eq!(seen.disabled, ["old"]);
    assert_eq!(overview(t(1)).await.ended, 0);
}
