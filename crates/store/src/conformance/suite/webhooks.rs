//! What is recorded of webhooks as a whole, and of events that expire.

use std::time::Duration;

use jobtrackd_core::delivery::{AfterAttempt, Attempt, DeliveryState, Trigger, WebhookName};
use jobtrackd_core::health::{Failing, Health, Hold};
use jobtrackd_core::job::JobState;
use jobtrackd_core::time::UnixMillis;

use super::super::fixtures::{T0, attempt, body, id, schedule, seen, t, with_deliveries};
use super::super::{Backend, Bench};
use crate::{
    Attempts as _, Batch, Checks as _, Commits as _, Counting as _, Deliveries as _, DueDelivery,
    Expiry as _, FinishedAttempt, Undelivered, WebhookHealth, Webhooks as _,
};

fn w() -> WebhookName {
    WebhookName::new("w")
}

/// One job with two events for `w`, of which the first expires after 60 s.
async fn one_expires<B: Backend>() -> Bench<B> {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    let mut seen = seen(&bench.tracked("1").await, &body(&[("a", "x"), ("b", "x")]));
    seen.events[0].expires_at = Some(t(60));
    bench.record(vec![with_deliveries(seen, &["w"])]).await;
    bench
}

async fn commit<B: Backend>(bench: &Bench<B>, attempts: Vec<FinishedAttempt>) {
    let batch = Batch {
        attempts,
        now: Some(T0),
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
}

async fn health<B: Backend>(bench: &Bench<B>) -> WebhookHealth {
    bench.store().webhook_health(&w()).await.unwrap()
}

pub(super) async fn an_event_that_expired_is_given_up_and_goes_to_the_fallback<B: Backend>() {
    let bench = one_expires::<B>().await;
    let expired = async |now| {
        let found = bench.store().expired_deliveries(&w(), now, 10).await;
        found.unwrap()
    };
    let next = async |now| bench.store().next_expiry(&w(), now).await.unwrap();
    assert_eq!(next(T0).await, Some(t(60)));
    assert_eq!(next(t(60)).await, None);
    assert_eq!(expired(t(59)).await, []);
    let expiries: Vec<Undelivered> = expired(t(60)).await;
    assert_eq!(expiries.len(), 1);
    let fallback = Some(WebhookName::new("v"));
    let expiries = expiries.into_iter().map(|expired| Undelivered {
        fallback: fallback.clone(),
        ..expired
    });
    let mut batch = Batch {
        expiries: expiries.collect(),
        now: Some(t(59)),
        ..Batch::default()
    };
    let early = bench.store().commit(&batch).await.unwrap();
    assert!(early.webhooks.is_empty(), "it has not expired yet");
    batch.now = Some(t(60));
    for webhooks in [vec![WebhookName::new("v"), w()], Vec::new()] {
        let committed = bench.store().commit(&batch).await.unwrap();
        let found: Vec<WebhookName> = committed.webhooks.into_iter().collect();
        assert_eq!(found, webhooks, "once");
    }
    assert_eq!(bench.lane("w", "1").await, ["1 exhausted", "2 pending"]);
    assert_eq!(bench.lane("v", "1").await, ["1 pending"]);
    let detail = bench.detail("1").await;
    let of = |webhook: &str| {
        let mut all = detail.deliveries.iter();
        all.find(|each| each.webhook == webhook).unwrap()
    };
    assert_eq!(of("w").expired_at, Some(t(60)));
    assert_eq!(of("v").fallback_for.as_deref(), Some("w"));
    let heads = bench.heads("v").await;
    assert_eq!(heads[0].expires_at, None);
    assert_eq!(bench.due("w", t(60)).await.len(), 1);
}

pub(super) async fn what_expires_is_found_apart_and_is_probed_only_while_it_is_of_use<
    B: Backend,
>() {
    let bench = one_expires::<B>().await;
    let ids = |found: crate::DueDeliveries| {
        let ids = found.deliveries.into_iter().map(|each| each.event_id);
        ids.collect::<Vec<_>>()
    };
    let head = bench.heads("w").await.remove(0).event_id;
    let expiring = async |now| {
        let found = bench.store().expiring_deliveries_due(&w(), now, 9).await;
        ids(found.unwrap())
    };
    let to_probe = async |now| {
        let found = bench.store().deliveries_to_probe(&w(), now, 9).await;
        ids(found.unwrap())
    };
    assert_eq!(expiring(T0).await, std::slice::from_ref(&head));
    assert_eq!(to_probe(UnixMillis(0)).await, [head], "due or not");
    assert!(expiring(t(60)).await.is_empty());
    assert!(to_probe(t(60)).await.is_empty());
    let unreadable = bench.store().unreadable_deliveries(&w()).await.unwrap();
    assert_eq!(unreadable, []);
}

pub(super) async fn those_that_were_never_tried_are_probed_first<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    for job in ["1", "2", "3"] {
        bench.sees(job, &body(&[("a", "x")]), &["w"]).await;
    }
    let heads = bench.heads("w").await;
    let of = |job: &str| -> &DueDelivery {
        heads
            .iter()
            .find(|head| head.job_id.as_str() == job)
            .unwrap()
    };
    let mut first = attempt("w", of("1"), AfterAttempt::Retry(t(5)));
    first.attempt.started_at = t(2);
    let second = attempt("w", of("2"), AfterAttempt::Retry(t(900)));
    commit(&bench, vec![first, second]).await;
    let probes = bench.store().deliveries_to_probe(&w(), T0, 9).await;
    let probes = probes.unwrap().deliveries;
    let jobs: Vec<&str> = probes.iter().map(|each| each.job_id.as_str()).collect();
    assert_eq!(jobs, ["3", "2", "1"]);
}

