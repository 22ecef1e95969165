//! The view for people with a SQL prompt.

use jobtrackd::core::delivery::{AfterAttempt, AttemptErrorClass, AttemptResult};
use jobtrackd::store::{Batch, Commits as _};

use super::bench::Bench;
use super::fixtures::{attempt, seen_at, t, with_deliveries, with_result};

#[tokio::test]
async fn the_timeline_tells_transitions_events_and_attempts_in_one_order() {
    let mut bench = Bench::with_jobs(&["2", "1"]).await;
    let first = r#"{"steps":[{"title":"verify","status":"in-progress"}]}"#;
    let last = r#"{"steps":[{"title":"verify","status":"failed","result":{"code":"x"}}]}"#;
    for (text, seconds) in [(first, 0), (last, 10)] {
        let seen = seen_at(&bench.tracked("1").await, text, t(seconds));
        let recordable = if seconds == 0 {
            with_deliveries(seen, &[])
        } else {
            with_deliveries(seen, &["w"])
        };
        bench.record(vec![recordable]).await;
    }
    bench.sees("2", first, &[]).await;
    let head = bench.heads("w").await.remove(0);
    let mut refused = attempt("w", &head, AfterAttempt::Retry(t(20)));
    refused.attempt.started_at = t(10);
    refused.attempt = with_result(
        refused.attempt,
        &AttemptResult::Unreachable {
            class: AttemptErrorClass::Timeout,
            detail: "no answer".to_owned(),
        },
    );
    let mut accepted = attempt("w", &head, AfterAttempt::Delivered);
    (accepted.attempt.number, accepted.attempt.started_at) = (2, t(20));
    for each in [refused, accepted] {
        let batch = Batch {
            attempts: vec![each],
            ..Batch::default()
        };
        bench.store.commit(&batch).await.unwrap();
    }
    let events: Vec<String> = bench
        .detail("1")
        .await
        .events
        .into_iter()
        .map(|event| event.id)
        .collect();
    let expected = [
        "1|2026-11-22T15:04:05.123Z|transition|verify: in-progress|NULL".to_owned(),
        format!("1|2026-11-22T15:04:05.123Z|event|job.step_changed|{}", events[0]),
        "1|2026-11-22T15:04:15.123Z|transition|verify: in-progress → failed|{\"code\":\"x\"}".to_owned(),
        format!("1|2026-11-22T15:04:15.123Z|event|job.step_changed|{}", events[1]),
        format!("1|2026-11-22T15:04:15.123Z|event|job.failed|{}", events[2]),
        "1|2026-11-22T15:04:15.123Z|attempt|job.step_changed → w #1: no answer|timeout: no answer (250 ms, schedule)"
            .to_owned(),
        "1|2026-11-22T15:04:25.123Z|attempt|job.step_changed → w #2: 204|(250 ms, schedule)".to_owned(),
    ];
    let query = "SELECT job_id, at, kind, what, detail FROM timeline WHERE job_id = '1'";
    assert_eq!(bench.outsider.rows(query).await, expected);
    assert_eq!(
        bench
            .outsider
            .rows("SELECT * FROM timeline WHERE job_id = '1'")
            .await,
        expected
    );
    let all = bench.outsider.rows("SELECT job_id FROM timeline").await;
    assert_eq!(all.concat(), "111111122");
}

#[tokio::test]
async fn milliseconds_have_three_digits_at_every_time() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    for (n, (at, shown)) in [
        (0_i64, "1970-01-01T00:00:00.000Z"),
        (7, "1970-01-01T00:00:00.007Z"),
        (1_795_359_845_050, "2026-11-22T15:04:05.050Z"),
        (1_795_359_845_999, "2026-11-22T15:04:05.999Z"),
        (253_402_207_199_999, "9999-12-30T21:59:59.999Z"),
    ]
    .into_iter()
    .enumerate()
    {
        let insert = format!(
            "INSERT INTO transitions (job_id, seq, position, title, occurrence, to_status, observed_at)
             VALUES ('1', {}, 0, 'a', 0, 'x', {at})",
            n + 1
        );
        bench.outsider.run(&insert).await.unwrap();
        let query = "SELECT at FROM timeline WHERE job_id = '1' ORDER BY at DESC LIMIT 1";
        assert_eq!(bench.outsider.value(query).await, shown);
    }
}
