//! What a dialect decides: how a job is shown, how a request is refused, and which credentials it needs.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fastrand::Rng;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::api_error::ApiError;
use super::conditional;
use super::format::{Head, IdStyle, JobFormat};
use super::operation::Operation;
use super::tokens::Auth;

/// One API. Its routes are in the table of dialects.
pub(super) trait Wire: fmt::Debug + Sync {
    /// How to make a job, and how to poll the job 61723.
    fn example(&self) -> Example;

    /// A job as an operation.
    fn show(&self, head: &Head<'_>, operation: &Operation) -> Shown;

    /// A job made of steps.
    fn show_steps(&self, head: &Head<'_>, steps: &[Box<RawValue>]) -> Shown {
        self.show(head, &Operation::of_steps(steps))
    }

    /// The API's error. `job` is the id in the request's path.
    fn refuse(&self, error: &ApiError, job: Option<&str>, correlation: &str) -> Shown;

    /// The job that a path names, for faults and the log.
    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str>;

    /// Which credentials a request needs.
    fn auth(&self) -> Auth {
        Auth::Key
    }

    /// An id for a new job.
    fn draw_id(&self, _format: JobFormat, rng: &mut Rng) -> String {
        IdStyle::Uuid.draw(rng)
    }

    /// Replaces the id in the body of a job.
    fn rename(&self, body: &mut Map<String, Value>, id: &str) {
        body.insert("id".to_owned(), Value::String(id.to_owned()));
    }
}

/// What to type to try an API: `{base}` stands for its URL, `{key}` for a key.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// A sentence and the commands that make a job.
    pub create: &'static str,
    /// The command that polls the job 61723.
    pub poll: &'static str,
}

/// The part of an answer that a dialect decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) status: u16,
    /// JSON, unless `kind` says otherwise.
    pub(super) body: Option<String>,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
}

impl Shown {
    pub(super) fn text(status: u16, body: String) -> Self {
        Self {
            body: Some(body),
            ..Self::empty(status)
        }
    }

    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string())
    }

    /// Without body and content type.
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            body: None,
            kind: "application/json",
            headers: Vec::new(),
        }
    }

    pub(super) fn of_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn of_kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl IntoResponse for Shown {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let etag = self.body.as_ref().filter(|_| status == StatusCode::OK);
        let etag = etag.map(|body| conditional::etag(body.as_bytes()));
        let mut response = match self.body {
            Some(body) => (status, [(header::CONTENT_TYPE, self.kind)], body).into_response(),
            None => status.into_response(),
        };
        let etag = etag.map(|etag| ("etag", etag));
        for (name, value) in self.headers.into_iter().chain(etag) {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// Random numbers that depend on the id alone, so that they are the same for every request.
pub(super) fn habits_of(id: &str) -> Rng {
    let seed = id.bytes().fold(7_u64, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(byte.into())
    });
    Rng::with_seed(seed)
}
