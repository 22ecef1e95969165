//! Lists and details.

use jobtrackd_core::delivery::WebhookName;
use serde_json::json;

use super::super::fixtures::{body, expired, id, with_deliveries};
use super::super::{Backend, Bench, job};
use crate::{EventFilter, Events as _, Jobs as _, NewJob, PAGE_BYTES};

pub(super) async fn what_is_not_there_is_nothing<B: Backend>() {
    let bench = Bench::<B>::fresh().await;
    assert_eq!(bench.store().detail(&id("1")).await.unwrap(), None);
    assert_eq!(bench.store().tracked(&id("1")).await.unwrap(), None);
}

pub(super) async fn jobs_that_are_read_together_come_in_the_order_of_the_ids<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    bench
        .sees("1", &body(&[("a", "pending"), ("b", "pending")]), &[])
        .await;
    bench
        .sees("3", &body(&[("c", "success"), ("d", "pending")]), &[])
        .await;
    let ids = ["3", "0", "1", "2"].map(id);
    let (tracked, rows) = (
        bench.store().all_tracked(&ids).await.unwrap(),
        bench.store().all_jobs(&ids).await.unwrap(),
    );
    let together = tracked.into_iter().zip(rows);
    for (id, (tracked, row)) in ids.iter().zip(together) {
        assert_eq!(tracked.unwrap(), bench.store().tracked(id).await.unwrap());
        assert_eq!(row.unwrap(), bench.store().job(id).await.unwrap());
    }
    assert_eq!(bench.tracked("3").await.steps.len(), 2);
}

pub(super) async fn an_event_has_a_few_words_that_say_what_it_is_about<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    let steps = |failed: &str| {
        let (mfa, queued) = (
            json!({"type": "mfa"}),
            json!({"code": "temporary-unavailable-queued"}),
        );
        json!({"type": "job", "steps": [
            {"title": "code?", "status": "in-progress", "result": mfa},
            {"title": "x".repeat(300), "status": "pending", "result": queued},
            {"title": "a", "status": failed, "result": {"code": "invalid-credentials"}},
        ]})
        .to_string()
    };
    bench.sees("1", &steps("pending"), &[]).await;
    bench.sees("1", &steps("failed"), &[]).await;
    bench.sees("2", &body(&[("a", "success")]), &[]).await;
    let late = expired(&bench.tracked("3").await);
    bench.record(vec![with_deliveries(late, &[])]).await;
    let all = EventFilter {
        limit: 100,
        bytes: PAGE_BYTES,
        detail: true,
        ..EventFilter::default()
    };
    let events = bench.store().events(&all).await.unwrap().events;
    let found: Vec<_> = events
        .iter()
        .map(|event| (event.kind.as_str(), event.detail.as_deref()))
        .collect();
    let long = "x".repeat(200);
    assert_eq!(
        found,
        [
            ("job.step_changed", Some("code?: in-progress")),
            ("job.step_changed", Some(long.as_str())),
            ("job.step_changed", Some("a: pending")),
            ("job.delayed", Some(long.as_str())),
            ("job.action_required", Some("code?")),
            ("job.step_changed", Some("a: failed")),
            ("job.failed", Some("invalid-credentials")),
            ("job.step_changed", Some("a: success")),
            ("job.completed", None),
            ("job.failed", Some("expired")),
        ]
    );
}

pub(super) async fn names_of_unknown_webhooks_are_counted_over_the_unfinished_jobs<B: Backend>() {
    let mut bench = Bench::<B>::fresh().await;
    for (id, webhook) in [
        ("1", Some("gone")),
        ("2", Some("gone")),
        ("3", Some("w")),
        ("4", None),
        ("5", Some("a")),
        ("6", Some("ended")),
    ] {
        let row = NewJob {
            webhook: webhook.map(str::to_owned),
            ..job(id)
        };
        assert!(bench.insert(&row).await.unwrap());
    }
    bench.sees("6", &body(&[("a", "success")]), &[]).await;
    let unknown = async |known: &[&str]| {
        let known: Vec<_> = known.iter().map(|name| WebhookName::new(name)).collect();
        bench.store().unknown_webhooks(&known).await.unwrap()
    };
    let of = |name: &str, jobs| (name.to_owned(), jobs);
    assert_eq!(unknown(&["w", "v"]).await, [of("a", 1), of("gone", 2)]);
    assert_eq!(unknown(&["w", "a", "gone"]).await, []);
    assert_eq!(unknown(&[]).await, [of("a", 1), of("gone", 2), of("w", 1)]);
}
