//! What the log says of looks: a line at the end of a job, and everything else for those who ask for details.

use std::time::Duration;

use super::Next;
use crate::core::job::{FailureKind, JobId, JobState};
use crate::core::observe::Observation;
use crate::core::poll::printable;
use crate::core::time::millis;

/// Longest error code of the API that is logged, in characters.
const MAX_CODE: usize = 100;

/// What is said of an observation, once it is recorded.
pub(super) struct Story {
    state: JobState,
    failure: Option<(FailureKind, Option<String>)>,
    transitions: usize,
}

impl Story {
    pub(super) fn of(observation: &Observation) -> Self {
        let failure = observation.failure.as_ref().map(|failure| {
            let code = failure.code.as_str();
            (failure.kind, code.map(|code| printable(code, MAX_CODE)))
        });
        Self {
            state: observation.state,
            failure,
            transitions: observation.transitions.len(),
        }
    }

    pub(super) fn log(&self, id: &JobId, polls: u64) {
        match (self.state, &self.failure) {
            (JobState::Success, _) => tracing::info!(job_id = %id, polls, "job completed"),
            (_, Some((kind, code))) => {
                tracing::info!(job_id = %id, kind = kind.as_str(), code, polls, "job failed");
            }
            _ => tracing::debug!(job_id = %id, transitions = self.transitions, "job changed"),
        }
    }
}

/// One poll, over and done with.
pub(super) struct Polled<'a> {
    pub(super) outcome: &'static str,
    pub(super) requests: u32,
    pub(super) duration: Duration,
    /// What was wrong with the answer.
    pub(super) error: Option<&'a str>,
}

impl Polled<'_> {
    pub(super) fn log(&self, id: &JobId, next: &Next) {
        let next_in_ms = match next {
            Next::After(delay) => Some(millis(*delay)),
            _ => None,
        };
        tracing::debug!(
            job_id = %id,
            outcome = self.outcome,
            requests = self.requests,
            duration_ms = millis(self.duration),
            error = self.error,
            next_in_ms,
            "polled"
        );
    }
}

/// Another hand was in the job's rows. It is found again by every poll, and told by the first.
pub(super) fn spoilt(id: &JobId, error: &str, errors_before: u32) {
    if errors_before == 0 {
        tracing::error!(job_id = %id, error, "what was seen of the job cannot be recorded; its rows were changed by another hand");
    } else {
        tracing::debug!(job_id = %id, error, "what was seen of the job still cannot be recorded");
    }
}
