//! Jobs whose state is the HTTP status of the answer (RFC 9110, sections 15.3.3 and 15.4.4): 202 while the job runs,
//! then 200, 201, 204, or 303 with the address of the result.

use serde_json::Value;

use super::error::{self, ErrorWords};
use super::operation::{End, Operation};
use super::{Answer, Dialect, Reading, UnusableAnswer, raw};
use crate::job::JobId;
use crate::snapshot::{ApiError, Snapshot};

/// Reads the status of the answer.
#[derive(Debug)]
pub(super) struct HttpStatus;

impl Dialect for HttpStatus {
    fn name(&self) -> &'static str {
        "http-status"
    }

    fn job_path(&self) -> Option<&'static str> {
        Some("/{id}")
    }

    fn accept(&self) -> &'static str {
        "application/json, application/problem+json;q=0.9, */*;q=0.1"
    }

    fn job(&self, answer: &Answer<'_>, _: Option<&JobId>) -> Result<Snapshot, UnusableAnswer> {
        let end = match answer.status {
            202 => End::Running,
            200 | 201 | 204 => End::Success,
            _ => return Err(UnusableAnswer::NotAJob("no status of a job")),
        };
        Ok(operation(answer, end))
    }

    fn refusal(&self, answer: &Answer<'_>, error: &ErrorWords) -> Reading {
        let end = match answer.status {
            303 => End::Success,
            // About the request, not a failure of the job: no credentials, not there, too early, too many.
            401 | 403 | 404 | 407 | 408 | 410 | 421 | 425 | 429 => {
                return super::by_status(answer, error);
            }
            400..500 => match found(answer) {
                Some(error) => End::Failed(error),
                None => return Reading::Trouble,
            },
            _ => return super::by_status(answer, error),
        };
        Ok(operation(answer, end)).into()
    }

    fn error(&self, answer: &Answer<'_>) -> ErrorWords {
        ErrorWords::of(found(answer).as_ref())
    }

    fn needs_body(&self) -> bool {
        false
    }

    fn is_generic(&self) -> bool {
        true
    }

    fn heeds_retry_after(&self) -> bool {
        true
    }
}

/// The job at this stage, with the body as far as it is JSON.
fn operation(answer: &Answer<'_>, end: End) -> Snapshot {
    let body = raw::checked(answer.body).is_ok().then_some(answer.body);
    let location = answer
        .header("location")
        .filter(|_| matches!(answer.status, 201 | 303));
    let result = match &end {
        End::Failed(_) => body.map(|body| body.trim().to_owned()),
        _ => location.map(|location| Value::from(location).to_string()),
    };
    let operation = Operation {
        body,
        status: answer.status.to_string(),
        end,
        result,
        updated: None,
    };
    operation.snapshot()
}

/// A JSON error or a problem document.
fn found(answer: &Answer<'_>) -> Option<ApiError> {
    error::any(answer)
}
