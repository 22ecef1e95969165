//! An API whose HTTP status is the state of the job (202 as in RFC 9110), with errors as in RFC 9457.
//!
//! | request | answer |
//! |---|---|
//! | `POST /` | 202, `Location: /{id}`, `Retry-After`; half of the jobs with JSON |
//! | `GET /{id}` | 202 and `Retry-After` while it runs, half of the jobs with JSON; then, depending on the job's id, 200 or 201 with JSON or without, 204, or 303 to the result; if it failed, 409 or 422 with a problem document or a JSON error |
//! | `GET /results/{id}` | 200 and the result, 404 if there is none |
//! | `DELETE /{id}` | 202: it is being cancelled; 409 when it has ended |
//!
//! `http_status` of a script's operation chooses the status. Refusals are problem documents.

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::control::Control;
use crate::format::Head;
use crate::middleware::Call;
use crate::operation::{Ending, Operation, OperationError};
use crate::tokens::Auth;
use crate::wire::{Example, Shown, Wire, habits_of};

/// Seconds that a client should wait between two polls.
const RETRY_AFTER: &str = "1";

const PROBLEM: &str = "application/problem+json";

#[derive(Debug)]
pub(super) struct HttpStatus;

pub(super) fn routes() -> Router<Control> {
    Router::new()
        .route("/", post(create))
        .route("/{id}", get(status).delete(cancel))
        .route("/results/{id}", get(result))
}

impl Wire for HttpStatus {
    fn example(&self) -> Example {
        Example {
            create: r#"A job; its status is at the Location:
  curl -si {base}/ -H "Authorization: Bearer {key}" -d '{}'"#,
            poll: r#"curl -si {base}/61723 -H "Authorization: Bearer {key}""#,
        }
    }

    fn auth(&self) -> Auth {
        Auth::Open
    }

    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix('/')?;
        let id = rest.strip_prefix("results/").unwrap_or(rest);
        (!id.is_empty()).then_some(id)
    }

    fn show(&self, head: &Head<'_>, operation: &Operation) -> Shown {
        let mut habits = habits_of(head.id);
        let (has_body, choice) = (habits.bool(), habits.u8(..));
        match operation.status.ending() {
            None => {
                let body = json!({
                    "id": head.id, "status": operation.word.as_deref().unwrap_or("running"),
                    "percent": operation.percent(),
                });
                let status = operation.http_status.unwrap_or(202);
                bodied(status, &body, has_body || operation.word.is_some())
                    .with("retry-after", RETRY_AFTER)
            }
            Some(Ending::Success) => {
                let statuses = [200, 201, 204, 303];
                let drawn = statuses[usize::from(choice) % statuses.len()];
                let own = || json!({"id": head.id, "done": true});
                let result = operation.result.clone().unwrap_or_else(own);
                let location = format!("{}/results/{}", head.base, head.id);
                match operation.http_status.unwrap_or(drawn) {
                    204 => Shown::empty(204),
                    status @ (201 | 300..400) => {
                        let body = has_body && status == 201;
                        bodied(status, &result, body).with("location", location)
                    }
                    status => bodied(status, &result, has_body || operation.result.is_some()),
                }
            }
            Some(Ending::Failed) => {
                let drawn = if choice % 2 == 0 { 409 } else { 422 };
                let status = operation.http_status.unwrap_or(drawn);
                let error = operation.failure();
                if has_body {
                    return problem(status, &error, None);
                }
                let error = json!({"code": error.code, "message": error.message()});
                Shown::json(status, &json!({"error": error}))
            }
        }
    }

    fn refuse(&self, error: &ApiError, _job: Option<&str>, _correlation: &str) -> Shown {
        let own = OperationError {
            code: error.code.to_owned(),
            title: error.title.to_owned(),
            detail: error.detail.to_owned(),
        };
        problem(error.status.as_u16(), &own, error.parameter)
    }
}

fn bodied(status: u16, body: &Value, has_body: bool) -> Shown {
    if has_body {
        Shown::json(status, body)
    } else {
        Shown::empty(status)
    }
}

fn problem(status: u16, error: &OperationError, parameter: Option<&str>) -> Shown {
    let mut body = json!({
        "type": format!("urn:problem:{}", error.code), "title": error.title, "status": status,
        "detail": error.detail, "code": error.code,
    });
    if let Some(parameter) = parameter {
        body["parameter"] = parameter.into();
    }
    Shown::json(status, &body).of_kind(PROBLEM)
}

async fn create(call: Call, headers: HeaderMap, _body: Bytes) -> Result<Shown, ApiError> {
    let id = call.create(&headers, Value::Null, None)?;
    let has_body = habits_of(&id).bool();
    let body = json!({"id": id, "status": "accepted"});
    let location = format!("{}/{id}", call.base);
    Ok(bodied(202, &body, has_body)
        .with("location", location)
        .with("retry-after", RETRY_AFTER))
}

async fn status(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    call.poll(&id)
}

async fn result(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    let operation = call.on(&id, |job| job.operation(call.now))?;
    if operation.status.ending() != Some(Ending::Success) {
        return Err(ApiError::NOT_FOUND);
    }
    let own = || json!({"id": id, "done": true});
    Ok(Shown::json(200, &operation.result.unwrap_or_else(own)))
}

async fn cancel(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    if call.cancel(&id)? {
        Ok(Shown::empty(202).with("location", format!("{}/{id}", call.base)))
    } else {
        Err(ApiError::ENDED)
    }
}
