//! What every dialect does with one script, one fault and one key.

use jobtrackd::simulator::{
    Dialect, Ending, Fault, FaultRule, NewJob, Operation, OperationStatus, Phase, RetryAfter,
    Scenario, Script, SimulatorSettings,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Stage};

/// The dialects without steps, and where they are polled.
const FLAT: [(&str, &str); 5] = [
    ("http-status", "/"),
    ("azure", "/operations/"),
    ("google-lro", "/v1/operations/"),
    ("openai-batch", "/v1/batches/"),
    ("json", "/tasks/"),
];

/// What a dialect says of a job: its word, how far it is, and the code of its error.
fn said(dialect: &str, answer: &Answer) -> (String, Value, Value) {
    let body: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match dialect {
        "azure" => (
            text(&body["status"]),
            body["percentComplete"].clone(),
            body["error"]["code"].clone(),
        ),
        "google-lro" => (
            body["done"].as_bool().unwrap_or_default().to_string(),
            body["metadata"]["progressPercent"].clone(),
            body["error"]["code"].clone(),
        ),
        "openai-batch" => (
            text(&body["status"]),
            body["request_counts"]["completed"].clone(),
            body["errors"]["data"][0]["code"].clone(),
        ),
        "json" => (
            text(&body["state"]),
            body["progress"].clone(),
            body["error"]["code"].clone(),
        ),
        _ => (
            answer.status.as_str().to_owned(),
            body["percent"].clone(),
            body["code"].clone(),
        ),
    }
}

fn script(end: Operation) -> Script {
    Script::new(vec![
        Phase::operation(0, Operation::new(OperationStatus::Queued)),
        Phase::operation(
            1000,
            Operation::new(OperationStatus::Running).at_percent(40),
        ),
        Phase::operation(2000, end),
    ])
}

