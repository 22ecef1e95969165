//! A job seen as one operation: what the dialects without steps show of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// The progress of a job that is done.
const DONE: u8 = 100;

/// How a body ends its job, by the API's own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// At least one step, all of them `success` or `skipped`; or an operation that ended well.
    Success,
    /// A step is `failed`, or the operation failed, was cancelled or expired.
    Failed,
}

/// How far an operation is, in no API's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationStatus {
    /// Accepted; nothing has been done yet.
    Queued,
    /// At work.
    Running,
    /// The work is done, its result is being put together.
    Finishing,
    /// Cancelled on request, and still coming to a stop.
    Cancelling,
    /// Ended well.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Stopped on request.
    Cancelled,
    /// Ended because it took too long.
    Expired,
}

/// Why an operation failed. As JSON: `{"code":"quota-exceeded","title":"…","detail":"…"}`; a text left out is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperationError {
    /// A word for programs.
    pub code: String,
    /// A few words.
    pub title: String,
    /// A sentence.
    pub detail: String,
}

/// One moment of an operation. As JSON: `{"status":"running","progress":40}`, `{"status":"failed","error":{…}}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// How far it is.
    pub status: OperationStatus,
    /// The API's word, instead of the one that the dialect has for the status.
    pub word: Option<String>,
    /// Percent, 0 to 100; the dialect's own guess when absent.
    pub progress: Option<u8>,
    /// For those that end badly.
    pub error: Option<OperationError>,
    /// What came of it, for those that end well; the dialect's own when absent.
    pub result: Option<Value>,
    /// The HTTP status, in a dialect that leaves a choice.
    pub http_status: Option<u16>,
}

impl Ending {
    /// The word for it in a body.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

impl OperationStatus {
    /// How it ends the job; `None` while it runs.
    #[must_use]
    pub fn ending(self) -> Option<Ending> {
        match self {
            Self::Queued | Self::Running | Self::Finishing | Self::Cancelling => None,
            Self::Succeeded => Some(Ending::Success),
            Self::Failed | Self::Cancelled | Self::Expired => Some(Ending::Failed),
        }
    }
}

#[derive(Deserialize)]
struct StepText {
    status: Option<Value>,
    result: Option<Value>,
}

impl StepText {
    fn status(&self) -> Option<&str> {
        self.status.as_ref()?.as_str()
    }

    fn is_done(&self) -> bool {
        matches!(self.status(), Some("success" | "skipped"))
    }
}

impl Operation {
    /// At this status, with what follows from it.
    #[must_use]
    pub fn new(status: OperationStatus) -> Self {
        Self {
            status,
            word: None,
            progress: None,
            error: None,
            result: None,
            http_status: None,
        }
    }

    /// The same, so many percent done.
    #[must_use]
    pub fn at_percent(mut self, progress: u8) -> Self {
        self.progress = Some(progress);
        self
    }

    /// The same, with an error.
    #[must_use]
    pub fn with_error(mut self, code: &str, title: &str, detail: &str) -> Self {
        self.error = Some(OperationError {
            code: code.to_owned(),
            title: title.to_owned(),
            detail: detail.to_owned(),
        });
        self
    }

