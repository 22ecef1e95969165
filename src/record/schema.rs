//! How the core's types look in JSON, for the OpenAPI document.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::core::event::EventType;
use crate::core::job::{self, MAX_ID_LEN};
use strum::IntoEnumIterator;

/// [`job::JobId`].
#[derive(Debug)]
pub(crate) struct JobId;

/// [`job::JobState`].
#[derive(Debug)]
pub(crate) struct JobState;

/// [`job::FailureKind`].
#[derive(Debug)]
pub(super) struct FailureKind;

/// The types of events that belong to jobs.
#[derive(Debug)]
pub(crate) struct EventTypes;

/// Why a job failed.
#[derive(ToSchema)]
#[schema(as = Failure)]
#[expect(dead_code, reason = "describes core::job::Failure")]
pub(super) struct FailureRecord {
    kind: FailureKind,
    /// The failed step's title; null for the tracker's own kinds.
    #[schema(required)]
    step: Option<String>,
    /// The API's own value, or null.
    code: serde_json::Value,
    /// The API's own value, or the tracker's words.
    title: serde_json::Value,
    /// The API's own value, or the tracker's words.
    detail: serde_json::Value,
}

fn words(words: impl IntoIterator<Item = &'static str>) -> RefOr<Schema> {
    let words: Vec<&str> = words.into_iter().collect();
    let schema = ObjectBuilder::new().schema_type(Type::String);
    schema.enum_values(Some(words)).into()
}

impl PartialSchema for JobId {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX_ID_LEN))
            .pattern(Some(r"^\.*[A-Za-z0-9_~-][A-Za-z0-9._~-]*$"))
            .examples(["61723"])
            .into()
    }
}

impl ToSchema for JobId {}

impl PartialSchema for JobState {
    fn schema() -> RefOr<Schema> {
        words(job::JobState::iter().map(job::JobState::as_str))
    }
}

impl ToSchema for JobState {}

impl PartialSchema for FailureKind {
    fn schema() -> RefOr<Schema> {
        words(job::FailureKind::iter().map(job::FailureKind::as_str))
    }
}

impl ToSchema for FailureKind {}

impl PartialSchema for EventTypes {
    fn schema() -> RefOr<Schema> {
        let of_jobs = EventType::iter().filter(|kind| *kind != EventType::Test);
        words(of_jobs.map(EventType::as_str))
    }
}

impl ToSchema for EventTypes {
    fn name() -> std::borrow::Cow<'static, str> {
        "EventType".into()
    }
}
