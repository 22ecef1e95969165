//! Batches of OpenAI's API (API reference, "The batch object"): `{"object":"batch","status"}`.

use serde_json::value::{RawValue, to_raw_value};

use super::error::{self, ErrorWords};
use super::operation::{End, Operation, progress};
use super::raw::{self, RawObject};
use super::{Answer, Dialect, UnusableAnswer};
use crate::job::JobId;
use crate::snapshot::{ApiError, Snapshot};

/// The words of a batch that runs.
const RUNNING: [&str; 4] = ["validating", "in_progress", "finalizing", "cancelling"];

/// The words of a batch that has ended without success.
const FAILED: [&str; 3] = ["failed", "expired", "cancelled"];

/// The fields of an ended batch that become the result of the step.
const RESULT: [&str; 3] = ["output_file_id", "error_file_id", "request_counts"];

/// Reads OpenAI's batches.
#[derive(Debug)]
pub(super) struct OpenAiBatch {
    /// Whether `request_counts` become transitions.
    pub(super) progress: bool,
}

impl Dialect for OpenAiBatch {
    fn name(&self) -> &'static str {
        "openai-batch"
    }

    fn job_path(&self) -> Option<&'static str> {
        Some("/v1/batches/{id}")
    }

    fn job(
        &self,
        answer: &Answer<'_>,
        expected: Option<&JobId>,
    ) -> Result<Snapshot, UnusableAnswer> {
        let body = answer.body;
        let object = raw::object(body)?;
        if raw::string_of(&object, "object").as_deref() != Some("batch") {
            return Err(UnusableAnswer::NotAJob("its object is not \"batch\""));
        }
        let status =
            raw::string_of(&object, "status").ok_or(UnusableAnswer::NotAJob("it has no status"))?;
        if let (Some(expected), Some(id)) = (expected, raw::string_of(&object, "id"))
            && !super::same_id(&id, expected.as_str())
        {
            return Err(UnusableAnswer::OtherJob);
        }
        let (end, result) = if status == "completed" {
            (End::Success, left(&object))
        } else if FAILED.contains(&status.as_str()) {
            (
                End::Failed(first_error(&object).unwrap_or_default()),
                left(&object),
            )
        } else {
            let end = match RUNNING.contains(&status.as_str()) {
                true => End::Running,
                false => End::Unknown,
            };
            (end, percent(&object).filter(|_| self.progress))
        };
        let operation = Operation {
            body: Some(body),
            status,
            end,
            result,
            updated: None,
        };
        Ok(operation.snapshot())
    }

    /// `{"error":{"message","type","param","code"}}`; "Invalid URL" is about the route.
    fn error(&self, answer: &Answer<'_>) -> ErrorWords {
        let words = ErrorWords::of(error::nested(answer.body).as_ref());
        ErrorWords {
            is_verdict: words.is_verdict && !words.title.starts_with("Invalid URL"),
            ..words
        }
    }
}

/// The result as an object; `None` when the batch has no file.
fn left(object: &RawObject<'_>) -> Option<String> {
    let has_file = ["output_file_id", "error_file_id"]
        .iter()
        .any(|key| raw::present(object, key).is_some());
    let part = |key: &&str| format!(r#""{key}":{}"#, raw::field(object, key));
    let parts: Vec<String> = RESULT.iter().map(part).collect();
    has_file.then(|| format!("{{{}}}", parts.join(",")))
}

/// `errors.data[0]`.
fn first_error(object: &RawObject<'_>) -> Option<ApiError> {
    let errors = raw::fields(raw::present(object, "errors")?.get())?;
    let data: Vec<&RawValue> = serde_json::from_str(errors.get("data")?.get()).ok()?;
    Some(error::of_object(&raw::fields(data.first()?.get())?))
}

/// The share of the batch's requests that are completed or failed, as progress.
fn percent(object: &RawObject<'_>) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Counts {
        total: f64,
        completed: f64,
        #[serde(default)]
        failed: f64,
    }
    let counts: Counts = serde_json::from_str(object.get("request_counts")?.get()).ok()?;
    let percent = 100.0 * (counts.completed + counts.failed) / counts.total;
    progress(Some(&*to_raw_value(&percent).ok()?))
}
