//! Google's long-running operations (`google.longrunning.Operations`, over HTTP and JSON).
//!
//! | request | answer |
//! |---|---|
//! | `POST`, `PATCH`, `DELETE /v1/{path}` of anything but an operation | 200 and an operation, named `{parent}/operations/{id}` where the path has a parent (`projects/p/locations/l/things`), else `operations/{id}` |
//! | `GET /v1/{parent/}operations/{id}`, `GET /v1/{id}` | the operation |
//! | `POST …/operations/{id}:wait` | the same once it is done, at the latest after `{"timeout":"10s"}`, 60 s at most |
//! | `POST …/operations/{id}:cancel` | 200 and `{}`, also when it has ended |
//! | `DELETE …/operations/{id}` | 200 and `{}`: it is removed, even while it runs |
//! | `GET /v1/{parent/}operations?pageSize=&pageToken=` | `{"operations":[…],"nextPageToken"}`, newest first |
//!
//! An operation: `{"name","metadata","done","response" or "error"}`; `done` is left out by half of the jobs while it is
//! false. The metadata is a `simulator.v1.OperationMetadata`: `createTime`, `updateTime`, `endTime` (timestamps), `target`,
//! `verb`, `statusMessage` (strings), `progressPercent` (int32), `cancelRequested` (bool). The response is a
//! `google.protobuf.Struct`. The code of an error is a `google.rpc.Code`: the script's own if that is a number, else the
//! one in [`CODES`] that fits. A refusal is `{"error":{"code","message","status","details"}}`.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, Method};
use axum::routing::any;
use serde_json::{Map, Value, json};
use tokio::time::sleep;

use crate::api_error::ApiError;
use crate::control::Control;
use crate::format::Head;
use crate::middleware::Call;
use crate::operation::{Ending, Operation, OperationStatus};
use crate::wire::{Example, Shown, Wire, habits_of};

/// Operations in a list, if the client gives no `pageSize`.
const PAGE: usize = 100;

/// Most operations in a list.
const MAX_PAGE: usize = 1000;

/// The longest `:wait`.
const MAX_WAIT: Duration = Duration::from_secs(60);

const METADATA: &str = "type.googleapis.com/simulator.v1.OperationMetadata";

/// `google.rpc.Code` by a part of an error's code; the first match counts.
const CODES: [(&str, i32); 9] = [
    ("not-found", 5),
    ("exist", 6),
    ("credential", 16),
    ("authoriz", 7),
    ("limit", 8),
    ("quota", 8),
    ("time", 4),
    ("unavailable", 14),
    ("invalid", 3),
];

/// The code `UNKNOWN`, for all others.
const UNKNOWN: i32 = 2;

#[derive(Debug)]
pub(super) struct GoogleLro;

pub(super) fn routes() -> Router<Control> {
    Router::new().route("/v1/{*path}", any(answer))
}

impl Wire for GoogleLro {
    fn example(&self) -> Example {
        Example {
            create: r#"An operation:
  curl -s {base}/v1/projects/p/locations/l/things -H "Authorization: Bearer {key}" -d '{}'"#,
            poll: r#"curl -s {base}/v1/operations/61723 -H "Authorization: Bearer {key}""#,
        }
    }

    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let (name, _) = split_verb(path.strip_prefix("/v1/")?);
        operation_in(name)
    }

    fn show(&self, head: &Head<'_>, operation: &Operation) -> Shown {
        let ending = operation.status.ending();
        let mut metadata = json!({
            "@type": METADATA, "createTime": head.created.rfc3339(), "updateTime": head.updated.rfc3339(),
            "progressPercent": operation.percent(),
        });
        for key in ["target", "verb"] {
            if let Some(text) = head.request[key].as_str() {
                metadata[key] = text.into();
            }
        }
        if let Some(word) = &operation.word {
            metadata["statusMessage"] = word.as_str().into();
        }
        if operation.status == OperationStatus::Cancelling {
            metadata["cancelRequested"] = true.into();
        }
        let mut body = json!({"name": name(head.request, head.id)});
        match ending {
            None => {
                if habits_of(head.id).bool() {
                    body["done"] = false.into();
                }
            }
            Some(ending) => {
                body["done"] = true.into();
                metadata["endTime"] = head.updated.rfc3339().into();
                let (key, end) = match ending {
                    Ending::Success => ("response", response(head, operation)),
                    Ending::Failed => ("error", failure(operation)),
                };
                body[key] = end;
            }
        }
        body["metadata"] = metadata;
        Shown::json(200, &body)
    }

    fn refuse(&self, error: &ApiError, job: Option<&str>, _correlation: &str) -> Shown {
        let code = error.status.as_u16();
        let status = match code {
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 | 410 => "NOT_FOUND",
            409 => "ABORTED",
            429 => "RESOURCE_EXHAUSTED",
            501 => "UNIMPLEMENTED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            _ if error.status.is_client_error() => "FAILED_PRECONDITION",
            _ => "INTERNAL",
        };
        let message = match job {
            Some(id) if code == 404 => format!("Operation not found: {id}"),
            _ => error.detail.to_owned(),
        };
        let body = json!({"code": code, "message": message, "status": status, "details": []});
        Shown::json(code, &json!({"error": body}))
    }

    fn rename(&self, body: &mut Map<String, Value>, id: &str) {
        body.insert("name".to_owned(), format!("operations/{id}").into());
    }
}

