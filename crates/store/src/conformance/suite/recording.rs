//! Recording observations.

use std::collections::{BTreeSet, HashSet};

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobState;

use super::super::fixtures::{T0, body, expired, id, seen, with_deliveries};
use super::super::{Backend, Bench};
use crate::{Committed, Events as _, StoreError, TimelineItem, Timelines as _};

pub(super) async fn a_batch_that_cannot_be_recorded_whole_is_not_recorded_at_all<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
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
    for job in ["1", "2"] {
        let detail = bench.detail(job).await;
        assert_eq!((detail.transitions.len(), detail.events.len()), (0, 0));
    }
    assert_eq!(bench.tracked("1").await.state, JobState::Pending);
    assert_eq!(bench.record(vec![good]).await.recorded.len(), 1);
}

pub(super) async fn a_stale_observation_writes_nothing_while_others_of_its_batch_do<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1", "2"]).await;
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

pub(super) async fn an_observation_of_a_job_that_is_gone_writes_nothing<B: Backend>() {
    let mut bench = Bench::<B>::with_jobs(&["1"]).await;
    bench.sees("1", &body(&[("a", "success")]), &[]).await;
    let late = seen(&bench.tracked("1").await, &body(&[("b", "success")]));
    assert!(bench.delete("1").await.unwrap());
    let committed = bench.record(vec![with_deliveries(late, &["w"])]).await;
    assert_eq!(committed, Committed::default());
    assert_eq!(bench.store().newest_event().await.unwrap(), 0);
}

pub(super) async fn ended_jobs_take_no_more_observations<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["good", "bad"]).await;
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

pub(super) async fn each_job_has_exactly_one_terminal_event<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["good", "bad", "late", "twice"]).await;
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

pub(super) async fn the_resource_stays_when_the_tracker_ends_the_job<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
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

pub(super) async fn a_resource_of_a_megabyte_and_strange_json_are_kept_to_the_byte<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["big", "odd"]).await;
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
    let page = bench.store().timeline(&id("odd"), None, 1).await.unwrap();
    let TimelineItem::Transition(transition) = &page.unwrap().entries[0].item else {
        panic!("a step came first");
    };
    assert_eq!(transition.result.as_deref(), Some(result));
    assert_eq!(detail.summary.steps[0].result.as_deref(), Some(result));
}
