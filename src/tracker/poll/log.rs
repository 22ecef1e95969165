//! Log lines of polls: the end of a job at `info`, everything else at `debug`.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Context, Requested};
use crate::core::event::EventType;
use crate::core::job::{FailureKind, JobId, JobState};
use crate::core::machines::poll::{Finished, Next, Report};
use crate::core::observe::Observation;
use crate::core::snapshot::StepClass;
use crate::core::text::printable;
use crate::core::time::{UnixMillis, millis};
use crate::telemetry::{self, Recent};

/// Longest error code of the API in a log line, in characters.
const MAX_CODE: usize = 100;

/// What is logged and counted of an observation after its commit.
pub(super) struct Summary {
    at: UnixMillis,
    state: JobState,
    failure: Option<(FailureKind, Option<String>)>,
    transitions: usize,
    events: Vec<EventType>,
    /// Time from the change until it was observed.
    delay: Option<Duration>,
}

impl Summary {
    pub(super) fn of(observation: &Observation) -> Self {
        let failure = observation.failure.as_ref().map(|failure| {
            let code = failure.code.text();
            (failure.kind, code.map(|code| printable(&code, MAX_CODE)))
        });
        Self {
            at: observation.at,
            state: observation.state,
            failure,
            transitions: observation.transitions.len(),
            events: observation.events.iter().map(|event| event.kind).collect(),
            delay: delay_of(observation),
        }
    }