pub(super) async fn a_later_health_is_kept_and_one_from_before_a_reset_is_not<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "x")]), &["w"]).await;
    let hold = |failures| {
        Health::Held(Hold {
            since: T0,
            failures,
            probes: 1,
            probe_at: Some(t(100_000)),
            event_id: Some("evt_x".to_owned()),
        })
    };
    let record = async |revision, generation, health: Health| {
        let head = bench.heads("w").await.remove(0);
        let mut finished = attempt("w", &head, AfterAttempt::Again(T0));
        finished.pause = None;
        finished.health = Some(WebhookHealth {
            health,
            empty_pauses: 2,
            revision,
            generation,
            ..WebhookHealth::default()
        });
        commit(&bench, vec![finished]).await;
    };
    record(5, 0, hold(3)).await;
    let held = health(&bench).await;
    assert_eq!((held.health, held.empty_pauses), (hold(3), 2));
    record(4, 0, Health::default()).await;
    assert_eq!(health(&bench).await.health, hold(3), "an earlier one");
    let longest = Duration::from_secs(900);
    let clamped = bench.store().clamp_waits(&w(), longest).await;
    assert_eq!(clamped.unwrap(), 0, "no delivery waits");
    let probe_at = health(&bench).await.health.hold().unwrap().probe_at;
    assert!(probe_at < Some(t(1000)), "{probe_at:?}");
    bench.store().enable_webhook(&w()).await.unwrap();
    assert_eq!(health(&bench).await.health, Health::default());
    record(9, 0, hold(4)).await;
    assert_eq!(health(&bench).await.health, Health::default());
    let failing = Failing {
        failures: 2,
        jobs: vec![id("1"), id("2")],
    };
    record(1, 1, Health::Ready(failing.clone())).await;
    assert_eq!(health(&bench).await.health, Health::Ready(failing));
}

