//! What attempts do to deliveries and to their webhook.

use jobtrackd_core::delivery::{
    AfterAttempt, AttemptErrorClass, AttemptResult, DeliveryState, WebhookName,
};
use jobtrackd_core::time::UnixMillis;

use super::super::fixtures::{T0, TOOK, attempt, body, t, with_result};
use super::super::{Backend, Bench};
use crate::{Batch, Commits as _, WebhookHealth, Webhooks as _};

async fn two_events<B: Backend>() -> Bench<B> {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    bench
        .sees("1", &body(&[("a", "x"), ("b", "x")]), &["w"])
        .await;
    bench
}

async fn health<B: Backend>(bench: &Bench<B>, webhook: &str) -> WebhookHealth {
    bench
        .store()
        .webhook_health(&WebhookName::new(webhook))
        .await
        .unwrap()
}

pub(super) async fn every_attempt_is_kept_and_the_delivery_shows_the_last<B: Backend>() {
    let bench = two_events::<B>().await;
    let mut head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Retry(t(5))).await;
    head.attempts = 1;
    let mut second = attempt("w", &head, AfterAttempt::Retry(t(30)));
    second.attempt.started_at = t(5);
    second.attempt = with_result(
        second.attempt,
        &AttemptResult::Unreachable {
            class: AttemptErrorClass::Tls,
            detail: "it's \"expired\" ü".to_owned(),
        },
    );
    let batch = Batch {
        attempts: vec![second],
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    let delivery = bench.detail("1").await.deliveries.remove(0);
    assert_eq!(
        (delivery.state, delivery.attempts),
        (DeliveryState::Pending, 2)
    );
    assert_eq!(
        (delivery.next_attempt_at, delivery.last_status),
        (Some(t(30)), None)
    );
    assert_eq!(
        delivery.last_error.as_deref(),
        Some("tls: it's \"expired\" ü")
    );
    head.attempts = 2;
    bench.attempts("w", &head, AfterAttempt::Delivered).await;
    let detail = bench.detail("1").await;
    let delivery = &detail.deliveries[0];
    assert_eq!(
        (delivery.state, delivery.attempts),
        (DeliveryState::Delivered, 3)
    );
    assert_eq!(
        (delivery.delivered_at, delivery.next_attempt_at),
        (Some(T0.plus(TOOK)), None)
    );
    assert_eq!(
        (delivery.last_status, delivery.last_error.as_deref()),
        (Some(204), None)
    );
    let mut kept: Vec<_> = detail
        .attempts
        .iter()
        .map(|a| (a.number, a.status, a.error.as_deref()))
        .collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            (1, Some(500), Some("status: 500 Internal Server Error")),
            (2, None, Some("tls: it's \"expired\" ü")),
            (3, Some(204), None)
        ]
    );
    assert!(
        detail
            .attempts
            .iter()
            .all(|a| (a.duration_ms, a.trigger.as_str()) == (250, "schedule"))
    );
}

pub(super) async fn a_pause_holds_back_the_webhook_and_costs_no_entry<B: Backend>() {
    let bench = two_events::<B>().await;
    assert_eq!(health(&bench, "w").await, WebhookHealth::default());
    let head = bench.heads("w").await.remove(0);
    bench
        .attempts("w", &head, AfterAttempt::Again(t(120)))
        .await;
    assert_eq!(health(&bench, "w").await.paused_until, Some(t(120)));
    assert_eq!(health(&bench, "v").await, WebhookHealth::default());
    let head = bench.heads("w").await.remove(0);
    assert_eq!((head.attempts, head.retries_used), (1, 0));
    assert_eq!(bench.due("w", t(119)).await, []);
    bench.attempts("w", &head, AfterAttempt::Again(t(60))).await;
    assert_eq!(
        health(&bench, "w").await.paused_until,
        Some(t(120)),
        "a pause is never shortened"
    );
    let detail = bench.detail("1").await;
    assert_eq!(detail.attempts.len(), 2);
    assert_eq!(detail.deliveries[0].last_status, Some(429));
}

