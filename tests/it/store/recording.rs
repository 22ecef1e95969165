//! Recording observations.

use std::collections::{BTreeSet, HashSet};

use jobtrackd::core::delivery::WebhookName;
use jobtrackd::core::event::EventType;
use jobtrackd::core::job::JobState;
use jobtrackd::store::{Committed, StoreError, TimelineItem, Timelines as _};

use super::bench::Bench;
use super::fixtures::{T0, body, expired, id, schedule, seen, t, with_deliveries};

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
async fn a_batch_that_cannot_be_recorded_whole_is_not_recorded_at_all() {
    let mut bench = Bench::with_jobs(&["1", "2"]).await;
    let good = with_deliveries(
        seen(&bench.tracked("1").await, &body(&[("a", "success")])),
        &["w"],
    );
    let mut bad = with_deliveries(
        seen(&bench.tracked("2").await, &body(&[("a", "success")])),
        &["w"],
    );
    bad.observation.events[1].id = good.observation.events[0].id.clone();
    let error = bench.try_record(vec![good.clone(), bad]).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Refused(why) if why.contains("events.id")),
        "{error:?}"
    );
    for table in ["steps", "transitions", "events", "deliveries"] {
        assert_eq!(bench.outsider.count(table).await, 0, "{table}");
    }
    assert_eq!(bench.tracked("1").await.state, JobState::Pending);
    assert_eq!(bench.record(vec![good]).await.recorded.len(), 1);
}

#[tokio::test]
async fn a_stale_observation_writes_nothing_while_others_of_its_batch_do() {
    let bench = Bench::with_jobs(&["1", "2"]).await;
    let stale = seen(&bench.tracked("1").await, &body(&[("a", "failed")]));
    bench.sees("1", &body(&[("a", "pending")]), &["w"]).await;
    let before = bench.detail("1").await;
    let fresh = seen(&bench.tracked("2").await, &body(&[("a", "pending")]));
    let committed = bench
        .record(vec![
            with_deliveries(stale, &["w"]),
            with_deliveries(fresh, &["v"]),
        ])
        .await;
    assert_eq!(committed.recorded, HashSet::from([id("2")]));
    assert_eq!(committed.webhooks, BTreeSet::from([WebhookName::new("v")]));
    assert_eq!(bench.detail("1").await, before);
    assert_eq!(bench.detail("2").await.events.len(), 1);
}

#[tokio::test]
async fn an_observation_of_a_job_that_is_gone_writes_nothing() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    let late = seen(&bench.tracked("1").await, &body(&[("b", "success")]));
    bench.outsider.run("DELETE FROM jobs").await.unwrap();
    let committed = bench.record(vec![with_deliveries(late, &["w"])]).await;
    assert_eq!(committed, Committed::default());
    assert_eq!(bench.outsider.count("transitions").await, 0);
}

#[tokio::test]
async fn ended_jobs_take_no_more_observations() {
    let bench = Bench::with_jobs(&["good", "bad"]).await;
    bench.sees("good", &body(&[("a", "success")]), &["w"]).await;
    bench
        .sees("bad", &body(&[("a", "failed"), ("b", "pending")]), &["w"])
        .await;
    for job in ["good", "bad"] {
        let before = bench.detail(job).await;
        assert_eq!(before.summary.finished_at, Some(T0));
        assert_eq!(before.summary.row.next_poll_at, None);
        for text in [body(&[("a", "pending")]), body(&[("a", "failed")])] {
            assert_eq!(bench.sees(job, &text, &["w"]).await, Committed::default());
        }
        let end = with_deliveries(expired(&bench.tracked(job).await), &["w"]);
        assert_eq!(bench.record(vec![end]).await, Committed::default());
        assert_eq!(bench.detail(job).await, before);
    }
}

