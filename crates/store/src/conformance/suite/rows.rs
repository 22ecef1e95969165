//! What may be inserted, by other programs and by the command, and what is said otherwise.

use super::super::fixtures::{T0, t};
use super::super::{Backend, Bench, job};
use crate::{Enqueued, Intake as _, Jobs as _, NewJob, StoreError};
use jobtrackd_core::time::UnixMillis;

/// Rows that break one rule each, and how that rule begins.
fn bad_rows() -> Vec<(NewJob, &'static str)> {
    let plain = || job("1");
    let mut rows = Vec::new();
    let long = "x".repeat(201);
    for id in ["", ".", "..", "a b", "a/b", "ä", "a\n", "%2e", &long] {
        rows.push((job(id), "jobs.id must be"));
    }
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(16_384));
    for metadata in ["", "[]", "1", "{", "null", "{\"a\":1} x", &large] {
        let row = NewJob {
            metadata: Some(metadata.to_owned()),
            ..plain()
        };
        rows.push((row, "jobs.metadata must be a JSON object"));
    }
    let deep = NewJob {
        metadata: Some(format!("{{\"a\":{}{}}}", "[".repeat(32), "]".repeat(32))),
        ..plain()
    };
    rows.push((deep, "jobs.metadata must be nested"));
    let long = format!("/{}", "x".repeat(2048));
    for url in [
        "",
        "a",
        "//a",
        "/a#b",
        "/a\\b",
        "/a b",
        "/ä",
        "/./a",
        "/a/..",
        "/a/%2e%2E/b",
        "ftp://a/b",
        "http://",
        "https:///a",
        "http://u@h/a",
        "http://?a",
        &long,
    ] {
        let row = NewJob {
            url: Some(url.to_owned()),
            ..plain()
        };
        rows.push((row, "jobs.url must be"));
    }
    for (name, rule) in [
        (String::new(), "jobs.webhook must be NULL"),
        ("x".repeat(201), "jobs.webhook must be the name"),
    ] {
        let row = NewJob {
            webhook: Some(name),
            ..plain()
        };
        rows.push((row, rule));
    }
    let early = Some(UnixMillis(999_999_999_999));
    let late = NewJob {
        deadline_at: early,
        ..plain()
    };
    rows.push((late, "jobs.deadline_at must be in Unix milliseconds"));
    let soon = NewJob {
        not_before: early,
        ..plain()
    };
    rows.push((soon, "jobs.not_before must be in Unix milliseconds"));
    rows
}

pub(super) async fn a_bad_row_is_refused_with_the_rule<B: Backend>() {
    let mut bench = Bench::<B>::fresh().await;
    for (row, rule) in bad_rows() {
        let inserted = bench.insert(&row).await;
        let enqueued = bench.store().enqueue(&row).await;
        for said in [inserted, enqueued] {
            let said = said.unwrap_err();
            assert!(matches!(said, StoreError::Refused(_)), "{row:?}: {said:?}");
            assert!(said.to_string().starts_with(rule), "{row:?}: {said}");
        }
    }
    let changes = bench.store().changes(0, 10).await.unwrap();
    assert_eq!(changes, []);
}

pub(super) async fn good_rows_are_taken_as_they_are<B: Backend>() {
    let mut bench = Bench::<B>::fresh().await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(31), "]".repeat(31));
    let urls = [
        "/a",
        "/a?b=/../c",
        "HTTPS://h/a",
        "http://h?a@b",
        "/a/.../b",
        "/%2e%2ea",
    ];
    for (number, url) in urls.into_iter().enumerate() {
        let row = NewJob {
            id: format!("..a{number}"),
            url: Some(url.to_owned()),
            metadata: Some(deep.clone()),
            webhook: Some("billing".to_owned()),
            priority: -5,
            deadline_at: Some(t(9)),
            not_before: Some(UnixMillis(1_000_000_000_000)),
        };
        assert!(bench.insert(&row).await.unwrap(), "{url}");
        assert!(!bench.insert(&row).await.unwrap(), "{url}");
        let detail = bench.detail(&row.id).await;
        let found = &detail.summary.row;
        assert_eq!((&found.url, &found.webhook), (&row.url, &row.webhook));
        assert_eq!((found.priority, found.created_at), (-5, T0));
        assert_eq!(found.deadline_at, row.deadline_at);
        assert_eq!(found.not_before, row.not_before);
        assert_eq!(detail.summary.metadata, row.metadata);
        assert!(!found.cancel_requested && !found.poll_requested);
    }
}

pub(super) async fn a_refused_row_does_not_affect_those_beside_it<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    let rows = [job("1"), job("a/b"), job("2")];
    let outcomes = bench.store().enqueue_all(&rows).await.unwrap();
    assert_eq!(
        (&outcomes[0], &outcomes[2]),
        (&Enqueued::Exists, &Enqueued::New)
    );
    let refused = matches!(&outcomes[1], Enqueued::Refused(why) if why.starts_with("jobs.id"));
    assert!(refused, "{outcomes:?}");
    assert_eq!(
        bench.store().active_jobs(i64::MIN, 9).await.unwrap().len(),
        2
    );
}
