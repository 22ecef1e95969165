//! Ids in paths and parameters in queries; one that is not valid is refused with an error envelope.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::refusal::Refusal;
use crate::core::event::EventType;
use crate::core::job::JobId;

/// The job of the path.
pub(super) struct Job(pub(super) JobId);

/// The user of the path.
pub(super) struct User(pub(super) String);

/// The parameters.
pub(super) struct Parameters<T>(pub(super) T);

/// The path's text; `None` if it is not UTF-8.
async fn text<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<String> {
    let path = Path::<String>::from_request_parts(parts, state).await;
    path.ok().map(|Path(text)| text)
}

impl<S: Send + Sync> FromRequestParts<S> for Job {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let id = text(parts, state).await;
        let id = id.and_then(|id| JobId::parse(&id).ok());
        id.map(Self)
            .ok_or_else(|| Refusal::parameter("Job ID value is not valid."))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Refusal;

    /// Ids of users have the form of ids of jobs.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let id = text(parts, state).await;
        id.filter(|id| JobId::parse(id).is_ok())
            .map(Self)
            .ok_or_else(|| Refusal::parameter("User ID value is not valid."))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Self(query))
            .map_err(|error| Refusal::parameter(error.body_text()))
    }
}

/// The parameter `limit`: how many rows of a list.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Limit(pub(super) u32);

/// Most rows of one page.
pub(super) const MAX_LIMIT: u32 = 500;

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match whole_number(&text) {
            Some(limit @ 1..=MAX_LIMIT) => Ok(Self(limit)),
            _ => Err(format!("limit is a whole number from 1 to {MAX_LIMIT}")),
        }
    }
}

/// The parameter `wait`: how long a request waits at most for something to happen.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Wait(pub(super) Duration);

/// The longest wait, in seconds.
const MAX_WAIT: u32 = 60;

impl TryFrom<String> for Wait {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match whole_number(&text) {
            Some(seconds @ 0..=MAX_WAIT) => Ok(Self(Duration::from_secs(seconds.into()))),
            _ => Err(format!(
                "wait is a whole number of seconds from 0 to {MAX_WAIT}"
            )),
        }
    }
}

/// Digits only: no sign, no blank.
fn whole_number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A type that events of jobs have.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Kind(pub(super) EventType);

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let kind = text.parse().ok().filter(|kind| *kind != EventType::Test);
        kind.map(Self).ok_or_else(|| {
            "type is job.completed, job.failed, job.action_required, job.delayed or job.step_changed"
                .to_owned()
        })
    }
}

/// A job's id as a parameter.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct JobParameter(pub(super) JobId);

impl TryFrom<String> for JobParameter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        JobId::parse(&text)
            .map(Self)
            .map_err(|error| error.to_string())
    }
}
