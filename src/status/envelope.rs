//! Answers in the API's shape: JSON as it came, and refusals (docs/api.md, fact 21).

use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

/// A page of a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Page<T> {
    #[schema(pattern = "^list$")]
    r#type: &'static str,
    data: Vec<T>,
    /// Where to go on, as `after`; null at the end.
    #[schema(required)]
    next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn of(data: Vec<T>, next: Option<String>) -> Self {
        Self {
            r#type: "list",
            data,
            next,
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

pub(super) fn json_text(text: String) -> Response {
    json_bytes(text.into())
}

/// JSON that is ready.
pub(super) fn json_bytes(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// Records as JSON. They hold what can always be written.
pub(super) fn json_of(records: &impl Serialize) -> Response {
    json_text(serde_json::to_string(records).unwrap_or_default())
}

/// A refusal in the API's shape (docs/api.md, fact 21).
pub(super) fn envelope(status: StatusCode, code: &str, title: &str, detail: &str) -> Response {
    let error = json!({"type": "error", "code": code, "title": title, "detail": detail});
    let body = json!({"type": "list", "correlationId": null, "data": [error]});
    (status, json_text(body.to_string())).into_response()
}
