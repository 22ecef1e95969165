//! Noticing what outsiders did: pages of jobs, changes in commit order, the watcher.

use super::bench::Bench;
use jobtrackd::store::{Intake as _, JobChange, Jobs as _, NewJob, Wakeups as _};

fn ids(page: &[JobChange]) -> Vec<&str> {
    page.iter()
        .map(|change| change.job.as_ref().unwrap().id.as_str())
        .collect()
}

#[tokio::test]
async fn changes_come_page_by_page_in_the_order_of_their_commits() {
    let mut bench = Bench::fresh().await;
    assert_eq!(bench.store.newest_change().await.unwrap(), 0);
    assert_eq!(bench.store.changes(0, 10).await.unwrap(), []);
    let mut second = bench.another_outsider().await;
    bench
        .outsider
        .run("BEGIN; SELECT * FROM jobs")
        .await
        .unwrap();
    second
        .run("INSERT INTO jobs (id) VALUES ('z'), ('y')")
        .await
        .unwrap();
    bench
        .outsider
        .run("COMMIT; INSERT INTO jobs (id) VALUES ('b'), ('a')")
        .await
        .unwrap();
    second
        .run("UPDATE jobs SET poll_requested = 1 WHERE id = 'y'")
        .await
        .unwrap();

    let (mut seen, mut order) = (0, Vec::new());
    loop {
        let page = bench.store.changes(seen, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2 && page.is_sorted_by(|a, b| a.number < b.number));
        seen = last.number;
        order.extend(ids(&page).into_iter().map(str::to_owned));
    }
    assert_eq!(order, ["z", "y", "b", "a", "y"]);
    assert_eq!(seen, bench.store.newest_change().await.unwrap());
}

#[tokio::test]
async fn what_was_rolled_back_or_refused_is_no_change() {
    let mut bench = Bench::fresh().await;
    bench
        .outsider
        .run("BEGIN; INSERT INTO jobs (id) VALUES ('1'); ROLLBACK")
        .await
        .unwrap();
    bench
        .outsider
        .run("INSERT INTO jobs (id) VALUES ('a/b')")
        .await
        .unwrap_err();
    assert_eq!(bench.store.changes(0, 10).await.unwrap(), []);
}

#[tokio::test]
async fn the_watcher_sees_a_transaction_when_it_is_committed() {
    let mut bench = Bench::fresh().await;
    let mut watcher = bench.store.watcher().await.unwrap();
    assert!(
        watcher.saw_commit().await.unwrap(),
        "the first one cannot know"
    );
    assert!(!watcher.saw_commit().await.unwrap());
    bench
        .outsider
        .run("BEGIN IMMEDIATE; INSERT INTO jobs (id) VALUES ('1')")
        .await
        .unwrap();
    assert!(!watcher.saw_commit().await.unwrap());
    bench.outsider.run("COMMIT").await.unwrap();
    assert!(watcher.saw_commit().await.unwrap());
    assert!(!watcher.saw_commit().await.unwrap());
    bench
        .store
        .enqueue(&NewJob {
            id: "2".to_owned(),
            ..NewJob::default()
        })
        .await
        .unwrap();
    assert!(watcher.saw_commit().await.unwrap());
    bench
        .outsider
        .run("BEGIN IMMEDIATE; INSERT INTO jobs (id) VALUES ('3'); ROLLBACK")
        .await
        .unwrap();
    bench.store.changes(0, 10).await.unwrap();
    assert!(!watcher.saw_commit().await.unwrap());
}
