//! The open challenge of a job: what the API says about it, and which answers it takes.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::Refused;
use crate::core::job::JobId;
use crate::core::snapshot::Challenge;
use crate::core::text::{printable, push_hex};
use crate::core::time::UnixMillis;
use crate::core::transition::RecordedChallenge;
use crate::store::{JobChallenge, StepRow};

/// An expiry below this is probably in seconds, as in some of the API's own examples.
pub const IMPLAUSIBLE: Duration = Duration::from_secs(10);

/// Longest name of an input that an error repeats, in characters.
const NAME_CHARS: usize = 100;

/// Bytes of a mark.
const MARK_BYTES: usize = 8;

/// What tells a challenge from others of its job: a hash of its step and of what it asks for.
pub(crate) fn mark(step: &StepRow, challenge: &RecordedChallenge) -> String {
    let mut hash = Sha256::new();
    for part in [&step.title, &challenge.identity] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut mark = String::new();
    push_hex(
        &mut mark,
        hash.finalize().get(..MARK_BYTES).unwrap_or_default(),
    );
    mark
}

/// A challenge that waits for its answers.
#[derive(Debug, Clone)]
pub struct OpenChallenge {
    /// The title of its step.
    pub step: String,
    /// What the API says about it.
    pub challenge: Challenge,
    /// When it ends, counted from when it was first seen; `None` where the API does not say.
    pub expires_at: Option<UnixMillis>,
    /// Tells it from others of the job.
    pub mark: String,
}

impl OpenChallenge {
    pub(super) fn of(asking: &JobChallenge) -> Option<Self> {
        asking.steps.iter().find_map(|step| {
            let recorded = step.challenge.as_ref()?;
            Some(Self {
                step: step.title.clone(),
                challenge: recorded.challenge().ok()?,
                expires_at: recorded.expires_at,
                mark: mark(step, recorded),
            })
        })
    }

    /// Whether the API gives less time than a user needs.
    #[must_use]
    pub fn is_implausible(&self) -> bool {
        let expiry = self.challenge.expiry_ms.map(Duration::from_millis);
        expiry.is_some_and(|expiry| expiry < IMPLAUSIBLE)
    }

    /// One answer per input. A challenge without inputs takes no answer, or one word, which some institutions want as a
    /// confirmation.
    pub(super) fn check_count(&self, id: &JobId, answers: usize) -> Result<(), Refused> {
        let inputs = self.challenge.inputs();
        if answers == inputs.len() || (inputs.is_empty() && answers == 1) {
            return Ok(());
        }
        let wanted = inputs
            .iter()
            .map(|input| printable(input.get(), NAME_CHARS));
        Err(Refused::Count {
            id: id.clone(),
            wanted: wanted.collect(),
            answers,
        })
    }
}
