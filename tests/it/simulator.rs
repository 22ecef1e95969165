//! The simulator, from outside: over HTTP and through its control handle.

use std::time::Duration;

use jobtrackd::clock::Clock;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::simulator::{
    Challenge, Control, Dress, Ending, Fault, FaultRule, NewJob, Phase, RetryAfter, Scenario,
    Script, Simulator, SimulatorSettings, Step,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const START: UnixMillis = UnixMillis(1_795_359_845_000);

struct Stage {
    clock: Clock,
    client: reqwest::Client,
    simulator: Simulator,
    control: Control,
    token: String,
}

struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn error(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(body["type"], "list");
        assert!(body["correlationId"].is_string());
        let error = &body["data"][0];
        assert_eq!(error["type"], "error");
        let word = |key: &str| error[key].as_str().unwrap().to_owned();
        (self.status.as_u16(), word("code"), word("detail"))
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy();
    client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

impl Stage {
    async fn set(settings: SimulatorSettings) -> Self {
        let clock = Clock::driven(START);
        let simulator = Simulator::start(SimulatorSettings {
            clock: clock.clone(),
            ..settings
        })
        .await
        .unwrap();
        let mut stage = Self {
            clock,
            client: client(),
            control: simulator.control(),
            simulator,
            token: String::new(),
        };
        stage.token = stage.new_token("scope=SERVER_ACCESS").await;
        stage
    }

    async fn plain() -> Self {
        Self::set(SimulatorSettings::default()).await
    }

    async fn new_token(&self, form: &str) -> String {
        let answer = self.ask_token("Basic a2V5", Some("3.0"), form).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn ask_token(&self, key: &str, version: Option<&str>, form: &str) -> Answer {
        let mut request = self
            .client
            .post(format!("{}/token", self.control.base_url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        if !key.is_empty() {
            request = request.header("authorization", key);
        }
        if let Some(version) = version {
            request = request.header("basiq-version", version);
        }
        self.send(request).await.unwrap()
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        self.clock.held(send(request)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.control.base_url()))
            .bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).body(body.to_string());
        self.send(request).await.unwrap()
    }

    async fn job(&self, id: &str) -> Value {
        let answer = self.get(&format!("/jobs/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }

    async fn later(&self, ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }
}

async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let retry_after = response.headers().get("retry-after");
    Ok(Answer {
        status: response.status(),
        retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()),
        text: response.text().await?,
    })
}

fn statuses(job: &Value) -> Vec<String> {
    let steps = job["steps"].as_array().unwrap();
    let status = |step: &Value| step["status"].as_str().unwrap().to_owned();
    steps.iter().map(status).collect()
}

fn one_step(status: &str) -> Vec<Step> {
    vec![Step::new("create-report", status)]
}

#[tokio::test(start_paused = true)]
async fn a_token_is_needed_and_its_refusals_are_the_apis() {
    let stage = Stage::set(SimulatorSettings {
        api_key: Some("a2V5".to_owned()),
        token_life: Duration::from_secs(60),
        token_calls_per_5_minutes: 3,
        ..SimulatorSettings::default()
    })
    .await;
    stage
        .control
        .create(NewJob::of(Scenario::Success).with_id("1"))
        .unwrap();
    let form = "scope=SERVER_ACCESS";
    let refusal = |answer: Answer| answer.error();

    let (status, _, detail) = refusal(stage.ask_token("", Some("3.0"), form).await);
    assert_eq!(
        (status, detail.as_str()),
        (400, "Authorization header parameter is required")
    );
    let (status, _, detail) = refusal(stage.ask_token("Basic a2V5", None, form).await);
    assert_eq!(status, 400);
    assert_eq!(
        detail,
        "Basiq-version must be specified in HTTP request header"
    );
    let (status, _, detail) = refusal(stage.ask_token("Basic YmFk", Some("3.0"), form).await);
    assert_eq!(
        (status, detail.as_str()),
        (404, "Unable to authenticate. Please, check your API key")
    );
    let client_form = "scope=CLIENT_ACCESS";
    let (status, code, _) = refusal(
        stage
            .ask_token("Basic a2V5", Some("3.0"), client_form)
            .await,
    );
    assert_eq!((status, code.as_str()), (400, "parameter-not-supplied"));
    let (status, code, detail) = refusal(stage.ask_token("Basic a2V5", Some("3.0"), form).await);
    assert_eq!(
        (status, code.as_str(), detail.as_str()),
        (403, "request-not-valid", "Invalid request")
    );

    let unknown = stage
        .client
        .get(format!("{}/jobs/1", stage.control.base_url()));
    let (status, code, _) = stage
        .send(unknown.bearer_auth("nobody's"))
        .await
        .unwrap()
        .error();
    assert_eq!(
        (status, code.as_str()),
        (401, "invalid-authorization-token")
    );
    let missing = stage
        .client
        .get(format!("{}/jobs/1", stage.control.base_url()));
    let (status, code, _) = stage.send(missing).await.unwrap().error();
    assert_eq!((status, code.as_str()), (401, "unauthorized-access"));

    stage.later(59_999).await;
    assert_eq!(stage.get("/jobs/1").await.status, StatusCode::OK);
    stage.later(1).await;
    let (status, code, detail) = stage.get("/jobs/1").await.error();
    assert_eq!(
        (status, code.as_str(), detail.as_str()),
        (403, "access-denied", "Token has expired")
    );
    stage.later(300_000).await;
    assert_eq!(stage.new_token(form).await.len(), stage.token.len());
}

#[tokio::test(start_paused = true)]
async fn a_script_is_played_word_for_word_at_its_moments() {
    let stage = Stage::plain().await;
    let first =
        r#"{"type":"job", "id":"61723","steps":[{"title":"a","status":"in-progress"}],"x":1.50}"#;
    let script = format!(
        r#"{{"id":"61723","script":{{"phases":[{{"body":{first}}},{{"at_ms":1500,"text":"<html>"}},{{"at_ms":3000,"error":410}}]}}}}"#
    );
    let request = stage
        .request(Method::POST, "/_control/jobs")
        .body(script.clone());
    assert_eq!(
        stage.send(request).await.unwrap().status,
        StatusCode::CREATED
    );

    assert_eq!(stage.get("/jobs/61723").await.text, first);
    stage.later(1499).await;
    assert_eq!(stage.get("/jobs/61723").await.text, first);
    stage.later(1).await;
    assert_eq!(stage.get("/jobs/61723").await.text, "<html>");
    stage.later(1500).await;
    let (status, code, _) = stage.get("/jobs/61723").await.error();
    assert_eq!(
        (status, code.as_str()),
        (410, "resource-no-longer-available")
    );

    let again = stage.request(Method::POST, "/_control/jobs").body(script);
    assert_eq!(
        stage.send(again).await.unwrap().status,
        StatusCode::CONFLICT
    );
    let truth = stage.control.truth("61723").unwrap();
    assert_eq!(truth.counts.polls, 4);
    assert_eq!(
        truth.counts.last_poll,
        Some(START.plus(Duration::from_secs(3)))
    );
    let at: Vec<i64> = truth
        .moments
        .iter()
        .map(|moment| moment.at.0 - START.0)
        .collect();
    assert_eq!(at, [0, 1500, 3000]);
    assert_eq!(truth.moments[0].body.as_deref(), Some(first));
}

#[tokio::test(start_paused = true)]
async fn scripts_that_cannot_be_played_are_refused_with_the_reason() {
    let stage = Stage::plain().await;
    for (body, reason) in [
        (r#"{"script":{"phases":[]}}"#, "at least one phase"),
        (
            r#"{"script":{"phases":[{"at_ms":5,"error":404},{"error":404}]}}"#,
            "goes down from 5 to 0",
        ),
        (
            r#"{"script":{"phases":[{"at_ms":5}]}}"#,
            "exactly one of body, text, steps and error",
        ),
        (r#"{"scenario":"sucess"}"#, "unknown variant"),
        (r#"{"id":"a b"}"#, "1 to 200 characters"),
        (r#"{"id":".."}"#, "not only dots"),
        (r#"{"idd":"1"}"#, "unknown field"),
    ] {
        let request = stage.request(Method::POST, "/_control/jobs").body(body);
        let answer = stage.send(request).await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(reason), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_and_calls_make_the_same_jobs_and_another_seed_does_not() {
    async fn run(seed: u64) -> Vec<String> {
        let settings = SimulatorSettings {
            seed,
            ..SimulatorSettings::default()
        };
        let stage = Stage::set(settings).await;
        let mut told = Vec::new();
        for path in [
            "/users/u/connections/refresh",
            "/users/u/connections/c/refresh",
            "/reports",
        ] {
            let answer = stage.post(path, &json!({})).await.json();
            let stubs = answer["data"].as_array().cloned();
            for stub in stubs.unwrap_or_else(|| vec![answer]) {
                let truth = stage.control.truth(stub["id"].as_str().unwrap()).unwrap();
                let base = stage.control.base_url();
                told.extend(truth.moments.iter().map(|moment| {
                    format!(
                        "{} {}",
                        moment.at,
                        moment.body.as_ref().unwrap().replace(base, "")
                    )
                }));
            }
        }
        told
    }
    let once = run(7).await;
    assert_eq!(once, run(7).await);
    assert_ne!(once, run(8).await);
}

#[tokio::test(start_paused = true)]
async fn sandbox_logins_and_banks_mean_what_the_documents_say() {
    let stage = Stage::plain().await;
    for (login, bank, ending, step, code) in [
        ("gavinBelson", "AU00000", Ending::Success, "", ""),
        (
            "bighead",
            "AU00000",
            Ending::Failed,
            "verify-credentials",
            "invalid-credentials",
        ),
        (
            "erlich",
            "AU00000",
            Ending::Failed,
            "retrieve-accounts",
            "account-not-accessible-requires-user-action",
        ),
        (
            "jianYang",
            "AU00000",
            Ending::Failed,
            "retrieve-transactions",
            "service-unavailable",
        ),
    ] {
        let body = json!({"loginId": login, "password": "p", "institution": {"id": bank}});
        let answer = stage.post("/users/u1/connections", &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        let stub = answer.json();
        assert_eq!(stub["type"], "job");
        let id = stub["id"].as_str().unwrap();
        stage.later(60_000).await;
        let truth = stage.control.truth(id).unwrap();
        assert_eq!((truth.ending(), truth.finished), (Some(ending), true));
        let job = stage.job(id).await;
        let failed = job["steps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|step| step["status"] == "failed");
        if let Some(failed) = failed {
            let result = failed["result"]
                .as_array()
                .map_or(&failed["result"], |list| &list[0]);
            assert_eq!(
                (failed["title"].as_str(), result["code"].as_str()),
                (Some(step), Some(code))
            );
        }
        assert_eq!(failed.is_some(), ending == Ending::Failed);
    }
    let asking = json!({"loginId": "x", "password": "p", "institution": {"id": "AU00002"}});
    let stub = stage.post("/users/u1/connections", &asking).await.json();
    assert!(
        stage
            .control
            .expected_answers(stub["id"].as_str().unwrap())
            .is_some()
    );
    let list = stage.get("/users/u1/jobs").await.json();
    assert_eq!(
        (list["type"].as_str(), list["size"].as_u64()),
        (Some("list"), Some(5))
    );
    assert_eq!(list["data"][0]["institution"]["id"], "AU00002");
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_one_running_job_and_says_how_it_is() {
    let stage = Stage::plain().await;
    let created = stage
        .post(
            "/users/u/connections",
            &json!({"loginId": "g", "institution": {"id": "AU00000"}}),
        )
        .await
        .json();
    let id = created["id"].as_str().unwrap();
    stage.later(60_000).await;
    let job = stage.job(id).await;
    let first = &job["steps"][0]["result"];
    let path = first.as_array().map_or(first, |list| &list[0])["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(stage.get(&path).await.json()["status"], "active");

    let again = stage.post(&format!("{path}/refresh"), &json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED);
    let fresh = again.json()["id"].clone();
    assert_ne!(fresh, created["id"]);
    if stage
        .control
        .truth(fresh.as_str().unwrap())
        .unwrap()
        .scenario
        != Some(Scenario::Instant)
    {
        let twice = stage.post(&format!("{path}/refresh"), &json!({})).await;
        assert_eq!(
            (twice.status, twice.json()["id"].clone()),
            (StatusCode::OK, fresh)
        );
        assert_eq!(stage.get(&path).await.json()["status"], "pending");
    }
    assert_eq!(stage.get("/users/u/connections/none").await.error().0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_asked_again_after_a_wrong_answer_and_goes_on_after_the_right_one() {
    let stage = Stage::plain().await;
    let new = NewJob::of(Scenario::MfaToken)
        .with_id("m")
        .dressed(Dress::Seed);
    stage.control.create(new).unwrap();
    let answer = |words: Value| json!({ "mfa-response": words });
    assert_eq!(
        stage
            .post("/jobs/m/mfa", &answer(json!(["1234"])))
            .await
            .error()
            .0,
        400
    );

    stage.later(20_000).await;
    let asked = stage.job("m").await;
    let challenge = &asked["steps"][1]["result"][0];
    assert_eq!(challenge["type"], "mfa");
    assert_eq!(challenge["links"]["response"], "/jobs/m/mfa");
    assert_eq!(
        stage
            .post("/jobs/m/mfa", &answer(json!(["1", "2"])))
            .await
            .error()
            .0,
        400
    );
    assert_eq!(
        stage
            .post("/jobs/m/mfa", &json!({"mfa-response": 5}))
            .await
            .error()
            .0,
        400
    );

    let wrong = stage.post("/jobs/m/mfa", &answer(json!(["0000"]))).await;
    assert_eq!(
        (wrong.status, wrong.json()["id"].clone()),
        (StatusCode::ACCEPTED, json!("m"))
    );
    assert!(stage.job("m").await["steps"][1]["result"].is_null());
    stage.later(5_000).await;
    let again = stage.job("m").await;
    assert_ne!(
        again["steps"][1]["result"][0]["description"],
        challenge["description"]
    );

    let right = stage.control.expected_answers("m").unwrap();
    assert_eq!(
        stage
            .post("/jobs/m/mfa", &answer(json!(right)))
            .await
            .status,
        StatusCode::ACCEPTED
    );
    let working = stage.job("m").await;
    assert_eq!(statuses(&working)[1], "in-progress");
    assert!(working["steps"][1]["result"].is_null());
    stage.later(30_000).await;
    assert_eq!(statuses(&stage.job("m").await), ["success"; 4]);
    assert_eq!(stage.control.truth("m").unwrap().counts.answers, 4);
}

#[tokio::test(start_paused = true)]
async fn challenges_end_failed_when_refused_for_good_or_when_nobody_answers() {
    let stage = Stage::plain().await;
    stage
        .control
        .create(NewJob::of(Scenario::MfaStrict).with_id("strict"))
        .unwrap();
    stage
        .control
        .create(NewJob::of(Scenario::MfaQuestions).with_id("unanswered"))
        .unwrap();
    stage
        .control
        .create(NewJob::of(Scenario::MfaKept).with_id("kept"))
        .unwrap();
    stage.later(20_000).await;
    stage
        .post("/jobs/strict/mfa", &json!({"mfa-response": ["0000"]}))
        .await;
    stage
        .post("/jobs/kept/mfa", &json!({"mfa-response": ["1234"]}))
        .await;
    assert!(stage.control.truth("unanswered").unwrap().asks);
    stage.later(130_000).await;

    let strict = stage.job("strict").await;
    assert_eq!(
        statuses(&strict),
        ["success", "failed", "pending", "pending"]
    );
    assert!(strict["steps"][1]["result"].is_null());
    let unanswered = stage.job("unanswered").await;
    assert_eq!(statuses(&unanswered)[1], "failed");
    assert!(unanswered.to_string().contains("job-timed-out"));
    let late = stage
        .post(
            "/jobs/unanswered/mfa",
            &json!({"mfa-response": ["Basiq", "AU00002"]}),
        )
        .await;
    assert_eq!(late.error().0, 400);
    let kept = stage.job("kept").await;
    assert_eq!(statuses(&kept), ["success"; 5]);
    assert_eq!(kept["steps"][1]["result"]["type"], "mfa");
}

#[tokio::test(start_paused = true)]
async fn every_story_is_over_within_the_time_asked_for_whatever_the_speed() {
    let settings = SimulatorSettings {
        speed: 3.0,
        ..SimulatorSettings::default()
    };
    let stage = Stage::set(settings).await;
    for scenario in Scenario::ALL {
        let new = NewJob::of(*scenario)
            .with_id(scenario.name())
            .within_ms(20_000);
        stage.control.create(new).unwrap();
    }
    stage.later(20_100).await;
    for scenario in Scenario::ALL {
        let truth = stage.control.truth(scenario.name()).unwrap();
        let job = stage.job(scenario.name()).await;
        assert!(truth.finished, "{scenario}: {job}");
        assert_eq!(
            truth.ending().is_none(),
            *scenario == Scenario::NeverEnds,
            "{scenario}: {job}"
        );
    }
    let names: Vec<&str> = Scenario::ALL
        .iter()
        .map(|scenario| scenario.name())
        .collect();
    assert_eq!(stage.get("/_control/scenarios").await.json(), json!(names));
}

#[tokio::test(start_paused = true)]
async fn jobs_wear_the_shapes_of_their_versions_and_kinds() {
    let stage = Stage::plain().await;
    let base = stage.control.base_url().to_owned();
    let running = |dress| {
        NewJob::scripted(Script::new(vec![
            Phase::steps(0, &one_step("in-progress")),
            Phase::steps(1000, &one_step("failed")),
        ]))
        .dressed(dress)
    };
    for (id, dress) in [
        ("v3", Dress::V3),
        ("seed", Dress::Seed),
        ("rep", Dress::Report),
        ("pdf", Dress::BankStatement),
    ] {
        stage.control.create(running(dress).with_id(id)).unwrap();
    }
    let v3 = stage.job("v3").await;
    assert_eq!(v3["jobType"], "connection");
    assert_eq!(v3["created"], "2026-11-22T15:04:05Z");
    assert_eq!(v3["links"], json!({"self": format!("{base}/jobs/v3")}));
    let seed = stage.job("seed").await;
    assert_eq!(seed["created"], "2026-11-22T15:04:05.000Z");
    assert_eq!(seed["links"]["self"], "/jobs/seed");
    assert!(seed["links"]["source"].is_string() && seed.get("jobType").is_none());
    let report = stage.job("rep").await;
    assert_eq!(
        (&report["status"], &report["jobType"]),
        (&json!("in-progress"), &json!("report"))
    );
    let pdf = stage.job("pdf").await;
    assert!(pdf["createdDate"].is_string() && pdf.get("created").is_none());

    stage.later(1000).await;
    assert!(stage.job("v3").await["links"]["source"].is_string());
    let report = stage.job("rep").await;
    assert_eq!(
        (&report["status"], &report["links"]),
        (&json!("failed"), &Value::Null)
    );
    assert_eq!(report["updated"], "2026-11-22T15:04:06.000Z");
}

#[tokio::test(start_paused = true)]
async fn links_lead_to_the_host_the_client_called() {
    let stage = Stage::plain().await;
    let new = NewJob::of(Scenario::NeverEnds)
        .with_id("1")
        .dressed(Dress::V3);
    stage.control.create(new).unwrap();
    let request = stage
        .request(Method::GET, "/jobs/1")
        .header("host", "jobs.test:81");
    let job = stage.send(request).await.unwrap().json();
    assert_eq!(job["links"]["self"], "http://jobs.test:81/jobs/1");
}

#[tokio::test(start_paused = true)]
async fn ids_and_routes_that_are_not_there_are_refused_as_the_api_does() {
    let stage = Stage::plain().await;
    for (method, path, status, code) in [
        (Method::GET, "/jobs/nobody", 404, "resource-not-found"),
        (Method::GET, "/jobs/a%20b", 400, "parameter-not-valid"),
        (Method::GET, "/jobs", 400, "parameter-not-supplied"),
        (Method::DELETE, "/jobs/1", 405, "method-not-allowed"),
        (Method::GET, "/nowhere", 404, "resource-not-found"),
    ] {
        let answer = stage.send(stage.request(method, path)).await.unwrap();
        let (got, got_code, _) = answer.error();
        assert_eq!((got, got_code.as_str()), (status, code), "{path}");
    }
    let picky = stage
        .request(Method::GET, "/jobs/1")
        .header("accept", "text/html");
    assert_eq!(
        stage.send(picky).await.unwrap().error().1,
        "unsupported-accept"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_token_reaches_only_its_own_user() {
    let mut stage = Stage::plain().await;
    let new = NewJob {
        user: Some("anna".to_owned()),
        ..NewJob::of(Scenario::Success).with_id("1")
    };
    stage.control.create(new).unwrap();
    stage.token = stage.new_token("scope=CLIENT_ACCESS&userId=anna").await;
    stage.job("1").await;
    stage.token = stage.new_token("scope=CLIENT_ACCESS&userId=bert").await;
    assert_eq!(stage.get("/jobs/1").await.error().1, "forbidden-access");
    assert_eq!(
        stage
            .post("/users/anna/statements", &json!({}))
            .await
            .error()
            .0,
        403
    );
}

#[tokio::test(start_paused = true)]
async fn faults_strike_where_and_as_often_as_asked() {
    let stage = Stage::plain().await;
    for id in ["1", "2"] {
        stage
            .control
            .create(NewJob::of(Scenario::NeverEnds).with_id(id))
            .unwrap();
    }
    let rule =
        r#"{"job":"1","times":2,"fault":{"status":{"status":503,"retry_after":{"seconds":7}}}}"#;
    let request = stage.request(Method::POST, "/_control/faults").body(rule);
    assert_eq!(
        stage.send(request).await.unwrap().status,
        StatusCode::CREATED
    );
    for _ in 0..2 {
        let answer = stage.get("/jobs/1").await;
        assert_eq!(answer.error().1, "service-unavailable");
        assert_eq!(answer.retry_after.as_deref(), Some("7"));
        stage.job("2").await;
    }
    stage.job("1").await;
    let log = stage.control.requests();
    let struck: Vec<_> = log
        .iter()
        .map(|entry| (entry.job.as_deref(), entry.status, entry.fault))
        .collect();
    assert_eq!(struck[1], (Some("1"), Some(503), Some("status")));
    assert_eq!(struck[2], (Some("2"), Some(200), None));
    assert_eq!(stage.control.truth("1").unwrap().counts.polls, 1);

    let at = RetryAfter::DateInSeconds(10);
    let rule = FaultRule::new(Fault::RateLimit {
        per_second: 2,
        retry_after: Some(at),
    });
    let id = stage.control.inject(rule.on_path("/jobs")).unwrap();
    stage.job("1").await;
    stage.job("1").await;
    let limited = stage.get("/jobs/1").await;
    assert_eq!(limited.error().1, "too-many-requests");
    assert_eq!(
        limited.retry_after.as_deref(),
        Some("Sun, 22 Nov 2026 15:04:15 GMT")
    );
    stage.later(1000).await;
    stage.job("1").await;
    assert!(stage.control.remove_fault(id));
    assert!(
        stage
            .control
            .inject(FaultRule::new(Fault::Html).with_probability(1.5))
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn answers_can_be_distorted() {
    let stage = Stage::plain().await;
    let text = r#"{"type":"job","id":"1","steps":[]}"#;
    let script = Script::new(vec![Phase::verbatim(0, text)]);
    stage
        .control
        .create(NewJob::scripted(script).with_id("1"))
        .unwrap();
    let once = |fault| {
        stage
            .control
            .inject(FaultRule::new(fault).on_job("1").times(1))
            .unwrap()
    };

    once(Fault::Truncated);
    assert_eq!(stage.get("/jobs/1").await.text, text[..text.len() / 2]);
    once(Fault::Empty);
    assert_eq!(stage.get("/jobs/1").await.text, "");
    once(Fault::Padded { bytes: 100_000 });
    assert_eq!(stage.get("/jobs/1").await.text.len(), 100_000);
    once(Fault::WrongId { id: "2".to_owned() });
    assert_eq!(stage.job("1").await["id"], "2");
    once(Fault::Html);
    let html = stage.get("/jobs/1").await;
    assert!(html.status == StatusCode::BAD_GATEWAY && html.text.contains("<html>"));
    once(Fault::Redirect {
        to: "http://elsewhere.test/".to_owned(),
        status: None,
    });
    assert_eq!(stage.get("/jobs/1").await.status, StatusCode::FOUND);
    stage
        .control
        .inject(FaultRule::new(Fault::NotFoundFor { ms: 500 }))
        .unwrap();
    assert_eq!(stage.get("/jobs/1").await.error().0, 404);
    stage.later(500).await;
    assert_eq!(stage.get("/jobs/1").await.text, text);
}

#[tokio::test(start_paused = true)]
async fn connections_can_drip_break_off_and_hang() {
    let stage = Stage::plain().await;
    let text = format!(r#"{{"type":"job","id":"1","x":"{}"}}"#, "y".repeat(500));
    let script = Script::new(vec![Phase::verbatim(0, text.clone())]);
    stage
        .control
        .create(NewJob::scripted(script).with_id("1"))
        .unwrap();
    let once = |fault| {
        stage
            .control
            .inject(FaultRule::new(fault).on_job("1").times(1))
            .unwrap()
    };

    once(Fault::Drip {
        bytes: 50,
        every_ms: 1000,
    });
    let before = stage.clock.now();
    let dripped = send(stage.request(Method::GET, "/jobs/1")).await.unwrap();
    assert_eq!(dripped.text, text);
    assert!(stage.clock.now().since(before) >= Duration::from_secs(10));

    once(Fault::Reset { after_bytes: 100 });
    let broken = stage.send(stage.request(Method::GET, "/jobs/1")).await;
    assert!(broken.is_err_and(|error| error.is_body() || error.is_decode()));

    once(Fault::Delay { ms: 2000 });
    let before = stage.clock.now();
    send(stage.request(Method::GET, "/jobs/1")).await.unwrap();
    assert_eq!(stage.clock.now().since(before), Duration::from_secs(2));

    once(Fault::Hang);
    let hung = stage
        .request(Method::GET, "/jobs/1")
        .timeout(Duration::from_secs(30));
    assert!(send(hung).await.is_err_and(|error| error.is_timeout()));
    let last = stage.control.requests().pop().unwrap();
    assert_eq!((last.status, last.fault), (None, Some("hang")));
}

#[tokio::test(start_paused = true)]
async fn shutting_down_ends_a_request_that_hangs_and_frees_the_port() {
    let stage = Stage::plain().await;
    stage.control.inject(FaultRule::new(Fault::Hang)).unwrap();
    let address = stage.simulator.address();
    let request = stage.request(Method::GET, "/jobs/1");
    let hung = tokio::spawn(send(request));
    while stage.control.requests().len() < 2 {
        stage.clock.held(tokio::task::yield_now()).await;
    }
    stage.clock.held(stage.simulator.shutdown()).await;
    let ended = stage.clock.held(hung).await.unwrap();
    assert!(
        ended.is_err()
            || ended.is_ok_and(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE)
    );
    tokio::net::TcpListener::bind(address).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_oldest_finished_job_makes_room_and_unfinished_ones_are_kept() {
    let stage = Stage::set(SimulatorSettings {
        max_jobs: 2,
        max_log: 3,
        ..SimulatorSettings::default()
    })
    .await;
    let asking = Script::new(vec![Phase::steps(0, &one_step("in-progress"))]).asking(Challenge {
        expected: vec!["1".to_owned()],
        expires_ms: None,
        accepted: Script::new(vec![Phase::steps(0, &one_step("success"))]),
        refused: None,
        expired: None,
    });
    stage
        .control
        .create(NewJob::scripted(asking).with_id("open"))
        .unwrap();
    stage
        .control
        .create(NewJob::of(Scenario::Instant).with_id("done"))
        .unwrap();
    stage
        .control
        .create(NewJob::of(Scenario::Success).with_id("new"))
        .unwrap();
    assert!(stage.control.truth("done").is_none());
    assert!(stage.control.create(NewJob::of(Scenario::Success)).is_err());
    assert_eq!(stage.post("/reports", &json!({})).await.error().0, 429);
    for _ in 0..4 {
        stage.job("open").await;
    }
    let numbers: Vec<u64> = stage
        .control
        .requests()
        .iter()
        .map(|entry| entry.number)
        .collect();
    assert_eq!(numbers, [4, 5, 6]);
    assert_eq!(stage.control.totals().requests, 6);
}

#[tokio::test(start_paused = true)]
async fn tokens_can_be_expired_and_revoked_at_once() {
    let stage = Stage::plain().await;
    let request = stage.request(Method::POST, "/_control/tokens/expire");
    assert_eq!(
        stage.send(request).await.unwrap().status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(stage.get("/jobs/1").await.error().2, "Token has expired");
    stage.control.revoke_tokens();
    assert_eq!(stage.get("/jobs/1").await.error().0, 401);
}

#[tokio::test(start_paused = true)]
async fn a_simulator_that_could_not_run_does_not_start() {
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let settings = SimulatorSettings {
            speed,
            ..SimulatorSettings::default()
        };
        let error = Simulator::start(settings).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}
