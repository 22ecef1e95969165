//! Pauses that APIs requested, and their end by an operator.

use super::super::fixtures::{T0, id, schedule, t};
use super::super::{Backend, Bench};
use crate::{Batch, Commits as _, Jobs as _, Upstreams as _};

const API: &str = "https://api.example";

pub(super) async fn a_pause_is_kept_until_an_operator_ends_it<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    let pause = async || bench.store().upstream_pause(API).await.unwrap();
    assert_eq!(pause().await, None);
    let mut throttled = schedule("1", 3);
    throttled.progress.last_error = Some("throttled (429), asks for a pause".to_owned());
    let batch = Batch {
        schedules: vec![throttled, schedule("2", 3)],
        upstream_paused: Some((API.to_owned(), t(900))),
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    assert_eq!(pause().await, Some(t(900)));
    assert_eq!(bench.store().upstream_resumes().await.unwrap(), 0);

    let resumed = bench.store().resume_upstreams().await.unwrap();
    assert_eq!(resumed.pauses, [(API.to_owned(), t(900))]);
    assert_eq!(resumed.jobs, 1);
    let requested = async |job| {
        let row = bench.store().job(&id(job)).await.unwrap();
        row.unwrap().poll_requested
    };
    assert!(requested("1").await);
    assert!(!requested("2").await);
    assert!(pause().await < Some(T0));
    assert_eq!(bench.store().upstream_resumes().await.unwrap(), 1);
    let again = bench.store().resume_upstreams().await.unwrap();
    assert_eq!((again.pauses.len(), again.jobs), (0, 0));
    assert_eq!(bench.store().upstream_resumes().await.unwrap(), 2);
}
