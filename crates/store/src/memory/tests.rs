//! What a refused write leaves, and what outlasts whoever committed it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

use super::Store;
use crate::conformance::job;
use crate::{Intake as _, Jobs as _, StoreError, Wakeups as _};

#[tokio::test]
async fn a_write_that_is_refused_changes_nothing() {
    let store = Store::new(|| UnixMillis(5));
    let mut watcher = store.watcher().await.unwrap();
    assert!(watcher.saw_commit().await.unwrap());
    let error = store.enqueue(&job("a/b")).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(!watcher.saw_commit().await.unwrap());
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