    /// Whether it can be shown.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.progress.is_some_and(|progress| progress > DONE) {
            return Err("an operation's progress is 0 to 100");
        }
        if self
            .http_status
            .is_some_and(|status| !(200..600).contains(&status))
        {
            return Err("an operation's http_status is 200 to 599");
        }
        Ok(())
    }

    /// What steps come to: those that are done are its progress, the one that failed is its error, and a status that is
    /// none of the usual words is its word.
    pub(super) fn of_steps(steps: &[Box<RawValue>]) -> Self {
        let read = |step: &RawValue| serde_json::from_str(step.get()).ok();
        let unreadable = || StepText {
            status: None,
            result: None,
        };
        let steps: Vec<StepText> = steps
            .iter()
            .map(|step| read(step).unwrap_or_else(unreadable))
            .collect();
        if let Some(failed) = steps.iter().find(|step| step.status() == Some("failed")) {
            return Self {
                error: error_of(failed.result.as_ref()),
                ..Self::new(OperationStatus::Failed).at_percent(percent(&steps))
            };
        }
        let active = steps.iter().rposition(|step| {
            let idle = matches!(step.status(), Some("pending")) || step.is_done();
            !idle
        });
        let status = match active {
            _ if !steps.is_empty() && steps.iter().all(StepText::is_done) => {
                return Self::new(OperationStatus::Succeeded).at_percent(DONE);
            }
            Some(index) if index > 0 && index + 1 == steps.len() => OperationStatus::Finishing,
            None if !steps.iter().any(StepText::is_done) => OperationStatus::Queued,
            _ => OperationStatus::Running,
        };
        let word = active.and_then(|index| steps.get(index)?.status());
        Self {
            word: word
                .filter(|word| *word != "in-progress")
                .map(str::to_owned),
            ..Self::new(status).at_percent(percent(&steps))
        }
    }

    /// Percent that are done: as scripted, else what the status says.
    pub(super) fn percent(&self) -> u8 {
        self.progress.unwrap_or(match self.status {
            OperationStatus::Succeeded | OperationStatus::Finishing => DONE,
            _ => 0,
        })
    }

    /// The error, whether the script has one or not.
    pub(super) fn failure(&self) -> OperationError {
        let own = |code: &str, title: &str, detail: &str| OperationError {
            code: code.to_owned(),
            title: title.to_owned(),
            detail: detail.to_owned(),
        };
        self.error.clone().unwrap_or_else(|| match self.status {
            OperationStatus::Cancelled => own(
                "cancelled",
                "Cancelled",
                "The operation was cancelled on request.",
            ),
            OperationStatus::Expired => own(
                "expired",
                "Expired",
                "The operation did not end in the time it had.",
            ),
            _ => own(
                "internal-error",
                "Internal error",
                "The operation failed for a reason of its own.",
            ),
        })
    }
}

impl OperationError {
    /// The text for a person: the detail, or the title where there is none.
    pub(super) fn message(&self) -> &str {
        if self.detail.is_empty() {
            &self.title
        } else {
            &self.detail
        }
    }
}

/// A step at work counts half.
fn percent(steps: &[StepText]) -> u8 {
    let halves: usize = steps
        .iter()
        .map(|step| match step.status() {
            _ if step.is_done() => 2,
            Some("in-progress") => 1,
            _ => 0,
        })
        .sum();
    u8::try_from(halves * 50 / steps.len().max(1)).unwrap_or(DONE)
}

/// The error in a step's result, which is an object or a list with one; the text is in `detail` or `details`.
fn error_of(result: Option<&Value>) -> Option<OperationError> {
    let result = result?;
    let object = result.get(0).unwrap_or(result);
    let text = |key: &str| object.get(key)?.as_str().map(str::to_owned);
    Some(OperationError {
        code: text("code")?,
        title: text("title").unwrap_or_default(),
        detail: text("detail")
            .or_else(|| text("details"))
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::*;

    fn of(steps: &[(&str, Value)]) -> Operation {
        let steps: Vec<Box<RawValue>> = steps
            .iter()
            .map(|(status, result)| {
                to_raw_value(&json!({"title": "t", "status": status, "result": result})).unwrap()
            })
            .collect();
        Operation::of_steps(&steps)
    }

    #[test]
    fn steps_become_a_status_and_a_percentage() {
        let cases: [(&[&str], OperationStatus, u8); 7] = [
            (&[], OperationStatus::Queued, 0),
            (&["pending", "pending"], OperationStatus::Queued, 0),
            (&["in-progress", "pending"], OperationStatus::Running, 25),
            (&["success", "pending"], OperationStatus::Running, 50),
            (&["skipped", "in-progress"], OperationStatus::Finishing, 75),
            (&["success", "skipped"], OperationStatus::Succeeded, 100),
            (&["in-progress"], OperationStatus::Running, 50),
        ];
        for (statuses, status, progress) in cases {
            let steps: Vec<_> = statuses.iter().map(|word| (*word, Value::Null)).collect();
            let operation = of(&steps);
            assert_eq!(
                (operation.status, operation.percent(), operation.word),
                (status, progress, None),
                "{statuses:?}"
            );
        }
    }

    #[test]
    fn a_failed_step_is_the_error_and_an_unknown_status_the_word() {
        let error = json!([{"code": "c", "title": "t", "details": "d"}]);
        let operation = of(&[("success", Value::Null), ("failed", error)]);
        assert_eq!(operation.status, OperationStatus::Failed);
        let error = operation.failure();
        assert_eq!((error.code.as_str(), error.message()), ("c", "d"));
        assert_eq!(
            of(&[("failed", Value::Null)]).failure().code,
            "internal-error"
        );
        let word = of(&[("reticulating", Value::Null), ("pending", Value::Null)]).word;
        assert_eq!(word.as_deref(), Some("reticulating"));
    }
}
