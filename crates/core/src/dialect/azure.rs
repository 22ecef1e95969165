//! Long-running operations of Azure (Microsoft REST API Guidelines, "Long-running operations"): `{"status"}` with any word
//! while it runs, `Succeeded`, `Failed` or `Canceled` at its end, and `Retry-After` on the answers before.

use super::error::{self, ErrorWords};
use super::operation::{End, Operation, progress, result_of};
use super::{Answer, Dialect, UnusableAnswer, raw};
use crate::job::JobId;
use crate::snapshot::Snapshot;

/// The words of running operations that are common among Azure's services.
const RUNNING: [&str; 12] = [
    "NotStarted",
    "Running",
    "InProgress",
    "Accepted",
    "Pending",
    "Queued",
    "Provisioning",
    "Creating",
    "Updating",
    "Deleting",
    "Validating",
    "Canceling",
];

/// Reads Azure's operations.
#[derive(Debug)]
pub(super) struct Azure {
    /// Whether `percentComplete` becomes transitions.
    pub(super) progress: bool,
}

impl Dialect for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn job_path(&self) -> Option<&'static str> {
        Some("/operations/{id}")
    }

    fn job(
        &self,
        answer: &Answer<'_>,
        expected: Option<&JobId>,
    ) -> Result<Snapshot, UnusableAnswer> {
        let body = answer.body;
        let object = raw::object(body)?;
        let status =
            raw::string_of(&object, "status").ok_or(UnusableAnswer::NotAJob("it has no status"))?;
        let names = ["id", "name"].map(|key| raw::string_of(&object, key));
        if let Some(expected) = expected
            && names.iter().any(Option::is_some)
            && !names
                .iter()
                .flatten()
                .any(|name| super::ends_in(name, expected))
        {
            return Err(UnusableAnswer::OtherJob);
        }
        let is = |word: &str| status.eq_ignore_ascii_case(word);
        let of = |key| result_of(object.get(key));
        let (end, result) = if is("Succeeded") {
            (End::Success, of("properties").or_else(|| of("result")))
        } else if is("Failed") || is("Canceled") {
            let error = raw::present(&object, "error").and_then(|raw| raw::fields(raw.get()));
            let error = error.as_ref().map(error::of_object);
            (End::Failed(error.unwrap_or_default()), of("error"))
        } else {
            let percent = object.get("percentComplete");
            let end = match RUNNING.iter().any(|word| is(word)) {
                true => End::Running,
                false => End::Unknown,
            };
            (end, progress(percent.filter(|_| self.progress)))
        };
        let updated = raw::text_of(&object, "lastUpdatedDateTime");
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

    fn heeds_retry_after(&self) -> bool {
        true
    }
}
