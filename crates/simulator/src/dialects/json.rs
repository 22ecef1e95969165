//! A generic task queue: a word, a number and times in plain JSON. Scripts with a `body` answer with any other JSON.
//!
//! | request | answer |
//! |---|---|
//! | `POST /tasks` | 202, the task, and its `Location`; any JSON body becomes its `input` |
//! | `GET /tasks/{id}` | the task |
//! | `GET /tasks?limit=&after=` | `{"tasks":[…],"next":ID or null}`, newest first |
//! | `POST /tasks/{id}/cancel` | 202 and the task; 409 when it has ended |
//! | `DELETE /tasks/{id}` | 204 |
//!
//! A task: `{"id","state":"RUNNING","progress":40,"input","result":null,"error":null,"createdAt","updatedAt"}`, with the
//! states `QUEUED`, `RUNNING`, `CANCELLING`, `DONE`, `FAILED`, `CANCELLED` and `EXPIRED`, and an error `{"code","title",
//! "detail"}`. A refusal is `{"error":{"code","title","detail"}}`.

use std::collections::HashMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::control::Control;
use crate::format::Head;
use crate::middleware::Call;
use crate::operation::{Operation, OperationStatus};
use crate::tokens::Auth;
use crate::wire::{Example, Shown, Wire};

/// Most tasks in a list, and their number if the client gives no `limit`.
const PAGE: usize = 100;

#[derive(Debug)]
pub(super) struct Json;

pub(super) fn routes() -> Router<Control> {
    Router::new()
        .route("/tasks", get(list).post(create))
        .route("/tasks/{id}", get(task).delete(remove))
        .route("/tasks/{id}/cancel", post(cancel))
}

impl Wire for Json {
    fn example(&self) -> Example {
        Example {
            create: r#"A task:
  curl -s {base}/tasks -H "Authorization: Bearer {key}" -d '{"any":"JSON"}'"#,
            poll: r#"curl -s {base}/tasks/61723 -H "Authorization: Bearer {key}""#,
        }
    }

    fn auth(&self) -> Auth {
        Auth::Open
    }

    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix("/tasks/")?.split('/').next()
    }

    fn show(&self, head: &Head<'_>, operation: &Operation) -> Shown {
        let state = operation.word.as_deref().unwrap_or(match operation.status {
            OperationStatus::Queued => "QUEUED",
            OperationStatus::Running | OperationStatus::Finishing => "RUNNING",
            OperationStatus::Cancelling => "CANCELLING",
            OperationStatus::Succeeded => "DONE",
            OperationStatus::Failed => "FAILED",
            OperationStatus::Cancelled => "CANCELLED",
            OperationStatus::Expired => "EXPIRED",
        });
        let mut task = json!({
            "id": head.id, "state": state, "progress": operation.percent(), "input": head.request,
            "result": null, "error": null,
            "createdAt": head.created.rfc3339(), "updatedAt": head.updated.rfc3339(),
        });
        match operation.status {
            OperationStatus::Succeeded => {
                let own = || json!({"url": format!("{}/tasks/{}/result", head.base, head.id)});
                task["result"] = operation.result.clone().unwrap_or_else(own);
            }
            status if status.ending().is_some() => {
                let error = operation.failure();
                task["error"] =
                    json!({"code": error.code, "title": error.title, "detail": error.detail});
            }
            _ => {}
        }
        Shown::json(200, &task)
    }

    fn refuse(&self, error: &ApiError, _job: Option<&str>, _correlation: &str) -> Shown {
        let body = json!({"code": error.code, "title": error.title, "detail": error.detail});
        Shown::json(error.status.as_u16(), &json!({"error": body}))
    }
}

async fn create(call: Call, headers: HeaderMap, body: Bytes) -> Result<Shown, ApiError> {
    let body: &[u8] = if body.is_empty() { b"null" } else { &body };
    let input: Value = serde_json::from_slice(body)
        .map_err(|_| ApiError::invalid("body", "The body is not JSON."))?;
    let id = call.create(&headers, input, None)?;
    let shown = call.show(&id)?;
    let location = format!("{}/tasks/{id}", call.base);
    Ok(shown.with("location", location).of_status(202))
}

async fn task(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    call.poll(&id)
}

async fn list(call: Call, Query(query): Query<HashMap<String, String>>) -> Shown {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok());
    let most = limit.unwrap_or(PAGE).clamp(1, PAGE);
    let (tasks, next) = call.list(query.get("after"), most, |_| true);
    Shown::json(200, &json!({"tasks": tasks, "next": next}))
}

async fn cancel(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    if !call.cancel(&id)? {
        return Err(ApiError::ENDED);
    }
    let shown = call.show(&id)?;
    Ok(shown.of_status(202))
}

async fn remove(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    call.remove(&id)?;
    Ok(Shown::empty(204))
}
