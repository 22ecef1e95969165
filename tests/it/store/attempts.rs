//! What attempts do to deliveries and to their webhook.

use jobtrackd::core::delivery::AfterAttempt;
use jobtrackd::store::{Batch, Commits as _};

use super::bench::Bench;
use super::fixtures::{T0, attempt, body, t};

async fn two_events() -> Bench {
    let bench = Bench::with_jobs(&["1"]).await;
    bench
        .sees("1", &body(&[("a", "x"), ("b", "x")]), &["w"])
        .await;
    bench
}

#[tokio::test]
async fn attempts_at_many_deliveries_are_recorded_in_one_batch() {
    let mut bench = Bench::fresh().await;
    let values: Vec<String> = (0..300).map(|n| format!("('{n}')")).collect();
    bench
        .outsider
        .run(&format!(
            "INSERT INTO jobs (id) VALUES {}",
            values.join(",")
        ))
        .await
        .unwrap();
    for n in 0..300 {
        bench
            .sees(&n.to_string(), &body(&[("a", "x"), ("b", "x")]), &["w"])
            .await;
    }
    let heads = bench.heads("w").await;
    let attempts = heads.iter().map(|head| {
        let n = head.job_id.as_str().parse::<u64>().unwrap();
        let after = match n % 3 {
            0 => AfterAttempt::Delivered,
            1 => AfterAttempt::Retry(t(n)),
            _ => AfterAttempt::Exhausted,
        };
        attempt("w", head, after)
    });
    let batch = Batch {
        attempts: attempts.collect(),
        now: Some(T0),
        ..Batch::default()
    };
    bench.store.commit(&batch).await.unwrap();
    let lines = bench
        .outsider
        .rows(
            "SELECT job_id, sequence, state, attempts, retries_used, next_attempt_at - 1795359845123
             FROM deliveries ORDER BY CAST(job_id AS INTEGER), sequence",
        )
        .await;
    let expected = (0..300).flat_map(|n| match n % 3 {
        0 => [
            format!("{n}|1|delivered|1|0|NULL"),
            format!("{n}|2|pending|0|0|0"),
        ],
        1 => [
            format!("{n}|1|pending|1|1|{}", n * 1000),
            format!("{n}|2|pending|0|0|NULL"),
        ],
        _ => [
            format!("{n}|1|exhausted|1|0|NULL"),
            format!("{n}|2|pending|0|0|0"),
        ],
    });
    assert_eq!(lines, expected.collect::<Vec<_>>());
    assert_eq!(bench.outsider.count("attempts").await, 300);
}

#[tokio::test]
async fn the_table_holds_deliveries_to_their_rules() {
    let mut bench = two_events().await;
    for set in [
        "state = 'sent'",
        "state = 'delivered'",
        "delivered_at = 5",
        "state = 'exhausted'",
        "attempts = -1",
        "retries_used = 1",
    ] {
        let script = format!("UPDATE deliveries SET {set} WHERE sequence = 1");
        let said = bench.outsider.run(&script).await.unwrap_err();
        assert!(said.starts_with("CHECK constraint failed"), "{set}: {said}");
    }
}
