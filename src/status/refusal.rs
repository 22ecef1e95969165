//! Why a request is refused, in the API's error envelope.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::envelope::json_of;
use crate::record::status::{ErrorEnvelope, ErrorRecord};
use crate::store::StoreError;

/// When a client is to come again after others, or the database, were busy.
const BUSY: Duration = Duration::from_secs(1);

/// A status, and the API's code and title for it, where the API has any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind(StatusCode, &'static str, &'static str);

impl Kind {
    pub(super) const PARAMETER: Self = Self(
        StatusCode::BAD_REQUEST,
        "parameter-not-valid",
        "Parameter value is not valid.",
    );
    pub(super) const REQUEST: Self = Self(
        StatusCode::BAD_REQUEST,
        "request-not-valid",
        "Request is not valid.",
    );
    pub(super) const TOKEN: Self = Self(
        StatusCode::UNAUTHORIZED,
        "unauthorized-access",
        "Unauthorized access.",
    );
    pub(super) const ORIGIN: Self = Self(
        StatusCode::FORBIDDEN,
        "origin-not-allowed",
        "Origin is not allowed.",
    );
    pub(super) const NOT_FOUND: Self = Self(
        StatusCode::NOT_FOUND,
        "resource-not-found",
        "Requested resource is not found.",
    );
    pub(super) const METHOD: Self = Self(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        "Method is not allowed.",
    );
    pub(super) const BODY_SLOW: Self = Self(
        StatusCode::REQUEST_TIMEOUT,
        "request-timeout",
        "Request took too long.",
    );
    pub(super) const NO_CHALLENGE: Self = Self(
        StatusCode::CONFLICT,
        "request-not-valid",
        "The job waits for no answer.",
    );
    pub(super) const EXPIRED: Self = Self(
        StatusCode::GONE,
        "resource-no-longer-available",
        "The challenge has expired.",
    );
    pub(super) const BODY_LARGE: Self = Self(
        StatusCode::PAYLOAD_TOO_LARGE,
        "content-too-large",
        "Content is too large.",
    );
    pub(super) const CONTENT_TYPE: Self = Self(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-content-type",
        "Content type is not supported.",
    );
    pub(super) const HOST: Self = Self(
        StatusCode::MISDIRECTED_REQUEST,
        "host-not-allowed",
        "Host is not allowed.",
    );
    pub(super) const ANSWERS: Self = Self(
        StatusCode::UNPROCESSABLE_ENTITY,
        "parameter-not-valid",
        "Parameter value is not valid.",
    );
    pub(super) const BAD_GATEWAY: Self = Self(
        StatusCode::BAD_GATEWAY,
        "service-unavailable",
        "The API has not answered.",
    );
    pub(super) const UNAVAILABLE: Self = Self(
        StatusCode::SERVICE_UNAVAILABLE,
        "service-unavailable",
        "Service is currently unavailable. Please try again later.",
    );
    pub(super) const GATEWAY_TIMEOUT: Self = Self(
        StatusCode::GATEWAY_TIMEOUT,
        "service-unavailable",
        "The API has not answered.",
    );
}

/// A refusal; its detail says what to do otherwise.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: Kind,
    detail: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            header: None,
        }
    }

    /// 400: a parameter, a header or a part of the body is not valid.
    pub(super) fn parameter(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::PARAMETER, detail)
    }

    /// 401, with the scheme to use.
    pub(super) fn token() -> Self {
        let detail = "Send the header Authorization: Bearer with the token of status.token_file.";
        let scheme = HeaderValue::from_static("Bearer");
        Self::new(Kind::TOKEN, detail).with(header::WWW_AUTHENTICATE, scheme)
    }

    /// 404: the job is not tracked here.
    pub(super) fn no_such_job() -> Self {
        Self::new(Kind::NOT_FOUND, "No such job is tracked here.")
    }

    /// 503: it cannot be done now.
    pub(super) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::UNAVAILABLE, detail)
    }

    /// The same, with a `Retry-After` in whole seconds.
    pub(super) fn retry_after(self, delay: Duration) -> Self {
        self.with(header::RETRY_AFTER, delay.as_secs().into())
    }

    /// 503: too many requests at once; the client may come again soon.
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
        log(error, "a job cannot be enqueued");
        Self::busy(match error {
            StoreError::Full => "The database cannot be written: the disk is full.",
            StoreError::Busy => "The database cannot be written: another program holds its lock.",
            _ => "The database cannot be written.",
        })
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }
}

/// Trouble that passes is logged at `debug` only, as clients may ask often.
fn log(error: &StoreError, message: &str) {
    if error.is_temporary() {
        tracing::debug!(%error, "{message}");
    } else {
        tracing::error!(%error, "{message}");
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Kind(status, code, title) = self.kind;
        let error = ErrorRecord::new(code, title, &self.detail);
        let mut response = (status, json_of(&ErrorEnvelope::of(error))).into_response();
        response.headers_mut().extend(self.header);
        response
    }
}
