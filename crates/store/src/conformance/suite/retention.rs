//! What is deleted at its age, in parts.

use jobtrackd_core::delivery::AfterAttempt;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

use super::super::fixtures::{T0, body, id, t};
use super::super::{Backend, Bench};
use crate::{Jobs as _, Prunable, Prune, Pruned, ReplayFilter, Replays as _, Retention as _};

/// A job that ended at `T0`; its two events were attempted then.
async fn ended<B: Backend>() -> Bench<B> {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    bench.sees("1", &body(&[("a", "success")]), &["w"]).await;
    for after in [AfterAttempt::Delivered, AfterAttempt::Exhausted] {
        let head = bench.heads("w").await.remove(0);
        bench.attempts("w", &head, after).await;
    }
    bench
}

async fn prunable<B: Backend>(bench: &Bench<B>, stage: Stage, before: UnixMillis) -> Vec<Prunable> {
    let (found, stopped) = bench.store().prunable(stage, before, None).await.unwrap();
    assert_eq!(stopped, None);
    found
}

async fn prune<B: Backend>(bench: &Bench<B>, stage: Stage, jobs: &[Prunable], rows: u32) -> Pruned {
    let prune = Prune {
        stage,
        before: t(1),
        jobs,
        rows,
    };
    bench.store().prune(prune).await.unwrap()
}

pub(super) async fn a_job_goes_in_parts_its_attempts_first<B: Backend>() {
    let bench = ended::<B>().await;
    assert_eq!(prunable(&bench, Stage::Attempts, T0).await, []);
    assert_eq!(prunable(&bench, Stage::Events, t(1)).await, []);
    let found = prunable(&bench, Stage::Attempts, t(1)).await;
    assert_eq!(found.len(), 1);
    let pruned = prune(&bench, Stage::Attempts, &found, 1).await;
    assert_eq!((pruned.jobs, pruned.rows), (0, 1), "one row at a time");
    let pruned = prune(&bench, Stage::Attempts, &found, 9).await;
    assert_eq!((pruned.jobs, pruned.rows), (1, 1));
    let detail = bench.detail("1").await;
    assert_eq!(detail.pruned, Some(Stage::Attempts));
    assert_eq!((detail.attempts.len(), detail.deliveries.len()), (0, 2));

    let found = prunable(&bench, Stage::Events, t(1)).await;
    let pruned = prune(&bench, Stage::Events, &found, 9).await;
    assert_eq!((pruned.jobs, pruned.rows), (1, 4));
    let detail = bench.detail("1").await;
    assert_eq!(detail.pruned, Some(Stage::Events));
    assert_eq!((detail.events.len(), detail.deliveries.len()), (0, 0));
    assert_eq!(
        (detail.transitions.len(), detail.summary.steps.len()),
        (1, 1)
    );

    let found = prunable(&bench, Stage::Jobs, t(1)).await;
    let pruned = prune(&bench, Stage::Jobs, &found, 9).await;
    assert_eq!((pruned.jobs, pruned.rows), (1, 2));
    assert_eq!(bench.store().detail(&id("1")).await.unwrap(), None);
    assert_eq!(prunable(&bench, Stage::Jobs, t(1)).await, []);
}

pub(super) async fn what_is_to_be_sent_again_is_not_deleted<B: Backend>() {
    let bench = ended::<B>().await;
    let found = prunable(&bench, Stage::Attempts, t(1)).await;
    let filter = ReplayFilter {
        limit: 10,
        ..ReplayFilter::default()
    };
    let replay = bench.store().begin_replay(&filter).await.unwrap();
    let page = bench.store().replayable(&filter, 0).await.unwrap();
    bench.store().replay(&replay, &page).await.unwrap().unwrap();
    let before = bench.detail("1").await;
    let pruned = prune(&bench, Stage::Attempts, &found, 9).await;
    assert_eq!((pruned.jobs, pruned.rows), (1, 0));
    assert_eq!(bench.detail("1").await, before);
    assert_eq!(prunable(&bench, Stage::Attempts, t(1)).await, []);
}

pub(super) async fn attempts_of_tests_go_at_their_age_too<B: Backend>() {
    use jobtrackd_core::delivery::{Attempt, Trigger, WebhookName};
    let bench = Bench::<B>::fresh().await;
    let webhook = WebhookName::new("w");
    for (number, at) in [(1, T0), (2, t(5))] {
        let attempt = Attempt {
            event_id: "test_1".to_owned(),
            webhook: webhook.clone(),
            number,
            started_at: at,
            duration_ms: 1,
            status: Some(200),
            error: None,
            trigger: Trigger::Test,
            answer: None,
            answer_cut: None,
        };
        crate::Attempts::record_test(bench.store(), &attempt)
            .await
            .unwrap();
    }
    let pruned = bench.store().prune_tests(t(3), 10).await.unwrap();
    assert_eq!(pruned.rows, 1);
    let left = crate::Attempts::latest_attempts(bench.store(), &webhook, 100, 9).await;
    assert_eq!(left.unwrap()[0].number, 2);
}
