//! The open challenge of a job: what the API says about it, and which answers it takes.

use std::time::Duration;

use super::Refused;
use crate::core::job::JobId;
use crate::core::resource::{Challenge, challenge_of};
use crate::core::text::printable;
use crate::core::time::UnixMillis;
use crate::store::JobChallenge;

/// An expiry below this is probably in seconds, as in some of the API's own examples.
pub const IMPLAUSIBLE: Duration = Duration::from_secs(10);

/// Longest name of an input that an error repeats, in characters.
const NAME_CHARS: usize = 100;

/// A challenge that waits for its answers.
#[derive(Debug, Clone)]
pub struct OpenChallenge {
    /// The title of its step.
    pub step: String,
    /// What the API says about it.
    pub challenge: Challenge,
    /// When it ends, counted from when it was first seen; `None` where the API does not say.
    pub expires_at: Option<UnixMillis>,
}

impl OpenChallenge {
    pub(super) fn of(recorded: &JobChallenge) -> Option<Self> {
        recorded.steps.iter().find_map(|step| {
            Some(Self {
                step: step.title.clone(),
                challenge: challenge_of(step.result.as_deref())?,
                expires_at: step.expires_at,
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
