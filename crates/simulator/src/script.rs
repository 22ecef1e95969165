//! Scripts: a job's answers, and when they are shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::operation::{Operation, OperationStatus};

/// The most phases one script may have, those of its challenge's branches included.
pub const MAX_PHASES: usize = 1000;

/// The phases of a job from its creation on, and the question it may end in.
///
/// As JSON: `{"phases":[{"at_ms":0,"steps":[…]}, {"at_ms":2000,"operation":{"status":"running","progress":40}},
/// {"at_ms":4000,"body":{…}}],"challenge":{…}}`. Steps and operations are shown by every dialect in its own shape.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// At least one; `at_ms` never goes down.
    pub phases: Vec<Phase>,
    /// Asked while the last phase is shown, from its beginning.
    pub challenge: Option<Box<Challenge>>,
}

/// One answer to a poll of the job, shown from `at_ms` until the next phase begins.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "PhaseText")]
pub struct Phase {
    /// Milliseconds at speed 1 since the job was created, or since the branch was entered.
    pub at_ms: u64,
    /// The answer.
    pub content: Content,
}

/// The answer of a phase.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes with status 200, whatever they are.
    Verbatim(String),
    /// These steps in a job's body. `{base}` and `{id}` in them stand for the base URL and the job's id.
    Steps(Vec<Box<RawValue>>),
    /// An operation, in a dialect with steps a job with the one step `operation`.
    Operation(Box<Operation>),
    /// The API's error envelope with this status (400..=599).
    Error(u16),
}

/// A step as most jobs show it. `result: None` leaves the key out; `Some(Value::Null)` is a `null`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Such as `verify-credentials`.
    pub title: String,
    /// Any word; the API's are `pending`, `in-progress`, `success`, `failed` and `skipped`.
    pub status: String,
    /// A link, an error, a challenge, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
}

/// A question to the user, and what follows from its answers.
///
/// As JSON: `{"expected":["1234"],"expires_ms":120000,"accepted":{"phases":[…]},"refused":{…},"expired":{…}}`.
/// A branch's phases count from the moment it is entered. A branch may hold another challenge: that is how the API asks
/// again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The right answers, one per input, in order.
    pub expected: Vec<String>,
    /// How long it may be answered, in milliseconds at speed 1; for ever when absent.
    pub expires_ms: Option<u64>,
    /// After the right answers.
    pub accepted: Script,
    /// After wrong ones; absent: wrong answers are accepted and change nothing.
    pub refused: Option<Script>,
    /// After `expires_ms` without an answer; absent: nothing changes, but no answer is accepted any more.
    pub expired: Option<Script>,
}