    pub(super) fn count(&self, requests: u64, recent: &Recent) {
        telemetry::recorded(self.transitions, &self.events, self.delay);
        if let Some(delay) = self.delay {
            recent.detected(self.at, delay);
        }
        if self.state.is_final() {
            let failure = self.failure.as_ref().map(|(kind, _)| *kind);
            telemetry::finished(failure, requests);
            recent.ended(self.at, failure);
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

/// The time from the API's own time of the change, or from the job's insertion if that was later, until it was observed.
/// `None` when nothing has changed, or the API gives no time, or a time in the future by our clock.
fn delay_of(observation: &Observation) -> Option<Duration> {
    if observation.transitions.is_empty() {
        return None;
    }
    let updated = observation.remote.as_ref()?.updated.as_deref()?;
    let updated = UnixMillis::parse_rfc3339(updated)?;
    (updated <= observation.at).then(|| observation.at.since(updated.max(observation.created_at)))
}

/// Most words that are remembered to have been logged; further ones are not logged.
const MOST_WORDS: usize = 100;

/// Statuses that the dialect does not know, each logged once: the API may have changed, or another dialect may be meant.
#[derive(Debug, Default)]
pub(in crate::tracker) struct UnknownWords(Mutex<BTreeSet<String>>);

impl UnknownWords {
    pub(super) fn log(&self, id: &JobId, observation: &Observation) {
        let unknown = observation.transitions.iter();
        for step in unknown.filter(|each| each.class == StepClass::Unknown) {
            let word = printable(&step.to, MAX_CODE);
            if self.is_new(&word) {
                tracing::warn!(job_id = %id, status = word, "a status that upstream.dialect does not know; the job goes on");
            }
        }
    }

    fn is_new(&self, word: &str) -> bool {
        let mut words = self.0.lock();
        words.len() < MOST_WORDS && words.insert(word.to_owned())
    }
}

/// Logs and counts a poll that is over; `request`: unless there was none.
pub(super) fn finished(finished: &Finished, request: Option<&Requested>, context: &Context) {
    let id = &finished.id;
    for report in &finished.reports {
        match report {
            Report::RowGone => row_gone(id),
            Report::CannotRecord {
                error,
                errors_before,
            } => cannot_record(id, error, *errors_before),
            Report::Limited {
                transitions,
                events,
            } => {
                tracing::warn!(job_id = %id, transitions, events,
                    "the job has passed a bound; only its end is recorded from now on");
            }
        }
    }
    if let Some(request) = request {
        polled(request, finished, context);
    }
}

pub(in crate::tracker) fn row_gone(id: &JobId) {
    tracing::warn!(job_id = %id, "the row of a job is gone; it is no longer followed");
}

fn polled(request: &Requested, finished: &Finished, context: &Context) {
    let answered = request.outcome == "answered";
    let usable = answered && finished.progress.consecutive_errors == 0;
    let next_in_ms = match finished.next {
        Next::After(delay) => Some(millis(delay)),
        _ => None,
    };
    tracing::debug!(
        job_id = %finished.id,
        outcome = request.outcome,
        requests = request.requests,
        duration_ms = millis(request.duration),
        error = finished.progress.last_error.as_deref().filter(|_| !usable),
        next_in_ms,
        "polled"
    );
    telemetry::polled(request.outcome, usable || !answered, request.duration);
    let (recent, now) = (&context.recent, context.clock.now());
    recent.polled(&finished.id, now, request.outcome, usable);
}

/// Another program has damaged the job's rows. Every poll finds that again, so only the first logs it as an error.
fn cannot_record(id: &JobId, error: &str, errors_before: u32) {
    if errors_before == 0 {
        tracing::error!(job_id = %id, error, "what was seen of the job cannot be recorded; its rows were changed by another program");
    } else {
        tracing::debug!(job_id = %id, error, "what was seen of the job still cannot be recorded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::job::JobId;
    use crate::core::observe::Remote;
    use crate::core::snapshot::StepClass;
    use crate::core::transition::Transition;

    /// 2026-11-22T15:04:05Z
    const CHANGED: i64 = 1_795_359_845_000;

    fn seen(at: i64, updated: Option<&str>, changed: bool) -> Observation {
        let transition = Transition {
            seq: 1,
            position: 0,
            title: String::new(),
            occurrence: 0,
            from: None,
            to: "success".to_owned(),
            class: StepClass::Done,
            result: None,
        };
        Observation {
            job_id: JobId::parse("1").unwrap(),
            created_at: UnixMillis(0),
            revision: 0,
            at: UnixMillis(at),
            before: JobState::InProgress,
            state: JobState::InProgress,
            failure: None,
            remote: Some(Remote {
                resource: None,
                updated: updated.map(str::to_owned),
                user: None,
                users: Vec::new(),
            }),
            transitions: changed.then_some(transition).into_iter().collect(),
            steps: Vec::new(),
            events: Vec::new(),
            queued: false,
            has_challenge: false,
            limited: false,
            moved: changed,
        }
    }

    #[test]
    fn an_unknown_word_is_new_once_and_after_a_hundred_none_is() {
        let words = UnknownWords::default();
        for number in 0..200 {
            let word = number.to_string();
            assert_eq!(words.is_new(&word), number < 100, "{word}");
            assert!(!words.is_new(&word), "{word}");
        }
    }

    #[test]
    fn the_delay_of_a_change_counts_from_the_api_s_own_time_or_the_insertion() {
        let updated = Some("2026-11-22T15:04:05Z");
        let delay = |observation: &Observation, inserted_at| {
            let observation = Observation {
                created_at: UnixMillis(inserted_at),
                ..observation.clone()
            };
            delay_of(&observation).map(|delay| delay.as_millis())
        };
        let late = seen(CHANGED + 2500, updated, true);
        assert_eq!(delay(&late, 0), Some(2500));
        assert_eq!(delay(&late, CHANGED + 2000), Some(500));
        assert_eq!(delay(&seen(CHANGED, updated, true), 0), Some(0));
    }

    #[test]
    fn without_a_change_or_a_plausible_time_there_is_no_delay() {
        let updated = Some("2026-11-22T15:04:05Z");
        for none in [
            seen(CHANGED + 2500, updated, false),
            seen(CHANGED - 1, updated, true),
            seen(CHANGED + 2500, None, true),
            seen(CHANGED + 2500, Some("just now"), true),
        ] {
            assert_eq!(delay_of(&none), None, "{none:?}");
        }
    }
}
