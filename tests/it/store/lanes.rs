//! Lanes: the deliveries of one job to one webhook, sent in order.

use jobtrackd::core::delivery::AfterAttempt;

use super::bench::Bench;
use super::fixtures::body;

/// A bench whose job `1` has three events for `w`.
async fn three_events() -> Bench {
    let bench = Bench::with_jobs(&["1"]).await;
    bench
        .sees("1", &body(&[("a", "x"), ("b", "x"), ("c", "x")]), &["w"])
        .await;
    bench
}

#[tokio::test]
async fn a_body_is_read_to_the_byte_while_its_event_is_the_next_one_to_be_sent() {
    for gone in [
        "UPDATE deliveries SET state = 'exhausted', next_attempt_at = NULL",
        "UPDATE deliveries SET state = 'disabled', next_attempt_at = NULL",
        "UPDATE deliveries SET next_attempt_at = NULL",
        "DELETE FROM deliveries",
        "DELETE FROM events",
    ] {
        let mut bench = three_events().await;
        let head = bench.heads("w").await.remove(0);
        assert_eq!(
            bench.body_to_send("v", &head).await,
            None,
            "another webhook"
        );
        let bodies = bench.bodies("1").await;
        assert_eq!(
            bench.body_to_send("w", &head).await.as_deref(),
            Some(bodies[0].as_bytes())
        );
        bench.outsider.run(gone).await.unwrap();
        assert_eq!(bench.body_to_send("w", &head).await, None, "{gone}");
    }
    let mut bench = three_events().await;
    let head = bench.heads("w").await.remove(0);
    bench.attempts("w", &head, AfterAttempt::Delivered).await;
    assert_eq!(bench.body_to_send("w", &head).await, None);
    let head = bench.heads("w").await.remove(0);
    let spoil =
        "DROP TRIGGER events_are_append_only; UPDATE events SET body = CAST(x'00ff22' AS TEXT)";
    bench.outsider.run(spoil).await.unwrap();
    assert_eq!(
        bench.body_to_send("w", &head).await,
        Some(vec![0, 0xff, 0x22])
    );
}

#[tokio::test]
async fn a_page_has_the_bodies_that_are_not_large() {
    let mut bench = three_events().await;
    let bodies = bench.bodies("1").await;
    let page = bench.heads("w").await;
    assert_eq!(page[0].body.as_deref(), Some(bodies[0].as_bytes()));
    for (bytes, is_there) in [(4 << 10, true), ((4 << 10) + 1, false)] {
        let long = format!(
            "DROP TRIGGER IF EXISTS events_are_append_only;
             UPDATE events SET body = '\"' || printf('%.*c', {bytes} - 3, 'x') || 'ü' WHERE sequence = 1"
        );
        bench.outsider.run(&long).await.unwrap();
        let page = bench.heads("w").await;
        assert_eq!(page[0].body.is_some(), is_there, "{bytes} bytes");
    }
}
