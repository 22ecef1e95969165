//! What operators do to deliveries: disable and enable webhooks, give up, move, replay.

use std::collections::BTreeSet;

use jobtrackd_core::delivery::{AfterAttempt, DeliveryState, WebhookName};

use super::super::fixtures::{T0, body, t};
use super::super::{Backend, Bench, job};
use crate::{
    Backlogs as _, Deliveries as _, DeliveryFilter, JobUpdate, NewJob, Page, ReplayFilter,
    Replays as _, Unconfigured, Unwanted, Webhooks as _,
};

/// Two jobs with three events each for `w`.
async fn two_lanes<B: Backend>() -> Bench<B> {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    for job in ["1", "2"] {
        let steps = body(&[("a", "x"), ("b", "x"), ("c", "x")]);
        bench.sees(job, &steps, &["w"]).await;
    }
    bench
}

fn w() -> WebhookName {
    WebhookName::new("w")
}

/// The only page of some work.
fn only(deliveries: u64, jobs: u64) -> Page {
    Page {
        deliveries,
        jobs,
        is_last: true,
    }
}

pub(super) async fn a_disabled_webhook_gets_nothing_and_all_of_it_in_order_when_it_is_enabled<
    B: Backend,
>() {
    let bench = two_lanes::<B>().await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Retry(t(60))).await;
    let disabled = bench.store().disable_webhook(&w(), "by hand").await;
    assert_eq!(disabled.unwrap(), only(6, 0));
    assert!(bench.heads("w").await.is_empty());
    let health = bench.store().webhook_health(&w()).await.unwrap();
    assert_eq!(health.disabled.unwrap().1, "by hand");
    let again = bench.store().disable_webhook(&w(), "again").await;
    assert_eq!(again.unwrap(), only(0, 0));
    let health = bench.store().webhook_health(&w()).await.unwrap();
    assert_eq!(health.disabled.unwrap().1, "by hand");
    assert_eq!((health.requests, health.generation), (2, 0));

    let steps = body(&[("a", "y"), ("b", "x"), ("c", "x")]);
    bench.sees("1", &steps, &["w"]).await;
    assert!(bench.heads("w").await.is_empty());
    let enabled = bench.store().enable_webhook(&w()).await.unwrap();
    assert_eq!(enabled, only(7, 0));
    let heads = bench.heads("w").await;
    let mut labels = bench.labels("w", &heads).await;
    labels.sort();
    assert_eq!(labels, ["1 1", "2 1"]);
    assert!(heads.iter().all(|head| head.retries_used == 0));
    let health = bench.store().webhook_health(&w()).await.unwrap();
    assert_eq!(health.disabled, None);
    assert_eq!((health.requests, health.generation), (3, 1));
}

pub(super) async fn enabling_makes_retries_due_at_once<B: Backend>() {
    let bench = two_lanes::<B>().await;
    for head in bench.heads("w").await {
        bench
            .attempts("w", &head, AfterAttempt::Retry(t(900)))
            .await;
    }
    assert!(bench.due("w", t(800)).await.is_empty());
    let enabled = bench.store().enable_webhook(&w()).await.unwrap();
    assert_eq!(enabled, only(0, 0));
    let due = bench.due("w", t(800)).await;
    assert_eq!(due.len(), 2);
    assert!(due.iter().all(|head| head.retries_used == 1));
}

pub(super) async fn what_is_given_up_is_kept_and_its_lane_goes_on<B: Backend>() {
    let bench = two_lanes::<B>().await;
    let head = bench.heads("w").await.remove(0);
    let give_up = async |unwanted| bench.store().give_up(&unwanted).await.unwrap();
    let one = Unwanted::EventOf(head.event_id.clone(), w());
    assert_eq!(give_up(one.clone()).await, only(1, 0));
    assert_eq!(give_up(one).await, only(0, 0));
    let other = Unwanted::Event(head.event_id.clone());
    assert_eq!(give_up(other).await, only(0, 0));
    let lane = bench.lane("w", head.job_id.as_str()).await;
    assert_eq!(lane, ["1 exhausted", "2 pending", "3 pending"]);
    let detail = bench.detail(head.job_id.as_str()).await;
    let error = detail.deliveries[0].last_error.as_deref();
    assert_eq!(error, Some("given up by an operator"));
    assert_eq!(bench.heads("w").await.len(), 2);

    bench.attempts("w", &head, AfterAttempt::Delivered).await;
    let lane = bench.lane("w", head.job_id.as_str()).await;
    assert_eq!(
        lane[0], "1 delivered",
        "a request in flight may still arrive"
    );

    assert_eq!(give_up(Unwanted::AllOf(w())).await, only(5, 0));
    assert!(bench.heads("w").await.is_empty());
    let requests = bench.store().webhook_requests().await.unwrap();
    assert_eq!(requests, [(w(), 2)]);
}