#[tokio::test(start_paused = true)]
async fn one_script_is_shown_by_each_dialect_in_its_own_words() {
    let expected = [
        (
            "azure",
            ["NotStarted", "", "Succeeded", "Failed"],
            json!("quota-exceeded"),
        ),
        ("google-lro", ["false", "false", "true", "true"], json!(8)),
        (
            "openai-batch",
            ["validating", "in_progress", "completed", "failed"],
            json!("quota-exceeded"),
        ),
        (
            "json",
            ["QUEUED", "RUNNING", "DONE", "FAILED"],
            json!("quota-exceeded"),
        ),
    ];
    for (dialect, [queued, running, succeeded, failed], code) in expected {
        let path = FLAT.iter().find(|(name, _)| *name == dialect).unwrap().1;
        let stage = Stage::speaking(dialect).await;
        let error = Operation::new(OperationStatus::Failed).with_error(
            "quota-exceeded",
            "Quota exceeded",
            "There is no quota left.",
        );
        let well = script(Operation::new(OperationStatus::Succeeded));
        for (id, script) in [("good", well), ("bad", script(error))] {
            let new = NewJob::scripted(script).with_id(id);
            stage.control.create(new).unwrap();
        }
        let poll = async |id: &str| said(dialect, &stage.get(&format!("{path}{id}")).await);
        assert_eq!(poll("good").await.0, queued, "{dialect}");
        stage.later(1000).await;
        let (word, progress, _) = poll("good").await;
        assert!(
            running.is_empty() && word != queued || word == running,
            "{dialect}: {word}"
        );
        let ten = dialect == "openai-batch";
        assert_eq!(progress, if ten { 4 } else { 40 }, "{dialect}");
        stage.later(1000).await;
        assert_eq!(poll("good").await.0, succeeded, "{dialect}");
        let (word, _, found) = poll("bad").await;
        assert_eq!((word.as_str(), found), (failed, code), "{dialect}");
        assert_eq!(stage.control.truth("bad").unwrap().counts.polls, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dialect_with_steps_shows_an_operation_as_one_step() {
    let stage = Stage::plain().await;
    let error = Operation::new(OperationStatus::Failed).with_error("c", "t", "d");
    let new = NewJob::scripted(script(error)).with_id("1");
    stage.control.create(new).unwrap();
    for word in ["pending", "in-progress", "failed"] {
        let step = stage.job("1").await["steps"][0].clone();
        assert_eq!(
            (&step["title"], &step["status"]),
            (&json!("operation"), &json!(word))
        );
        if word == "failed" {
            assert_eq!(
                step["result"],
                json!({"code": "c", "title": "t", "detail": "d"})
            );
        }
        stage.later(1000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_scenario_comes_to_the_same_end_in_every_dialect() {
    for (dialect, path) in FLAT {
        let stage = Stage::speaking(dialect).await;
        for scenario in Scenario::ALL {
            let new = NewJob::of(*scenario).with_id(scenario.name());
            stage.control.create(new.within_ms(1000)).unwrap();
        }
        stage.later(1000).await;
        for scenario in Scenario::ALL {
            let answer = stage.get(&format!("{path}{}", scenario.name())).await;
            let ending = stage.control.truth(scenario.name()).unwrap().ending();
            let word = said(dialect, &answer).0;
            let shown = match (dialect, word.as_str()) {
                ("google-lro", "true") if answer.json().get("error").is_some() => {
                    Some(Ending::Failed)
                }
                ("google-lro", "true") => Some(Ending::Success),
                (_, "Succeeded" | "completed" | "DONE" | "200" | "201" | "204" | "303") => {
                    Some(Ending::Success)
                }
                (_, "Failed" | "failed" | "FAILED" | "409" | "422") => Some(Ending::Failed),
                _ => None,
            };
            assert_eq!(shown, ending, "{dialect}, {scenario}: {}", answer.text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_answered_in_the_words_of_the_dialect() {
    let expected = [
        ("http-status", "/code", json!("too-many-requests")),
        ("azure", "/error/code", json!("TooManyRequests")),
        ("google-lro", "/error/status", json!("RESOURCE_EXHAUSTED")),
        ("openai-batch", "/error/code", json!("rate_limit_exceeded")),
        ("json", "/error/code", json!("too-many-requests")),
    ];
    for ((dialect, pointer, code), (_, path)) in expected.into_iter().zip(FLAT) {
        let stage = Stage::speaking(dialect).await;
        let new = NewJob::of(Scenario::NeverEnds).with_id("1");
        stage.control.create(new).unwrap();
        let once = |fault| {
            let rule = FaultRule::new(fault).on_job("1").times(1);
            stage.control.inject(rule).unwrap();
        };
        let path = format!("{path}1");
        once(Fault::Status {
            status: 429,
            retry_after: Some(RetryAfter::Seconds(7)),
            body: None,
        });
        let answer = stage.get(&path).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{dialect}");
        assert_eq!(answer.retry_after.as_deref(), Some("7"), "{dialect}");
        assert_eq!(answer.json().pointer(pointer), Some(&code), "{dialect}");

        once(Fault::Html);
        assert!(stage.get(&path).await.text.contains("<html>"), "{dialect}");
        once(Fault::NotFoundFor { ms: 500 });
        let answer = stage.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{dialect}");
        assert!(answer.json().is_object(), "{dialect}");
        if dialect != "http-status" {
            once(Fault::WrongId { id: "2".to_owned() });
            let body = stage.get(&path).await.json();
            let id = body.get("id").or_else(|| body.get("name")).unwrap();
            assert!(id.as_str().unwrap().ends_with('2'), "{dialect}: {id}");
        }
        assert!(stage.get(&path).await.status.is_success(), "{dialect}");
        assert_eq!(
            stage.control.requests()[0].job.as_deref(),
            Some("1"),
            "{dialect}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_phase_may_be_any_json_or_an_error_in_every_dialect() {
    for (dialect, path) in FLAT {
        let stage = Stage::speaking(dialect).await;
        let script = json!({"phases": [
            {"body": {"any": ["JSON"]}},
            {"at_ms": 1000, "error": 503},
            {"at_ms": 2000, "operation": {"status": "running", "word": "Reticulating"}},
        ]});
        let new = json!({"id": "1", "script": script});
        let made = stage.post("/_control/jobs", &new).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let path = format!("{path}1");
        assert_eq!(stage.get(&path).await.text, r#"{"any":["JSON"]}"#);
        stage.later(1000).await;
        assert_eq!(
            stage.get(&path).await.status,
            StatusCode::SERVICE_UNAVAILABLE
        );
        stage.later(1000).await;
        assert!(
            stage.get(&path).await.text.contains("Reticulating"),
            "{dialect}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_script_that_no_dialect_could_show_is_refused() {
    let stage = Stage::speaking("json").await;
    for (phase, why) in [
        (
            json!({"operation": {"status": "running", "progress": 101}}),
            "0 to 100",
        ),
        (
            json!({"operation": {"status": "running", "http_status": 99}}),
            "200 to 599",
        ),
        (json!({"operation": {"status": "resting"}}), "resting"),
        (
            json!({"operation": {"status": "running"}, "error": 500}),
            "exactly one",
        ),
        (json!({}), "exactly one"),
    ] {
        let refused = stage
            .post("/_control/jobs", &json!({"script": {"phases": [phase]}}))
            .await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert!(refused.text.contains(why), "{}", refused.text);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_and_oauth_tokens_let_requests_in_and_anything_else_does_not() {
    for (dialect, path) in FLAT {
        let settings = SimulatorSettings {
            dialect: dialect.parse().unwrap(),
            api_key: Some("user:secret".to_owned()),
            ..SimulatorSettings::default()
        };
        let mut stage = Stage::with_key("user:secret", settings).await;
        let new = NewJob::of(Scenario::NeverEnds).with_id("1");
        stage.control.create(new).unwrap();
        let path = format!("{path}1");
        let url = format!("{}{path}", stage.control.base_url());
        let bare = || stage.client.get(&url);
        assert!(stage.get(&path).await.status.is_success(), "{dialect}");
        for request in [
            bare().basic_auth("user", Some("secret")),
            bare().header("api-key", "user:secret"),
        ] {
            assert!(stage.send(request).await.unwrap().status.is_success());
        }
        for request in [
            bare(),
            bare().bearer_auth("other"),
            bare().basic_auth("user", Some("x")),
        ] {
            let refused = stage.send(request).await.unwrap();
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{dialect}");
            assert!(refused.json().is_object());
        }
        let form = |secret: &str| {
            let url = format!("{}/oauth2/token", stage.control.base_url());
            let body = format!("grant_type=client_credentials&client_id=a&client_secret={secret}");
            stage.client.post(url).body(body)
        };
        let refused = stage.send(form("wrong")).await.unwrap();
        assert_eq!(refused.json(), json!({"error": "invalid_client"}));
        let token = stage.send(form("user%3Asecret")).await.unwrap().json();
        stage.token = token["access_token"].as_str().unwrap().to_owned();
        assert!(stage.get(&path).await.status.is_success(), "{dialect}");
        stage.control.expire_tokens();
        assert_eq!(stage.get(&path).await.status, StatusCode::UNAUTHORIZED);
        stage.control.revoke_tokens();
        assert_eq!(stage.get(&path).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_call_chooses_its_scenario_and_the_same_seed_makes_the_same_jobs() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let stage = Stage::speaking("json").await;
        let request = stage.request(Method::POST, "/tasks");
        let failing = request.header("x-simulate-scenario", "failed");
        let made = stage.send(failing).await.unwrap().json();
        let path = format!("/tasks/{}", made["id"].as_str().unwrap());
        stage.later(60_000).await;
        let task = stage.get(&path).await.json();
        assert_eq!(task["state"], "FAILED");
        runs.push((task["id"].clone(), task["error"].clone()));
        let request = stage.request(Method::POST, "/tasks");
        let unknown = request.header("x-simulate-scenario", "nonsense");
        let refused = stage.send(unknown).await.unwrap();
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
    }
    assert_eq!(runs[0], runs[1]);
}

#[test]
fn dialects_are_known_by_name_and_basiq_is_the_default() {
    let names: Vec<_> = Dialect::names().collect();
    assert_eq!(names.len(), 6);
    assert!(
        names
            .iter()
            .all(|name| name.parse::<Dialect>().unwrap().name() == *name)
    );
    assert_eq!(Dialect::default().name(), "basiq");
    let unknown = "soap".parse::<Dialect>().unwrap_err().to_string();
    assert!(unknown.contains("google-lro"), "{unknown}");
}
