use super::*;
use crate::dialect::MAX_DEPTH;
use crate::snapshot::same_result;

fn parse(body: &str) -> Snapshot {
    Basiq::snapshot(body, None).unwrap()
}

#[test]
fn the_stub_of_a_202_and_odd_shapes_are_jobs() {
    for body in [
        r#"{"type":"job","id":"61724","links":{"self":"https://h/jobs/61724"}}"#,
        r#"{"id":61724,"steps":null,"links":null}"#,
        r#"{"id":"61724","steps":[]}"#,
        r#"{"type":"job"}"#,
        r#"{"steps":[]}"#,
    ] {
        let id = JobId::parse("61724").unwrap();
        assert_eq!(
            Basiq::snapshot(body, Some(&id)).unwrap().steps,
            [],
            "{body}"
        );
    }
    let snapshot =
        parse(r#" {"updatedDate":"x","steps":[{"status":7},{"title":null,"status":"Weird"}]} "#);
    assert_eq!(snapshot.remote_updated.as_deref(), Some("x"));
    let read: Vec<_> = snapshot
        .steps
        .iter()
        .map(|s| (s.title.as_str(), s.occurrence, s.status.as_str()))
        .collect();
    assert_eq!(read, [("", 0, "7"), ("", 1, "Weird")]);
}

#[test]
fn an_answer_that_is_not_a_job_is_unusable() {
    let id = JobId::parse("1").unwrap();
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [
        "",
        "<html>",
        "[]",
        "7",
        "{}",
        r#"{"message":"down for maintenance"}"#,
        "{\"id\":",
        r#"{"type":"list"}"#,
        r#"{"steps":{}}"#,
        r#"{"steps":[1]}"#,
        &deep,
    ] {
        assert!(
            Basiq::snapshot(body, Some(&id)).is_err(),
            "{:?}",
            &body[..body.len().min(20)]
        );
    }
    assert_eq!(
        Basiq::snapshot(r#"{"id":"2"}"#, Some(&id)),
        Err(UnusableAnswer::OtherJob)
    );
    assert!(Basiq::snapshot(r#"{"id":"2"}"#, None).is_ok());
    let many = format!("{{\"steps\":[{}]}}", vec!["{}"; MAX_STEPS + 1].join(","));
    assert!(Basiq::snapshot(&many, None).is_err());
}

#[test]
fn results_are_kept_verbatim_and_compared_as_values() {
    let snapshot = parse(
        r#"{"a":1,"a":2,"steps":[{"title":"t","status":"success","result":{ "n":1e400 , "big":12345678901234567890123}}]}"#,
    );
    assert_eq!(
        snapshot.steps[0].result.as_deref(),
        Some(r#"{ "n":1e400 , "big":12345678901234567890123}"#)
    );
    assert!(same_result(
        Some(r#"{"a":1,"b":[2]}"#),
        Some(r#"{ "b":[2], "a":1 }"#)
    ));
    assert!(!same_result(
        Some(r#"{"big":12345678901234567890123}"#),
        Some(r#"{"big":12345678901234567890124}"#)
    ));
    assert!(!same_result(Some("[1,2]"), Some("[2,1]")));
    assert!(!same_result(None, Some("{}")));
}

#[test]
fn challenges_and_errors_are_found_in_objects_and_arrays() {
    let mfa =
        r#"{"type":"mfa","method":"token","expiryMs":120000,"links":{"response":"/jobs/1/mfa"}}"#;
    for text in [mfa.to_owned(), format!(r#"[{{"type":"link"}},{mfa}]"#)] {
        let challenge = challenge_of(&text).unwrap();
        assert_eq!(
            (challenge.expiry_ms, challenge.response.as_deref()),
            (Some(120_000), Some("/jobs/1/mfa"))
        );
    }
    for none in [
        r#"{"type":"link"}"#,
        r#"{"type":["mfa"]}"#,
        "\"mfa\"",
        "[[]]",
        "7",
    ] {
        assert!(challenge_of(none).is_none(), "{none}");
    }
    let queued = r#"[{"code":"temporary-unavailable-queued","title":"t","details":"d"}]"#;
    for (status, class) in [
        ("pending", StepClass::Queued),
        ("failed", StepClass::Failed),
        ("in-progress", StepClass::Running),
    ] {
        let body = format!(r#"{{"steps":[{{"status":"{status}","result":{queued}}}]}}"#);
        assert_eq!(parse(&body).steps[0].class, class);
    }
    assert_eq!(error_of(queued).unwrap().detail, "d".into());
    assert_eq!(error_of(r#"{"type":"link","url":"/x"}"#), None);
}

#[test]
fn an_id_in_another_case_is_the_same_only_as_a_uuid() {
    let uuid = "A03E4DF4-dc05-4cd3-9af0-0f28a13ea614";
    for (expected, id, same) in [
        (uuid, uuid.to_ascii_lowercase(), true),
        (uuid, uuid.to_ascii_uppercase(), true),
        (uuid, uuid.replace('4', "5"), false),
        (uuid, uuid.replace('-', ""), false),
        ("JobA", "joba".to_owned(), false),
        (
            "G03E4DF4-dc05-4cd3-9af0-0f28a13ea614",
            "g03e4df4-dc05-4cd3-9af0-0f28a13ea614".to_owned(),
            false,
        ),
        (
            "A03E4DF4_dc05-4cd3-9af0-0f28a13ea614",
            "a03e4df4_dc05-4cd3-9af0-0f28a13ea614".to_owned(),
            false,
        ),
    ] {
        let body = format!(r#"{{"type":"job","id":"{id}"}}"#);
        let read = Basiq::snapshot(&body, Some(&JobId::parse(expected).unwrap()));
        assert_eq!(read.is_ok(), same, "{expected} and {id}");
    }
}

#[test]
fn the_expiry_of_a_challenge_is_any_number_above_zero_or_a_text_with_one() {
    for (written, millis) in [
        ("120000", Some(120_000)),
        ("120000.0", Some(120_000)),
        ("1.2e5", Some(120_000)),
        ("12E+4", Some(120_000)),
        ("0.2", Some(1)),
        ("\"120000\"", Some(120_000)),
        ("\" 1.2e5 \"", Some(120_000)),
        ("18446744073709551616", Some(u64::MAX)),
        ("0", None),
        ("0.0", None),
        ("\"0\"", None),
        ("-1", None),
        ("\"-120000\"", None),
        ("1e999", None),
        ("\"inf\"", None),
        ("\"NaN\"", None),
        ("\"two minutes\"", None),
        ("\"\"", None),
        ("true", None),
        ("null", None),
        ("[120000]", None),
    ] {
        let mfa = format!(r#"{{"type":"mfa","expiryMs":{written}}}"#);
        let challenge = challenge_of(&mfa).unwrap();
        assert_eq!(challenge.expiry_ms, millis, "{written}");
    }
}

#[test]
fn an_answer_that_is_nested_too_deeply_is_unusable() {
    let nested = |levels: usize| {
        format!(
            r#"{{"id":"1","x":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert!(Basiq::snapshot(&nested(MAX_DEPTH - 1), None).is_ok());
    assert!(Basiq::snapshot(&nested(MAX_DEPTH), None).is_err());
}

#[test]
fn a_thousand_steps_in_a_whole_mebibyte_are_a_job() {
    let step = format!(
        r#"{{"title":"t","status":"pending","result":{{"text":"{}"}}}}"#,
        "x".repeat(980)
    );
    let body = format!(r#"{{"id":"1","steps":[{}]}}"#, vec![step; 1000].join(","));
    assert!(body.len() > 1_000_000);
    assert_eq!(parse(&body).steps.len(), 1000);
    let body = format!("{{\"steps\":[{}]}}", vec!["{}"; MAX_STEPS].join(","));
    assert_eq!(parse(&body).steps.len(), MAX_STEPS);
}

fn error(status: u16, body: &str) -> (ErrorWords, Reading) {
    let headers = http::HeaderMap::new();
    let answer = Answer {
        status,
        headers: &headers,
        retry_after: None,
        body,
    };
    (Basiq.error(&answer), Basiq.read(&answer, None))
}

#[test]
fn the_first_error_of_an_envelope_is_read_and_anything_else_says_nothing() {
    let body = r#"{"type":"list","correlationId":"x","data":[
        {"type":"error","code":"access-denied","title":"Token has expired","detail":null},{"code":"second"}]}"#;
    assert_eq!(
        error(403, body).0.line(403),
        "HTTP 403, access-denied: Token has expired"
    );
    for body in [
        "",
        "<html>502</html>",
        "[]",
        "{}",
        r#"{"data":[]}"#,
        r#"{"data":{}}"#,
        r#"{"data":[7]}"#,
        "\u{fffd}",
    ] {
        assert_eq!(
            error(404, body),
            (ErrorWords::default(), Reading::Trouble),
            "{body:?}"
        );
    }
}

#[test]
fn only_the_api_s_own_words_on_the_job_are_a_verdict() {
    for (body, verdict) in [
        (r#"{"data":[{"code":"resource-not-found"}]}"#, true),
        (r#"{"data":[{"code":"a"},{"code":"b","title":"t"}]}"#, true),
        (r#"{"data":[{"code":"a"},{"title":"t"}]}"#, false),
        (r#"{"data":[{"code":null}]}"#, false),
        (r#"{"data":[{"code":"a"},7]}"#, false),
        (r#"{"data":[{"title":"Not found"}]}"#, false),
        (r#"{"data":[]}"#, false),
        (r#"{"code":"resource-not-found"}"#, false),
        (r#"{"message":"no Route matched"}"#, false),
        ("<html>404</html>", false),
        ("", false),
        (
            r#"{"data":[{"code":"resource-not-found","title":"Route not found for this API version."}]}"#,
            false,
        ),
        (
            r#"{"data":[{"code":"resource-not-found","title":"t","detail":"route not found"}]}"#,
            false,
        ),
    ] {
        for (status, meaning) in [
            (404, Reading::Gone),
            (410, Reading::Gone),
            (400, Reading::Rejected),
        ] {
            let expected = if verdict { meaning } else { Reading::Trouble };
            assert_eq!(error(status, body).1, expected, "{status} {body}");
        }
    }
}

#[test]
fn expired_tokens_and_throttling_are_distinguished_from_other_403s() {
    let envelope = |code: &str, title: &str, detail: &str| {
        serde_json::json!({"data": [{"code": code, "title": title, "detail": detail}]}).to_string()
    };
    for (body, meaning) in [
        (envelope("access-denied", "", ""), Reading::TokenRefused),
        (
            envelope("x", "Token has expired", ""),
            Reading::TokenRefused,
        ),
        (
            envelope("x", "", "the token EXPIRED"),
            Reading::TokenRefused,
        ),
        (
            envelope(
                "forbidden-access",
                "Forbidden Access",
                "Access to this resource is forbidden.",
            ),
            Reading::Forbidden,
        ),
        (
            envelope("too-many-requests", "Token has expired", ""),
            Reading::Throttled,
        ),
        (String::new(), Reading::Forbidden),
    ] {
        assert_eq!(error(403, &body).1, meaning, "{body}");
    }
}
