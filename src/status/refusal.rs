//! Why a request is refused, in the API's error envelope.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::envelope::json_of;
use crate::record::status::{ErrorEnvelope, ErrorRecord};
use crate::store::StoreError;

/// When a client may try again after others, or the database, were busy.
const BUSY: Duration = Duration::from_secs(1);

/// The API's code and title of a status; where it has none, ours in its style.
fn code_and_title(status: StatusCode) -> (&'static str, &'static str) {
    match status.as_u16() {
        400 | 422 => ("parameter-not-valid", "Parameter value is not valid."),
        401 => ("unauthorized-access", "Unauthorized access."),
        403 => ("origin-not-allowed", "Origin is not allowed."),
        404 => ("resource-not-found", "Requested resource is not found."),
        405 => ("method-not-allowed", "Method is not allowed."),
        408 => ("request-timeout", "Request took too long."),
        409 => ("request-not-valid", "The job waits for no answer."),
        410 => ("resource-no-longer-available", "The challenge has expired."),
        413 => ("content-too-large", "Content is too large."),
        415 => ("unsupported-content-type", "Content type is not supported."),
        421 => ("host-not-allowed", "Host is not allowed."),
        502 | 504 => ("service-unavailable", "The API has not answered."),
        _ => (
            "service-unavailable",
            "Service is currently unavailable. Please try again later.",
        ),
    }
}

/// A refusal; its detail names a remedy. An answer has it as an extension, for those who want another form of it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let (code, title) = code_and_title(status);
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// 400: a parameter, a header or a part of the body is not valid.
    pub(super) fn parameter(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400: the request itself is not valid.
    pub(super) fn request(detail: &'static str) -> Self {
        Self {
            code: "request-not-valid",
            title: "Request is not valid.",
            ..Self::new(StatusCode::BAD_REQUEST, detail)
        }
    }

    /// 401, with the scheme to use.
    pub(super) fn token() -> Self {
        let detail = "Send the header Authorization: Bearer with the token of status.token_file.";
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// 403: the token permits to read only.
    pub(super) fn read_only(name: &str) -> Self {
        Self {
            code: "permission-denied",
            title: "Permission is denied.",
            ..Self::new(
                StatusCode::FORBIDDEN,
                format!(
                    "The token {name} may only read; access = \"operate\" in its section permits changes."
                ),
            )
        }
    }

    /// 404: nothing is served under this path.
    pub(super) fn no_such_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such route here.")
    }

    /// 404: the job is not tracked here.
    pub(super) fn no_such_job() -> Self {
        Self::new(StatusCode::NOT_FOUND, "No such job is tracked here.")
    }

    /// Its title.
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

    /// What it was this time.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// 503: it cannot be done now; no `Retry-After`.
    pub(super) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// The same, with a `Retry-After` in whole seconds.
    pub(super) fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// 503: too many requests at once; the client may try again soon.
    pub(super) fn busy(detail: &'static str) -> Self {
        Self::unavailable(detail).retry_after(BUSY)
    }

    /// The database could not be read.
    pub(super) fn unreadable(error: &StoreError) -> Self {
        log(error, "the database cannot be read for the status server");
        Self::busy("The database cannot be read.")
    }

    /// The database could not be written.
    pub(super) fn unwritable(error: &StoreError) -> Self {
        log(
            error,
            "the database cannot be written for the status server",
        );
        Self::busy(match error {
            StoreError::Full => "The database cannot be written: the disk is full.",
            StoreError::Busy => "The database cannot be written: another program holds its lock.",
            _ => "The database cannot be written.",
        })
    }
}

/// A temporary error is logged at `debug` only, because there may be many requests.
fn log(error: &StoreError, message: &str) {
    if error.is_temporary() {
        tracing::debug!(%error, "{message}");
    } else {
        tracing::error!(%error, "{message}");
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = ErrorRecord::new(self.code, self.title, &self.detail);
        let mut response = (self.status, json_of(&ErrorEnvelope::of(error))).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, delay.as_secs().into());
        }
        response.extensions_mut().insert(self);
        response
    }
}
