use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::dialect::{ALL, DialectSettings, JsonSettings, named};
use crate::text::MAX_DETAIL;

const ERROR: &str = r#"{"data":[{"type":"error","code":"a-code","title":"A title","detail":""}]}"#;

fn dialect(name: &str) -> Arc<dyn Dialect> {
    named(name, &DialectSettings::default()).unwrap()
}

fn id(text: &str) -> JobId {
    JobId::parse(text).unwrap()
}

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let lines = lines.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).unwrap();
        (HeaderName::from_static(name), value)
    });
    HeaderMap::from_iter(lines)
}

/// One poll of job `1`: the tokens that were sent and the answers to them.
struct Bench {
    dialect: Arc<dyn Dialect>,
    reads: Reads,
    known: Option<u64>,
    is_conditional: bool,
}

impl Bench {
    fn new(name: &str) -> Self {
        Self {
            dialect: dialect(name),
            reads: Reads::default(),
            known: None,
            is_conditional: false,
        }
    }

    /// Reads an answer as the daemon does, with this token after those tries; a wait is parsed before.
    fn read_with(
        &mut self,
        (generation, tries): (u64, TokenTries),
        (status, lines, body): (u16, &[(&'static str, &str)], &str),
    ) -> Meaning {
        let (headers, job) = (headers(lines), id("1"));
        let most = Duration::from_secs(3600);
        let answer = Answer {
            status,
            headers: &headers,
            retry_after: retry_after(&*self.dialect, status, &headers, UnixMillis(0), most),
            body,
        };
        let polled = Polled {
            dialect: &*self.dialect,
            job: &job,
            expected: Some(&job),
            known: self.known,
            is_conditional: self.is_conditional,
            generation,
            tries,
        };
        let meaning = polled.read(&answer, &mut self.reads);
        meaning.note(&job, &mut self.reads);
        meaning
    }

    fn read(&mut self, status: u16, lines: &[(&'static str, &str)], body: &str) -> Meaning {
        self.read_with((1, TokenTries::default()), (status, lines, body))
    }
}

type Lines = [(&'static str, &'static str)];

const WAIT: &Lines = &[("retry-after", "60")];

const LOGIN: &Lines = &[("location", "https://login.example/?secret=1")];

#[track_caller]
fn check((status, lines, body): (u16, &Lines, &str), outcome: &str, signal: Signal, detail: &str) {
    let read = Bench::new("basiq").read(status, lines, body);
    assert_eq!(read.outcome.as_str(), outcome);
    assert_eq!(read.signal, signal);
    assert_eq!(read.detail, detail);
    let minute = Duration::from_secs(60);
    let waits = status >= 400 && lines == WAIT;
    assert_eq!(read.retry_after, waits.then_some(minute));
}

#[test]
fn each_refusal_means_one_thing_for_the_job_and_one_for_the_upstream() {
    let (refused, forbidden) = (
        Signal::Refused { generation: 1 },
        Signal::Forbidden { generation: 1 },
    );
    let throttled = |seconds: Option<u64>| Signal::Throttled {
        retry_after: seconds.map(Duration::from_secs),
    };
    let gone = "HTTP 404, a-code: A title";
    check((404, &[], ERROR), "gone", Signal::Answered, gone);
    let rejected = "HTTP 400, a-code: A title";
    check((400, &[], ERROR), "rejected", Signal::Answered, rejected);
    let page = "HTTP 410, not in the API's own words";
    check((410, &[], "<html>"), "foreign", Signal::Unusable, page);
    check((403, &[], ""), "forbidden", forbidden, "HTTP 403");
    check((401, &[], ""), "credentials_refused", refused, "HTTP 401");
    check(
        (429, WAIT, ""),
        "throttled",
        throttled(Some(60)),
        "HTTP 429",
    );
    check((429, &[], ""), "throttled", throttled(None), "HTTP 429");
    check(
        (503, WAIT, ""),
        "throttled",
        throttled(Some(60)),
        "HTTP 503",
    );
    check((503, &[], ""), "status", Signal::Trouble, "HTTP 503");
    check((418, WAIT, ""), "status", Signal::Unusable, "HTTP 418");
    let redirect = "HTTP 302, a redirect to https://login.example/, not followed";
    check((302, LOGIN, ""), "redirect", Signal::Unusable, redirect);
}

#[test]
fn a_success_is_good_only_if_it_is_the_job() {
    let good = Signal::Good { generation: 1 };
    check((200, WAIT, r#"{"id":"1"}"#), "answered", good, "");
    let other = "HTTP 200, but the answer is another job";
    check(
        (200, &[], r#"{"id":"2"}"#),
        "unusable",
        Signal::Unusable,
        other,
    );
    let list = "HTTP 200, but the answer is not a job: it is not an object";
    check((200, &[], "[]"), "unusable", Signal::Unusable, list);
}

#[test]
fn a_304_is_the_job_as_it_was_if_that_was_asked() {
    for dialect in ALL.map(|entry| entry.name) {
        let mut bench = Bench::new(dialect);
        let unasked = bench.read(304, WAIT, "");
        assert_eq!(unasked.outcome.as_str(), "redirect", "{dialect}");
        assert_eq!(unasked.signal, Signal::Unusable);
        assert_eq!(unasked.retry_after, None);
        (bench.known, bench.is_conditional) = (Some(1), true);
        let asked = bench.read(304, WAIT, "");
        assert_eq!(asked.outcome, PollOutcome::NotModified);
        assert_eq!(asked.signal, Signal::Good { generation: 1 });
        let heeds = bench.dialect.heeds_retry_after();
        let minute = heeds.then(|| Duration::from_secs(60));
        assert_eq!(asked.retry_after, minute, "{dialect}, as of a 200");
    }
}

#[test]
fn the_tag_of_a_good_answer_is_known_of_a_changed_and_an_unchanged_one() {
    let tag = |read: Meaning| read.etag.map(|etag| etag.as_str().to_owned());
    let (body, lines) = (r#"{"id":"1"}"#, &[("etag", "W/\"1\"")]);
    let mut bench = Bench::new("basiq");
    let read = bench.read(200, lines, body);
    if let PollOutcome::Snapshot { hash, .. } = read.outcome {
        bench.known = Some(hash);
    }
    assert_eq!(tag(read).as_deref(), Some("W/\"1\""));
    let unchanged = bench.read(200, lines, body);
    assert_eq!(unchanged.outcome, PollOutcome::Unchanged);
    assert_eq!(tag(unchanged).as_deref(), Some("W/\"1\""));
    for (status, body) in [(200, "[]"), (404, ERROR), (500, "")] {
        assert_eq!(tag(bench.read(status, lines, body)), None, "{status}");
    }
}

#[test]
fn the_same_bytes_as_last_time_are_not_read_and_other_headers_are_other_bytes() {
    let body = r#"{"id":"1"}"#;
    let mut bench = Bench::new("basiq");
    let PollOutcome::Snapshot { hash, .. } = bench.read(200, &[], body).outcome else {
        panic!("not read");
    };
    bench.known = Some(hash);
    assert_eq!(bench.read(200, &[], body).outcome, PollOutcome::Unchanged);
    let moved = [("location", "/results/1")];
    for (status, lines, body) in [
        (200, &moved[..], body),
        (202, &[], body),
        (200, &[], r#"{"id":"1" }"#),
    ] {
        let read = bench.read(status, lines, body);
        assert!(matches!(read.outcome, PollOutcome::Snapshot { .. }));
    }
    let mut bench = Bench::new("http-status");
    let body = r#"{"error":{"code":"broken","message":"m"}}"#;
    let PollOutcome::Snapshot { hash, .. } = bench.read(422, &[], body).outcome else {
        panic!("an error can be the job");
    };
    bench.known = Some(hash);
    assert_eq!(bench.read(422, &[], body).outcome, PollOutcome::Unchanged);
    assert!(bench.reads.has_read(1));
}

#[test]
fn only_where_the_dialect_heeds_it_a_success_asks_to_wait() {
    for (name, waits) in [("basiq", false), ("azure", true)] {
        let lines = headers(&[("retry-after", "7")]);
        let dialect = dialect(name);
        let wait = |status| {
            retry_after(
                &*dialect,
                status,
                &lines,
                UnixMillis(0),
                Duration::from_secs(5),
            )
        };
        let most = Some(Duration::from_secs(5));
        assert_eq!(wait(200), most.filter(|_| waits), "{name}");
        assert_eq!((wait(302), wait(400), wait(503)), (None, most, most));
    }
}

#[test]
fn a_refused_token_is_replaced_once_and_then_the_job_or_the_credentials_are_at_fault() {
    let refused = (401, &[][..], "");
    for (other_is_read, outcome, signal) in [
        (
            false,
            "credentials_refused",
            Signal::Refused { generation: 2 },
        ),
        (true, "forbidden", Signal::Unusable),
    ] {
        let mut bench = Bench::new("basiq");
        if other_is_read {
            bench.reads.read(1, &id("other"));
            let _ = bench.reads.refused(1, &id("other"));
        }
        let mut tries = TokenTries::default();
        assert!(tries.refused(1, || bench.reads.refused(1, &id("1"))));
        assert!(!tries.refused(2, || panic!("attributed once")));
        let read = bench.read_with((2, tries), refused);
        assert_eq!((read.outcome.as_str(), read.signal), (outcome, signal));
    }
    let mut bench = Bench::new("basiq");
    bench.reads.read(1, &id("other"));
    let mut tries = TokenTries::default();
    assert!(!tries.refused(1, || bench.reads.refused(1, &id("1"))));
    let read = bench.read_with((1, tries), refused);
    assert_eq!(read.signal, Signal::Unusable, "others are read with it");
    let read = bench.read(403, &[], "");
    assert_eq!(read.signal, Signal::Unusable, "and they are not forbidden");
}

#[test]
fn an_answer_without_anything_at_the_status_is_counted_and_a_large_text_is_not_read() {
    let read = Bench::new("json").read(200, &[], "{}");
    assert!(read.is_unmatched, "{read:?}");
    assert!(!Bench::new("basiq").read(200, &[], "{}").is_unmatched);
    let large = format!("\"{}\"", "x".repeat(MAX_TEXT));
    let read = Bench::new("basiq").read(200, &[], &large);
    assert_eq!(
        (read.outcome.as_str(), read.signal),
        ("too_large", Signal::Unusable)
    );
    assert_eq!(read.detail, "a text above 2048 KiB");
    let read = Bench::new("http-status").read(202, &[], &large);
    assert!(read.is_good(), "the status is enough");
}

#[test]
fn without_an_answer_nothing_is_counted_against_the_job_or_the_upstream_may_be_down() {
    let retry_at = Monotonic(7);
    for refused in [true, false] {
        let none = Meaning::no_token("HTTP 404\n", retry_at, refused);
        assert_eq!(none.signal, Signal::NoToken { retry_at, refused });
        assert_eq!(none.detail, "HTTP 404\\n");
        let expected = if refused {
            "credentials_refused"
        } else {
            "not_sent"
        };
        assert_eq!(none.outcome.as_str(), expected);
    }
    for (class, signal) in [
        (TroubleClass::Connect, Signal::Trouble),
        (TroubleClass::Timeout, Signal::Trouble),
        (TroubleClass::Broken, Signal::Trouble),
        (TroubleClass::TooLarge, Signal::Unusable),
        (TroubleClass::Unusable, Signal::Unusable),
        (TroubleClass::Foreign, Signal::Unusable),
    ] {
        let detail = "why".to_owned();
        let trouble = Meaning::trouble(Trouble { class, detail });
        assert_eq!((trouble.signal, trouble.detail.as_str()), (signal, "why"));
    }
    for nothing in [
        Meaning::not_sent("no descriptors".into()),
        Meaning::no_target("elsewhere".into()),
    ] {
        assert_eq!(
            (nothing.signal, nothing.detail.as_str()),
            (Signal::Nothing, "")
        );
    }
}

proptest! {
    #[test]
    fn whatever_is_answered_the_outcome_and_the_signal_agree_and_the_detail_is_short(
        which in 0..ALL.len(),
        status in prop_oneof![Just(200u16), Just(202), 100..600u16],
        lines in prop::sample::subsequence(vec![("retry-after", "60"), ("location", "/a?b")], 0..=2),
        body in prop_oneof![Just(String::new()), Just(ERROR.to_owned()), ".{0,300}", "\\{\"(id|status|code)\":\".{0,9}\"\\}"],
        again in any::<bool>(),
    ) {
        let settings = DialectSettings { json: JsonSettings::default(), ..DialectSettings::default() };
        let mut bench = Bench { dialect: named(ALL[which].name, &settings).unwrap(), reads: Reads::default(), known: None, is_conditional: false };
        let read = bench.read(status, &lines, &body);
        prop_assert!(read.detail.chars().count() <= MAX_DETAIL);
        prop_assert!(!read.detail.chars().any(char::is_control));
        let agrees = match (&read.outcome, read.signal) {
            (PollOutcome::Snapshot { hash, .. }, Signal::Good { .. }) => {
                bench.known = Some(*hash);
                true
            }
            (PollOutcome::Gone { .. } | PollOutcome::Rejected { .. }, Signal::Answered) => true,
            (PollOutcome::Throttled { .. }, Signal::Throttled { retry_after }) => retry_after == read.retry_after,
            (PollOutcome::CredentialsRefused { .. }, Signal::Refused { .. }) => true,
            (PollOutcome::Forbidden { .. }, Signal::Forbidden { .. }) => true,
            (PollOutcome::Trouble(_), Signal::Trouble | Signal::Unusable) => true,
            _ => false,
        };
        prop_assert!(agrees, "{read:?}");
        prop_assert_eq!(bench.reads.has_read(1), read.is_good());
        if again && read.is_good() {
            prop_assert_eq!(bench.read(status, &lines, &body).outcome, PollOutcome::Unchanged);
        }
    }
}
