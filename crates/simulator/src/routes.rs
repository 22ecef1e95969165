//! `GET /jobs/{id}`, its challenge, and the list of a user's jobs.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::auth::{self, Access};
use super::envelope::{ApiError, json_text};
use super::front::{front, guard};
use super::jobs::is_id;
use super::makers;
use super::shared::Shared;
use super::timeline::Verdict;

/// The longest request body, in bytes: 16 MiB, room for a statement.
const MAX_REQUEST: usize = 16 * 1024 * 1024;

/// The list of a user's jobs holds the newest so many.
const MAX_LISTED: usize = 500;

/// The list of a user's jobs goes back so far.
const LISTED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Deserialize)]
struct Answers {
    #[serde(rename = "mfa-response")]
    given: Vec<String>,
}

/// Everything but the control routes.
pub(super) fn api(shared: &Shared) -> Router<Shared> {
    Router::new()
        .route("/jobs/{id}", get(job))
        .route("/jobs/{id}/mfa", post(answer))
        .route("/users/{user}/jobs", get(jobs_of_user))
        .merge(makers::routes())
        .route_layer(from_fn(guard))
        .route("/token", post(auth::token))
        .route("/jobs", get(no_id))
        .route("/jobs/", get(no_id))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(middleware::from_fn_with_state(shared.clone(), front))
}

async fn no_route() -> ApiError {
    ApiError::NO_ROUTE
}

async fn wrong_method() -> ApiError {
    ApiError::METHOD
}

async fn no_id() -> ApiError {
    ApiError::missing("id", "Job ID not supplied")
}

fn check_accept(headers: &HeaderMap) -> Result<(), ApiError> {
    let mut accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|kind| kind.split(';').next().unwrap_or_default().trim())
        .peekable();
    let json = |kind: &str| matches!(kind, "*/*" | "application/*" | "application/json");
    if accepted.peek().is_none() || accepted.any(json) {
        Ok(())
    } else {
        Err(ApiError::ACCEPT)
    }
}

async fn job(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !is_id(&id) {
        return Err(ApiError::invalid("id", "Job ID value is not valid"));
    }
    check_accept(&headers)?;
    let base = shared.base_for(&headers);
    let now = shared.now();
    let mut world = shared.world();
    let job = world.jobs.get(&id, now).ok_or(ApiError::NOT_FOUND)?;
    access.allow(&job.user)?;
    job.counts.polls += 1;
    job.counts.first_poll.get_or_insert(now);
    job.counts.last_poll = Some(now);
    let (status, body) = job.answer(now, &base, false);
    drop(world);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Ok(match body {
        Some(body) => json_text(status, body),
        None => ApiError::of_status(status).into_response(),
    })
}

async fn answer(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if !is_id(&id) {
        return Err(ApiError::invalid("id", "Job ID value is not valid"));
    }
    let answers: Answers = serde_json::from_slice(&body).map_err(|_| {
        ApiError::missing("mfa-response", "mfa-response is required, a list of texts.")
    })?;
    if shared.settings().client_token_for_mfa && access == Access::Server {
        return Err(ApiError::FORBIDDEN);
    }
    let now = shared.now();
    let mut world = shared.world();
    let job = world.jobs.get(&id, now).ok_or(ApiError::NOT_FOUND)?;
    access.allow(&job.user)?;
    job.counts.answers += 1;
    match job.timeline.answer(now, &answers.given) {
        Verdict::Right | Verdict::Wrong => {
            let stub = makers::stub(job, &shared.base_for(&headers));
            Ok(json_text(StatusCode::ACCEPTED, stub.to_string()))
        }
        Verdict::NotAsked => Err(ApiError::invalid("id", "The job waits for no answer.")),
        Verdict::Count => Err(ApiError::invalid(
            "mfa-response",
            "mfa-response needs one text for each input.",
        )),
    }
}

async fn jobs_of_user(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path(user): Path<String>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    access.allow(&user)?;
    let wanted = match query.get("filter") {
        None => None,
        Some(filter) => Some(
            filter
                .strip_prefix("connection.id.eq('")
                .and_then(|rest| rest.strip_suffix("')"))
                .ok_or(ApiError::invalid("filter", "The filter cannot be read."))?,
        ),
    };
    let base = shared.base_for(&headers);
    let now = shared.now();
    let mut world = shared.world();
    let oldest = now.minus(LISTED_FOR);
    let newest = world.jobs.iter().rev();
    let ids: Vec<String> = newest
        .filter(|job| job.user == user && job.created > oldest)
        .filter(|job| wanted.is_none() || job.connection.as_deref() == wanted)
        .take(MAX_LISTED)
        .map(|job| job.id.clone())
        .collect();
    let data: Vec<Box<RawValue>> = ids
        .iter()
        .filter_map(|id| world.jobs.get(id, now)?.answer(now, &base, true).1)
        .filter_map(|body| RawValue::from_string(body).ok())
        .collect();
    drop(world);
    let links = json!({"self": format!("{base}/users/{user}/jobs")});
    let list = List {
        r#type: "list",
        size: data.len(),
        data,
        links,
    };
    let body = serde_json::to_string(&list).unwrap_or_default();
    Ok(json_text(StatusCode::OK, body))
}

#[derive(serde::Serialize)]
struct List {
    r#type: &'static str,
    size: usize,
    data: Vec<Box<RawValue>>,
    links: serde_json::Value,
}
