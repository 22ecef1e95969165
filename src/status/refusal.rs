//! Why a request gets no better answer, in the API's envelope.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::envelope::envelope;
use crate::store::StoreError;

/// When a client is to come again after others, or the database, were busy.
const BUSY: Duration = Duration::from_secs(1);

/// A refusal; its detail says what to do otherwise.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// 400: a parameter, a header or a part of the body that cannot be taken.
    pub(super) fn parameter(detail: impl Into<String>) -> Self {
        let title = "Parameter value is not valid.";
        Self::new(
            StatusCode::BAD_REQUEST,
            "parameter-not-valid",
            title,
            detail,
        )
    }

    /// 404: the job is not tracked here.
    pub(super) fn no_such_job() -> Self {
        let title = "Requested resource is not found.";
        let detail = "No such job is tracked here.";
        Self::new(StatusCode::NOT_FOUND, "resource-not-found", title, detail)
    }

    /// 405, with the route's `Allow`.
    pub(super) fn method() -> Self {
        let title = "Method is not allowed.";
        let detail = "This route has other methods; see the Allow header.";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "method-not-allowed", title, detail)
    }

    /// It cannot be done just now.
    pub(super) fn unavailable(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = "Service is currently unavailable. Please try again later.";
        Self::new(status, "service-unavailable", title, detail)
    }

    /// The same, with a `Retry-After`.
    pub(super) fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Others are at it; the request may come again at once.
    pub(super) fn busy(detail: &str) -> Self {
        Self::unavailable(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(BUSY)
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
}

/// Trouble that passes is no news, as clients may ask often.
fn log(error: &StoreError, message: &str) {
    if error.is_temporary() {
        tracing::debug!(%error, "{message}");
    } else {
        tracing::error!(%error, "{message}");
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = envelope(self.status, self.code, self.title, &self.detail);
        if let Some(delay) = self.retry_after {
            let seconds = HeaderValue::from(delay.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
