//! Jobs and their histories in pages.

use jobtrackd_core::delivery::AfterAttempt;
use jobtrackd_core::job::JobState;

use super::super::fixtures::{body, id, t};
use super::super::{Backend, Bench, job};
use crate::{
    JobFilter, JobUpdate, Lists as _, NewJob, Outsider as _, TimelineEntry, TimelineItem,
    Timelines as _,
};

/// Jobs `j0`, `j1` … of which every second ended, inserted at three different times.
async fn many_jobs<B: Backend>(count: u64) -> Bench<B> {
    let mut bench = Bench::<B>::fresh().await;
    for n in 0..count {
        let row = NewJob {
            metadata: Some(format!("{{\"n\":{n},\"name\":\"M\\u00fcller {n}\"}}")),
            ..job(&format!("j{n}"))
        };
        let outsider = bench.backend.outsider();
        assert!(outsider.insert(&row, t(n % 3)).await.unwrap());
        if n % 2 == 1 {
            let steps = body(&[("a", "success"), ("b", "failed")]);
            bench.sees(&row.id, &steps, &["w"]).await;
        }
    }
    bench
}

/// All jobs that match, page by page.
async fn pages<B: Backend>(bench: &Bench<B>, mut filter: JobFilter) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = bench.store().list(&filter).await.unwrap();
        assert!(page.jobs.len() <= filter.limit as usize);
        let last = page.jobs.last().filter(|_| page.more);
        filter.after = last.map(|job| filter.place(job));
        all.extend(page.jobs.iter().map(|job| job.row.id.to_string()));
        if filter.after.is_none() {
            return all;
        }
    }
}

pub(super) async fn lists_come_newest_first_and_page_by_page_without_gaps<B: Backend>() {
    let bench = many_jobs::<B>(8).await;
    let all = ["j5", "j2", "j7", "j4", "j1", "j6", "j3", "j0"];
    let failed = ["j5", "j7", "j1", "j3"];
    for limit in [1, 2, 3, 100] {
        let mut filter = JobFilter {
            limit,
            ..JobFilter::default()
        };
        assert_eq!(pages(&bench, filter.clone()).await, all, "by {limit}");
        filter.state = Some(JobState::Failed);
        assert_eq!(pages(&bench, filter.clone()).await, failed, "by {limit}");
        filter.state = Some(JobState::Success);
        assert!(pages(&bench, filter).await.is_empty());
    }
    let newest = bench.store().newest_ids(3).await.unwrap();
    assert_eq!(newest, ["j5", "j2", "j7"].map(id));
}

pub(super) async fn ended_jobs_are_found_by_the_time_of_their_end<B: Backend>() {
    let bench = many_jobs::<B>(8).await;
    let mut ends = std::collections::BTreeMap::new();
    for n in [1, 3, 5, 7] {
        let job = bench.detail(&format!("j{n}")).await.summary;
        ends.insert((job.finished_at.unwrap(), job.row.id.to_string()), n);
    }
    let latest: Vec<String> = ends.keys().rev().map(|(_, id)| id.clone()).collect();
    let (first, last) = (ends.keys().next().unwrap().0, ends.keys().last().unwrap().0);
    for limit in [1, 2, 100] {
        let all = JobFilter {
            ended_since: Some(first),
            limit,
            ..JobFilter::default()
        };
        assert_eq!(pages(&bench, all.clone()).await, latest, "by {limit}");
        let until = JobFilter {
            ended_until: Some(first.minus(std::time::Duration::from_millis(1))),
            ..all.clone()
        };
        assert!(pages(&bench, until).await.is_empty());
        let of_state = |state| JobFilter {
            state: Some(state),
            ended_until: Some(last),
            ..all.clone()
        };
        assert_eq!(pages(&bench, of_state(JobState::Failed)).await, latest);
        assert!(pages(&bench, of_state(JobState::Success)).await.is_empty());
        let inserted = JobFilter {
            since: Some(t(1)),
            until: Some(t(1)),
            ..all
        };
        let found = pages(&bench, inserted).await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&"j1".to_owned()) && found.contains(&"j7".to_owned()));
    }
}

pub(super) async fn jobs_are_found_by_time_webhook_and_text<B: Backend>() {
    let mut bench = many_jobs::<B>(4).await;
    let update = JobUpdate::Webhook(Some("w".to_owned()));
    assert!(bench.update("j0", update).await.unwrap());
    let all = JobFilter {
        limit: 100,
        ..JobFilter::default()
    };
    let since = JobFilter {
        since: Some(t(1)),
        until: Some(t(1)),
        ..all.clone()
    };
    assert_eq!(pages(&bench, since).await, ["j1"]);
    let text = |text: &str| JobFilter {
        text: Some(text.to_owned()),
        ..all.clone()
    };
    let webhook = JobFilter {
        webhook: Some("w".to_owned()),
        ..all.clone()
    };
    assert_eq!(pages(&bench, webhook).await, ["j1", "j3", "j0"]);
    assert_eq!(pages(&bench, text("J2")).await, ["j2"]);
    assert_eq!(pages(&bench, text("müller 3")).await, ["j3"], "unescaped");
    assert_eq!(pages(&bench, text("STEP")).await, ["j1", "j3"], "a failure");
    assert_eq!(pages(&bench, text("odd")).await, ["j1", "j3"], "an error");
    assert!(pages(&bench, text("nothing")).await.is_empty());
    let end = bench.store().search_end(&text("j")).await.unwrap();
    assert_eq!(end, None, "all are read");
}

pub(super) async fn a_timeline_tells_everything_in_one_order<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "success")]), &["w"]).await;
    for after in [AfterAttempt::Retry(t(5)), AfterAttempt::Delivered] {
        let head = bench.heads("w").await.remove(0);
        bench.attempts("w", &head, after).await;
    }
    let read = async |after: Option<&TimelineEntry>, limit| {
        let after = after.map(|entry| &entry.key);
        let page = bench.store().timeline(&id("1"), after, limit).await;
        page.unwrap().unwrap()
    };
    let whole = read(None, 100).await;
    assert!(!whole.more);
    let line = |entry: &TimelineEntry| match &entry.item {
        TimelineItem::Transition(it) => format!("{}: {}", it.title, it.to),
        TimelineItem::Event(it) => it.kind.to_string(),
        TimelineItem::Delivery(it) => format!("{} {}", it.sequence, it.state.as_str()),
        TimelineItem::Attempt(it) => format!("attempt {}", it.number),
    };
    let lines: Vec<String> = whole.entries.iter().map(line).collect();
    let expected = [
        "a: success",
        "job.step_changed",
        "job.completed",
        "1 delivered",
        "2 pending",
        "attempt 1",
        "attempt 2",
    ];
    assert_eq!(lines, expected);
    let (mut found, mut more) = (Vec::new(), true);
    while more {
        let page = read(found.last(), 2).await;
        more = page.more;
        found.extend(page.entries);
    }
    assert_eq!(found, whole.entries);
    let nobody = bench.store().timeline(&id("2"), None, 9).await.unwrap();
    assert_eq!(nobody, None);
}
