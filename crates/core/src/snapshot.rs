//! The remote job as one answer describes it. The dialect that read the answer has decided what the steps and the job as
//! a whole mean; nothing else reads an API's text.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use strum::{EnumIter, EnumString, IntoStaticStr};

use super::job::Failure;
use super::json::{Verbatim, digest, same_value};
use super::user::{JobUser, UserId};

/// Most steps of one job; an answer with more is refused as unusable.
pub const MAX_STEPS: usize = 10_000;

/// The remote job in one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The JSON body, verbatim except for white space around it; `None` where the answer had none.
    pub body: Option<String>,
    /// The steps in the API's order.
    pub steps: Vec<Step>,
    /// Whether the job has ended, and how.
    pub verdict: Verdict,
    /// The API's time of the last change, verbatim.
    pub remote_updated: Option<String>,
    /// The user with whose token the answers to a challenge are sent.
    pub user: Option<UserId>,
    /// The users that the job belongs to.
    pub users: Vec<JobUser>,
}

/// Whether the job has ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It runs.
    Running,
    /// It has succeeded.
    Success,
    /// It has failed, for this reason.
    Failed(Failure),
}

/// One step of a snapshot. Identified by its title and, if a title occurs more than once, its occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The title, verbatim; empty if the API sent none.
    pub title: String,
    /// 0 for the first step with this title, 1 for the second …
    pub occurrence: u32,
    /// Index in the API's array, from 0.
    pub position: u32,
    /// The API's word, verbatim.
    pub status: String,
    /// What the status and the result mean.
    pub class: StepClass,
    /// The result's JSON, verbatim; `None` for null or no key at all.
    pub result: Option<String>,
    /// The challenge that the result holds, also after it was answered.
    pub challenge: Option<Challenge>,
    /// The API's error of a step that failed or is queued.
    pub error: Option<ApiError>,
}

/// What a step's status means, whatever the API's word for it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumIter, EnumString, IntoStaticStr, Serialize,
)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub enum StepClass {
    /// Not started.
    Pending,
    /// Being processed.
    Running,
    /// A word that the dialect does not know; the job goes on.
    Unknown,
    /// Waiting for the user's answers to its challenge.
    Waiting,
    /// Waiting in the API's own queue to be tried again later.
    Queued,
    /// Done.
    Done,
    /// Was not needed; counts as done.
    Skipped,
    /// Failed.
    Failed,
    /// Not in the latest answer.
    Missing,
}

impl StepClass {
    /// The word in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether the step needs nothing more (docs/jobs.md, "How a job ends").
    #[must_use]
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }
}

/// An MFA challenge. Its parts are the API's own JSON.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// `token`, `security-questions` …
    pub method: Box<RawValue>,
    /// Text for the user.
    pub description: Box<RawValue>,
    /// What the user has to enter, in order.
    pub input: Box<RawValue>,
    /// How long the user has to answer, in milliseconds since the challenge was first seen, if the API sends that.
    pub expiry_ms: Option<u64>,
    /// URL for the answers: relative or absolute, as the API wrote it.
    pub response: Option<String>,
}

/// The API's error of a step that failed or is queued; null for each part that is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct ApiError {
    /// `code`.
    pub code: Verbatim,
    /// `title`.
    pub title: Verbatim,
    /// `detail`.
    pub detail: Verbatim,
}

impl Snapshot {
    /// Whether a step waits in the API's own queue, so that polling can be slow.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.steps
            .iter()
            .any(|step| step.class == StepClass::Queued)
    }

    /// A hash that is equal for two answers that describe the job alike; times in challenges are ignored.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.remote_updated.hash(&mut hasher);
        for step in &self.steps {
            let challenge = step.challenge.as_ref();
            let identity = challenge.map(|it| it.identity(it.response.as_deref()));
            (&step.title, &step.status).hash(&mut hasher);
            let result = identity.as_deref().or(step.result.as_deref());
            result.map(digest).hash(&mut hasher);
        }
        hasher.finish()
    }
}

impl Challenge {
    /// What identifies it, as a JSON object without times (docs/jobs.md, "What is recorded"). `link` is its response
    /// link, which the API writes with or without its origin.
    #[must_use]
    pub fn identity(&self, link: Option<&str>) -> String {
        format!(
            r#"{{"method":{},"description":{},"input":{},"response":{}}}"#,
            self.method,
            self.description,
            self.input,
            Value::from(link)
        )
    }

    /// A challenge as it was recorded: its [identity](Self::identity), and how long the user had.
    ///
    /// # Errors
    /// When the identity cannot be read back, which only a damaged database can cause.
    pub fn recorded(identity: &str, expiry_ms: Option<u64>) -> Result<Self, serde_json::Error> {
        #[derive(serde::Deserialize)]
        struct Identity {
            method: Box<RawValue>,
            description: Box<RawValue>,
            input: Box<RawValue>,
            response: Option<String>,
        }
        let identity: Identity = serde_json::from_str(identity)?;
        Ok(Self {
            method: identity.method,
            description: identity.description,
            input: identity.input,
            expiry_ms,
            response: identity.response,
        })
    }

    /// What the user has to enter, in order; empty if the API wants no input.
    #[must_use]
    pub fn inputs(&self) -> Vec<&RawValue> {
        match self.input.get() {
            "null" => Vec::new(),
            list if list.starts_with('[') => serde_json::from_str(list).unwrap_or_default(),
            _ => vec![&self.input],
        }
    }
}

impl PartialEq for Challenge {
    fn eq(&self, other: &Self) -> bool {
        let text = |it: &Self| it.identity(it.response.as_deref());
        text(self) == text(other) && self.expiry_ms == other.expiry_ms
    }
}

impl Eq for Challenge {}

/// Whether two results are the same JSON value (docs/jobs.md, "What is recorded").
#[must_use]
pub fn same_result(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same_value(a, b),
        _ => a == b,
    }
}
