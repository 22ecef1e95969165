//! The bodies of events: the same bytes whoever reads them, however they are kept.

use jobtrackd_core::observe::Observation;
use jobtrackd_core::time::UnixMillis;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::json;

use super::super::fixtures::{T0, expired, seen_at, with_deliveries};
use super::super::{Backend, Bench, bench::job};
use crate::NewJob;

/// What metadata and results may look like: what they mean is nobody's business, so no byte of them may change.
const OBJECTS: [&str; 5] = [
    "{}",
    " \r\n\t{\"a\" :\t1.50e+2,\n \"\\u00e9\\/\": \"it's \\\"é\\\" 😀 \\u0000\"} \n",
    r#"{"type":"mfa","same":1,"same":{"deep":[null,true,[[]]]}}"#,
    "{\"a\":12345678901234567890123456789,\"b\":\"\u{7f}\u{2028}\"}",
    r#"{"code":"temporary-unavailable-queued","title":null,"detail":" "}"#,
];

/// An answer: its steps with title, status and result, its white space, how long after `T0` it is read, in milliseconds, and
/// whether its events are sent.
#[derive(Debug, Clone)]
struct Answer {
    steps: Vec<(String, String, Option<&'static str>)>,
    space: &'static str,
    millis: i64,
    is_sent: bool,
}

fn text() -> impl Strategy<Value = String> {
    let odd = select(vec![
        "",
        "'",
        "\"",
        "\\",
        "\u{1}\u{8}\t\n\u{c}\r\u{1f}",
        "\u{7f}",
        "%s",
        "é😀",
        "null",
    ]);
    prop_oneof![odd.prop_map(str::to_owned), any::<String>()]
}

fn answer() -> impl Strategy<Value = Answer> {
    let status = prop_oneof![
        select(vec!["pending", "in-progress", "success", "failed"]).prop_map(str::to_owned),
        text()
    ];
    let result = proptest::option::of(select(&OBJECTS[..]));
    let steps = proptest::collection::vec((text(), status, result), 1..4);
    let space = select(vec!["", " ", "\n"]);
    (steps, space, 0..100_000_000_000_i64, any::<bool>()).prop_map(
        |(steps, space, millis, is_sent)| Answer {
            steps,
            space,
            millis,
            is_sent,
        },
    )
}

impl Answer {
    fn body(&self) -> String {
        let space = self.space;
        let steps = self.steps.iter().map(|(title, status, result)| {
            let (title, status) = (json!(title), json!(status));
            let result = result.unwrap_or("null");
            format!(r#"{{"title":{title},{space}"status":{status},"result":{result}}}"#)
        });
        let steps: Vec<String> = steps.collect();
        format!(
            r#"{space}{{"type":"job",{space}"steps":[{}]}}{space}"#,
            steps.join(",")
        )
    }
}

/// Records it, and returns the bodies of its events as they were decided.
async fn record<B: Backend>(bench: &Bench<B>, seen: Observation, is_sent: bool) -> Vec<String> {
    let bodies = seen.events.iter().map(|event| event.body.clone()).collect();
    let webhooks: &[&str] = if is_sent { &["w"] } else { &[] };
    let committed = bench.record(vec![with_deliveries(seen, webhooks)]).await;
    assert_eq!(committed.recorded.len(), 1);
    bodies
}

async fn history<B: Backend>(metadata: Option<&str>, answers: &[Answer]) {
    let mut bench = Bench::<B>::fresh().await;
    let row = NewJob {
        metadata: metadata.map(str::to_owned),
        ..job("j")
    };
    bench.insert(&row).await.unwrap();
    let mut decided = Vec::new();
    let mut tracked = bench.tracked("j").await;
    for answer in answers {
        if tracked.state.is_final() {
            break;
        }
        let seen = seen_at(&tracked, &answer.body(), UnixMillis(T0.0 + answer.millis));
        decided.extend(record(&bench, seen, answer.is_sent).await);
        tracked = bench.tracked("j").await;
    }
    if !tracked.state.is_final() {
        decided.extend(record(&bench, expired(&tracked), false).await);
    }
    assert_eq!(bench.bodies("j").await, decided);
}

pub(super) fn every_body_is_read_as_it_was_decided_to_the_byte<B: Backend>() {
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let metadata = proptest::option::of(select(&OBJECTS[..]));
    let answers = proptest::collection::vec(answer(), 0..4);
    let tried = runner.run(&(metadata, answers), |(metadata, answers)| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(history::<B>(metadata, &answers));
        Ok(())
    });
    tried.unwrap();
}
