//! The open challenge of a job: what was told of it, and what it takes.

use std::time::Duration;

use serde_json::Value;

use super::Refused;
use crate::core::job::JobId;
use crate::core::poll::printable;
use crate::core::resource::{Challenge, mfa_object};
use crate::core::time::UnixMillis;
use crate::store::{Asking, StepView};

/// An expiry below this is hardly meant as it is written: some of the API's own examples hold seconds.
pub const IMPLAUSIBLE: Duration = Duration::from_secs(10);

/// Longest name of an input that an error repeats, in characters.
const NAME_CHARS: usize = 100;

/// A challenge that waits for its answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// The title of its step.
    pub step: String,
    /// What the API says of it.
    pub challenge: Challenge,
    /// When it ends, counted from when it was first seen; `None` where the API does not say.
    pub expires_at: Option<UnixMillis>,
}

/// What was told of a challenge when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When it ends.
    pub expires_at: Option<UnixMillis>,
    /// Where the answers go, absolute.
    pub response_url: Option<String>,
}

impl Open {
    pub(super) fn of(asking: &Asking) -> Option<Self> {
        asking.steps.iter().find_map(|step| {
            let challenge = Challenge::read(&mfa_object(step.result.as_deref())?);
            let told = told(step, &challenge, &asking.challenges);
            let own = || Some(step.updated_at.plus(expiry(&challenge)?));
            Some(Self {
                step: step.title.clone(),
                expires_at: told.and_then(|told| told.expires_at).or_else(own),
                challenge,
            })
        })
    }

    /// Whether the API gives less time than anybody needs.
    #[must_use]
    pub fn is_implausible(&self) -> bool {
        expiry(&self.challenge).is_some_and(|expiry| expiry < IMPLAUSIBLE)
    }

    /// One answer per input. A challenge without any is answered with nothing or, as some institutions want an approval
    /// confirmed, with one word.
    pub(super) fn check_count(&self, id: &JobId, given: usize) -> Result<(), Refused> {
        let inputs = self.challenge.inputs();
        if given == inputs.len() || (inputs.is_empty() && given == 1) {
            return Ok(());
        }
        let wanted = inputs
            .iter()
            .map(|input| printable(&input.to_string(), NAME_CHARS));
        Err(Refused::Count {
            id: id.clone(),
            wanted: wanted.collect(),
            given,
        })
    }
}

fn expiry(challenge: &Challenge) -> Option<Duration> {
    challenge.expiry_ms.map(Duration::from_millis)
}

/// What `job.action_required` said last of this step with this challenge, of what was told of the latest ones; it holds the
/// absolute address and the time of expiry.
#[must_use]
pub fn told(step: &StepView, challenge: &Challenge, latest: &[String]) -> Option<Told> {
    for told in latest {
        let Ok(found) = serde_json::from_str::<Value>(told) else {
            continue;
        };
        let same = found.get("step").and_then(Value::as_str) == Some(step.title.as_str())
            && found.get("input") == Some(&challenge.input)
            && found.get("description") == Some(&challenge.description);
        if same {
            let field = |key: &str| found.get(key).and_then(Value::as_str);
            return Some(Told {
                expires_at: field("expires_at")
                    .and_then(|at| at.parse::<jiff::Timestamp>().ok())
                    .map(UnixMillis::from),
                response_url: field("response_url").map(str::to_owned),
            });
        }
    }
    None
}