#[tokio::test]
async fn each_job_has_exactly_one_terminal_event() {
    let bench = Bench::with_jobs(&["good", "bad", "late", "twice"]).await;
    bench.sees("good", &body(&[("a", "success")]), &[]).await;
    bench.sees("bad", &body(&[("a", "failed")]), &[]).await;
    let late = with_deliveries(expired(&bench.tracked("late").await), &[]);
    bench.record(vec![late]).await;
    for (job, last) in [
        ("good", "job.completed"),
        ("bad", "job.failed"),
        ("late", "job.failed"),
    ] {
        let events = bench.detail(job).await.events;
        let ends: Vec<&str> = events
            .iter()
            .map(|event| event.kind.as_str())
            .filter(|kind| ["job.completed", "job.failed"].contains(kind))
            .collect();
        assert_eq!(ends, [last]);
        assert_eq!(events.last().unwrap().kind.as_str(), last);
    }
    let mut twice = with_deliveries(
        seen(&bench.tracked("twice").await, &body(&[("a", "failed")])),
        &[],
    );
    twice.observation.events[0].kind = EventType::Completed;
    let refused = bench.try_record(vec![twice]).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_))),
        "{refused:?}"
    );
    assert_eq!(bench.detail("twice").await.events, []);
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
        each.schedule = schedule(&format!("j{n}"), u64::from(n));
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

#[tokio::test]
async fn the_resource_stays_when_the_tracker_ends_the_job() {
    let bench = Bench::with_jobs(&["1"]).await;
    let text = body(&[("a", "pending")]);
    bench.sees("1", &text, &[]).await;
    let steps = bench.detail("1").await.summary.steps;
    let end = with_deliveries(expired(&bench.tracked("1").await), &["w"]);
    bench.record(vec![end]).await;
    let detail = bench.detail("1").await;
    assert_eq!(detail.resource.as_deref(), Some(text.as_str()));
    assert_eq!(detail.summary.steps, steps);
    assert_eq!(detail.summary.row.state, JobState::Failed);
    let failure = detail.summary.failure.unwrap();
    assert_eq!(
        (
            failure.title.text().as_deref(),
            failure.detail.text().as_deref()
        ),
        (Some("Too late"), Some("It's over"))
    );
    let delivered = &bench.bodies("1").await[1];
    assert!(delivered.contains(&format!("\"job\":{text}")));
}

#[tokio::test]
async fn a_resource_of_a_megabyte_and_strange_json_are_kept_to_the_byte() {
    let bench = Bench::with_jobs(&["big", "odd"]).await;
    let big = format!(
        "{{\"filler\":\"{}\",\"steps\":[{{\"title\":\"a\",\"status\":\"success\"}}]}}",
        "it's \\\"ü\u{1f389}\\n".repeat(1 << 17)
    );
    assert!(big.len() > 1 << 20);
    bench.sees("big", &big, &["w"]).await;
    let detail = bench.detail("big").await;
    assert!(detail.resource.as_deref() == Some(big.as_str()));
    let delivered = bench.bodies("big").await;
    let head = bench.heads("w").await.remove(0);
    assert!(bench.body_to_send("w", &head).await == Some(delivered[0].clone().into_bytes()));
    assert!(delivered[1].contains(&big));

    let result = "{ \"n\":1e400 , \"big\":12345678901234567890123, \"n\":[],\"u\":\"\\u0000\\ud83c\\udf89\" }";
    let odd = format!(
        "{{\"a\":1,\"a\":2,\n\t\"steps\":[{{\"title\":\"a\",\"status\":\"x\",\"result\":{result}}}]}}"
    );
    bench.sees("odd", &odd, &[]).await;
    let detail = bench.detail("odd").await;
    assert_eq!(detail.resource.as_deref(), Some(odd.as_str()));
    let page = bench.store.timeline(&id("odd"), None, 1).await.unwrap();
    let TimelineItem::Transition(transition) = &page.unwrap().entries[0].item else {
        panic!("a step came first");
    };
    assert_eq!(transition.result.as_deref(), Some(result));
    assert_eq!(detail.summary.steps[0].result.as_deref(), Some(result));
}
