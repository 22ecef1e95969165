//! Deleting jobs.

use jobtrackd::core::delivery::AfterAttempt;
use jobtrackd::store::Jobs as _;

use super::bench::Bench;
use super::fixtures::body;

#[tokio::test]
async fn a_finished_job_goes_with_all_its_rows_also_without_foreign_keys() {
    for foreign_keys in ["OFF", "ON"] {
        let mut bench = Bench::with_jobs(&["1", "2"]).await;
        for id in ["1", "2"] {
            bench
                .sees(id, &body(&[("a", "success")]), &["w", "v"])
                .await;
        }
        for webhook in ["w", "v"] {
            for after in [AfterAttempt::Delivered, AfterAttempt::Exhausted] {
                for head in bench.heads(webhook).await {
                    bench.attempts(webhook, &head, after).await;
                }
            }
        }
        let kept = bench.detail("2").await;
        let script =
            format!("PRAGMA foreign_keys = {foreign_keys}; DELETE FROM jobs WHERE id = '1'");
        bench.outsider.run(&script).await.unwrap();
        for table in ["steps", "transitions", "events", "deliveries"] {
            let others = bench
                .outsider
                .count(&format!("{table} WHERE job_id <> '2'"))
                .await;
            assert_eq!(others, 0, "{table}");
        }
        assert_eq!(bench.outsider.count("attempts").await, 4);
        assert_eq!(bench.detail("2").await, kept);
        assert_eq!(
            bench
                .store
                .tracked(&super::fixtures::id("1"))
                .await
                .unwrap(),
            None
        );
    }
}
