//! Jobs of an API without steps: one step, `operation`, in the API's own words.

use serde_json::value::RawValue;

use crate::job::{Failure, FailureKind};
use crate::snapshot::{ApiError, Snapshot, Step, StepClass, Verdict};

/// The title of the only step.
pub const STEP: &str = "operation";

/// What a dialect has read of such a job.
pub(super) struct Operation<'a> {
    /// The JSON body, if the answer had one.
    pub(super) body: Option<&'a str>,
    /// The API's own word.
    pub(super) status: String,
    pub(super) end: End,
    /// The result of the step, as JSON: the progress while it runs, else what the API sends at the end.
    pub(super) result: Option<String>,
    /// The API's time of the last change.
    pub(super) updated: Option<String>,
}

/// Whether it has ended.
pub(super) enum End {
    /// It runs.
    Running,
    /// It runs; the dialect does not know the word.
    Unknown,
    /// It has succeeded.
    Success,
    /// It has failed with this error.
    Failed(ApiError),
}

impl Operation<'_> {
    pub(super) fn snapshot(self) -> Snapshot {
        let (class, verdict, error) = match self.end {
            End::Running => (StepClass::Running, Verdict::Running, None),
            End::Unknown => (StepClass::Unknown, Verdict::Running, None),
            End::Success => (StepClass::Done, Verdict::Success, None),
            End::Failed(error) => {
                let failure = Failure {
                    kind: FailureKind::Step,
                    step: Some(STEP.to_owned()),
                    code: error.code.clone(),
                    title: error.title.clone(),
                    detail: error.detail.clone(),
                };
                (StepClass::Failed, Verdict::Failed(failure), Some(error))
            }
        };
        let step = Step {
            title: STEP.to_owned(),
            occurrence: 0,
            position: 0,
            status: self.status,
            class,
            result: self.result,
            challenge: None,
            error,
        };
        Snapshot {
            body: self.body.map(|body| body.trim().to_owned()),
            steps: vec![step],
            verdict,
            remote_updated: self.updated,
            user: None,
            users: Vec::new(),
        }
    }
}

/// A value as the result of a step; `None` for null.
pub(super) fn result_of(raw: Option<&RawValue>) -> Option<String> {
    raw.map(RawValue::get)
        .filter(|json| *json != "null")
        .map(str::to_owned)
}

/// Progress as the result of a running step, rounded down to tens of percent, so that it causes few transitions. The
/// percentage may be a number or a text with one.
pub(super) fn progress(percent: Option<&RawValue>) -> Option<String> {
    let json = percent?.get();
    let text: Option<String> = serde_json::from_str(json).ok();
    let number: f64 = text
        .as_deref()
        .unwrap_or(json)
        .trim_end_matches(['%', ' '])
        .trim()
        .parse()
        .ok()?;
    let tenths = (number.clamp(0.0, 100.0) / 10.0).floor();
    number
        .is_finite()
        .then(|| format!(r#"{{"progress":{}}}"#, tenths * 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_counts_in_whole_tenths_and_only_if_it_is_a_number() {
        for (written, result) in [
            ("0", Some(0)),
            ("9.99", Some(0)),
            ("10", Some(10)),
            ("\"47 %\"", Some(40)),
            ("100", Some(100)),
            ("250", Some(100)),
            ("-3", Some(0)),
            ("1e999", None),
            ("\"half\"", None),
            ("null", None),
            ("[5]", None),
        ] {
            let raw: &RawValue = serde_json::from_str(written).unwrap();
            let expected = result.map(|percent| format!(r#"{{"progress":{percent}}}"#));
            assert_eq!(progress(Some(raw)), expected, "{written}");
        }
    }
}
