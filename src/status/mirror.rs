//! `GET /jobs/{id}`: the remote job as last seen, in the API's own shape and with its error envelope, so that a client
//! that polls the remote API can poll here instead (contract, section 7).

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use crate::core::job::JobId;

pub(super) async fn job(
    State(shared): State<Shared>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    // A path that is not UTF-8 is refused before this, and shall be refused in the same shape.
    let id = id.ok().and_then(|Path(id)| JobId::parse(&id).ok());
    let Some(id) = id else {
        let detail = "Job ID value is not valid.";
        return envelope(
            StatusCode::BAD_REQUEST,
            "parameter-not-valid",
            "Parameter value is not valid.",
            detail,
        );
    };
    match shared.store.resource(&id).await {
        Ok(Some(Some(resource))) => json_text(resource),
        Ok(Some(None)) => json_text(stub(&id)),
        Ok(None) => {
            let title = "Requested resource is not found.";
            envelope(
                StatusCode::NOT_FOUND,
                "resource-not-found",
                title,
                "No such job is tracked here.",
            )
        }
        Err(error) => {
            if error.is_temporary() {
                // It passes, and clients may ask often.
                tracing::debug!(job_id = %id, %error, "the job cannot be read just now");
            } else {
                tracing::error!(job_id = %id, %error, "the job cannot be read");
            }
            let title = "Service is currently unavailable. Please try again later.";
            envelope(
                StatusCode::SERVICE_UNAVAILABLE,
                "service-unavailable",
                title,
                "The database cannot be read.",
            )
        }
    }
}

pub(super) async fn no_such_route() -> Response {
    let title = "Requested resource is not found.";
    envelope(
        StatusCode::NOT_FOUND,
        "resource-not-found",
        title,
        "There is no such route here.",
    )
}

/// A job that has not been polled yet.
fn stub(id: &JobId) -> String {
    json!({"type": "job", "id": id, "steps": [], "links": {"self": format!("/jobs/{id}")}})
        .to_string()
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// A refusal in the API's shape (API-FACTS, section 2).
fn envelope(status: StatusCode, code: &str, title: &str, detail: &str) -> Response {
    let error = json!({"type": "error", "code": code, "title": title, "detail": detail});
    let body = json!({"type": "list", "correlationId": null, "data": [error]});
    (status, json_text(body.to_string())).into_response()
}
