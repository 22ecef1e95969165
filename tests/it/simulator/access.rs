//! Tokens and whom they let in.

use std::time::Duration;

use jobtrackd::simulator::{NewJob, Scenario, SimulatorSettings};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Answer, Stage};

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
