//! Noticing what outsiders did: pages of jobs, changes in commit order, the watcher.

use jobtrackd_core::delivery::AfterAttempt;

use super::super::fixtures::{body, id, schedule, seen, t, with_deliveries};
use super::super::{Backend, Bench, job};
use crate::{Batch, Commits as _, Intake as _, JobChange, JobUpdate, Jobs as _, Wakeups as _};

fn ids(page: &[JobChange]) -> Vec<&str> {
    page.iter()
        .map(|change| change.job.as_ref().unwrap().id.as_str())
        .collect()
}

pub(super) async fn a_change_of_a_job_that_is_gone_says_so<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    assert!(bench.delete("1").await.unwrap());
    let changes = bench.store().changes(0, 10).await.unwrap();
    assert_eq!(changes[0].job, None);
    assert_eq!(ids(&changes[1..]), ["2"]);
}

pub(super) async fn the_daemon_s_own_writes_are_no_changes<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    for job in ["1", "2"] {
        bench.update(job, JobUpdate::Cancel).await.unwrap();
        bench.update(job, JobUpdate::Poll).await.unwrap();
    }
    let newest = bench.store().newest_change().await.unwrap();
    bench.sees("1", &body(&[("a", "pending")]), &["w"]).await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Retry(t(5))).await;
    let batch = Batch {
        schedules: vec![schedule("1", 5), schedule("2", 7)],
        poll_requests_taken: vec![(id("1"), newest), (id("2"), newest)],
        changes_seen: Some(1),
        ..Batch::default()
    };
    bench.store().commit(&batch).await.unwrap();
    bench.sees("1", &body(&[("a", "failed")]), &["w"]).await;
    assert_eq!(bench.store().newest_change().await.unwrap(), newest);
}

pub(super) async fn changes_seen_are_forgotten_and_their_numbers_never_come_again<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2", "3"]).await;
    let all = bench.store().changes(0, 10).await.unwrap();
    let forget = |number| Batch {
        changes_seen: Some(number),
        ..Batch::default()
    };
    bench.store().commit(&forget(all[1].number)).await.unwrap();
    assert_eq!(ids(&bench.store().changes(0, 10).await.unwrap()), ["3"]);
    bench.store().commit(&forget(all[2].number)).await.unwrap();
    assert_eq!(bench.store().changes(0, 10).await.unwrap(), []);
    assert_eq!(bench.store().newest_change().await.unwrap(), all[2].number);
    assert!(bench.insert(&job("4")).await.unwrap());
    assert_eq!(
        ids(&bench.store().changes(all[2].number, 10).await.unwrap()),
        ["4"]
    );
}

pub(super) async fn active_jobs_come_page_by_page_without_the_ended_ones<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["5", "4", "3", "2", "1"]).await;
    bench.sees("4", &body(&[("a", "success")]), &[]).await;
    bench.sees("3", &body(&[("a", "in-progress")]), &[]).await;
    let first = bench.store().active_jobs(0, 2).await.unwrap();
    assert_eq!(ids(&first), ["5", "3"]);
    let second = bench.store().active_jobs(first[1].number, 2).await.unwrap();
    assert_eq!(ids(&second), ["2", "1"]);
    assert_eq!(
        bench
            .store()
            .active_jobs(second[1].number, 2)
            .await
            .unwrap(),
        []
    );
}

pub(super) async fn the_watcher_sees_commits_of_others_and_of_the_writer_and_nothing_else<
    B: Backend,
>() {
    let mut bench = Bench::<B>::fresh().await;
    let mut watcher = bench.store().watcher().await.unwrap();
    assert!(
        watcher.saw_commit().await.unwrap(),
        "the first one cannot know"
    );
    assert!(!watcher.saw_commit().await.unwrap());
    assert!(bench.insert(&job("1")).await.unwrap());
    assert!(watcher.saw_commit().await.unwrap());
    assert!(!watcher.saw_commit().await.unwrap());
    assert!(bench.store().enqueue(&job("2")).await.unwrap());
    assert!(watcher.saw_commit().await.unwrap());
    bench.insert(&job("a/b")).await.unwrap_err();
    bench.store().changes(0, 10).await.unwrap();
    assert!(!watcher.saw_commit().await.unwrap());
}

pub(super) async fn enqueueing_is_an_insert_like_any_other<B: Backend>() {
    let bench = Bench::<B>::fresh().await;
    assert!(bench.store().enqueue(&job("1")).await.unwrap());
    assert!(!bench.store().enqueue(&job("1")).await.unwrap());
    let said = bench.store().enqueue(&job("a/b")).await.unwrap_err();
    assert!(
        said.to_string()
            .starts_with("jobs.id must be 1 to 200 characters"),
        "{said}"
    );
    assert!(bench.store().enqueue(&job("2")).await.unwrap());
    assert_eq!(
        ids(&bench.store().changes(0, 10).await.unwrap()),
        ["1", "2"]
    );
}

pub(super) async fn cancelling_says_whether_there_is_something_to_cancel<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    bench.sees("2", &body(&[("a", "success")]), &[]).await;
    let cancel = async |job: &str| bench.store().request_cancel(&id(job)).await.unwrap();
    assert_eq!(cancel("1").await, Some(true));
    assert_eq!(cancel("2").await, Some(false));
    assert_eq!(cancel("3").await, None);
    let last = bench.store().changes(2, 10).await.unwrap();
    assert_eq!(ids(&last), ["1"]);
    assert!(last[0].job.as_ref().unwrap().cancel_requested);
    let seen = with_deliveries(seen(&bench.tracked("1").await, &body(&[("a", "x")])), &[]);
    assert_eq!(bench.record(vec![seen]).await.recorded.len(), 1);
    let all = ["3", "2", "1"].map(id);
    let requested = bench.store().request_cancel_of_all(&all).await.unwrap();
    assert_eq!(
        requested,
        ["1"].map(id),
        "those that are there and have not ended"
    );
}
