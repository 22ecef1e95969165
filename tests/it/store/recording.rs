//! Recording observations.

use std::collections::{BTreeSet, HashSet};

use jobtrackd::core::delivery::WebhookName;
use jobtrackd::core::job::JobState;
use jobtrackd::store::Committed;

use super::bench::Bench;
use super::fixtures::{T0, body, id, seen, t, with_deliveries};

#[tokio::test]
async fn one_commit_writes_the_job_its_steps_transitions_events_and_deliveries() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    let text = body(&[("verify", "success"), ("fetch", "in-progress")]);
    let committed = bench.sees("1", &text, &["w", "v"]).await;
    assert_eq!(
        committed,
        Committed {
            recorded: HashSet::from([id("1")]),
            webhooks: BTreeSet::from([WebhookName::new("w"), WebhookName::new("v")]),
            unexpected_attempts: HashSet::new(),
        }
    );
    let detail = bench.detail("1").await;
    let row = &detail.summary.row;
    assert_eq!(
        (row.state, row.progress.polls, row.progress.queued),
        (JobState::InProgress, 1, true)
    );
    assert_eq!(
        (row.progress.last_polled_at, row.next_poll_at),
        (Some(T0), Some(t(30)))
    );
    assert_eq!(
        (row.progress.quiet_polls, row.progress.consecutive_errors),
        (2, 3)
    );
    assert_eq!(row.progress.last_error.as_deref(), Some("it's \"odd\" ü"));
    assert_eq!(detail.resource.as_deref(), Some(text.as_str()));
    assert_eq!(detail.summary.finished_at, None);
    let rows = bench
        .outsider
        .rows("SELECT seq, position, title, from_status, to_status, result, observed_at, remote_updated FROM transitions")
        .await;
    assert_eq!(
        rows,
        [
            "1|0|verify|NULL|success|NULL|1795359845123|yesterday",
            "2|1|fetch|NULL|in-progress|NULL|1795359845123|yesterday"
        ]
    );
    let events = bench
        .outsider
        .rows("SELECT sequence, type, created_at FROM events ORDER BY cursor")
        .await;
    assert_eq!(
        events,
        [
            "1|job.step_changed|1795359845123",
            "2|job.step_changed|1795359845123"
        ]
    );
    let deliveries = bench
        .outsider
        .rows("SELECT webhook, sequence, state, attempts, next_attempt_at FROM deliveries ORDER BY webhook, sequence")
        .await;
    assert_eq!(
        deliveries,
        [
            "v|1|pending|0|1795359845123",
            "v|2|pending|0|NULL",
            "w|1|pending|0|1795359845123",
            "w|2|pending|0|NULL"
        ]
    );
    let tracked = bench.tracked("1").await;
    assert_eq!(
        (tracked.revision, tracked.last_seq, tracked.last_sequence),
        (1, 2, 2)
    );
    assert_eq!(tracked.steps.len(), 2);
}

#[tokio::test]
async fn a_thousand_jobs_are_recorded_in_one_batch() {
    let mut bench = Bench::fresh().await;
    bench
        .outsider
        .run(
            "INSERT INTO jobs (id) WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT 'j' || i FROM n",
        )
        .await
        .unwrap();
    let mut batch = Vec::new();
    for n in 1..=1000_u32 {
        let status = ["success", "failed", "pending"][n as usize % 3];
        let text = body(&[(format!("step {n}").as_str(), status)]);
        let mut each = with_deliveries(seen(&bench.tracked(&format!("j{n}")).await, &text), &["w"]);
        each.schedule.progress.polls = u64::from(n);
        batch.push(each);
    }
    let committed = bench.record(batch).await;
    assert_eq!(committed.recorded.len(), 1000);
    let wrong = bench
        .outsider
        .rows(
            "SELECT j.id FROM jobs AS j JOIN steps AS s ON s.job_id = j.id JOIN transitions AS t ON t.job_id = j.id
             WHERE j.id <> 'j' || j.polls OR s.title <> 'step ' || j.polls OR t.title <> s.title OR t.seq <> 1
                OR j.state <> CASE j.polls % 3 WHEN 0 THEN 'success' WHEN 1 THEN 'failed' ELSE 'in-progress' END
                OR (SELECT count(*) FROM events WHERE job_id = j.id) <> CASE j.polls % 3 WHEN 2 THEN 1 ELSE 2 END
                OR (SELECT group_concat(sequence) FROM deliveries WHERE job_id = j.id AND next_attempt_at NOTNULL) <> '1'",
        )
        .await;
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(bench.heads("w").await.len(), 1000);
    assert_eq!(bench.outsider.count("events").await, 1667);
}
