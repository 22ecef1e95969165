//! `GET /jobs/{id}`: the remote job as last seen, in the API's own shape and with its error envelope, so that a client
//! that polls the remote API can poll here instead (contract, section 7).

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::Parts;
use super::envelope::{envelope, json_text};
use crate::core::job::JobId;

pub(super) async fn job(
    State(parts): State<Parts>,
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
    match parts.store.resource(&id).await {
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

/// A job that has not been polled yet.
fn stub(id: &JobId) -> String {
    json!({"type": "job", "id": id, "steps": [], "links": {"self": format!("/jobs/{id}")}})
        .to_string()
}
