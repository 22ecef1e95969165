//! What is only informative: schedules, and requests that have been taken.

use jobtrackd_core::job::JobState;

use super::super::fixtures::{T0, body, id, schedule, seen, t, with_deliveries};
use super::super::{Backend, Bench, job};
use crate::{Batch, Commits as _, Intake as _, JobUpdate, Outsider as _};

async fn flush<B: Backend>(bench: &Bench<B>, jobs: &[(&str, u64)]) {
    let schedules = jobs.iter().map(|(job, polls)| schedule(job, *polls));
    let batch = Batch {
        schedules: schedules.collect(),
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
}

pub(super) async fn schedules_are_written_for_many_jobs_and_leave_everything_else_alone<
    B: Backend,
>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    bench.sees("2", &body(&[("a", "x")]), &["w"]).await;
    let before = bench.tracked("2").await;
    flush(&bench, &[("1", 4), ("2", 9), ("gone", 1)]).await;
    for (job, polls) in [("1", 4), ("2", 9)] {
        let row = bench.detail(job).await.summary.row;
        assert_eq!(
            (
                row.progress.polls,
                row.progress.quiet_polls,
                row.progress.consecutive_errors
            ),
            (polls, 2, 3)
        );
        assert_eq!(
            (row.progress.last_polled_at, row.next_poll_at),
            (Some(T0), Some(t(30)))
        );
        assert_eq!(
            (row.progress.not_found_since, row.progress.queued),
            (Some(t(1)), true)
        );
        assert_eq!(row.progress.last_error.as_deref(), Some("it's \"odd\" ü"));
    }
    assert_eq!(
        bench.tracked("2").await,
        before,
        "an observation decided before is still good"
    );
    assert_eq!(bench.detail("3").await.summary.row.progress.polls, 0);
    assert_eq!(bench.tracked("1").await.state, JobState::Pending);
}

pub(super) async fn polls_never_go_down<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    flush(&bench, &[("1", 9)]).await;
    flush(&bench, &[("1", 3)]).await;
    assert_eq!(bench.detail("1").await.summary.row.progress.polls, 9);
    bench.sees("1", &body(&[("a", "x")]), &[]).await;
    assert_eq!(bench.detail("1").await.summary.row.progress.polls, 9);
}

pub(super) async fn what_was_decided_about_a_row_does_not_touch_another_with_its_id<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1"]).await;
    let answer = body(&[("a", "in-progress")]);
    let late = with_deliveries(seen(&bench.tracked("1").await, &answer), &["w"]);
    let flushed = Batch {
        schedules: vec![schedule("1", 9)],
        ..Batch::default()
    };
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    assert!(bench.delete("1").await.unwrap());
    let outsider = bench.backend.outsider();
    assert!(outsider.insert(&job("1"), t(1)).await.unwrap());
    let new = bench.detail("1").await;
    bench.store().commit(&flushed).await.unwrap();
    let committed = bench.record(vec![late]).await;
    assert!(committed.recorded.is_empty());
    assert_eq!(bench.detail("1").await, new);
}

pub(super) async fn a_late_flush_does_not_touch_an_ended_job<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    let before = bench.detail("1").await;
    flush(&bench, &[("1", 99)]).await;
    assert_eq!(bench.detail("1").await, before);

    let end = with_deliveries(
        seen(&bench.tracked("2").await, &body(&[("a", "failed")])),
        &[],
    );
    let batch = Batch {
        observations: vec![end],
        schedules: vec![schedule("2", 50)],
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    let row = bench.detail("2").await.summary.row;
    assert_eq!((row.next_poll_at, row.progress.polls), (None, 1));
}

pub(super) async fn requests_to_poll_are_taken_and_may_come_again<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    for job in ["1", "2"] {
        bench.update(job, JobUpdate::Poll).await.unwrap();
        bench.update(job, JobUpdate::Cancel).await.unwrap();
    }
    let newest = bench.store().newest_change().await.unwrap();
    let batch = Batch {
        poll_requests_taken: vec![(id("1"), newest)],
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    let requested = async || {
        let jobs = bench.store().active_jobs(0, 9).await.unwrap();
        let flag = |change: &crate::JobChange| {
            let job = change.job.as_ref().unwrap();
            (job.poll_requested, job.cancel_requested)
        };
        jobs.iter().map(flag).collect::<Vec<_>>()
    };
    assert_eq!(requested().await, [(false, true), (true, true)]);
    bench.update("1", JobUpdate::Poll).await.unwrap();
    let again = bench.store().changes(newest, 9).await.unwrap();
    assert_eq!(again[0].job.as_ref().unwrap().id, id("1"));
}

pub(super) async fn a_request_to_poll_that_was_not_read_yet_is_not_taken<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    for job in ["1", "2", "1", "2"] {
        bench.update(job, JobUpdate::Poll).await.unwrap();
    }
    // The last one of "2" was not read when its row was.
    let newest = bench.store().newest_change().await.unwrap();
    let batch = Batch {
        poll_requests_taken: vec![(id("1"), newest - 1), (id("2"), newest - 1)],
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    let jobs = bench.store().active_jobs(0, 9).await.unwrap();
    let jobs = jobs.iter().map(|change| change.job.as_ref().unwrap());
    let requested: Vec<_> = jobs.map(|job| job.poll_requested).collect();
    assert_eq!(requested, [false, true]);
}

pub(super) async fn an_empty_batch_is_said_to_be_empty_and_does_nothing<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    let before = bench.detail("1").await;
    assert!(Batch::default().is_empty());
    bench.store().commit(&Batch::default()).await.unwrap();
    assert_eq!(bench.detail("1").await, before);
    assert!(
        !Batch {
            changes_seen: Some(1),
            ..Batch::default()
        }
        .is_empty()
    );
    assert!(
        !Batch {
            poll_requests_taken: vec![(id("1"), 1)],
            ..Batch::default()
        }
        .is_empty()
    );
    assert!(
        !Batch {
            schedules: vec![schedule("1", 1)],
            ..Batch::default()
        }
        .is_empty()
    );
}
