//! Deleting jobs.

use jobtrackd_core::delivery::AfterAttempt;

use super::super::fixtures::{body, t};
use super::super::{Backend, Bench, job};
use crate::Outsider as _;

async fn refused<B: Backend>(bench: &mut Bench<B>) {
    let before = bench.detail("1").await;
    let said = bench.delete("1").await.unwrap_err();
    let said = said.to_string();
    assert!(
        said.starts_with("only a job that has ended and whose events are"),
        "{said}"
    );
    assert_eq!(bench.detail("1").await, before);
}

pub(super) async fn a_job_goes_only_when_nothing_of_it_is_left_to_do<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1"]).await;
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

pub(super) async fn an_id_that_comes_back_after_its_rows_are_gone_tells_new_events<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    let old = bench.detail("1").await;
    assert!(bench.delete("1").await.unwrap());
    let outsider = bench.backend.outsider();
    assert!(outsider.insert(&job("1"), t(1)).await.unwrap());
    assert_eq!(bench.tracked("1").await.last_sequence, 0);
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    let new = bench.detail("1").await;
    assert_eq!(new.events.len(), old.events.len());
    assert!(
        new.events
            .iter()
            .all(|event| old.events.iter().all(|known| known.id != event.id))
    );
}
