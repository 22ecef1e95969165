//! The control handle over HTTP, under `/_control`.

use std::collections::HashMap;
use std::future::{Ready, ready};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::control::Control;
use super::jobs::{CreateError, Truth};
use super::log::LoggedRequest;
use super::middleware::plain_pace;
use super::scenario::Scenario;

/// The longest script, in bytes: 4 MiB.
const MAX_REQUEST: usize = 4 * 1024 * 1024;

/// Requests in one answer, when the client does not say how many.
const PAGE: usize = 1000;

pub(super) fn routes() -> Router<Control> {
    let faults = get(async |State(control): State<Control>| Json(control.faults()))
        .post(inject)
        .delete(done(Control::clear_faults));
    Router::new()
        .route("/_control", get(overview))
        .route("/_control/scenarios", get(async || Json(Scenario::ALL)))
        .route("/_control/jobs", post(create))
        .route("/_control/jobs/{id}", get(truth))
        .route("/_control/faults", faults)
        .route("/_control/faults/{id}", delete(remove))
        .route("/_control/requests", get(requests))
        .route("/_control/tokens", delete(done(Control::revoke_tokens)))
        .route(
            "/_control/tokens/expire",
            post(done(Control::expire_tokens)),
        )
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(from_fn(plain_pace))
}

/// A request that is refused, and why.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

fn bad_request<E: std::error::Error>(why: E) -> Refused {
    Refused(StatusCode::BAD_REQUEST, why.to_string())
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(bad_request)
}

async fn overview(State(control): State<Control>) -> Json<Value> {
    let settings = control.settings();
    Json(json!({
        "base_url": control.base_url(), "dialect": settings.dialect.name(), "seed": settings.seed, "speed": settings.speed,
        "totals": control.totals(),
        "routes": [
            "GET /_control", "GET /_control/scenarios", "POST /_control/jobs", "GET /_control/jobs/{id}",
            "POST /_control/faults", "GET /_control/faults", "DELETE /_control/faults", "DELETE /_control/faults/{id}",
            "GET /_control/requests?after=&limit=", "POST /_control/tokens/expire", "DELETE /_control/tokens",
        ],
    }))
}

async fn create(
    State(control): State<Control>,
    body: Bytes,
) -> Result<(StatusCode, Json<Option<Truth>>), Refused> {
    let new = read(if body.is_empty() { b"{}" } else { &body })?;
    let id = control.create(new).map_err(|error| {
        let status = match error {
            CreateError::Taken(_) => StatusCode::CONFLICT,
            CreateError::Full => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        };
        Refused(status, error.to_string())
    })?;
    Ok((StatusCode::CREATED, Json(control.truth(&id))))
}

async fn truth(
    State(control): State<Control>,
    Path(id): Path<String>,
) -> Result<Json<Truth>, Refused> {
    let missing = || Refused(StatusCode::NOT_FOUND, format!("there is no job {id}"));
    control.truth(&id).map(Json).ok_or_else(missing)
}

async fn inject(
    State(control): State<Control>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), Refused> {
    let id = control.inject(read(&body)?).map_err(bad_request)?;
    Ok((StatusCode::CREATED, Json(json!({"id": id}))))
}

async fn remove(State(control): State<Control>, Path(id): Path<u64>) -> StatusCode {
    if control.remove_fault(id) {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn requests(
    State(control): State<Control>,
    Query(query): Query<HashMap<String, u64>>,
) -> Json<Vec<LoggedRequest>> {
    let after = query.get("after").copied().unwrap_or(0);
    let limit = query.get("limit").and_then(|&limit| limit.try_into().ok());
    Json(control.requests_after(after, limit.unwrap_or(PAGE)))
}

/// A route that does this and answers 204.
fn done(act: fn(&Control)) -> impl Fn(State<Control>) -> Ready<StatusCode> + Clone {
    move |State(control)| {
        act(&control);
        ready(StatusCode::NO_CONTENT)
    }
}
