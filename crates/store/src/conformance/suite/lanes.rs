//! Lanes: the deliveries of one job to one webhook, sent in order.

use jobtrackd_core::delivery::{AfterAttempt, WebhookName};
use jobtrackd_core::time::UnixMillis;

use super::super::fixtures::{T0, attempt, body, seen, t, with_deliveries};
use super::super::{Backend, Bench};
use crate::{Batch, Commits as _, Deliveries as _};

/// A bench whose job `1` has three events for `w`.
async fn three_events<B: Backend>() -> Bench<B> {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    bench
        .sees("1", &body(&[("a", "x"), ("b", "x"), ("c", "x")]), &["w"])
        .await;
    bench
}

/// The heads as `job sequence`.
async fn heads<B: Backend>(bench: &Bench<B>, webhook: &str) -> Vec<String> {
    let heads = bench.heads(webhook).await;
    bench.labels(webhook, &heads).await
}

pub(super) async fn only_the_head_of_a_lane_is_due<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    for job in ["1", "2"] {
        bench
            .sees(job, &body(&[("a", "x"), ("b", "x")]), &["w", "v"])
            .await;
    }
    for webhook in ["w", "v"] {
        let due = bench.due(webhook, T0).await;
        let mut due = bench.labels(webhook, &due).await;
        due.sort();
        assert_eq!(due, ["1 1", "2 1"]);
    }
    assert_eq!(bench.due("w", UnixMillis(T0.0 - 1)).await, []);
    assert_eq!(bench.due("other", UnixMillis::MAX).await, []);
}

pub(super) async fn the_next_becomes_due_in_the_commit_that_ends_the_one_before<B: Backend>() {
    for after in [AfterAttempt::Delivered, AfterAttempt::Exhausted] {
        let bench = three_events::<B>().await;
        for sequence in 1..=3 {
            let due = bench.due("w", T0).await;
            assert_eq!(bench.labels("w", &due).await, [format!("1 {sequence}")]);
            bench.attempts("w", &due[0], after).await;
        }
        assert_eq!(bench.heads("w").await, []);
    }
}

pub(super) async fn events_that_come_while_a_head_waits_stay_behind_it<B: Backend>() {
    let bench = three_events::<B>().await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Retry(t(60))).await;
    bench
        .sees("1", &body(&[("a", "y"), ("b", "x"), ("c", "x")]), &["w"])
        .await;
    assert_eq!(bench.due("w", t(59)).await, []);
    let next = bench
        .store()
        .next_delivery(&WebhookName::new("w"), T0)
        .await
        .unwrap();
    assert_eq!(next, Some(t(60)));
    let due = bench.due("w", t(60)).await;
    assert_eq!(bench.labels("w", &due).await, ["1 1"]);
    assert_eq!((due[0].attempts, due[0].retries_used), (1, 1));
    for sequence in 1..=4 {
        assert_eq!(heads(&bench, "w").await, [format!("1 {sequence}")]);
        let head = bench.heads("w").await.remove(0);
        bench.attempts("w", &head, AfterAttempt::Delivered).await;
    }
    assert_eq!(
        bench
            .store()
            .next_delivery(&WebhookName::new("w"), T0)
            .await
            .unwrap(),
        None
    );
}

pub(super) async fn an_event_and_the_delivery_of_the_one_before_may_come_in_one_commit<
    B: Backend,
>() {
    let bench = three_events::<B>().await;
    for _ in 0..2 {
        let head = bench.heads("w").await.remove(0);
        bench.attempts("w", &head, AfterAttempt::Delivered).await;
    }
    let last = bench.heads("w").await.remove(0);
    let more = seen(
        &bench.tracked("1").await,
        &body(&[("a", "y"), ("b", "x"), ("c", "x")]),
    );
    let batch = Batch {
        observations: vec![with_deliveries(more, &["w"])],
        attempts: vec![attempt("w", &last, AfterAttempt::Delivered)],
        now: Some(t(9)),
        ..Batch::default()
    };
    let committed = bench.store().commit(&batch).await.unwrap();
    assert!(committed.webhooks.contains(&WebhookName::new("w")));
    assert_eq!(bench.due("w", t(8)).await, []);
    let due = bench.due("w", t(9)).await;
    assert_eq!(bench.labels("w", &due).await, ["1 4"]);
}

pub(super) async fn one_lane_does_not_wait_for_another<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    for job in ["1", "2"] {
        bench
            .sees(job, &body(&[("a", "x"), ("b", "x")]), &["w", "v"])
            .await;
    }
    let first = bench.heads("w").await.remove(0);
    bench
        .attempts("w", &first, AfterAttempt::Retry(t(3600)))
        .await;
    assert_eq!(bench.due("w", T0).await.len(), 1);
    assert_eq!(bench.due("v", T0).await.len(), 2);
    let other = bench.due("w", T0).await.remove(0);
    assert_ne!(other.job_id, first.job_id);
    bench.attempts("w", &other, AfterAttempt::Delivered).await;
    let due = bench.due("w", T0).await;
    let labels = bench.labels("w", &due).await;
    assert_eq!(labels, [format!("{} 2", other.job_id)]);
}

pub(super) async fn the_longest_due_come_first_and_pages_are_cut<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    for job in ["1", "2", "3"] {
        bench.sees(job, &body(&[("a", "x")]), &["w"]).await;
    }
    for head in bench.heads("w").await {
        let wait = 40 - 10 * head.job_id.as_str().parse::<u64>().unwrap();
        bench
            .attempts("w", &head, AfterAttempt::Retry(t(wait)))
            .await;
    }
    assert_eq!(heads(&bench, "w").await, ["3 1", "2 1", "1 1"]);
    let page = bench
        .store()
        .deliveries_due(&WebhookName::new("w"), t(20), &[], 1)
        .await
        .unwrap();
    assert_eq!(bench.labels("w", &page.deliveries).await, ["3 1"]);
    assert_eq!(bench.due("w", t(20)).await.len(), 2);
    let next = async |now| {
        bench
            .store()
            .next_delivery(&WebhookName::new("w"), now)
            .await
            .unwrap()
    };
    assert_eq!(next(t(20)).await, Some(t(30)));
    assert_eq!(next(t(30)).await, None);
}
