//! The `openai-batch` dialect: files in, batches, files out.

use jobtrackd::simulator::{NewJob, Operation, OperationStatus, Phase, Script};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::Stage;

const ENDPOINT: &str = "/v1/chat/completions";

fn row(custom_id: &str, body: &Value) -> String {
    json!({"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}).to_string()
}

impl Stage {
    async fn upload(&self, lines: &str) -> String {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: \
             form-data; name=\"file\"; filename=\"in.jsonl\"\r\n\r\n{lines}\r\n--b--\r\n"
        );
        let request = self.request(Method::POST, "/v1/files").body(body);
        let form = request.header("content-type", "multipart/form-data; boundary=b");
        let file = self.send(form).await.unwrap().json();
        assert_eq!(
            (&file["object"], &file["bytes"]),
            (&json!("file"), &json!(lines.len()))
        );
        assert_eq!(
            (&file["filename"], &file["purpose"]),
            (&json!("in.jsonl"), &json!("batch"))
        );
        file["id"].as_str().unwrap().to_owned()
    }

    async fn batch(&self, lines: &str) -> String {
        let body = json!({
            "input_file_id": self.upload(lines).await, "endpoint": ENDPOINT,
            "completion_window": "24h", "metadata": {"customer": "c_9"},
        });
        let batch = self.post("/v1/batches", &body).await;
        assert_eq!(batch.status, StatusCode::OK, "{}", batch.text);
        let batch = batch.json();
        assert_eq!(
            (&batch["object"], &batch["status"]),
            (&json!("batch"), &json!("validating"))
        );
        assert_eq!(batch["metadata"], body["metadata"]);
        let id = batch["id"].as_str().unwrap();
        assert!(id.starts_with("batch_"), "{id}");
        format!("/v1/batches/{id}")
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_validated_run_finalized_and_has_an_answer_for_each_request() {
    let stage = Stage::speaking("openai-batch").await;
    let good = row("a", &json!({"model": "m"}));
    let bare = row("b", &json!({}));
    let path = stage.batch(&format!("{good}\n{bare}\n")).await;
    let mut seen = Vec::new();
    for _ in 0..300 {
        let status = stage.get(&path).await.json()["status"].clone();
        if seen.last() != Some(&status) {
            seen.push(status);
        }
        stage.later(100).await;
    }
    assert_eq!(
        seen,
        ["validating", "in_progress", "finalizing", "completed"]
    );
    let batch = stage.get(&path).await.json();
    assert_eq!(
        batch["request_counts"],
        json!({"total": 2, "completed": 1, "failed": 1})
    );
    assert_eq!(batch["errors"], Value::Null);
    let times: Vec<_> = [
        "created_at",
        "in_progress_at",
        "finalizing_at",
        "completed_at",
    ]
    .map(|key| batch[key].as_i64().unwrap())
    .into();
    assert!(times.is_sorted() && batch["failed_at"].is_null(), "{batch}");
    assert_eq!(batch["expires_at"].as_i64().unwrap(), times[0] + 86_400);

    for (key, custom_id, status) in [("output_file_id", "a", 200), ("error_file_id", "b", 400)] {
        let file = format!("/v1/files/{}", batch[key].as_str().unwrap());
        assert_eq!(stage.get(&file).await.json()["purpose"], "batch_output");
        let content = stage.get(&format!("{file}/content")).await.text;
        assert_eq!(content.lines().count(), 1);
        let line: Value = serde_json::from_str(&content).unwrap();
        assert_eq!(
            (&line["custom_id"], &line["error"]),
            (&json!(custom_id), &Value::Null)
        );
        assert_eq!(line["response"]["status_code"], status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_input_file_fails_the_batch_and_names_the_line() {
    let stage = Stage::speaking("openai-batch").await;
    let good = row("a", &json!({"model": "m"}));
    let path = stage.batch(&format!("{good}\nnot JSON\n")).await;
    stage.later(2000).await;
    let batch = stage.get(&path).await.json();
    assert_eq!(batch["status"], "failed");
    assert_eq!(batch["errors"]["object"], "list");
    let error = &batch["errors"]["data"][0];
    assert_eq!(
        (&error["code"], &error["line"]),
        (&json!("invalid_json_line"), &json!(2))
    );
    assert!(batch["failed_at"].is_i64() && batch["output_file_id"].is_null());
    assert_eq!(batch["request_counts"]["total"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_cancelled_or_expires_and_keeps_what_is_done() {
    let stage = Stage::speaking("openai-batch").await;
    let path = stage.batch(&row("a", &json!({"model": "m"}))).await;
    let cancelling = stage
        .post(&format!("{path}/cancel"), &json!({}))
        .await
        .json();
    assert_eq!(cancelling["status"], "cancelling");
    stage.later(1000).await;
    stage.post(&format!("{path}/cancel"), &json!({})).await;
    stage.later(1000).await;
    let cancelled = stage.get(&path).await.json();
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["cancelling_at"].is_i64() && cancelled["cancelled_at"].is_i64());
    let again = stage.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(again.status, StatusCode::CONFLICT);

    let expired = Operation::new(OperationStatus::Expired).at_percent(70);
    let new = NewJob {
        request: Some(json!({"metadata": {"n": "1"}, "total": 10})),
        ..NewJob::scripted(Script::new(vec![Phase::operation(0, expired)])).with_id("batch_1")
    };
    stage.control.create(new).unwrap();
    let batch = stage.get("/v1/batches/batch_1").await.json();
    assert_eq!(
        (&batch["status"], &batch["metadata"]["n"]),
        (&json!("expired"), &json!("1"))
    );
    assert_eq!(batch["request_counts"]["completed"], 7);
    let output = batch["output_file_id"].as_str().unwrap();
    let content = stage.get(&format!("/v1/files/{output}/content")).await.text;
    assert_eq!(content.lines().count(), 7);
}

#[tokio::test(start_paused = true)]
async fn batches_and_files_are_listed_and_refusals_have_openais_envelope() {
    let stage = Stage::speaking("openai-batch").await;
    for id in ["batch_1", "batch_2", "batch_3"] {
        stage.control.create(NewJob::default().with_id(id)).unwrap();
    }
    let page = stage.get("/v1/batches?limit=2").await.json();
    assert_eq!(
        (&page["has_more"], &page["last_id"]),
        (&json!(true), &json!("batch_2"))
    );
    let page = stage.get("/v1/batches?limit=2&after=batch_2").await.json();
    assert_eq!(
        (&page["has_more"], &page["first_id"]),
        (&json!(false), &json!("batch_1"))
    );

    let file = stage.upload("{}").await;
    assert_eq!(stage.get("/v1/files").await.json()["data"][0]["id"], file);
    let path = format!("/v1/files/{file}");
    assert_eq!(stage.get(&format!("{path}/content")).await.text, "{}");
    assert_eq!(
        stage.call(Method::DELETE, &path).await.json()["deleted"],
        true
    );
    assert_eq!(stage.get(&path).await.status, StatusCode::NOT_FOUND);

    let missing = stage.get("/v1/batches/batch_9").await;
    let expected = json!({"error": {
        "message": "No batch found with id 'batch_9'.", "type": "invalid_request_error",
        "param": null, "code": null,
    }});
    assert_eq!(
        (missing.status, missing.json()),
        (StatusCode::NOT_FOUND, expected)
    );
    let bare = stage
        .client
        .get(format!("{}/v1/batches", stage.control.base_url()));
    let refused = stage.send(bare).await.unwrap();
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.json()["error"]["code"], "invalid_api_key");
    for (body, param) in [
        (json!({}), "input_file_id"),
        (
            json!({"input_file_id": "x", "endpoint": "y"}),
            "completion_window",
        ),
        (
            json!({"input_file_id": "x", "endpoint": "y", "completion_window": "24h"}),
            "input_file_id",
        ),
    ] {
        let refused = stage.post("/v1/batches", &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json()["error"]["param"], param);
    }
    let no_form = stage.post("/v1/files", &json!({})).await;
    assert_eq!(no_form.status, StatusCode::BAD_REQUEST);
}
