//! The control handle over HTTP, under `/_control`.

use std::collections::HashMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{delete, get, post};
use serde_json::json;

use super::control::Control;
use super::envelope::json_text;
use super::faults::FaultRule;
use super::front::plainly;
use super::jobs::{CreateError, NewJob};
use super::scenario::Scenario;
use super::shared::Shared;

/// The longest script, in bytes: 4 MiB.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// Requests in one answer, when the client does not say how many.
const PAGE: usize = 1000;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/_control", get(overview))
        .route("/_control/scenarios", get(scenarios))
        .route("/_control/jobs", post(create))
        .route("/_control/jobs/{id}", get(truth))
        .route("/_control/faults", post(inject).get(faults).delete(clear))
        .route("/_control/faults/{id}", delete(remove))
        .route("/_control/requests", get(requests))
        .route("/_control/tokens", delete(revoke))
        .route("/_control/tokens/expire", post(expire))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(from_fn(plainly))
}

fn refuse(status: StatusCode, why: impl std::fmt::Display) -> Response {
    json_text(status, json!({"error": why.to_string()}).to_string())
}

fn ok(value: &impl serde::Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => json_text(StatusCode::OK, text),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

async fn overview(State(shared): State<Shared>) -> Response {
    let settings = shared.settings();
    let totals = Control::new(shared.clone()).totals();
    ok(&json!({
        "base_url": shared.base_url(), "seed": settings.seed, "speed": settings.speed, "totals": totals,
        "routes": [
            "GET /_control", "GET /_control/scenarios", "POST /_control/jobs", "GET /_control/jobs/{id}",
            "POST /_control/faults", "GET /_control/faults", "DELETE /_control/faults", "DELETE /_control/faults/{id}",
            "GET /_control/requests?after=&limit=", "POST /_control/tokens/expire", "DELETE /_control/tokens",
        ],
    }))
}

async fn scenarios() -> Response {
    ok(&Scenario::ALL)
}

async fn create(State(shared): State<Shared>, body: Bytes) -> Response {
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    let new: NewJob = match serde_json::from_slice(text) {
        Ok(new) => new,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    let control = Control::new(shared);
    match control.create(new) {
        Ok(id) => match serde_json::to_string(&control.truth(&id)) {
            Ok(text) => json_text(StatusCode::CREATED, text),
            Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, error),
        },
        Err(error @ CreateError::Taken(_)) => refuse(StatusCode::CONFLICT, error),
        Err(error @ CreateError::Full) => refuse(StatusCode::TOO_MANY_REQUESTS, error),
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

async fn truth(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    match Control::new(shared).truth(&id) {
        Some(truth) => ok(&truth),
        None => refuse(StatusCode::NOT_FOUND, format!("there is no job {id}")),
    }
}

async fn inject(State(shared): State<Shared>, body: Bytes) -> Response {
    let rule: FaultRule = match serde_json::from_slice(&body) {
        Ok(rule) => rule,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    match Control::new(shared).inject(rule) {
        Ok(id) => json_text(StatusCode::CREATED, json!({"id": id}).to_string()),
        Err(error) => refuse(StatusCode::BAD_REQUEST, error),
    }
}

async fn faults(State(shared): State<Shared>) -> Response {
    ok(&Control::new(shared).faults())
}

async fn clear(State(shared): State<Shared>) -> StatusCode {
    Control::new(shared).clear_faults();
    StatusCode::NO_CONTENT
}

async fn remove(State(shared): State<Shared>, Path(id): Path<u64>) -> StatusCode {
    if Control::new(shared).remove_fault(id) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn requests(
    State(shared): State<Shared>,
    Query(query): Query<HashMap<String, u64>>,
) -> Response {
    let after = query.get("after").copied().unwrap_or(0);
    let limit = query
        .get("limit")
        .and_then(|limit| usize::try_from(*limit).ok())
        .unwrap_or(PAGE);
    ok(&Control::new(shared).requests_after(after, limit))
}

async fn expire(State(shared): State<Shared>) -> StatusCode {
    Control::new(shared).expire_tokens();
    StatusCode::NO_CONTENT
}

async fn revoke(State(shared): State<Shared>) -> StatusCode {
    Control::new(shared).revoke_tokens();
    StatusCode::NO_CONTENT
}