fn name(request: &Value, id: &str) -> String {
    match request["parent"].as_str() {
        None | Some("") => format!("operations/{id}"),
        Some(parent) => format!("{parent}/operations/{id}"),
    }
}

fn response(head: &Head<'_>, operation: &Operation) -> Value {
    let own = || json!({"name": head.request["target"], "state": "READY"});
    let value = operation.result.clone().unwrap_or_else(own);
    json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": value})
}

fn failure(operation: &Operation) -> Value {
    let error = operation.failure();
    let by_word = || CODES.iter().find(|(part, _)| error.code.contains(part));
    let code = match operation.status {
        OperationStatus::Cancelled => 1,
        OperationStatus::Expired => 4,
        _ => match error.code.parse() {
            Ok(code) => code,
            Err(_) => by_word().map_or(UNKNOWN, |(_, code)| *code),
        },
    };
    let info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo", "domain": "simulator",
        "reason": error.code.to_uppercase().replace('-', "_"),
    });
    json!({"code": code, "message": error.message(), "details": [info]})
}

/// Splits `name:verb`.
fn split_verb(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once(':') {
        Some((name, verb)) => (name, Some(verb)),
        None => (path, None),
    }
}

/// The id of the operation that a path below `/v1/` names, if it names one.
fn operation_in(name: &str) -> Option<&str> {
    match name.rsplit_once('/') {
        None => (name != "operations").then_some(name),
        Some((collection, id)) => {
            let is_one = collection == "operations" || collection.ends_with("/operations");
            is_one.then_some(id)
        }
    }
}

/// A path without its last segments, `last` of them.
fn parent_of(path: &str, last: usize) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    let kept = parts.len().saturating_sub(last);
    parts.get(..kept).unwrap_or_default().join("/")
}

async fn answer(
    mut call: Call,
    method: Method,
    Path(path): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Shown, ApiError> {
    let (name, verb) = split_verb(&path);
    let operation = operation_in(name);
    match (method.as_str(), operation, verb) {
        ("GET", Some(id), None) => call.poll(id),
        ("GET", None, None) => list(&call, name, &query),
        ("POST", Some(id), Some("cancel")) => {
            call.cancel(id)?;
            Ok(Shown::json(200, &json!({})))
        }
        ("POST", Some(id), Some("wait")) => {
            wait(&mut call, id, &body).await?;
            call.poll(id)
        }
        ("DELETE", Some(id), None) if name.contains('/') => {
            call.remove(id)?;
            Ok(Shown::json(200, &json!({})))
        }
        ("POST" | "PATCH" | "DELETE", ..) => {
            // With an even number of segments the last one is an item of a collection, else a collection.
            let parts = name.split('/').count();
            let parent = parent_of(name, if parts % 2 == 0 { 2 } else { 1 });
            let verb = verb.map_or_else(|| method.as_str().to_lowercase(), str::to_owned);
            let request = json!({"parent": parent, "target": name, "verb": verb});
            let id = call.create(&headers, request, None)?;
            call.show(&id)
        }
        _ => Err(ApiError::METHOD),
    }
}

fn list(call: &Call, name: &str, query: &HashMap<String, String>) -> Result<Shown, ApiError> {
    let parent = match name.strip_suffix("operations") {
        Some(parent) if parent.is_empty() || parent.ends_with('/') => parent.trim_end_matches('/'),
        _ => return Err(ApiError::NOT_FOUND),
    };
    let size = query.get("pageSize").and_then(|size| size.parse().ok());
    let most = size.filter(|size| *size > 0).unwrap_or(PAGE).min(MAX_PAGE);
    let after = query.get("pageToken").filter(|token| !token.is_empty());
    let (operations, next) = call.list(after, most, |job| {
        job.request["parent"].as_str().unwrap_or_default() == parent
    });
    let body = json!({"operations": operations, "nextPageToken": next.unwrap_or_default()});
    Ok(Shown::json(200, &body))
}

/// Waits until the operation is done, or for the client's `timeout` if that is shorter.
async fn wait(call: &mut Call, id: &str, body: &[u8]) -> Result<(), ApiError> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let seconds = body["timeout"]
        .as_str()
        .and_then(|text| text.strip_suffix('s')?.parse().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let longest = seconds.unwrap_or(MAX_WAIT).min(MAX_WAIT);
    let ends = call.on(id, |job| job.timeline.ends())?;
    let left = ends.map_or(MAX_WAIT, |ends| ends.since(call.now));
    sleep(left.min(longest)).await;
    call.now = call.control.now();
    Ok(())
}
