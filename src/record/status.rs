//! What the status server says besides the records of jobs: how the daemon is, pages, and refusals.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

/// Any JSON value.
#[derive(ToSchema)]
#[schema(value_type = serde_json::Value)]
#[expect(dead_code, reason = "describes JSON of others")]
pub struct Any(serde_json::Value);

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    #[schema(pattern = "^list$")]
    r#type: &'static str,
    data: Vec<T>,
    /// Where to go on, as `after`; null at the end.
    #[schema(required)]
    next: Option<String>,
}

impl<T> Page<T> {
    /// Its rows, and where the next page begins.
    #[must_use]
    pub fn of(data: Vec<T>, next: Option<String>) -> Self {
        Self {
            r#type: "list",
            data,
            next,
        }
    }
}

/// A refusal in the API's envelope.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refused)]
pub struct ErrorEnvelope<'a> {
    /// `list`
    #[schema(pattern = "^list$")]
    r#type: &'static str,
    /// Always null here.
    #[schema(required)]
    #[serde(rename = "correlationId")]
    correlation_id: Option<String>,
    data: [ErrorRecord<'a>; 1],
}

/// What was wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RefusedWhy)]
pub struct ErrorRecord<'a> {
    /// `error`
    #[schema(pattern = "^error$")]
    r#type: &'static str,
    /// The API's code, such as `parameter-not-valid`.
    code: &'a str,
    title: &'a str,
    /// What it was this time.
    detail: &'a str,
}

impl<'a> ErrorRecord<'a> {
    /// An error with the API's code and title.
    #[must_use]
    pub fn new(code: &'a str, title: &'a str, detail: &'a str) -> Self {
        Self {
            r#type: "error",
            code,
            title,
            detail,
        }
    }
}

impl<'a> ErrorEnvelope<'a> {
    /// The envelope of one error.
    #[must_use]
    pub fn of(error: ErrorRecord<'a>) -> Self {
        Self {
            r#type: "list",
            correlation_id: None,
            data: [error],
        }
    }
}

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alive)]
pub struct HealthUpdate {
    /// `ok`
    #[schema(pattern = "^ok$")]
    pub status: &'static str,
    /// Left out without the token, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'static str>,
}

/// How the daemon is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Readiness)]
pub struct ReadinessRecord {
    /// `ok`, `degraded` or `unready`
    #[schema(pattern = "^(ok|degraded|unready)$")]
    pub status: &'static str,
    /// What is wrong, in sentences. This and the numbers are left out without the token, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasons: Option<Vec<String>>,
    /// Jobs that are followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_followed: Option<usize>,
    /// Polls under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polls_in_flight: Option<usize>,
    /// Followed jobs that name a webhook which is not configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_with_unknown_webhook: Option<usize>,
}

/// A job of the API, unchanged.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the API writes")]
pub struct RemoteJob {
    /// `job`
    r#type: String,
    /// The job's id at the API.
    id: String,
    /// The steps, each with `title`, `status` and `result`; none before the first good poll.
    steps: Vec<Any>,
    /// `self`, and `source` where the API gave one; may be null.
    links: Option<Any>,
}

/// The API's list of a user's jobs.
#[derive(Serialize, ToSchema)]
pub struct UserJobs {
    #[schema(pattern = "^list$")]
    r#type: &'static str,
    /// How many jobs this page has.
    size: usize,
    /// Newest first.
    #[schema(value_type = Vec<RemoteJob>)]
    data: Vec<Box<RawValue>>,
    #[schema(value_type = Any)]
    links: serde_json::Value,
    /// Where to go on; null at the end. A page may be short, even empty, and have one.
    #[schema(required)]
    next: Option<String>,
}

impl UserJobs {
    /// A page of them.
    #[must_use]
    pub fn of(data: Vec<Box<RawValue>>, links: serde_json::Value, next: Option<String>) -> Self {
        Self {
            r#type: "list",
            size: data.len(),
            data,
            links,
            next,
        }
    }
}
