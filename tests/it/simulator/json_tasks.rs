//! The `json` dialect: tasks.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Stage;

#[tokio::test(start_paused = true)]
async fn tasks_are_made_listed_cancelled_and_removed() {
    let stage = Stage::speaking("json").await;
    let made = stage.post("/tasks", &json!({"file": "a.csv"})).await;
    assert_eq!(made.status, StatusCode::ACCEPTED);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/tasks/{id}");
    assert!(made.header("location").unwrap().ends_with(&path));
    let task = stage.get(&path).await.json();
    assert_eq!(
        (&task["state"], &task["input"]["file"]),
        (&json!("QUEUED"), &json!("a.csv"))
    );
    let other = stage.post("/tasks", &json!(null)).await.json();
    let page = stage.get("/tasks?limit=1").await.json();
    assert_eq!(
        (&page["tasks"][0]["id"], &page["next"]),
        (&other["id"], &other["id"])
    );
    let next = format!("/tasks?after={}", other["id"].as_str().unwrap());
    let page = stage.get(&next).await.json();
    assert_eq!(
        (&page["tasks"][0]["id"], &page["next"]),
        (&json!(id), &Value::Null)
    );

    let long = stage.post("/tasks", &json!("x".repeat(65 * 1024))).await;
    assert_eq!(long.status, StatusCode::BAD_REQUEST);

    let cancel = format!("{path}/cancel");
    let cancelled = stage.post(&cancel, &json!({})).await;
    assert_eq!(cancelled.json()["state"], "CANCELLING");
    stage.later(2000).await;
    assert_eq!(stage.get(&path).await.json()["error"]["code"], "cancelled");
    assert_eq!(
        stage.post(&cancel, &json!({})).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(
        stage.call(Method::DELETE, &path).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        stage.get(&path).await.json()["error"]["code"],
        "resource-not-found"
    );
}
