//! Lists and details.

use jobtrackd::core::event::EventType;
use jobtrackd::core::job::{FailureKind, JobState};
use jobtrackd::store::{
    EventFilter, Events as _, Intake as _, JobFilter, JobSummary, Jobs as _, Lists as _,
    PAGE_BYTES, TimelineItem, Timelines as _,
};

use super::bench::Bench;
use super::fixtures::{body, id};

/// Jobs `j0`, `j1` … of which every second ended, inserted at three different times.
async fn many_jobs(count: usize) -> Bench {
    let mut bench = Bench::fresh().await;
    for n in 0..count {
        let script = format!(
            "INSERT INTO jobs (id, metadata, created_at)
             SELECT 'j{n}', '{{\"n\":{n}}}', coalesce(max(created_at), 1 + CAST(julianday('now') * 86400000 - 210866760000000 AS INTEGER))
                    + {n} % 3 / 2 FROM jobs"
        );
        bench.outsider.run(&script).await.unwrap();
        if n % 2 == 1 {
            bench
                .sees(
                    &format!("j{n}"),
                    &body(&[("a", "success"), ("b", "failed")]),
                    &[],
                )
                .await;
        }
    }
    bench
}

async fn pages(bench: &Bench, state: Option<JobState>, limit: u32) -> Vec<JobSummary> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let filter = JobFilter {
            state,
            after: after.take(),
            limit,
            ..JobFilter::default()
        };
        let page = bench.store.list(&filter).await.unwrap();
        assert!(page.jobs.len() <= limit as usize);
        let last = page.jobs.last().filter(|_| page.more);
        after = last.map(|job| (job.row.created_at, job.row.id.clone()));
        all.extend(page.jobs);
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn lists_come_newest_first_and_page_by_page_without_gaps() {
    let mut bench = many_jobs(11).await;
    for (state, sql) in [
        (None, "true"),
        (Some(JobState::Failed), "state = 'failed'"),
        (Some(JobState::Pending), "state = 'pending'"),
        (Some(JobState::Success), "state = 'success'"),
    ] {
        let query = format!("SELECT id FROM jobs WHERE {sql} ORDER BY created_at DESC, id DESC");
        let expected = bench.outsider.rows(&query).await;
        for limit in [1, 2, 3, 100] {
            let listed = pages(&bench, state, limit).await;
            let ids: Vec<_> = listed.iter().map(|job| job.row.id.as_str()).collect();
            assert_eq!(ids, expected, "{state:?} by {limit}");
        }
    }
}

#[tokio::test]
async fn a_listed_job_has_its_own_steps_metadata_and_failure() {
    let bench = many_jobs(4).await;
    for job in pages(&bench, None, 10).await {
        let number = job.row.id.as_str().trim_start_matches('j').to_owned();
        assert_eq!(job.metadata, Some(format!("{{\"n\":{number}}}")));
        assert_eq!(job, bench.detail(job.row.id.as_str()).await.summary);
        let ended = ["1", "3"].contains(&number.as_str());
        assert_eq!(
            (job.steps.len(), job.finished_at.is_some()),
            if ended { (2, true) } else { (0, false) }
        );
        let kind = job.failure.map(|failure| (failure.kind, failure.step));
        assert_eq!(
            kind,
            ended.then(|| (FailureKind::Step, Some("b".to_owned())))
        );
    }
}

#[tokio::test]
async fn a_row_that_no_version_writes_is_named_and_stops_no_other() {
    let mut bench = Bench::with_jobs(&["1", "2"]).await;
    bench
        .outsider
        .run("UPDATE jobs SET last_polled_at = -9223372036854775808, polls = 5")
        .await
        .unwrap();
    bench
        .outsider
        .run("PRAGMA ignore_check_constraints = ON; UPDATE jobs SET state = 'odd' WHERE id = '1'")
        .await
        .unwrap();
    let error = bench.store.tracked(&id("1")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database is inconsistent: jobs.state of 1"
    );
    let ids = ["1", "2"].map(id);
    let together = bench.store.all_tracked(&ids).await.unwrap();
    assert_eq!((together[0].is_err(), together[1].is_ok()), (true, true));
    let together = bench.store.all_jobs(&ids).await.unwrap();
    assert_eq!((together[0].is_err(), together[1].is_ok()), (true, true));
    let jobs = bench.store.active_jobs(0, 9).await.unwrap();
    assert_eq!(jobs[0].job, None);
    assert_eq!(jobs[1].job.as_ref().unwrap().id, id("2"));
}

