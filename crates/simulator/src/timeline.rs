//! A script in time: computed from the moment of each request, with no task behind it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::script::{Challenge, Content, Phase, Script};
use jobtrackd_core::time::UnixMillis;

/// How a body ends its job, by the API's own rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// At least one step, all of them `success` or `skipped`.
    Success,
    /// A step is `failed`.
    Failed,
}

/// What became of an answer to a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Right,
    Wrong,
    /// No challenge is open.
    NotAsked,
    /// Not one answer per input.
    Count,
}

/// One body and the moment from which it is shown.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at: UnixMillis,
    pub(super) content: Content,
    pub(super) ending: Option<Ending>,
}

/// Everything known of a job's past and future, up to the next open question.
#[derive(Debug)]
pub(super) struct Timeline {
    speed: f64,
    moments: Vec<Moment>,
    gate: Option<Gate>,
}

#[derive(Debug)]
struct Gate {
    opens: UnixMillis,
    closes: Option<UnixMillis>,
    challenge: Box<Challenge>,
}

#[derive(Deserialize)]
struct StatusOnly {
    status: Option<Value>,
}

#[derive(Deserialize)]
struct StepsOnly {
    steps: Vec<StatusOnly>,
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

    /// Lets a challenge that nobody answered run out.
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

    pub(super) fn answer(&mut self, now: UnixMillis, answers: &[String]) -> Verdict {
        self.settle(now);
        let Some(gate) = self.gate.take_if(|gate| gate.opens <= now) else {
            return Verdict::NotAsked;
        };
        if gate.challenge.expected.len() != answers.len() {
            self.gate = Some(gate);
            return Verdict::Count;
        }
        let right = gate.challenge.expected == answers;
        if right {
            self.enter(gate.challenge.accepted, now);
            return Verdict::Right;
        }
        if gate.challenge.refused.is_none() {
            self.gate = Some(gate);
        } else if let Some(refused) = gate.challenge.refused {
            self.enter(refused, now);
        }
        Verdict::Wrong
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

fn ending_of(content: &Content) -> Option<Ending> {
    match content {
        Content::Error(_) => None,
        Content::Verbatim(text) => {
            let body: StepsOnly = serde_json::from_str(text).ok()?;
            ending(body.steps.into_iter())
        }
        Content::Steps(steps) => ending(steps.iter().map(|step| read_status(step))),
    }
}

fn read_status(step: &RawValue) -> StatusOnly {
    serde_json::from_str(step.get()).unwrap_or(StatusOnly { status: None })
}

fn ending(steps: impl Iterator<Item = StatusOnly>) -> Option<Ending> {
    let mut ending = None;
    let mut running = false;
    for step in steps {
        match step.status.as_ref().and_then(Value::as_str) {
            Some("failed") => return Some(Ending::Failed),
            Some("success" | "skipped") => ending = Some(Ending::Success),
            _ => running = true,
        }
    }
    if running { None } else { ending }
}