/// Why a script was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// A script or one of its branches is empty.
    #[error("a script needs at least one phase")]
    NoPhases,
    /// More than [`MAX_PHASES`].
    #[error("a script has at most {MAX_PHASES} phases")]
    TooManyPhases,
    /// Phases are not in order of time.
    #[error("at_ms goes down from {before} to {after}")]
    OutOfOrder {
        /// The earlier phase's offset.
        before: u64,
        /// The later phase's offset.
        after: u64,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseText {
    #[serde(default)]
    at_ms: u64,
    body: Option<Box<RawValue>>,
    text: Option<String>,
    steps: Option<Vec<Box<RawValue>>>,
    operation: Option<Box<Operation>>,
    error: Option<u16>,
}

impl Script {
    /// A script without a challenge.
    #[must_use]
    pub fn new(phases: Vec<Phase>) -> Self {
        Self {
            phases,
            challenge: None,
        }
    }

    /// The same, ending in a question.
    #[must_use]
    pub fn asking(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(Box::new(challenge));
        self
    }

    /// Whether the simulator can play it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ScriptError> {
        if self.count()? > MAX_PHASES {
            return Err(ScriptError::TooManyPhases);
        }
        Ok(())
    }

    fn count(&self) -> Result<usize, ScriptError> {
        if self.phases.is_empty() {
            return Err(ScriptError::NoPhases);
        }
        let times = self.phases.iter().map(|phase| phase.at_ms);
        let mut pairs = times.clone().zip(times.skip(1));
        if let Some((before, after)) = pairs.find(|(before, after)| before > after) {
            return Err(ScriptError::OutOfOrder { before, after });
        }
        let branches = self.branches().map(Self::count).sum::<Result<usize, _>>()?;
        Ok(self.phases.len() + branches)
    }

    /// Shortens the phases, so that the longest path takes at most `budget_ms` without the waiting for answers, and how long
    /// a challenge may be answered, so that a job without answers ends in time too.
    pub(super) fn fit(&mut self, budget_ms: u64) {
        let span = self.span_ms();
        if span > budget_ms {
            self.squeeze(budget_ms, span);
        }
        self.shorten(budget_ms);
    }

    fn shorten(&mut self, budget_ms: u64) {
        let left = budget_ms.saturating_sub(self.last_ms());
        if let Some(challenge) = &mut self.challenge {
            let tail = challenge.expired.as_ref().map_or(0, Self::span_ms);
            let room = left.saturating_sub(tail).max(1);
            challenge.expires_ms = challenge.expires_ms.map(|ms| ms.min(room));
            for branch in challenge.branches_mut() {
                branch.shorten(left);
            }
        }
    }

    fn squeeze(&mut self, to: u64, from: u64) {
        for phase in &mut self.phases {
            let scaled = u128::from(phase.at_ms) * u128::from(to) / u128::from(from.max(1));
            phase.at_ms = u64::try_from(scaled).unwrap_or(u64::MAX);
        }
        if let Some(challenge) = &mut self.challenge {
            for branch in challenge.branches_mut() {
                branch.squeeze(to, from);
            }
        }
    }

    fn span_ms(&self) -> u64 {
        let longest = self.branches().map(Self::span_ms).max().unwrap_or(0);
        self.last_ms().saturating_add(longest)
    }

    fn last_ms(&self) -> u64 {
        self.phases.last().map_or(0, |phase| phase.at_ms)
    }

    fn branches(&self) -> impl Iterator<Item = &Self> {
        self.challenge.iter().flat_map(|challenge| {
            std::iter::once(&challenge.accepted)
                .chain(&challenge.refused)
                .chain(&challenge.expired)
        })
    }
}

impl Challenge {
    fn branches_mut(&mut self) -> impl Iterator<Item = &mut Script> {
        std::iter::once(&mut self.accepted)
            .chain(&mut self.refused)
            .chain(&mut self.expired)
    }
}

impl Content {
    /// What it comes to as one operation; a text of its own is taken for one at work.
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Steps(steps) => Operation::of_steps(steps),
            Self::Operation(operation) => (**operation).clone(),
            Self::Verbatim(_) | Self::Error(_) => Operation::new(OperationStatus::Running),
        }
    }
}

impl Phase {
    /// A job with these steps.
    #[must_use]
    pub fn steps(at_ms: u64, steps: &[Step]) -> Self {
        let steps = steps.iter().filter_map(|step| to_raw_value(step).ok());
        let content = Content::Steps(steps.collect());
        Self { at_ms, content }
    }

    /// A job that is this operation.
    #[must_use]
    pub fn operation(at_ms: u64, operation: Operation) -> Self {
        let content = Content::Operation(Box::new(operation));
        Self { at_ms, content }
    }

    /// This text, word for word.
    pub fn verbatim(at_ms: u64, text: impl Into<String>) -> Self {
        let content = Content::Verbatim(text.into());
        Self { at_ms, content }
    }
}

impl Step {
    /// A step with a `null` result.
    pub fn new(title: impl Into<String>, status: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            status: status.into(),
            result: Some(Value::Null),
        }
    }

    /// The same with a result.
    #[must_use]
    pub fn with(mut self, result: Value) -> Self {
        self.result = Some(result);
        self
    }
}

impl TryFrom<PhaseText> for Phase {
    type Error = &'static str;

    fn try_from(text: PhaseText) -> Result<Self, Self::Error> {
        let contents = [
            text.body
                .map(|body| Content::Verbatim(body.get().to_owned())),
            text.text.map(Content::Verbatim),
            text.steps.map(Content::Steps),
            text.operation.map(Content::Operation),
            text.error.map(Content::Error),
        ];
        let mut contents = contents.into_iter().flatten();
        let (Some(content), None) = (contents.next(), contents.next()) else {
            return Err("a phase has exactly one of body, text, steps, operation and error");
        };
        match &content {
            Content::Error(status) if !(400..600).contains(status) => {
                return Err("a phase's error is a status of 400 to 599");
            }
            Content::Operation(operation) => operation.check()?,
            _ => {}
        }
        let at_ms = text.at_ms;
        Ok(Self { at_ms, content })
    }
}
