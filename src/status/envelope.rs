//! Answers with JSON.

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Serialized JSON.
pub(super) fn json_bytes(bytes: Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// Records as JSON, which cannot fail.
pub(super) fn json_of(records: &impl Serialize) -> Response {
    json_bytes(serde_json::to_string(records).unwrap_or_default().into())
}