#[tokio::test]
async fn a_list_has_at_most_4_mib_of_all_that_jobs_hold_and_one_job_more_and_none_is_left_out() {
    let mut bench = Bench::fresh().await;
    let ids: Vec<String> = (0..12).map(|n| format!("j{n:02}")).collect();
    let result = "x".repeat(700 << 10);
    for id in &ids {
        let script = format!("INSERT INTO jobs (id) VALUES ('{id}')");
        bench.outsider.run(&script).await.unwrap();
        let steps = format!(
            r#"{{"steps":[{{"title":"a","status":"odd","result":"{result}"}},{{"title":"b","status":"odd","result":"{result}"}}]}}"#
        );
        bench.sees(id, &steps, &[]).await;
    }
    let filter = JobFilter {
        limit: 500,
        ..JobFilter::default()
    };
    let first = bench.store.list(&filter).await.unwrap();
    assert_eq!((first.jobs.len(), first.more), (3, true));
    let mut listed: Vec<String> = pages(&bench, None, 500)
        .await
        .iter()
        .map(|job| job.row.id.to_string())
        .collect();
    listed.sort();
    assert_eq!(listed, ids);
    assert_eq!(bench.store.newest_ids(500).await.unwrap().len(), 12);
}

#[tokio::test]
async fn a_timeline_has_at_most_4_mib_of_results_and_answers_and_one_entry_more() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "success")]), &["w"]).await;
    let script = format!(
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 600)
         INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, \"trigger\", answer)
         SELECT (SELECT id FROM events WHERE sequence = 1), 'w', i, {}, 1, 500, 'manual', '{}' FROM n",
        super::fixtures::T0.0 + 1,
        "x".repeat(16 << 10)
    );
    bench.outsider.run(&script).await.unwrap();
    let (mut attempts, mut after) = (0, None);
    loop {
        let page = bench.store.timeline(&id("1"), after.as_ref(), 500).await;
        let page = page.unwrap().unwrap();
        let answers = page.entries.iter().filter_map(|entry| match &entry.item {
            TimelineItem::Attempt(attempt) => attempt.answer.as_ref(),
            _ => None,
        });
        let bytes: usize = answers.map(String::len).sum();
        assert!(bytes <= (4 << 20) + (16 << 10), "{bytes}");
        attempts += bytes >> 14;
        after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            break;
        }
    }
    assert_eq!(attempts, 600);
}

#[tokio::test]
async fn whatever_a_failure_has_become_the_event_is_read() {
    let mut bench = Bench::with_jobs(&["1", "2"]).await;
    for job in ["1", "2"] {
        bench.sees(job, &body(&[("a", "failed")]), &[]).await;
    }
    let spoilt = r#"DROP TRIGGER jobs_stay_ended;
        UPDATE jobs SET failure = 'no JSON' WHERE id = '1';
        UPDATE jobs SET failure = '{"code":"\ud800"}' WHERE id = '2'"#;
    bench.outsider.run(spoilt).await.unwrap();
    let ends = EventFilter {
        kind: Some(EventType::Failed),
        limit: 100,
        bytes: PAGE_BYTES,
        detail: true,
        ..EventFilter::default()
    };
    let events = bench.store.events(&ends).await.unwrap().events;
    let details: Vec<_> = events.iter().map(|event| event.detail.as_deref()).collect();
    assert_eq!(details, [None, Some("\u{fffd}\u{fffd}\u{fffd}")]);
}
