//! What is known of steps from one observation to the next.

use jobtrackd_core::event::EventType;

use super::super::fixtures::{T0, body, seen_at, t, with_deliveries};
use super::super::{Backend, Bench};

async fn sees_at<B: Backend>(bench: &Bench<B>, text: &str, seconds: u64) {
    let seen = seen_at(&bench.tracked("1").await, text, t(seconds));
    assert_eq!(
        bench
            .record(vec![with_deliveries(seen, &[])])
            .await
            .recorded
            .len(),
        1
    );
}

/// The steps as `position title status first_seen updated`, times in seconds after `T0`.
async fn known<B: Backend>(bench: &Bench<B>) -> Vec<String> {
    let steps = bench.detail("1").await.summary.steps;
    let line = |step: &crate::StepRow| {
        let (first, updated) = (step.first_seen_at.since(T0), step.updated_at.since(T0));
        format!(
            "{} {} {} {} {}",
            step.position,
            step.title,
            step.status,
            first.as_secs(),
            updated.as_secs()
        )
    };
    steps.iter().map(line).collect()
}

pub(super) async fn a_reorder_moves_positions_and_nothing_else<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    sees_at(&bench, &body(&[("a", "success"), ("b", "pending")]), 0).await;
    sees_at(&bench, &body(&[("b", "pending"), ("a", "success")]), 5).await;
    assert_eq!(known(&bench).await, ["0 b pending 0 0", "1 a success 0 0"]);
    assert_eq!(bench.detail("1").await.transitions.len(), 2);
}

pub(super) async fn a_step_that_vanishes_is_missing_and_comes_back_with_its_first_sight<
    B: Backend,
>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    sees_at(&bench, &body(&[("a", "x"), ("b", "x")]), 0).await;
    sees_at(&bench, &body(&[("a", "x")]), 5).await;
    assert_eq!(known(&bench).await, ["0 a x 0 0", "1 b missing 0 5"]);
    sees_at(&bench, &body(&[("a", "x")]), 6).await;
    assert_eq!(known(&bench).await, ["0 a x 0 0", "1 b missing 0 5"]);
    sees_at(&bench, &body(&[("b", "x"), ("a", "y")]), 9).await;
    assert_eq!(known(&bench).await, ["0 b x 0 9", "1 a y 0 9"]);
    let from: Vec<_> = bench
        .detail("1")
        .await
        .transitions
        .into_iter()
        .map(|t| (t.seq, t.from, t.to))
        .collect();
    assert_eq!(
        from[2..],
        [
            (3, Some("x".into()), "missing".into()),
            (4, Some("missing".into()), "x".into()),
            (5, Some("x".into()), "y".into()),
        ]
    );
}

pub(super) async fn a_new_step_is_first_seen_when_it_comes<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    sees_at(&bench, &body(&[("a", "x")]), 0).await;
    sees_at(&bench, &body(&[("a", "x"), ("b", "x"), ("a", "x")]), 7).await;
    assert_eq!(known(&bench).await, ["0 a x 0 0", "1 b x 7 7", "2 a x 7 7"]);
}

pub(super) async fn a_step_is_updated_when_its_status_or_its_result_s_value_changes<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    let with = |status: &str, result: &str| {
        format!("{{\"steps\":[{{\"title\":\"a\",\"status\":\"{status}\",\"result\":{result}}}]}}")
    };
    for (seconds, text, updated) in [
        (0, with("x", "{\"a\":1,\"b\":2}"), 0),
        (1, with("x", "{\"a\":1,\"b\":2}"), 0),
        (2, with("x", "{\"b\":2, \"a\":1}"), 0),
        (3, with("x", "{\"b\":3}"), 3),
        (4, with("y", "{\"b\":3}"), 4),
        (5, with("y", "null"), 5),
        (6, with("y", "null"), 5),
    ] {
        sees_at(&bench, &text, seconds).await;
        let detail = bench.detail("1").await;
        assert_eq!(
            detail.summary.steps[0].updated_at,
            t(updated),
            "{seconds}: {text}"
        );
        assert_eq!(detail.transitions.last().unwrap().observed_at, t(updated));
    }
}

pub(super) async fn titles_are_kept_whatever_is_in_them<B: Backend>() {
    let long = "xü".repeat(5000);
    let titles = [
        "",
        " ",
        "it's",
        "\"quoted\"",
        "back\\slash",
        "{\"a\":1}",
        "[1]",
        "123",
        "1e5",
        "null",
        "true",
        "a\nb\tc\r\u{1}\u{7f}",
        "漢字",
        "\u{1f389}\u{1f468}\u{200d}\u{1f469}",
        "e\u{301}",
        "\u{fffd}\u{feff}",
        "'; DROP TABLE jobs; --",
        "$.a",
        "%s",
        &long,
    ];
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    let all: Vec<(&str, &str)> = titles.iter().map(|title| (*title, *title)).collect();
    sees_at(&bench, &body(&all), 0).await;
    let detail = bench.detail("1").await;
    let kept: Vec<_> = detail
        .summary
        .steps
        .iter()
        .map(|step| (step.title.as_str(), step.status.as_str()))
        .collect();
    assert_eq!(kept, all);
    let changed: Vec<_> = detail
        .transitions
        .iter()
        .map(|t| (t.title.as_str(), t.to.as_str()))
        .collect();
    assert_eq!(changed, all);
    let tracked = bench.tracked("1").await;
    let snapshot = jobtrackd_core::dialect::Basiq::snapshot(&body(&all), None).unwrap();
    assert_eq!(
        jobtrackd_core::transition::diff(&tracked.steps, &snapshot, 0).transitions,
        []
    );
}

pub(super) async fn that_a_delay_was_sent_is_remembered<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    let queued = r#"{"steps":[{"title":"a","status":"pending","result":{"code":"temporary-unavailable-queued"}}]}"#;
    sees_at(&bench, queued, 0).await;
    assert!(bench.tracked("1").await.steps[0].delayed);
    sees_at(&bench, &body(&[("a", "x")]), 1).await;
    assert!(bench.tracked("1").await.steps[0].delayed);
    sees_at(&bench, queued, 2).await;
    let events = bench.detail("1").await.events;
    assert_eq!(
        events
            .iter()
            .filter(|event| event.kind == EventType::Delayed)
            .count(),
        1
    );
}
