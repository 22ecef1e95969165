//! Long-running operations of Google's APIs (AIP-151): `{"name","done"}`, and at the end `response` or `error`.

use serde_json::value::RawValue;

use super::error::{self, ErrorWords};
use super::operation::{End, Operation, progress, result_of};
use super::{Answer, Dialect, UnusableAnswer, raw};
use crate::job::JobId;
use crate::snapshot::Snapshot;

/// Reads Google's operations.
#[derive(Debug)]
pub(super) struct GoogleLro {
    /// Whether the progress in `metadata` becomes transitions.
    pub(super) progress: bool,
}

/// The keys in `metadata` under which services report progress, if they do.
const PROGRESS: [&str; 3] = ["progressPercent", "progressPercentage", "progress"];

impl Dialect for GoogleLro {
    fn name(&self) -> &'static str {
        "google-lro"
    }

    fn job_path(&self) -> Option<&'static str> {
        Some("/v1/{id}")
    }

    /// The status is the value of `done`, which services may leave out while it is false.
    fn job(
        &self,
        answer: &Answer<'_>,
        expected: Option<&JobId>,
    ) -> Result<Snapshot, UnusableAnswer> {
        let body = answer.body;
        let object = raw::object(body)?;
        let name = raw::string_of(&object, "name");
        if name.is_none() && object.get("done").is_none() {
            return Err(UnusableAnswer::NotAJob("it has neither name nor done"));
        }
        if let (Some(expected), Some(name)) = (expected, &name)
            && !super::ends_in(name, expected)
        {
            return Err(UnusableAnswer::OtherJob);
        }
        let status = raw::text_of(&object, "done").unwrap_or_else(|| "false".to_owned());
        let [error, response] = ["error", "response"].map(|key| raw::present(&object, key));
        let (end, result) = match (status.as_str(), error, response) {
            ("true", Some(error), _) => {
                let fields = raw::fields(error.get()).unwrap_or_default();
                (
                    End::Failed(error::of_object(&fields)),
                    result_of(Some(error)),
                )
            }
            ("true", None, Some(response)) => (End::Success, result_of(Some(response))),
            ("false", ..) => (End::Running, progress(self.percent(&object))),
            _ => (End::Unknown, None),
        };
        let metadata = raw::present(&object, "metadata").and_then(|raw| raw::fields(raw.get()));
        let updated = metadata.and_then(|metadata| raw::text_of(&metadata, "updateTime"));
        let operation = Operation {
            body: Some(body),
            status,
            end,
            result,
            updated,
        };
        Ok(operation.snapshot())
    }

    fn error(&self, answer: &Answer<'_>) -> ErrorWords {
        ErrorWords::of(error::nested(answer.body).as_ref())
    }
}

impl GoogleLro {
    fn percent<'a>(&self, object: &raw::RawObject<'a>) -> Option<&'a RawValue> {
        let metadata = raw::fields(object.get("metadata").filter(|_| self.progress)?.get())?;
        PROGRESS.iter().find_map(|key| raw::present(&metadata, key))
    }
}