pub(super) async fn a_410_disables_what_is_pending_and_what_comes_later<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    for job in ["1", "2"] {
        bench
            .sees(job, &body(&[("a", "x"), ("b", "x")]), &["w", "v"])
            .await;
    }
    let heads = bench.heads("w").await;
    bench
        .attempts("w", &heads[0], AfterAttempt::Delivered)
        .await;
    bench.attempts("w", &heads[1], AfterAttempt::Disabled).await;
    let health = health(&bench, "w").await;
    assert_eq!(
        health.disabled,
        Some((T0.plus(TOOK), "the webhook answered 410".to_owned()))
    );
    let (delivered, gone) = (heads[0].job_id.as_str(), heads[1].job_id.as_str());
    assert_eq!(
        bench.lane("w", delivered).await,
        ["1 delivered", "2 disabled"]
    );
    assert_eq!(bench.lane("w", gone).await, ["1 disabled", "2 disabled"]);
    bench
        .sees("1", &body(&[("a", "y"), ("b", "success")]), &["w", "v"])
        .await;
    assert_eq!(
        bench.lane("w", "1").await[2..],
        ["3 disabled", "4 disabled"]
    );
    assert_eq!(bench.heads("w").await, []);
    assert_eq!(
        bench.lane("v", "1").await,
        ["1 pending", "2 pending", "3 pending", "4 pending"]
    );
    assert_eq!(bench.heads("v").await.len(), 2);
}

pub(super) async fn what_was_under_way_when_the_webhook_was_disabled_counts_when_it_was_a_2xx<
    B: Backend,
>() {
    for (after, state, error) in [
        (AfterAttempt::Delivered, DeliveryState::Delivered, None),
        (
            AfterAttempt::Retry(t(60)),
            DeliveryState::Disabled,
            Some("status: 500 Internal Server Error"),
        ),
        (
            AfterAttempt::Exhausted,
            DeliveryState::Disabled,
            Some("status: 500 Internal Server Error"),
        ),
        (
            AfterAttempt::Again(t(60)),
            DeliveryState::Disabled,
            Some("throttled: 429, asks for a pause of 60 s"),
        ),
        (
            AfterAttempt::Disabled,
            DeliveryState::Disabled,
            Some("gone: 410, the webhook wants no more events"),
        ),
    ] {
        let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
        for job in ["1", "2"] {
            bench
                .sees(job, &body(&[("a", "x"), ("b", "x")]), &["w"])
                .await;
        }
        let heads = bench.heads("w").await;
        bench.attempts("w", &heads[0], AfterAttempt::Disabled).await;
        bench.attempts("w", &heads[1], after).await;
        let detail = bench.detail(heads[1].job_id.as_str()).await;
        let late = &detail.deliveries[0];
        assert_eq!(
            (late.state, late.last_error.as_deref()),
            (state, error),
            "{after:?}"
        );
        assert_eq!((late.attempts, late.next_attempt_at), (1, None));
        assert_eq!(detail.attempts.len(), 1);
        assert_eq!(bench.heads("w").await, []);
    }
}

pub(super) async fn an_attempt_is_recorded_once_however_often_it_is_reported<B: Backend>() {
    let bench = two_events::<B>().await;
    let head = bench.heads("w").await.remove(0);
    let first = attempt("w", &head, AfterAttempt::Retry(t(5)));
    let mut other = first.clone();
    other.after = AfterAttempt::Delivered;
    other.attempt = with_result(other.attempt, &AttemptResult::Delivered { status: 200 });
    let mut later = first.clone();
    later.attempt.number = 2;
    let batch = Batch {
        attempts: vec![later, first.clone(), other.clone(), first.clone()],
        now: Some(T0),
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    let once = bench.detail("1").await;
    assert_eq!((once.deliveries[0].attempts, once.attempts.len()), (1, 1));
    assert_eq!(once.deliveries[0].next_attempt_at, Some(t(5)));
    assert_eq!(once.attempts[0].status, Some(500));
    for again in [first.clone(), other] {
        let batch = Batch {
            attempts: vec![again],
            now: Some(T0),
            ..Batch::default()
        };
        bench.store().commit(&batch).await.unwrap();
        assert_eq!(bench.detail("1").await, once);
    }
    let mut skipped = first;
    skipped.attempt.number = 3;
    let batch = Batch {
        attempts: vec![skipped],
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    assert_eq!(bench.detail("1").await, once);
}

pub(super) async fn an_attempt_that_does_not_count_does_nothing_to_its_webhook<B: Backend>() {
    let bench = two_events::<B>().await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Delivered).await;
    for after in [AfterAttempt::Disabled, AfterAttempt::Again(UnixMillis::MAX)] {
        bench.attempts("w", &head, after).await;
        assert_eq!(health(&bench, "w").await, WebhookHealth::default());
        assert_eq!(bench.lane("w", "1").await, ["1 delivered", "2 pending"]);
    }
}
