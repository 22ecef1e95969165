//! Inputs that have the form their parsers expect, so that the parsers' deeper parts are reached; and round trips.

use std::time::Duration;

use jiff::Timestamp;
use jobtrackd::core::backoff::parse_retry_after;
use jobtrackd::core::redact::Redactor;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::mfa::{Answers, LONGEST_ANSWER, MOST_ANSWERS};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::checks::run;

const NOW: UnixMillis = UnixMillis(1_795_359_845_000);

/// Any JSON, of words that mean something to one of the parsers.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        select(WORDS.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((select(KEYS.to_vec()), inner), 0..6).prop_map(object),
        ]
    })
}

fn object(fields: Vec<(&'static str, Value)>) -> Value {
    Value::Object(
        fields
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
    )
}

const WORDS: [&str; 22] = [
    "job",
    "1",
    "pending",
    "in-progress",
    "success",
    "failed",
    "skipped",
    "mfa",
    "link",
    "token",
    "batch",
    "completed",
    "expired",
    "Succeeded",
    "Failed",
    "Canceled",
    "done",
    "temporary-unavailable-queued",
    "2026-11-22T15:04:05Z",
    "/jobs/1/mfa",
    "NaN",
    "",
];
const KEYS: [&str; 30] = [
    "type",
    "id",
    "steps",
    "title",
    "status",
    "result",
    "code",
    "detail",
    "links",
    "response",
    "self",
    "source",
    "input",
    "method",
    "description",
    "expiryMs",
    "updated",
    "data",
    "error",
    "errors",
    "message",
    "done",
    "name",
    "object",
    "metadata",
    "progress",
    "percentComplete",
    "properties",
    "output_file_id",
    "request_counts",
];

/// A step in a form that is nearly the API's.
fn step() -> impl Strategy<Value = Value> {
    let challenge = (value(), value(), value()).prop_map(|(input, expiry, response)| {
        json!({"type": "mfa", "method": "token", "description": "d", "input": input, "expiryMs": expiry, "links": {"response": response}})
    });
    let challenge = (challenge, any::<bool>())
        .prop_map(|(one, listed)| if listed { json!([one]) } else { one });
    let result = prop_oneof![2 => value(), 2 => challenge];
    (select(WORDS.to_vec()), select(WORDS.to_vec()), result).prop_map(
        |(title, status, result)| json!({"title": title, "status": status, "result": result}),
    )
}

fn job() -> impl Strategy<Value = Value> {
    let steps =
        proptest::collection::vec(prop_oneof![9 => step().boxed(), 1 => value().boxed()], 0..6);
    (steps, value(), value()).prop_map(|(steps, updated, links)| {
        json!({"type": "job", "id": "1", "updated": updated, "steps": steps, "links": links})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_in_the_form_of_a_job_pass_the_check(
        status in prop_oneof![4 => Just(200_u16), 1 => 100..600_u16],
        waits in prop_oneof![Just(String::new()), Just("Retry-After: 3\n".to_owned()), "Retry-After: [0-9 A-Za-z,:-]{0,30}\n"],
        body in prop_oneof![3 => job().boxed(), 1 => value().boxed()],
    ) {
        let text = format!("HTTP/1.1 {status} X\n{waits}Location: /results/1\nContent-Type: application/json\n\n{body}");
        run("answer", text.as_bytes());
    }

    #[test]
    fn a_configuration_of_known_keys_with_any_values_passes_the_check(
        entries in proptest::collection::vec((select(SECTIONS.to_vec()), any::<proptest::sample::Index>(), toml_value()), 0..12),
    ) {
        let mut text = String::new();
        for ((section, keys), at, value) in entries {
            text.push_str(&format!("[{section}]\n{} = {value}\n", at.get(keys)));
        }
        run("configuration", text.as_bytes());
    }

    /// A date of HTTP, in each of its three forms, is as far away as it is.
    #[test]
    fn a_date_of_any_form_is_read_as_what_was_written(second in 1_795_359_845..4_000_000_000_i64) {
        let date = Timestamp::from_second(second).unwrap();
        let expected = Duration::from_secs((second - NOW.0 / 1000).unsigned_abs());
        // A year of two digits is one within fifty years from now.
        let forms = ["%a, %d %b %Y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y", "%A, %d-%b-%y %H:%M:%S GMT"];
        let forms = if second < 1_795_359_845 + 49 * 31_556_952 { &forms[..] } else { &forms[..2] };
        for form in forms {
            let text = date.strftime(form).to_string();
            prop_assert_eq!(parse_retry_after([text.as_str()], NOW, Duration::MAX), Some(expected), "{}", text);
            let among = format!("5, {text}, 3");
            prop_assert_eq!(parse_retry_after([among.as_str()], NOW, Duration::MAX), Some(expected.max(Duration::from_secs(5))));
        }
    }

    #[test]
    fn answers_to_a_challenge_are_taken_as_they_were_written_or_refused_by_the_rule(
        answers in proptest::collection::vec(any::<String>(), 0..25),
    ) {
        let body = json!({"mfa-response": answers}).to_string();
        run("mfa", body.as_bytes());
        let valid = answers.len() <= MOST_ANSWERS
            && answers.iter().all(|answer| !answer.trim().is_empty() && answer.len() <= LONGEST_ANSWER);
        let read = Answers::from_json(body.as_bytes());
        prop_assert_eq!(read.is_ok(), valid);
        prop_assert_eq!(read.map_or(answers.len(), |read| read.len()), answers.len());
    }

    /// However a receiver writes our secret, it is not kept.
    #[test]
    fn a_secret_that_a_receiver_repeats_is_hidden(
        secret in "[A-Za-z0-9]{12,40}",
        before in ".{0,200}",
        after in ".{0,200}",
        levels in proptest::collection::vec(0..4_u8, 0..3),
    ) {
        let mut written = secret.clone();
        for level in levels {
            written = encoded(&written, level);
        }
        let body = format!("{before} {written} {after}");
        let hidden = Redactor::new([secret.as_bytes()], []).hide_text(&body);
        prop_assert!(!hidden.contains(&secret), "{}", hidden);
        prop_assert!(!hidden.contains(&written), "{}", hidden);
        run("event_answer", format!("{secret}\n{body}").as_bytes());
    }
}

/// A text as one of the ways in which it is escaped writes it.
fn encoded(text: &str, how: u8) -> String {
    match how {
        0 => text.to_owned(),
        1 => text.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        2 => text
            .chars()
            .map(|c| format!("\\u{:04x}", u32::from(c)))
            .collect(),
        _ => text
            .chars()
            .map(|c| format!("&#{};", u32::from(c)))
            .collect(),
    }
}

type Keys = (&'static str, &'static [&'static str]);

const SECTIONS: [Keys; 6] = [
    (
        "database",
        &["url", "create", "allow_network_filesystem", "no_such_key"],
    ),
    (
        "upstream",
        &[
            "base_url",
            "auth",
            "api_key",
            "client_secret",
            "dialect",
            "job_path",
            "timeout",
            "max_in_flight",
            "requests_per_second",
            "token_url",
            "scope",
            "json",
            "auth_header",
            "max_retry_after",
        ],
    ),
    (
        "polling",
        &[
            "initial_delay",
            "max_delay",
            "multiplier",
            "jitter",
            "deadline",
            "not_found_grace",
        ],
    ),
    (
        "webhooks.w",
        &[
            "url",
            "secret",
            "events",
            "retry",
            "headers",
            "timeout",
            "max_in_flight",
            "fallback",
            "secret_files",
        ],
    ),
    ("status", &["listen", "token", "hosts"]),
    ("log", &["level", "format"]),
];

/// A value of any type, and some that are nearly right.
fn toml_value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("TOML has them", |number| number.is_finite())
            .prop_map(|number| format!("{number:?}")),
        any::<bool>().prop_map(|it| it.to_string()),
        any::<String>().prop_map(|text| Value::from(text).to_string()),
        "[a-zA-Z0-9/+=:._ -]{0,60}".prop_map(|text| format!("{text:?}")),
        "whsec_[A-Za-z0-9+/]{40}={0,2}".prop_map(|text| format!("{text:?}")),
        "https?://[a-z0-9.:@/?#%-]{0,40}".prop_map(|text| format!("{text:?}")),
        "[0-9]{1,20}(ms|s|m|h|d)".prop_map(|text| format!("{text:?}")),
        proptest::collection::vec("[a-z.*0-9]{0,20}", 0..60).prop_map(|list| format!("{list:?}")),
        ("[A-Za-z-]{1,20}", "[ -~]{0,40}")
            .prop_map(|(key, value)| format!("{{ {key:?} = {value:?} }}")),
    ]
}
