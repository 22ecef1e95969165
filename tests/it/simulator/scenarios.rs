//! Jobs by story: from the sandbox, from the seed, by name; and challenges.

use jobtrackd::simulator::{Ending, JobFormat, NewJob, Scenario, SimulatorSettings};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Stage, statuses};

#[tokio::test(start_paused = true)]
async fn the_same_seed_and_calls_make_the_same_jobs_and_another_seed_does_not() {
    async fn run(seed: u64) -> Vec<String> {
        let settings = SimulatorSettings {
            seed,
            ..SimulatorSettings::default()
        };
        let stage = Stage::set(settings).await;
        let mut delivered = Vec::new();
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
                delivered.extend(truth.moments.iter().map(|moment| {
                    format!(
                        "{} {}",
                        moment.at,
                        moment.body.as_ref().unwrap().replace(base, "")
                    )
                }));
            }
        }
        delivered
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
    let active = stage.get(&path).await.json();
    assert_eq!(active["status"], "active");
    let accounts = active["accounts"].clone();
    assert_eq!(accounts["type"], "list");
    for account in accounts["data"].as_array().unwrap() {
        for key in [
            "id",
            "name",
            "accountNo",
            "balance",
            "availableFunds",
            "lastUpdated",
        ] {
            assert!(
                account[key].as_str().is_some_and(|text| !text.is_empty()),
                "{key}: {account}"
            );
        }
        assert_eq!(
            (&account["type"], &account["currency"]),
            (&json!("account"), &json!("AUD"))
        );
        assert!(account["class"]["type"].is_string(), "{account}");
        let own = account["links"]["self"].as_str().unwrap();
        assert!(
            own.starts_with("http://") && own.contains("/users/"),
            "{own}"
        );
    }
    assert!(!accounts["data"].as_array().unwrap().is_empty());

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
        let pending = stage.get(&path).await.json();
        assert_eq!(pending["status"], "pending");
        assert_eq!(
            pending["accounts"], accounts,
            "a refresh takes nothing away"
        );
    }
    assert_eq!(stage.get("/users/u/connections/none").await.error().0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_challenge_is_asked_again_after_a_wrong_answer_and_goes_on_after_the_right_one() {
    let stage = Stage::plain().await;
    let new = NewJob::of(Scenario::MfaToken)
        .with_id("m")
        .in_format(JobFormat::Seed);
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
