//! A job as recorded: its id, its state, and why it failed.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use super::json::Verbatim;

/// Longest job id in characters (docs/enqueuing.md, "The row").
pub const MAX_ID_LEN: usize = 200;

/// The id of a job: 1 to 200 characters of `A-Za-z0-9._~-`, not only dots (docs/enqueuing.md, "The row").
///
/// Such an id is one path segment of a URL and can never leave it, so a [`JobId`] may be put into a path unchanged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct JobId(Arc<str>);

/// Why a text is not a job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job id is 1 to 200 characters of A-Z a-z 0-9 . _ ~ - and not only dots")]
pub struct InvalidJobId;

impl JobId {
    /// Takes `text` as a job id.
    ///
    /// # Errors
    /// [`InvalidJobId`] when it breaks the rule (docs/enqueuing.md, "The row").
    pub fn parse(text: &str) -> Result<Self, InvalidJobId> {
        if is_segment(text) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(InvalidJobId)
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text, not copied.
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether every reader of a URL reads the text as exactly one path segment.
pub(super) fn is_segment(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~-".contains(&b);
    let right_length = (1..=MAX_ID_LEN).contains(&text.len());
    right_length && text.bytes().all(allowed) && !text.bytes().all(|b| b == b'.')
}

/// The state of a job (docs/tables.md). Not the API's status of a step
/// ([`Step::status`](super::snapshot::Step::status)) nor the state of a delivery ([`DeliveryState`](super::delivery::DeliveryState)).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum JobState {
    /// No poll has succeeded yet. Entered by the INSERT; left by the first good answer or an end.
    Pending,
    /// The remote job has been seen and has not ended. Left by an end only.
    InProgress,
    /// Every step of the latest answer was done. Final.
    Success,
    /// A step failed, or the tracker ended the job ([`FailureKind`]). Final.
    Failed,
}

impl JobState {
    /// The word stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the job has ended: it is not polled any more and has no further transitions.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// The kinds of failure (docs/jobs.md, "How a job ends").
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumIter,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FailureKind {
    /// A step failed; the API's error is passed through.
    Step,
    /// 404 or 410 for longer than `polling.not_found_grace`.
    NotFound,
    /// The API answered 400, or the job's url may not be requested.
    Rejected,
    /// The deadline passed.
    Expired,
    /// `cancel_requested` was set.
    Cancelled,
}

impl FailureKind {
    /// The word stored, sent and logged.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why a job failed, as stored in `jobs.failure` and sent in `job.failed`.
///
/// `code`, `title` and `detail` of a failed step are the API's own JSON values, unchanged; null if it gave none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which rule ended the job.
    pub kind: FailureKind,
    /// Title of the failed step; null for the other kinds.
    pub step: Option<String>,
    /// The API's error code.
    pub code: Verbatim,
    /// The API's one-line title.
    pub title: Verbatim,
    /// The API's longer text (`detail` or `details`).
    pub detail: Verbatim,
}

impl Failure {
    /// A failure that the tracker itself decides, with a title and a detail for people.
    #[must_use]
    pub fn decided(kind: FailureKind, title: &str, detail: String) -> Self {
        Self {
            kind,
            step: None,
            code: Verbatim::default(),
            title: title.into(),
            detail: detail.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn ids_of_the_documents_are_taken_and_all_others_refused() {
        for good in [
            "61723",
            "a2a17e84",
            "a03e4df4-dc05-4cd3-9af0-0f28a13ea614",
            "a.b_c~d-e",
            "..a",
            &"x".repeat(200),
        ] {
            assert_eq!(
                JobId::parse(good).map(|id| id.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "",
            ".",
            "..",
            "...",
            "a/b",
            "../token",
            "%2e%2e",
            "a b",
            "a\0b",
            "a\r\nb",
            "ä",
            "a?b",
            &"x".repeat(201),
        ] {
            assert_eq!(JobId::parse(bad), Err(InvalidJobId), "{bad:?}");
        }
    }

    #[test]
    fn every_state_is_found_again_by_its_word() {
        for state in JobState::iter() {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert!("running".parse::<JobState>().is_err());
    }

    #[test]
    fn a_kind_of_failure_is_logged_with_the_word_that_is_stored() {
        for kind in FailureKind::iter() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
