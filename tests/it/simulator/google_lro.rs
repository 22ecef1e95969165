//! The `google-lro` dialect: operations by name, their list, `:cancel`, `:wait` and the errors.

use std::time::Duration;

use jobtrackd::simulator::{NewJob, Scenario};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Stage, send};

const PARENT: &str = "projects/p/locations/l";

#[tokio::test(start_paused = true)]
async fn a_call_answers_an_operation_that_ends_in_a_response_or_an_error() {
    let stage = Stage::speaking("google-lro").await;
    let made = stage
        .post(&format!("/v1/{PARENT}/things"), &json!({}))
        .await;
    assert_eq!(made.status, StatusCode::OK);
    let operation = made.json();
    let name = operation["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with(&format!("{PARENT}/operations/")), "{name}");
    let metadata = &operation["metadata"];
    assert_eq!(
        metadata["@type"],
        "type.googleapis.com/simulator.v1.OperationMetadata"
    );
    assert_eq!(
        (&metadata["verb"], &metadata["progressPercent"]),
        (&json!("post"), &json!(0))
    );
    assert!(!operation["done"].as_bool().unwrap_or_default());

    stage.later(60_000).await;
    let ended = stage.get(&format!("/v1/{name}")).await.json();
    assert_eq!(
        (&ended["done"], &ended["name"]),
        (&json!(true), &json!(name))
    );
    assert_eq!(
        ended["response"]["@type"],
        "type.googleapis.com/google.protobuf.Struct"
    );
    assert_eq!(ended.get("error"), None);
    let id = name.rsplit('/').next().unwrap();
    assert_eq!(stage.get(&format!("/v1/{id}")).await.json()["name"], name);

    let request = stage.request(Method::PATCH, &format!("/v1/{PARENT}/things/1"));
    let failing = request.header("x-simulate-scenario", "queued-failed");
    let failing = stage.send(failing).await.unwrap().json();
    stage.later(8 * 60 * 60 * 1000).await;
    let path = format!("/v1/{}", failing["name"].as_str().unwrap());
    let error = stage.get(&path).await.json()["error"].clone();
    assert_eq!(error["code"], 14);
    assert_eq!(error["details"][0]["reason"], "TEMPORARY_UNAVAILABLE");
}

#[tokio::test(start_paused = true)]
async fn operations_are_listed_by_parent_page_by_page_and_forgotten_on_request() {
    let stage = Stage::speaking("google-lro").await;
    let mut names = Vec::new();
    for _ in 0..3 {
        let made = stage
            .post(&format!("/v1/{PARENT}/things"), &json!({}))
            .await;
        names.push(made.json()["name"].clone());
    }
    stage.post("/v1/things", &json!({})).await;
    let list = format!("/v1/{PARENT}/operations?pageSize=2");
    let page = stage.get(&list).await.json();
    let token = page["nextPageToken"].as_str().unwrap();
    let rest = stage.get(&format!("{list}&pageToken={token}")).await.json();
    assert_eq!(rest["nextPageToken"], "");
    let pages = [&page, &rest].map(|page| page["operations"].as_array().unwrap());
    let listed: Vec<_> = pages
        .into_iter()
        .flatten()
        .rev()
        .map(|one| one["name"].clone())
        .collect();
    assert_eq!(listed, names);
    assert_eq!(
        stage.get("/v1/operations").await.json()["operations"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let path = format!("/v1/{}", names[0].as_str().unwrap());
    assert_eq!(stage.call(Method::DELETE, &path).await.json(), json!({}));
    let gone = stage.get(&path).await.json()["error"].clone();
    assert_eq!(
        (&gone["code"], &gone["status"]),
        (&json!(404), &json!("NOT_FOUND"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_operation_is_cancelled_or_waited_for() {
    let stage = Stage::speaking("google-lro").await;
    for id in ["1", "2"] {
        let new = NewJob::of(Scenario::Success).with_id(id);
        stage.control.create(new).unwrap();
    }
    assert_eq!(
        stage
            .post("/v1/operations/1:cancel", &json!({}))
            .await
            .json(),
        json!({})
    );
    let cancelling = stage.get("/v1/operations/1").await.json();
    assert_eq!(cancelling["metadata"]["cancelRequested"], true);
    stage.later(2000).await;
    let cancelled = stage.get("/v1/operations/1").await.json();
    assert_eq!(
        (&cancelled["done"], &cancelled["error"]["code"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        stage
            .post("/v1/operations/1:cancel", &json!({}))
            .await
            .status,
        StatusCode::OK
    );

    let wait = async |body: &str| {
        let request = stage.request(Method::POST, "/v1/operations/2:wait");
        let before = stage.clock.now();
        let answer = send(request.body(body.to_owned())).await.unwrap().json();
        (
            stage.clock.now().since(before),
            answer["done"].as_bool().unwrap_or_default(),
        )
    };
    assert_eq!(
        wait(r#"{"timeout":"0.500s"}"#).await,
        (Duration::from_millis(500), false)
    );
    let (waited, done) = wait("{}").await;
    assert!(done && waited < Duration::from_secs(16), "{waited:?}");
    let missing = stage.post("/v1/operations/none:cancel", &json!({})).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}
