//! `POST /token`, `GET /jobs/{id}`, its challenge, and the list of a user's jobs.

use std::collections::HashMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::api_error::ApiError;
use super::control::Control;
use super::creating;
use super::jobs::is_id;
use super::middleware::Call;
use super::timeline::AnswerError;
use super::tokens::{Access, credentials};
use super::wire::Shown;

/// Most jobs in the list of a user's jobs.
const MAX_LISTED: usize = 500;

/// The longest age of a job in the list of a user's jobs.
const LISTED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Deserialize)]
struct Answers {
    #[serde(rename = "mfa-response")]
    answers: Vec<String>,
}

pub(super) fn routes() -> Router<Control> {
    let no_id = async || ApiError::missing("id", "Job ID not supplied");
    Router::new()
        .route("/jobs/{id}", get(job))
        .route("/jobs/{id}/mfa", post(answer))
        .route("/users/{user}/jobs", get(jobs_of_user))
        .route("/token", post(token))
        .route("/jobs", get(no_id))
        .route("/jobs/", get(no_id))
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

async fn job(call: Call, Path(id): Path<String>, headers: HeaderMap) -> Result<Shown, ApiError> {
    if !is_id(&id) {
        return Err(ApiError::invalid("id", "Job ID value is not valid"));
    }
    check_accept(&headers)?;
    call.poll(&id)
}

async fn answer(call: Call, Path(id): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    if !is_id(&id) {
        return Err(ApiError::invalid("id", "Job ID value is not valid"));
    }
    let body: Answers = serde_json::from_slice(&body).map_err(|_| {
        ApiError::missing("mfa-response", "mfa-response is required, a list of texts.")
    })?;
    if call.control.settings().client_token_for_mfa && call.access == Access::Server {
        return Err(ApiError::FORBIDDEN);
    }
    let mut state = call.control.state();
    let job = state.jobs.get(&id, call.now).ok_or(ApiError::NOT_FOUND)?;
    call.access.allow(&job.user)?;
    job.counts.answers += 1;
    match job.timeline.answer(call.now, &body.answers) {
        Ok(_) => Ok(creating::accepted(creating::stub(job, &call.base))),
        Err(AnswerError::Count) => Err(ApiError::invalid(
            "mfa-response",
            "mfa-response needs one text for each input.",
        )),
        Err(_) => Err(ApiError::invalid("id", "The job waits for no answer.")),
    }
}

async fn jobs_of_user(
    call: Call,
    Path(user): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    call.access.allow(&user)?;
    let by_connection = |filter: &String| -> Option<String> {
        let rest = filter.strip_prefix("connection.id.eq('")?;
        Some(rest.strip_suffix("')")?.to_owned())
    };
    let unreadable = ApiError::invalid("filter", "The filter cannot be read.");
    let filter = query.get("filter");
    let wanted = filter.map(|filter| by_connection(filter).ok_or(unreadable));
    let wanted = wanted.transpose()?;
    let (now, base) = (call.now, &call.base);
    let mut state = call.control.state();
    let oldest = now.minus(LISTED_FOR);
    let newest = state.jobs.iter().rev();
    let ids: Vec<String> = newest
        .filter(|job| job.user == user && job.created > oldest)
        .filter(|job| wanted.is_none() || job.connection == wanted)
        .take(MAX_LISTED)
        .map(|job| job.id.clone())
        .collect();
    let data: Vec<Box<RawValue>> = ids
        .iter()
        .filter_map(|id| state.jobs.get(id, now)?.answer(now, base, true).ok()?.body)
        .filter_map(|body| RawValue::from_string(body).ok())
        .collect();
    let links = json!({"self": format!("{base}/users/{user}/jobs")});
    let list = List {
        r#type: "list",
        size: data.len(),
        data,
        links,
    };
    Ok(Json(list).into_response())
}

#[derive(Serialize)]
struct List {
    r#type: &'static str,
    size: usize,
    data: Vec<Box<RawValue>>,
    links: Value,
}

async fn token(
    State(control): State<Control>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    if !headers.contains_key(header::AUTHORIZATION) {
        let detail = "Authorization header parameter is required";
        return Err(ApiError::missing("authorization", detail));
    }
    let key = credentials(&headers, "basic").ok_or(ApiError::TOKEN_SCHEME)?;
    let version = version(&headers)?;
    let (settings, now) = (control.settings(), control.now());
    let mut state = control.state();
    let limit = settings.token_calls_per_5_minutes;
    if !state.tokens.allows_call(now, limit) {
        return Err(ApiError::TOKEN_LIMIT);
    }
    if settings
        .api_key
        .as_ref()
        .is_some_and(|expected| expected != key)
    {
        return Err(ApiError::TOKEN_KEY);
    }
    let user = scope(version, &headers, &body)?;
    let token = state.tokens.issue(user, now.plus(settings.token_life));
    state.log.totals.tokens += 1;
    Ok(Json(json!({
        "access_token": token, "token_type": "Bearer",
        "expires_in": settings.token_life.as_secs(),
    })))
}

fn version(headers: &HeaderMap) -> Result<&str, ApiError> {
    let name = "basiq-version";
    let version = headers.get(name).and_then(|value| value.to_str().ok());
    match version {
        Some(version @ ("1.0" | "2.0" | "2.1" | "3.0")) => Ok(version),
        Some("0.9") => Err(ApiError::invalid(
            name,
            "Version 0.9 is no longer supported. Use a later one.",
        )),
        Some(_) => Err(ApiError::invalid(
            name,
            "The basiq-version is not one of 1.0, 2.0, 2.1 and 3.0.",
        )),
        None => Err(ApiError::missing(
            name,
            "Basiq-version must be specified in HTTP request header",
        )),
    }
}

/// The user whose token is wanted; `None`: the server's own.
fn scope(version: &str, headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE);
    let form_type = b"application/x-www-form-urlencoded";
    let is_form = kind.is_some_and(|kind| kind.as_bytes().starts_with(form_type));
    if !is_form && version == "3.0" {
        return Err(ApiError::CONTENT_TYPE);
    }
    let field = |name: &str| {
        let mut fields = form_urlencoded::parse(if is_form { body } else { b"" });
        let found = fields.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned())
    };
    match field("scope").as_deref() {
        Some("SERVER_ACCESS") => Ok(None),
        Some("CLIENT_ACCESS") => {
            let user = field("userId").filter(|user| !user.is_empty());
            let missing = ApiError::missing("userId", "CLIENT_ACCESS needs a userId.");
            user.map(Some).ok_or(missing)
        }
        Some(_) => Err(ApiError::invalid(
            "scope",
            "The scope is SERVER_ACCESS or CLIENT_ACCESS.",
        )),
        None if version == "3.0" => Err(ApiError::missing("scope", "Scope is required.")),
        None => Ok(None),
    }
}
