//! Long-running operations of Azure Resource Manager and of Azure's other services.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /{path}` | 201, the resource, `Azure-AsyncOperation` (`Operation-Location` outside `/subscriptions/`), `Retry-After` |
//! | `PATCH`, `POST`, `DELETE /{path}` | 202, the same headers, and `Location` |
//! | `GET /operations/{id}` | the operation; `Retry-After` while it runs |
//! | `POST /operations/{id}:cancel` | 202; 409 when it has ended |
//! | `GET /operationresults/{id}` (`Location`) | 202 while it runs, then 200 and the result, 204 after `DELETE`, or 409 and the error |
//! | `GET /{path}` | the resource with its `provisioningState`; 404 if it was not created, or is deleted |
//!
//! An operation: `{"id","name","status","percentComplete","startTime","endTime","properties","error"}`, with the statuses
//! `NotStarted`, `InProgress` or `Running`, `Canceling`, `Succeeded`, `Failed` and `Canceled`. A refusal is
//! `{"error":{"code","message"}}`.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::{HeaderMap, Method};
use axum::routing::{any, get};
use serde_json::{Map, Value, json};

use crate::api_error::ApiError;
use crate::control::Control;
use crate::format::Head;
use crate::middleware::Call;
use crate::operation::{Ending, Operation, OperationStatus};
use crate::wire::{Example, Shown, Wire, habits_of};

/// Seconds that a client should wait between two polls.
const RETRY_AFTER: &str = "1";

#[derive(Debug)]
pub(super) struct Azure;

pub(super) fn routes() -> Router<Control> {
    Router::new()
        .route("/operations/{id}", get(operation).post(cancel))
        .route("/operationresults/{id}", get(result))
        .route("/{*path}", any(resource))
}

impl Wire for Azure {
    fn example(&self) -> Example {
        Example {
            create: r#"A resource; the operation is at the Azure-AsyncOperation:
  curl -si -X PUT {base}/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d1 \
    -H "Authorization: Bearer {key}" -d '{"location":"westeurope"}'"#,
            poll: r#"curl -si {base}/operations/61723 -H "Authorization: Bearer {key}""#,
        }
    }

    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let id = path
            .strip_prefix("/operations/")
            .or_else(|| path.strip_prefix("/operationresults/"))?;
        Some(id.strip_suffix(":cancel").unwrap_or(id))
    }

    fn show(&self, head: &Head<'_>, operation: &Operation) -> Shown {
        let mut body = json!({
            "id": format!("/operations/{}", head.id), "name": head.id,
            "status": status(head.id, operation), "startTime": head.created.rfc3339(),
            "percentComplete": operation.percent(),
        });
        let Some(ending) = operation.status.ending() else {
            return Shown::json(200, &body).with("retry-after", RETRY_AFTER);
        };
        body["endTime"] = head.updated.rfc3339().into();
        match ending {
            Ending::Success => {
                let own = || json!({"resourceId": head.request["path"]});
                body["properties"] = operation.result.clone().unwrap_or_else(own);
            }
            Ending::Failed => body["error"] = failure(operation),
        }
        Shown::json(200, &body)
    }

    fn refuse(&self, error: &ApiError, job: Option<&str>, _correlation: &str) -> Shown {
        let (code, message) = match (error.status.as_u16(), job) {
            (401, _) => ("InvalidAuthenticationToken", error.detail.to_owned()),
            (403, _) => ("AuthorizationFailed", error.detail.to_owned()),
            (404, Some(id)) => (
                "OperationNotFound",
                format!("The operation '{id}' was not found."),
            ),
            (404, None) => ("ResourceNotFound", "The resource was not found.".to_owned()),
            (409, _) => ("Conflict", error.detail.to_owned()),
            (429, _) => ("TooManyRequests", error.detail.to_owned()),
            (503, _) => ("ServiceUnavailable", error.detail.to_owned()),
            (500.., _) => ("InternalServerError", error.detail.to_owned()),
            _ => ("InvalidRequest", error.detail.to_owned()),
        };
        let body = json!({"error": {"code": code, "message": message}});
        Shown::json(error.status.as_u16(), &body)
    }

    fn rename(&self, body: &mut Map<String, Value>, id: &str) {
        body.insert("id".to_owned(), format!("/operations/{id}").into());
        body.insert("name".to_owned(), id.into());
    }
}

