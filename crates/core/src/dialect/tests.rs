//! What each dialect reads in the answers in `fixtures/`, which have the form shown in the APIs' documentation.

use std::fs;
use std::path::Path;

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::job::Failure;
use crate::snapshot::{StepClass, Verdict};

/// Reads a fixture, and sums up what it means in a line.
fn read(dialect: &dyn Dialect, name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let file = folder.join(dialect.name()).join(format!("{name}.http"));
    let text = fs::read_to_string(&file).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    let (status, lines) = head.split_once('\n').unwrap_or((head, ""));
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    }
    let waits = headers.get("retry-after");
    let answer = Answer {
        status,
        headers: &headers,
        retry_after: waits
            .map(|value| Duration::from_secs(value.to_str().unwrap().parse().unwrap())),
        body: body.trim_end(),
    };
    match dialect.read(&answer, Some(&JobId::parse("1").unwrap())) {
        Reading::Job(snapshot) => summary(&snapshot, body),
        other => format!("{other:?}"),
    }
}

fn summary(snapshot: &Snapshot, body: &str) -> String {
    let [step] = snapshot.steps.as_slice() else {
        panic!("{snapshot:?}");
    };
    assert_eq!(step.title, STEP);
    if let Some(kept) = &snapshot.body {
        assert_eq!(kept, body.trim(), "verbatim");
    }
    let mut line = format!("{} ({})", step.status, step.class.as_str());
    if let Verdict::Failed(Failure {
        code,
        title,
        detail,
        step,
        ..
    }) = &snapshot.verdict
    {
        assert_eq!(step.as_deref(), Some(STEP));
        line.push_str(&format!(
            ": {} {} {}",
            code.raw(),
            title.raw(),
            detail.raw()
        ));
    }
    if let Some(result) = &step.result {
        line.push_str(&format!(", result {result}"));
    }
    if snapshot.body.is_none() {
        line.push_str(", no body");
    }
    if let Some(updated) = &snapshot.remote_updated {
        line.push_str(&format!(", at {updated}"));
    }
    line
}

/// Every fixture of a dialect has a line here.
fn check(name: &str, settings: &DialectSettings, expected: &[(&str, &str)]) {
    let dialect = named(name, settings).unwrap();
    for (fixture, meaning) in expected {
        assert_eq!(read(&*dialect, fixture), *meaning, "{name}/{fixture}");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name);
    assert_eq!(fs::read_dir(folder).unwrap().count(), expected.len());
}