pub(super) async fn moved_deliveries_begin_anew_in_order_and_take_their_jobs_along<B: Backend>() {
    let mut bench = two_lanes::<B>().await;
    let named = |id: &str| NewJob {
        webhook: Some("w".to_owned()),
        ..job(id)
    };
    assert!(bench.insert(&named("3")).await.unwrap());
    let update = JobUpdate::Webhook(Some("w".to_owned()));
    assert!(bench.update("1", update).await.unwrap());
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Retry(t(60))).await;
    let before = bench.tracked("1").await.revision;
    let unconfigured = bench.store().unconfigured_webhooks(&[]).await.unwrap();
    let waits = |events| Unconfigured {
        webhook: w(),
        events,
    };
    assert_eq!(unconfigured, [waits(6)]);

    let v = WebhookName::new("v");
    let moved = bench.store().move_deliveries(&w(), &v).await.unwrap();
    assert_eq!(moved, only(6, 2));
    assert!(bench.heads("w").await.is_empty());
    let heads = bench.due("v", T0).await;
    let mut labels = bench.labels("v", &heads).await;
    labels.sort();
    assert_eq!(labels, ["1 1", "2 1"]);
    assert!(heads.iter().all(|head| head.attempts == 0));
    let lane = bench.lane("w", "1").await;
    assert_eq!(lane, ["1 exhausted", "2 exhausted", "3 exhausted"]);
    for job in ["1", "3"] {
        let name = bench.detail(job).await.summary.row.webhook;
        assert_eq!(name.as_deref(), Some("v"));
    }
    assert_eq!(bench.tracked("1").await.revision, before + 1);
    let unconfigured = bench.store().unconfigured_webhooks(&[v]).await.unwrap();
    assert_eq!(unconfigured, []);
    let names = bench.store().webhook_names().await.unwrap();
    assert_eq!(names, [WebhookName::new("v"), w()]);
}

pub(super) async fn a_replay_sends_again_in_the_order_of_the_events<B: Backend>() {
    let bench = two_lanes::<B>().await;
    for _ in 0..3 {
        for head in bench.heads("w").await {
            bench.attempts("w", &head, AfterAttempt::Delivered).await;
        }
    }
    let filter = ReplayFilter {
        webhook: Some("w".to_owned()),
        limit: 100,
        ..ReplayFilter::default()
    };
    let store = bench.store();
    let replay = store.begin_replay(&filter).await.unwrap();
    let page = store.replayable(&filter, 0).await.unwrap();
    assert_eq!((page.deliveries.len(), page.is_last), (6, true));
    let cursors: Vec<i64> = page.deliveries.iter().map(|each| each.cursor).collect();
    assert!(cursors.is_sorted());
    let unfinished = store.unfinished_replays().await.unwrap();
    assert_eq!(unfinished, std::slice::from_ref(&replay));
    let done = store.replay(&replay, &page).await.unwrap().unwrap();
    assert_eq!(done.deliveries, 6);
    let again = store.replay(&replay, &page).await.unwrap();
    assert_eq!(again, None, "somebody has advanced it");
    assert_eq!(store.unfinished_replays().await.unwrap(), []);
    let heads = bench.heads("w").await;
    assert_eq!(bench.labels("w", &heads).await, ["1 1", "2 1"]);
    assert!(heads.iter().all(|head| head.is_replay));
    let latest = heads.iter().map(|head| head.due).max();
    assert!(latest < Some(bench.clock.now()), "none is in the future");
    let lane = bench.lane("w", "1").await;
    assert_eq!(lane, ["1 pending", "2 pending", "3 pending"]);
}

pub(super) async fn an_event_that_comes_back_before_others_goes_first_alone<B: Backend>() {
    let bench = two_lanes::<B>().await;
    let first = bench.heads("w").await.remove(0);
    bench.attempts("w", &first, AfterAttempt::Delivered).await;
    assert_eq!(bench.heads("w").await.len(), 2);
    let filter = ReplayFilter {
        event: Some(first.event_id.clone()),
        limit: 100,
        ..ReplayFilter::default()
    };
    let replay = bench.store().begin_replay(&filter).await.unwrap();
    let page = bench.store().replayable(&filter, 0).await.unwrap();
    let done = bench.store().replay(&replay, &page).await.unwrap();
    assert_eq!(done.unwrap().deliveries, 1);
    let heads = bench.heads("w").await;
    let mut labels = bench.labels("w", &heads).await;
    labels.sort();
    assert_eq!(labels, ["1 1", "2 1"]);
}

pub(super) async fn a_replay_leaves_disabled_webhooks_alone<B: Backend>() {
    let bench = two_lanes::<B>().await;
    bench
        .store()
        .disable_webhook(&w(), "by hand")
        .await
        .unwrap();
    let filter = ReplayFilter {
        limit: 100,
        ..ReplayFilter::default()
    };
    let replay = bench.store().begin_replay(&filter).await.unwrap();
    let page = bench.store().replayable(&filter, 0).await.unwrap();
    assert_eq!(page.disabled, BTreeSet::from([w()]));
    let done = bench.store().replay(&replay, &page).await.unwrap();
    assert_eq!(done.unwrap().deliveries, 0);
    assert!(bench.heads("w").await.is_empty());
}

pub(super) async fn deliveries_are_listed_with_the_newest_events_first<B: Backend>() {
    let bench = two_lanes::<B>().await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Exhausted).await;
    let list = async |filter: DeliveryFilter| {
        let page = bench.store().list_deliveries(&filter).await.unwrap();
        assert_eq!((page.unreadable.len(), page.stopped), (0, None));
        let row = |row: &crate::DeliveryRow| format!("{} {}", row.job_id, row.sequence);
        page.deliveries.iter().map(row).collect::<Vec<_>>()
    };
    let all = DeliveryFilter {
        limit: 100,
        ..DeliveryFilter::default()
    };
    let listed = list(all.clone()).await;
    assert_eq!(listed, ["2 3", "2 2", "2 1", "1 3", "1 2", "1 1"]);
    let exhausted = DeliveryFilter {
        state: Some(DeliveryState::Exhausted),
        ..all.clone()
    };
    let of_head = format!("{} 1", head.job_id);
    assert_eq!(list(exhausted).await, [of_head]);
    let older = DeliveryFilter {
        before: Some(4),
        limit: 2,
        ..all
    };
    assert_eq!(list(older).await, ["1 3", "1 2"]);
    assert_eq!(bench.store().pending_deliveries(100).await.unwrap(), 5);
    assert_eq!(bench.store().pending_deliveries(2).await.unwrap(), 2);
}
