//! The `azure` dialect: the resource, its operation and the result.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Stage};

const DISK: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d1";

impl Stage {
    /// Where a header of an answer leads, as a path.
    fn path_in(&self, answer: &Answer, header: &str) -> String {
        let link = answer.header(header).unwrap_or_default();
        let path = link.strip_prefix(self.control.base_url());
        path.expect("a link to the simulator").to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_created_by_an_operation_that_can_be_followed() {
    let stage = Stage::speaking("azure").await;
    let body = json!({"location": "westeurope", "properties": {"sizeGB": 4}});
    let request = stage.request(Method::PUT, DISK).body(body.to_string());
    let made = stage.send(request).await.unwrap();
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(made.json()["properties"]["provisioningState"], "Creating");
    let monitor = stage.path_in(&made, "azure-asyncoperation");
    assert!(monitor.starts_with("/operations/") && made.header("location").is_none());

    let running = stage.get(&monitor).await;
    assert_eq!(
        (running.status, running.retry_after.as_deref()),
        (StatusCode::OK, Some("1"))
    );
    let operation = running.json();
    assert_eq!(operation["id"], monitor);
    assert!(operation["name"].is_string() && operation["startTime"].is_string());
    assert_eq!(operation.get("endTime"), None);

    stage.later(60_000).await;
    let ended = stage.get(&monitor).await;
    assert_eq!(ended.retry_after, None);
    let operation = ended.json();
    assert_eq!(
        (&operation["status"], &operation["percentComplete"]),
        (&json!("Succeeded"), &json!(100))
    );
    assert_eq!(operation["properties"]["resourceId"], DISK);
    assert!(operation["endTime"].is_string());
    let disk = stage.get(DISK).await.json();
    let expected = json!({
        "id": DISK, "name": "d1", "type": "Microsoft.Compute/disks", "location": "westeurope",
        "properties": {"sizeGB": 4, "provisioningState": "Succeeded"},
    });
    assert_eq!(disk, expected);

    let deleted = stage.call(Method::DELETE, DISK).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    let location = stage.path_in(&deleted, "location");
    assert_eq!(stage.get(&location).await.status, StatusCode::ACCEPTED);
    let state = stage.get(DISK).await.json()["properties"]["provisioningState"].clone();
    assert_eq!(state, "Deleting");
    stage.later(60_000).await;
    assert_eq!(stage.get(&location).await.status, StatusCode::NO_CONTENT);
    let gone = stage.get(DISK).await;
    assert_eq!(
        (gone.status, &gone.json()["error"]["code"]),
        (StatusCode::NOT_FOUND, &json!("ResourceNotFound"))
    );
}

#[tokio::test(start_paused = true)]
async fn an_action_fails_with_code_and_message_or_is_cancelled() {
    let stage = Stage::speaking("azure").await;
    let request = stage.request(Method::POST, "/documents/7:analyze");
    let failing = request.header("x-simulate-scenario", "statement-failed");
    let made = stage.send(failing).await.unwrap();
    assert_eq!(
        (made.status, made.text.as_str()),
        (StatusCode::ACCEPTED, "")
    );
    let monitor = stage.path_in(&made, "operation-location");
    let location = stage.path_in(&made, "location");
    stage.later(60_000).await;
    let operation = stage.get(&monitor).await.json();
    assert_eq!(operation["status"], "Failed");
    for key in ["code", "message"] {
        assert!(
            operation["error"][key]
                .as_str()
                .is_some_and(|text| !text.is_empty())
        );
    }
    let result = stage.get(&location).await;
    assert_eq!(
        (result.status, &result.json()["error"]),
        (StatusCode::CONFLICT, &operation["error"])
    );

    let made = stage.post("/documents/8:analyze", &json!({})).await;
    let monitor = stage.path_in(&made, "operation-location");
    let cancel = format!("{monitor}:cancel");
    let cancelled = stage.post(&cancel, &json!({})).await;
    assert_eq!(
        (cancelled.status, &cancelled.json()["status"]),
        (StatusCode::ACCEPTED, &json!("Canceling"))
    );
    stage.later(2000).await;
    assert_eq!(stage.get(&monitor).await.json()["status"], "Canceled");
    assert_eq!(
        stage.post(&cancel, &json!({})).await.status,
        StatusCode::CONFLICT
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_or_not_allowed_is_refused_in_azures_words() {
    let stage = Stage::speaking("azure").await;
    let error = |answer: Answer| -> (u16, Value) {
        (
            answer.status.as_u16(),
            answer.json()["error"]["code"].clone(),
        )
    };
    let unknown = stage.get("/operations/none").await;
    assert_eq!(error(unknown), (404, json!("OperationNotFound")));
    assert_eq!(
        error(stage.get(DISK).await),
        (404, json!("ResourceNotFound"))
    );
    let bare = stage
        .client
        .get(format!("{}/operations/none", stage.control.base_url()));
    let refused = stage.send(bare).await.unwrap();
    assert_eq!(error(refused), (401, json!("InvalidAuthenticationToken")));
    let bad = stage.request(Method::PUT, DISK).body("{");
    assert_eq!(
        error(stage.send(bad).await.unwrap()),
        (400, json!("InvalidRequest"))
    );
    assert_eq!(stage.get("/_control").await.json()["dialect"], "azure");
}
