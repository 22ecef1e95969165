//! Answers with JSON.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// JSON that is ready.
pub(super) fn json_bytes(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// Records as JSON. They hold what can always be written.
pub(super) fn json_of(records: &impl Serialize) -> Response {
    json_bytes(serde_json::to_string(records).unwrap_or_default().into())
}