#[test]
fn http_status_reads_the_status_and_keeps_what_is_json() {
    check(
        "http-status",
        &DialectSettings::default(),
        &[
            ("accepted", "202 (running)"),
            ("accepted-empty", "202 (running), no body"),
            ("done", "200 (done)"),
            ("done-csv", "200 (done), no body"),
            ("created", r#"201 (done), result "/reports/9", no body"#),
            ("no-content", "204 (done), no body"),
            (
                "see-other",
                r#"303 (done), result "/reports/9?part=1", no body"#,
            ),
            (
                "problem",
                r#"422 (failed): "https://api.example/problems/row-count" "Too many rows" "The file has 12001 rows.", result {"type":"https://api.example/problems/row-count","title":"Too many rows","status":422,"detail":"The file has 12001 rows."}"#,
            ),
            (
                "error",
                r#"409 (failed): "locked" "The report is locked." null, result {"error":{"code":"locked","message":"The report is locked."}}"#,
            ),
            ("gone", "Gone"),
            ("proxy", "Trouble"),
            ("gateway", "Trouble"),
            ("moved", "Trouble"),
        ],
    );
}

#[test]
fn azure_reads_the_word_and_its_error() {
    check(
        "azure",
        &DialectSettings::default(),
        &[
            ("running", "InProgress (running)"),
            ("other-word", "Replicating (unknown)"),
            (
                "succeeded",
                r#"Succeeded (done), result {"output":{"uri":"https://x.example/blob"}}"#,
            ),
            (
                "failed",
                r#"Failed (failed): "AllocationFailed" "Allocation failed." [{"code":"ZonalAllocationFailed","message":"No room in zone 2."}], result {"code":"AllocationFailed","message":"Allocation failed.","details":[{"code":"ZonalAllocationFailed","message":"No room in zone 2."}]}"#,
            ),
            ("canceled", "Canceled (failed): null null null"),
            ("not-found", "Gone"),
            ("another", "Unusable(OtherJob)"),
            (
                "page",
                r#"Unusable(NotJson("expected value at line 1 column 1"))"#,
            ),
            ("throttled", "Throttled"),
        ],
    );
}

#[test]
fn google_lro_reads_done_with_its_response_or_error() {
    check(
        "google-lro",
        &DialectSettings::default(),
        &[
            ("started", "false (running)"),
            ("running", "false (running)"),
            (
                "done",
                r#"true (done), result {"@type":"type.googleapis.com/google.longrunning.Example","total":3}"#,
            ),
            (
                "failed",
                r#"true (failed): 3 "The audio is too long." [], result {"code":3,"message":"The audio is too long.","details":[]}"#,
            ),
            ("not-found", "Gone"),
            ("unauthenticated", "TokenRefused"),
            ("unavailable", "Trouble"),
            (
                "neither",
                r#"Unusable(NotAJob("it has neither name nor done"))"#,
            ),
        ],
    );
}

#[test]
fn openai_batch_reads_the_word_and_what_the_batch_has_left() {
    check(
        "openai-batch",
        &DialectSettings::default(),
        &[
            ("validating", "validating (running)"),
            ("in-progress", "in_progress (running)"),
            (
                "completed",
                r#"completed (done), result {"output_file_id":"file-cvaTdG","error_file_id":"file-HOWS94","request_counts":{"total":100,"completed":95,"failed":5}}"#,
            ),
            (
                "failed",
                r#"failed (failed): "invalid_json_line" "This line is not parseable as valid JSON." null"#,
            ),
            (
                "expired",
                r#"expired (failed): null null null, result {"output_file_id":"file-part","error_file_id":null,"request_counts":{"total":100,"completed":23,"failed":0}}"#,
            ),
            ("new-word", "paused (unknown)"),
            ("another", "Unusable(OtherJob)"),
            ("not-found", "Gone"),
            ("no-route", "Trouble"),
            (
                "list",
                r#"Unusable(NotAJob("its object is not \"batch\""))"#,
            ),
        ],
    );
}

/// What an operator writes for the API of the fixtures.
fn json() -> DialectSettings {
    let pointer = |text: &str| Some(text.parse().unwrap());
    DialectSettings {
        progress: true,
        json: JsonSettings {
            status: pointer("/job/state"),
            success: vec!["true".to_owned()],
            failure: vec!["BROKEN".to_owned()],
            error_code: pointer("/job/why/0/id"),
            error_title: pointer("/job/why/0/text"),
            error_detail: None,
            progress: pointer("/job/progress"),
            updated: pointer("/job/changed"),
        },
    }
}

#[test]
fn json_reads_what_the_pointers_find() {
    check(
        "json",
        &json(),
        &[
            (
                "running",
                r#"RUNNING (running), result {"progress":40}, at 2026-11-28T09:00:00Z"#,
            ),
            ("done", "true (done)"),
            ("failed", r#"BROKEN (failed): 17 "out of paper" null"#),
            ("null", "null (running)"),
            (
                "elsewhere",
                r#"Unusable(NoStatus(Pointer { text: "/job/state", segments: ["job", "state"] }))"#,
            ),
            ("not-found", "Gone"),
            ("proxy", "Trouble"),
        ],
    );
}

#[test]
fn an_id_in_another_case_is_the_same_only_as_a_uuid() {
    let uuid = "0a1b2c3d-dc05-4cd3-9af0-0f28a13ea614";
    let headers = HeaderMap::new();
    for (name, body) in [
        ("basiq", r#"{"type":"job","id":"ID"}"#),
        ("azure", r#"{"id":"/x/operations/ID","status":"Running"}"#),
        ("google-lro", r#"{"name":"projects/p/operations/ID"}"#),
        (
            "openai-batch",
            r#"{"object":"batch","id":"ID","status":"validating"}"#,
        ),
    ] {
        let dialect = named(name, &DialectSettings::default()).unwrap();
        let is_read = |asked: &str, answered: &str| {
            let body = body.replace("ID", answered);
            let answer = Answer {
                status: 200,
                headers: &headers,
                retry_after: None,
                body: &body,
            };
            let id = JobId::parse(asked).unwrap();
            matches!(dialect.read(&answer, Some(&id)), Reading::Job(_))
        };
        assert!(is_read(uuid, &uuid.to_uppercase()), "{name}");
        assert!(is_read(&uuid.to_uppercase(), uuid), "{name}");
        assert!(!is_read("joba", "JobA"), "{name}");
    }
}

#[test]
fn progress_becomes_results_only_if_it_is_asked_for() {
    let settings = DialectSettings {
        progress: true,
        ..DialectSettings::default()
    };
    for (name, fixture, meaning) in [
        (
            "azure",
            "running",
            r#"InProgress (running), result {"progress":50}"#,
        ),
        (
            "google-lro",
            "started",
            r#"false (running), result {"progress":30}"#,
        ),
        (
            "openai-batch",
            "in-progress",
            r#"in_progress (running), result {"progress":40}"#,
        ),
        ("openai-batch", "validating", "validating (running)"),
    ] {
        let dialect = named(name, &settings).unwrap();
        assert_eq!(read(&*dialect, fixture), meaning);
    }
    let quiet = DialectSettings {
        progress: false,
        ..json()
    };
    let dialect = named("json", &quiet).unwrap();
    assert_eq!(
        read(&*dialect, "running"),
        "RUNNING (running), at 2026-11-28T09:00:00Z"
    );
}

#[test]
fn every_dialect_but_json_says_where_its_jobs_are_and_has_the_name_of_its_line() {
    let paths = ALL.each_ref().map(|entry| {
        let dialect = named(entry.name, &DialectSettings::default()).unwrap();
        assert_eq!(dialect.name(), entry.name);
        (entry.name, dialect.job_path())
    });
    assert_eq!(
        paths,
        [
            ("basiq", Some("/jobs/{id}")),
            ("http-status", Some("/{id}")),
            ("azure", Some("/operations/{id}")),
            ("google-lro", Some("/v1/{id}")),
            ("openai-batch", Some("/v1/batches/{id}")),
            ("json", None),
        ]
    );
    assert!(named("grpc", &DialectSettings::default()).is_none());
}

#[test]
fn pointers_follow_rfc_6901() {
    let document = r#"{"a":{"b/c":[10,{"~":true}],"":null},"x":"y"}"#;
    let document: &serde_json::value::RawValue = serde_json::from_str(document).unwrap();
    for (text, found) in [
        ("", Some(document.get())),
        ("/x", Some("\"y\"")),
        ("/a/b~1c/0", Some("10")),
        ("/a/b~1c/1/~0", Some("true")),
        ("/a/", Some("null")),
        ("/a/b~1c/2", None),
        ("/a/b~1c/00", None),
        ("/a/b~1c/+1", None),
        ("/a/b~1c/-", None),
        ("/x/y", None),
        ("/nothing", None),
    ] {
        let pointer: Pointer = text.parse().unwrap();
        assert_eq!(pointer.find(document).map(|raw| raw.get()), found, "{text}");
        assert_eq!(pointer.to_string(), text);
    }
    assert_eq!("x".parse::<Pointer>(), Err(InvalidPointer::NoSlash));
    for bad in ["/~", "/~2", "/a~x"] {
        assert_eq!(bad.parse::<Pointer>(), Err(InvalidPointer::Tilde), "{bad}");
    }
}

/// JSON, nearly JSON, and any other text.
fn body() -> impl Strategy<Value = String> {
    let word = "status|done|object|id|name|error|errors|data|code|message|response|steps|title|result|type|job|state";
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("7".to_owned()),
        Just("1e999".to_owned()),
        Just(r#""batch""#.to_owned()),
        Just(r#""Failed""#.to_owned()),
        Just(r#""failed""#.to_owned()),
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    let json = leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((word, inner), 0..5).prop_map(|fields| {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(key, value)| format!("\"{key}\":{value}"))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    });
    prop_oneof![4 => json, 1 => any::<String>()]
}

proptest! {
    /// For any answer: no panic, the body verbatim or none, and an end only where the dialect has one.
    #[test]
    fn any_answer_is_read_without_harm(status in 100u16..600, body in body(), waits in any::<bool>()) {
        let headers = HeaderMap::new();
        let answer = Answer {
            status,
            headers: &headers,
            retry_after: waits.then_some(Duration::from_secs(1)),
            body: &body,
        };
        for entry in &ALL {
            let dialect = named(entry.name, &json()).unwrap();
            let _ = dialect.error(&answer).line(status);
            let read = dialect.read(&answer, None);
            prop_assert_eq!(&read, &dialect.read(&answer, None));
            if let Reading::Job(snapshot) = read {
                prop_assert!(snapshot.body.iter().all(|kept| kept == body.trim()));
                let ended = snapshot.steps.iter().any(|step| step.class == StepClass::Failed);
                prop_assert_eq!(matches!(snapshot.verdict, Verdict::Failed(_)), ended);
            } else if (200..300).contains(&status) {
                prop_assert!(matches!(read, Reading::Unusable(_)), "{:?}", read);
            }
        }
    }
}
