//! The state of a script, computed from the time of each request, without a task.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::operation::{Ending, Operation, OperationStatus};
use super::script::{Challenge, Content, Phase, Script};
use jobtrackd_core::time::UnixMillis;

/// How long a cancelled job takes to stop, in milliseconds at speed 1.
const STOPPING_MS: u64 = 1500;

/// Why an answer to a challenge was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// There is no job with that id.
    #[error("there is no such job")]
    NoJob,
    /// The job has no open challenge.
    #[error("the job waits for no answer")]
    NotAsked,
    /// Not one text for each input.
    #[error("a challenge takes one text for each of its inputs")]
    Count,
}

/// One body and the moment from which it is shown.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at: UnixMillis,
    pub(super) content: Content,
    pub(super) ending: Option<Ending>,
}

/// A job's past and future, up to the next open question.
#[derive(Debug)]
pub(super) struct Timeline {
    speed: f64,
    moments: Vec<Moment>,
    gate: Option<Gate>,
}

/// The open question, or the next one.
#[derive(Debug)]
struct Gate {
    opens: UnixMillis,
    closes: Option<UnixMillis>,
    challenge: Box<Challenge>,
}

impl Timeline {
    pub(super) fn new(script: Script, start: UnixMillis, speed: f64) -> Self {
        let mut timeline = Self {
            speed,
            moments: Vec::new(),
            gate: None,
        };
        timeline.enter(script, start);
        timeline
    }

    /// The body shown at `now`. `None` only before the first phase of a script that starts late.
    pub(super) fn shown(&self, now: UnixMillis) -> Option<&Moment> {
        let passed = self.moments.partition_point(|moment| moment.at <= now);
        self.moments.get(passed.checked_sub(1)?)
    }

    /// Lets an unanswered challenge expire.
    pub(super) fn settle(&mut self, now: UnixMillis) {
        while let Some(gate) = self
            .gate
            .take_if(|gate| gate.closes.is_some_and(|closes| closes <= now))
        {
            if let (Some(expired), Some(closes)) = (gate.challenge.expired, gate.closes) {
                self.enter(expired, closes);
            }
        }
    }

    /// Answers the open challenge, and returns whether the answers were right.
    pub(super) fn answer(
        &mut self,
        now: UnixMillis,
        answers: &[String],
    ) -> Result<bool, AnswerError> {
        self.settle(now);
        let open = self.gate.take_if(|gate| gate.opens <= now);
        let mut gate = open.ok_or(AnswerError::NotAsked)?;
        let counted = gate.challenge.expected.len() == answers.len();
        let right = gate.challenge.expected == answers;
        if right {
            self.enter(gate.challenge.accepted, now);
        } else if let Some(refused) = gate.challenge.refused.take_if(|_| counted) {
            self.enter(refused, now);
        } else {
            self.gate = Some(gate);
        }
        if counted {
            Ok(right)
        } else {
            Err(AnswerError::Count)
        }
    }

    /// Lets the job come to a stop: what was still to come does not. Whether it still ran.
    pub(super) fn cancel(&mut self, now: UnixMillis) -> bool {
        self.settle(now);
        let shown = self.shown(now);
        if shown.is_some_and(|moment| moment.ending.is_some()) {
            return false;
        }
        let operation = shown.map(|moment| moment.content.operation());
        let percent = operation.as_ref().map_or(0, Operation::percent);
        if operation.is_some_and(|it| it.status == OperationStatus::Cancelling) {
            return true;
        }
        let stop = |status| Operation::new(status).at_percent(percent);
        let phases = vec![
            Phase::operation(0, stop(OperationStatus::Cancelling)),
            Phase::operation(STOPPING_MS, stop(OperationStatus::Cancelled)),
        ];
        self.moments.retain(|moment| moment.at <= now);
        self.gate = None;
        self.enter(Script::new(phases), now);
        true
    }

    /// When the job ends, as far as that is decided.
    pub(super) fn ends(&self) -> Option<UnixMillis> {
        let end = self.moments.iter().find(|moment| moment.ending.is_some());
        end.map(|moment| moment.at)
    }

    /// The right answers to the question that is open or comes next.
    pub(super) fn expected(&self) -> Option<&[String]> {
        self.gate
            .as_ref()
            .map(|gate| gate.challenge.expected.as_slice())
    }

    /// Whether a question is open at `now`.
    pub(super) fn asks(&self, now: UnixMillis) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.opens <= now)
    }

    /// Whether nothing will change any more.
    pub(super) fn finished(&self, now: UnixMillis) -> bool {
        self.gate.is_none() && self.moments.last().is_none_or(|last| last.at <= now)
    }

    pub(super) fn moments(&self) -> &[Moment] {
        &self.moments
    }

    fn enter(&mut self, script: Script, start: UnixMillis) {
        for Phase { at_ms, content } in script.phases {
            let ending = ending_of(&content);
            self.moments.push(Moment {
                at: start.plus(self.paced(at_ms)),
                content,
                ending,
            });
        }
        let opens = self.moments.last().map_or(start, |last| last.at);
        self.gate = script.challenge.map(|challenge| Gate {
            opens,
            closes: challenge.expires_ms.map(|ms| opens.plus(self.paced(ms))),
            challenge,
        });
    }

    fn paced(&self, ms: u64) -> Duration {
        let seconds = Duration::from_millis(ms).as_secs_f64() / self.speed;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[derive(Deserialize)]
struct Steps {
    steps: Vec<Box<RawValue>>,
}

/// How a body ends the job.
fn ending_of(content: &Content) -> Option<Ending> {
    match content {
        Content::Error(_) => None,
        Content::Verbatim(text) => {
            let read: Steps = serde_json::from_str(text).ok()?;
            Operation::of_steps(&read.steps).status.ending()
        }
        Content::Steps(steps) => Operation::of_steps(steps).status.ending(),
        Content::Operation(operation) => operation.status.ending(),
    }
}