/// Services differ in the word for a running operation: half of the jobs have one, half the other.
fn status(id: &str, operation: &Operation) -> String {
    let word = match operation.status {
        OperationStatus::Queued => "NotStarted",
        OperationStatus::Running | OperationStatus::Finishing if habits_of(id).bool() => "Running",
        OperationStatus::Running | OperationStatus::Finishing => "InProgress",
        OperationStatus::Cancelling => "Canceling",
        OperationStatus::Succeeded => "Succeeded",
        OperationStatus::Failed | OperationStatus::Expired => "Failed",
        OperationStatus::Cancelled => "Canceled",
    };
    operation.word.clone().unwrap_or_else(|| word.to_owned())
}

fn failure(operation: &Operation) -> Value {
    let error = operation.failure();
    json!({"code": error.code, "message": error.message(), "details": []})
}

async fn operation(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    call.poll(&id)
}

async fn cancel(call: Call, Path(verb): Path<String>) -> Result<Shown, ApiError> {
    let id = verb.strip_suffix(":cancel").ok_or(ApiError::METHOD)?;
    if !call.cancel(id)? {
        return Err(ApiError::ENDED);
    }
    let shown = call.show(id)?;
    Ok(shown.of_status(202))
}

async fn result(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    let (operation, request) =
        call.on(&id, |job| (job.operation(call.now), job.request.clone()))?;
    Ok(match operation.status.ending() {
        None => Shown::empty(202)
            .with("location", format!("{}/operationresults/{id}", call.base))
            .with("retry-after", RETRY_AFTER),
        Some(Ending::Success) if request["method"] == "DELETE" => Shown::empty(204),
        Some(Ending::Success) => {
            let own = || record(&request, &operation);
            Shown::json(200, &operation.result.clone().unwrap_or_else(own))
        }
        Some(Ending::Failed) => Shown::json(409, &json!({"error": failure(&operation)})),
    })
}

/// Any other path is that of a resource.
async fn resource(
    call: Call,
    method: Method,
    Path(path): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Shown, ApiError> {
    let path = format!("/{path}");
    if method == Method::GET {
        return read(&call, &path);
    }
    let body: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let body: Value = serde_json::from_slice(body)
        .map_err(|_| ApiError::invalid("body", "The body is not JSON."))?;
    let request = json!({"method": method.as_str(), "path": path, "body": body});
    let shown = match method {
        Method::PUT => {
            let queued = Operation::new(OperationStatus::Queued);
            Shown::json(201, &record(&request, &queued))
        }
        Method::PATCH | Method::POST | Method::DELETE => Shown::empty(202),
        _ => return Err(ApiError::METHOD),
    };
    let id = call.create(&headers, request, None)?;
    let monitor = if path.starts_with("/subscriptions/") {
        "azure-asyncoperation"
    } else {
        "operation-location"
    };
    let shown = shown
        .with(monitor, format!("{}/operations/{id}", call.base))
        .with("retry-after", RETRY_AFTER);
    Ok(match shown.status {
        202 => shown.with("location", format!("{}/operationresults/{id}", call.base)),
        _ => shown,
    })
}

fn read(call: &Call, path: &str) -> Result<Shown, ApiError> {
    let state = call.control.state();
    let mut newest = state.jobs.iter().rev();
    let job = newest.find(|job| job.request["path"] == path && job.request["method"] != "POST");
    let job = job.ok_or(ApiError::NOT_FOUND)?;
    let operation = job.operation(call.now);
    let is_over = operation.status.ending() == Some(Ending::Success);
    if is_over && job.request["method"] == "DELETE" {
        return Err(ApiError::NOT_FOUND);
    }
    Ok(Shown::json(200, &record(&job.request, &operation)))
}

/// The resource that a request is about, in the present state of its operation.
fn record(request: &Value, operation: &Operation) -> Value {
    let state = match operation.status {
        OperationStatus::Succeeded => "Succeeded",
        OperationStatus::Failed | OperationStatus::Expired => "Failed",
        OperationStatus::Cancelled => "Canceled",
        _ => match request["method"].as_str() {
            Some("PUT") => "Creating",
            Some("DELETE") => "Deleting",
            _ => "Updating",
        },
    };
    let path = request["path"].as_str().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let kind = parts.windows(3).rev().find(|three| three[0] == "providers");
    let kind = kind.map(|three| three[1..].join("/"));
    let body = &request["body"];
    let mut properties = body["properties"].as_object().cloned().unwrap_or_default();
    properties.insert("provisioningState".to_owned(), state.into());
    json!({
        "id": path, "name": parts.last(), "type": kind, "location": body["location"],
        "properties": properties,
    })
}
