//! Layers around all routes of the API: the log, the token, and the faults.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::time::sleep;

use super::api_error::{ApiError, json_text};
use super::conditional::Known;
use super::control::Control;
use super::faults::{Fault, RetryAfter};
use super::format::IdStyle;
use super::log::LoggedRequest;
use super::socket::{Pace, PaceHandle};
use super::tokens::Access;
use jobtrackd_core::time::UnixMillis;

/// The longest answer of the API itself.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

const HTML: &str = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n\
    <center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n";

/// A request whose token is valid.
pub(super) struct Call {
    pub(super) control: Control,
    pub(super) access: Access,
    /// The base of links.
    pub(super) base: String,
    pub(super) now: UnixMillis,
}

impl FromRequestParts<Control> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, ApiError> {
        let access = parts.extensions.get::<Access>();
        let access = access.cloned().unwrap_or(Access::Missing);
        access.check()?;
        Ok(Self {
            base: control.base_for(&parts.headers),
            now: control.now(),
            control: control.clone(),
            access,
        })
    }
}

/// Ends the count of an open request, also when the client leaves and the handler is dropped.
struct OpenRequest {
    control: Control,
    number: u64,
    status: Option<u16>,
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.control.state().log.left(self.number, self.status);
    }
}

pub(super) async fn api(
    State(control): State<Control>,
    ConnectInfo(pace): ConnectInfo<PaceHandle>,
    mut request: Request,
    next: Next,
) -> Response {
    pace.set(Pace::Plain);
    let arrival = arrive(&control, &request);
    let mut open = OpenRequest {
        control: control.clone(),
        number: arrival.number,
        status: None,
    };
    let job = arrival.job.as_deref();
    let known = Known::of(request.method(), request.headers());
    let is_sound = arrival.fault.is_none();
    request.extensions_mut().insert(arrival.access);
    let stopped = control.stop().cancelled();
    let response = tokio::select! {
        response = answer(&control, &pace, (arrival.fault, job), request, next) => response,
        () = stopped => ApiError::of_status(StatusCode::SERVICE_UNAVAILABLE).into_response(),
    };
    let mut response = finish(&control, response, job);
    if is_sound {
        // A fault strikes the whole answer.
        response = known.answer(response);
    }
    open.status = Some(response.status().as_u16());
    response
}

/// An earlier answer on this connection may have been written at another pace.
pub(super) async fn plain_pace(
    ConnectInfo(pace): ConnectInfo<PaceHandle>,
    request: Request,
    next: Next,
) -> Response {
    pace.set(Pace::Plain);
    next.run(request).await
}

/// A request that came in.
struct Arrival {
    number: u64,
    access: Access,
    /// The job that its path names.
    job: Option<String>,
    fault: Option<Fault>,
}

fn arrive(control: &Control, request: &Request) -> Arrival {
    let now = control.now();
    let path = request.uri().path();
    let settings = control.settings();
    let wire = settings.dialect.wire();
    let job = wire.job_in(path);
    let mut state = control.state();
    let key = settings.api_key.as_deref();
    let access = state
        .tokens
        .access(wire.auth(), key, request.headers(), now);
    let whole = request.uri().path_and_query();
    let mut entry = LoggedRequest {
        number: 0,
        at: now,
        method: request.method().to_string(),
        path: whole.map_or_else(|| path.to_owned(), ToString::to_string),
        authorized: access.check().is_ok(),
        user: match &access {
            Access::Client(user) => Some(user.clone()),
            _ => None,
        },
        job: job.map(str::to_owned),
        status: None,
        fault: None,
    };
    let created = job.and_then(|id| state.jobs.created(id));
    let fault = state.faults.strike(&entry, created);
    entry.fault = fault.as_ref().map(Fault::name);
    Arrival {
        number: state.log.arrived(entry),
        access,
        job: job.map(str::to_owned),
        fault,
    }
}

