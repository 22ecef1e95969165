//! Faults that a caller wants, and what outlasts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::{Fault, Store};
use crate::conformance::job;
use crate::{Intake as _, Jobs as _, Outsider as _, StoreError, Wakeups as _};

fn store() -> Store {
    Store::new(|| UnixMillis(5))
}

async fn ids(store: &Store) -> Vec<String> {
    let jobs = store.active_jobs(i64::MIN, 9).await.unwrap();
    let ids = jobs.into_iter().map(|change| change.job.unwrap().id);
    ids.map(|id| id.to_string()).collect()
}

#[tokio::test]
async fn a_write_fails_before_or_after_its_commit_and_the_next_one_succeeds() {
    for (fault, left) in [
        (Fault::BeforeCommit, vec!["2"]),
        (Fault::AfterCommit, vec!["1", "2"]),
    ] {
        let store = store();
        store.fail_next_write(fault, StoreError::Full);
        let error = store.enqueue(&job("1")).await.unwrap_err();
        assert!(matches!(error, StoreError::Full), "{error:?}");
        assert!(store.enqueue(&job("2")).await.unwrap());
        assert_eq!(ids(&store).await, left, "{fault:?}");
    }
}

#[tokio::test]
async fn a_write_that_is_refused_anyway_says_so_and_changes_nothing() {
    let store = store();
    let mut watcher = store.watcher().await.unwrap();
    assert!(watcher.saw_commit().await.unwrap());
    store.fail_next_write(Fault::AfterCommit, StoreError::Busy);
    let error = store.enqueue(&job("a/b")).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(!watcher.saw_commit().await.unwrap());
}

#[tokio::test]
async fn reads_fail_as_often_as_wanted_and_other_programs_meet_no_fault() {
    let mut store = store();
    let id = JobId::parse("1").unwrap();
    for _ in 0..2 {
        store.fail_next_read(StoreError::Busy);
    }
    store.fail_next_write(Fault::BeforeCommit, StoreError::Full);
    assert!(store.insert(&job("1"), UnixMillis(7)).await.unwrap());
    for _ in 0..2 {
        let error = store.job(&id).await.unwrap_err();
        assert!(error.is_temporary(), "{error:?}");
    }
    let row = store.job(&id).await.unwrap().unwrap();
    assert_eq!(row.created_at, UnixMillis(7));
    store.fail_next_read(StoreError::Busy);
    store.heal();
    assert!(store.enqueue(&job("2")).await.unwrap());
    assert_eq!(ids(&store).await, ["1", "2"]);
}

#[tokio::test]
async fn what_was_committed_outlasts_whoever_committed_it() {
    let now = Arc::new(AtomicI64::new(7));
    let time = Arc::clone(&now);
    let store = Store::new(move || UnixMillis(time.load(Ordering::Relaxed)));
    let reopened = store.clone();
    assert!(store.enqueue(&job("1")).await.unwrap());
    drop(store);
    now.store(9, Ordering::Relaxed);
    assert!(reopened.enqueue(&job("2")).await.unwrap());
    let times = ["1", "2"].map(|id| JobId::parse(id).unwrap());
    let mut created = Vec::new();
    for id in &times {
        created.push(reopened.job(id).await.unwrap().unwrap().created_at.0);
    }
    assert_eq!(created, [7, 9]);
}
