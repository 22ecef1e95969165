//! What may become of a row by UPDATE, and what may not.

use jobtrackd::store::Intake as _;

use super::bench::Bench;
use super::fixtures::{body, expired, with_deliveries};

#[tokio::test]
async fn requests_and_times_are_changes_and_nothing_else_is() {
    let mut bench = Bench::with_jobs(&["1", "2"]).await;
    let mut seen = bench.store.newest_change().await.unwrap();
    for set in [
        "cancel_requested = 1",
        "poll_requested = 1",
        "priority = 5",
        "not_before = 1795359845007",
        "not_before = NULL",
        "deadline_at = 1795359845009",
        "deadline_at = NULL",
        "url = '/a'",
        "webhook = 'billing'",
        "priority = 6, not_before = 1795359845008, deadline_at = 1795359845009",
    ] {
        let script = format!("UPDATE jobs SET {set} WHERE id = '2'");
        bench.outsider.run(&script).await.unwrap();
        let changes = bench.store.changes(seen, 10).await.unwrap();
        let ids: Vec<_> = changes
            .iter()
            .map(|change| change.job.as_ref().unwrap().id.as_str())
            .collect();
        assert!(
            !ids.is_empty() && ids.iter().all(|id| *id == "2"),
            "{set}: {ids:?}"
        );
        seen = bench.store.newest_change().await.unwrap();
    }
    for set in [
        "priority = priority, not_before = not_before, deadline_at = deadline_at, url = url",
        "polls = 5, next_poll_at = 7",
        "poll_requested = 0",
    ] {
        let script = format!("UPDATE jobs SET {set}");
        bench.outsider.run(&script).await.unwrap();
        assert_eq!(bench.store.newest_change().await.unwrap(), seen, "{set}");
    }
}

#[tokio::test]
async fn id_and_metadata_of_a_job_never_change() {
    let mut bench = Bench::fresh().await;
    bench
        .outsider
        .run("INSERT INTO jobs (id, metadata) VALUES ('1', '{}'), ('2', NULL)")
        .await
        .unwrap();
    for way in ["UPDATE", "UPDATE OR IGNORE", "UPDATE OR REPLACE"] {
        let id = format!("{way} jobs SET id = '3' WHERE id = '1'");
        let said = bench.outsider.run(&id).await;
        assert_eq!(said, Err("the id of a job never changes".to_owned()));
        for value in ["NULL", "'no json'", "'{\"a\":1}'"] {
            let metadata = format!("{way} jobs SET metadata = {value} WHERE id = '1'");
            let said = bench.outsider.run(&metadata).await;
            assert_eq!(said, Err("the metadata of a job never changes".to_owned()));
        }
    }
    let same = "UPDATE jobs SET id = id, metadata = metadata, priority = 1";
    assert_eq!(bench.outsider.run(same).await, Ok(2));
}

#[tokio::test]
async fn an_ended_job_stays_as_it_ended() {
    let mut bench = Bench::with_jobs(&["good", "bad", "late"]).await;
    bench.sees("good", &body(&[("a", "success")]), &[]).await;
    bench.sees("bad", &body(&[("a", "failed")]), &[]).await;
    let late = with_deliveries(expired(&bench.tracked("late").await), &[]);
    bench.record(vec![late]).await;
    let before = bench.outsider.rows("SELECT * FROM jobs").await;
    for set in [
        "state = 'pending', finished_at = NULL, failure = NULL",
        "state = 'in-progress', finished_at = NULL, failure = NULL",
        "failure = '{}', state = 'failed'",
        "failure = '{\"kind\":\"other\"}'",
        "finished_at = finished_at + 1",
        "resource = '{}'",
        "revision = revision + 1",
        "next_poll_at = 5",
    ] {
        for id in ["good", "bad", "late"] {
            let script = format!("UPDATE OR IGNORE jobs SET {set} WHERE id = '{id}'");
            let said = bench.outsider.run(&script).await;
            assert!(
                said.as_ref()
                    .is_err_and(|said| said.contains("an end is final"))
                    || said == Ok(0),
                "{set} of {id}: {said:?}"
            );
        }
    }
    assert_eq!(bench.outsider.rows("SELECT * FROM jobs").await, before);
    let asked = "UPDATE jobs SET cancel_requested = 1, poll_requested = 1, priority = 3";
    assert_eq!(bench.outsider.run(asked).await, Ok(3));
}

#[tokio::test]
async fn a_job_s_state_fits_its_other_columns() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    for (set, rule) in [
        (
            "state = 'odd'",
            "a job is pending, in-progress, success or failed",
        ),
        (
            "state = 'success'",
            "a job has finished_at when, and only when, it has ended",
        ),
        (
            "finished_at = 5",
            "a job has finished_at when, and only when, it has ended",
        ),
        (
            "state = 'failed', finished_at = 5",
            "a job has a failure when, and only when, it failed",
        ),
        (
            "failure = '{}'",
            "a job has a failure when, and only when, it failed",
        ),
        (
            "state = 'success', finished_at = 5, next_poll_at = 5",
            "an ended job has no next poll",
        ),
        ("polls = -1", "counters are not negative"),
        ("cancel_requested = 2", "cancel_requested is 0 or 1"),
        ("poll_requested = 2", "poll_requested is 0 or 1"),
    ] {
        let said = bench.outsider.run(&format!("UPDATE jobs SET {set}")).await;
        assert_eq!(
            said,
            Err(format!("CHECK constraint failed: {rule}")),
            "{set}"
        );
    }
}

#[tokio::test]
async fn history_is_append_only() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "pending")]), &["w"]).await;
    let due = bench.heads("w").await;
    bench
        .attempts(
            "w",
            &due[0],
            jobtrackd::core::delivery::AfterAttempt::Delivered,
        )
        .await;
    for (table, column) in [
        ("transitions", "title"),
        ("events", "body"),
        ("attempts", "error"),
    ] {
        let said = bench
            .outsider
            .run(&format!("UPDATE OR IGNORE {table} SET {column} = 'forged'"))
            .await;
        assert_eq!(said, Err(format!("{table} are append-only")));
    }
}