async fn answer(
    control: &Control,
    pace: &PaceHandle,
    (fault, job): (Option<Fault>, Option<&str>),
    request: Request,
    next: Next,
) -> Response {
    let Some(fault) = fault else {
        return next.run(request).await;
    };
    match fault {
        Fault::Status {
            status,
            retry_after,
            body,
        } => failure(control, status, retry_after.as_ref(), body),
        Fault::RateLimit { retry_after, .. } => failure(control, 429, retry_after.as_ref(), None),
        Fault::NotFoundFor { .. } => ApiError::NOT_FOUND.into_response(),
        Fault::Html => {
            let kind = [(header::CONTENT_TYPE, "text/html")];
            (StatusCode::BAD_GATEWAY, kind, HTML).into_response()
        }
        Fault::Redirect { to, status } => {
            let status = StatusCode::from_u16(status.unwrap_or(302)).unwrap_or(StatusCode::FOUND);
            (status, [(header::LOCATION, to)]).into_response()
        }
        Fault::Hang => std::future::pending().await,
        Fault::Delay { ms } => {
            sleep(Duration::from_millis(ms)).await;
            next.run(request).await
        }
        Fault::Drip { bytes, every_ms } => {
            let response = finish(control, next.run(request).await, job);
            let every = Duration::from_millis(every_ms);
            pace.set(Pace::Drip { bytes, every });
            response
        }
        Fault::Reset { after_bytes } => {
            let response = finish(control, next.run(request).await, job);
            pace.set(Pace::Cut {
                left: after_bytes,
                in_body: false,
            });
            response
        }
        Fault::Empty | Fault::Truncated | Fault::Padded { .. } | Fault::WrongId { .. } => {
            let response = finish(control, next.run(request).await, job);
            distort(control, &fault, response).await
        }
    }
}

/// Adds the body of a refusal.
fn finish(control: &Control, mut response: Response, job: Option<&str>) -> Response {
    let refusal = response.extensions_mut().remove::<ApiError>();
    match refusal.or_else(|| refused_by_the_framework(&response)) {
        None => response,
        Some(error) => {
            let correlation = IdStyle::Uuid.draw(&mut control.state().rng);
            let wire = control.settings().dialect.wire();
            let mut full = wire.refuse(&error, job, &correlation).into_response();
            if let Some(value) = response.headers_mut().remove(header::RETRY_AFTER) {
                full.headers_mut().insert(header::RETRY_AFTER, value);
            }
            full
        }
    }
}

/// The library refuses a path or body before a handler in plain text, which the API never uses.
fn refused_by_the_framework(response: &Response) -> Option<ApiError> {
    let plain = response.headers().get(header::CONTENT_TYPE)?;
    let refused =
        response.status().is_client_error() && plain.as_bytes().starts_with(b"text/plain");
    refused.then(|| ApiError::of_status(response.status()))
}

fn failure(
    control: &Control,
    status: u16,
    retry_after: Option<&RetryAfter>,
    body: Option<String>,
) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = match body {
        Some(body) => json_text(status, body),
        None if status.is_client_error() || status.is_server_error() => {
            ApiError::of_status(status).into_response()
        }
        None => status.into_response(),
    };
    let value = retry_after.map(|after| after.header(control.now()));
    if let Some(value) = value.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

async fn distort(control: &Control, fault: &Fault, response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    let mut bytes = to_bytes(body, MAX_ANSWER)
        .await
        .unwrap_or_default()
        .to_vec();
    match fault {
        Fault::Empty => bytes.clear(),
        Fault::Truncated => bytes.truncate(bytes.len() / 2),
        Fault::Padded { bytes: length } => bytes.resize((*length).max(bytes.len()), b' '),
        Fault::WrongId { id } => {
            if let Ok(Value::Object(mut job)) = serde_json::from_slice(&bytes) {
                control.settings().dialect.wire().rename(&mut job, id);
                bytes = Value::Object(job).to_string().into_bytes();
            }
        }
        _ => {}
    }
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::ETAG);
    Response::from_parts(head, Body::from(bytes))
}