pub(super) async fn waits_from_a_clock_that_was_ahead_are_shortened<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    for job in ["1", "2", "3"] {
        bench.sees(job, &body(&[("a", "x")]), &["w"]).await;
    }
    let heads = bench.heads("w").await;
    let years = t(100_000_000);
    let near = attempt("w", &heads[0], AfterAttempt::Retry(t(50)));
    let far = attempt("w", &heads[1], AfterAttempt::Retry(years));
    let paused = attempt("w", &heads[2], AfterAttempt::Again(years));
    commit(&bench, vec![near, far, paused]).await;
    let clamp = async || {
        let longest = Duration::from_secs(100);
        let clamped = bench.store().clamp_waits(&w(), longest).await;
        clamped.unwrap()
    };
    assert_eq!(clamp().await, 2);
    assert_eq!(clamp().await, 0);
    let due: Vec<UnixMillis> = bench.heads("w").await.iter().map(|it| it.due).collect();
    assert_eq!(due[0], t(50));
    assert!(due[1] >= t(100) && due[1] < t(200), "{due:?}");
    let day = t(24 * 60 * 60);
    assert!(due[2] >= day && due[2] < day.plus(Duration::from_secs(100)));
    let until = health(&bench).await.paused_until.unwrap();
    assert!(until < day.plus(Duration::from_secs(100)), "{until:?}");
}

pub(super) async fn the_numbers_of_jobs_and_deliveries_are_counted<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    bench.sees("1", &body(&[("a", "success")]), &["w"]).await;
    bench.sees("2", &body(&[("a", "x")]), &["w"]).await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Exhausted).await;
    let counts = bench.store().counts(&[w()]).await.unwrap();
    let jobs = [
        (JobState::Pending, 1),
        (JobState::InProgress, 1),
        (JobState::Success, 1),
        (JobState::Failed, 0),
    ];
    assert_eq!(counts.jobs, jobs);
    let of_w = &counts.webhooks[0];
    assert_eq!((of_w.pending, of_w.exhausted, of_w.disabled), (2, 1, 0));
    assert_eq!(
        (of_w.oldest_pending, of_w.latest_exhausted),
        (Some(T0), Some(T0))
    );
    assert_eq!(bench.store().backlog(&w()).await.unwrap(), *of_w);
}

pub(super) async fn the_health_of_the_followed_jobs_is_summed_up<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    bench.sees("3", &body(&[("a", "success")]), &[]).await;
    let mut failing = schedule("1", 4);
    failing.progress.consecutive_errors = 7;
    let batch = Batch {
        schedules: vec![failing],
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    let health = bench.store().jobs_health(t(20), 2).await.unwrap();
    assert_eq!(
        (health.unfinished, health.failing, health.limited),
        (2, 1, 0)
    );
    let worst = Some(("1".to_owned(), "it's \"odd\" ü".to_owned()));
    assert_eq!(health.worst, worst);
    assert_eq!((health.overdue, health.overdue_since), (1, Some(T0)));
    assert_eq!(health.invalid, Vec::<String>::new());
    let later = bench.store().jobs_health(t(31), 8).await.unwrap();
    assert_eq!((later.overdue, later.failing), (2, 0));
    bench.store().writable().await.unwrap();
}

pub(super) async fn the_latest_attempts_come_first_and_tests_are_among_them<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "x")]), &["w"]).await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Retry(t(5))).await;
    let test = Attempt {
        event_id: "test_1".to_owned(),
        webhook: w(),
        number: 1,
        started_at: t(3),
        duration_ms: 20,
        status: Some(204),
        error: None,
        trigger: Trigger::Test,
        answer: Some("thanks".to_owned()),
        answer_cut: None,
    };
    bench.store().record_test(&test).await.unwrap();
    let latest = bench.store().latest_attempts(&w(), 100, 9).await.unwrap();
    assert_eq!(latest.len(), 2);
    assert_eq!(latest[0], test);
    assert_eq!(latest[1].event_id, head.event_id);
    let one = bench.store().latest_attempts(&w(), 100, 1).await.unwrap();
    assert_eq!(one, std::slice::from_ref(&test));
    let again = bench.store().record_test(&test).await;
    assert!(again.is_err(), "attempts are recorded once");
    let delivery = &bench.detail("1").await.deliveries[0];
    assert_eq!(delivery.state, DeliveryState::Pending);
}
