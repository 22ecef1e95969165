//! Every scenario, written as a script, step by step.

use std::ops::RangeInclusive;

use fastrand::Rng;
use serde_json::{Value, json};

use super::format::JobFormat;
use super::scenario::Scenario;
use super::script::{Challenge, Phase, Script, Step};
use super::step_errors::{self, StepError};

/// The position of a challenge's step.
const MFA: usize = 1;
const QUEUE_MS: u64 = 2 * 60 * 60 * 1000;

/// A question as the API words it.
#[derive(Debug, Clone, Copy)]
struct Question {
    method: &'static str,
    description: &'static str,
    input: &'static [&'static str],
    expected: &'static [&'static str],
    /// As the challenge says it.
    expiry_ms: u64,
}

const TOKEN: Question = Question {
    method: "token",
    description: "A SMS code has been sent to your device, please enter valid number",
    input: &["OTP Password"],
    expected: &["1234"],
    expiry_ms: 120_000,
};
const QUESTIONS: Question = Question {
    method: "security-questions",
    description: "security-questions",
    input: &[
        "What's your favourite company?",
        "What's the ID of this institution?",
    ],
    expected: &["Basiq", "AU00002"],
    ..TOKEN
};
const APPROVAL: Question = Question {
    description: "Approve the sign-in in your bank's app, then confirm it here",
    input: &["Type confirmed"],
    expected: &["confirmed"],
    ..TOKEN
};
const TEXT_MESSAGE: Question = Question {
    input: &["We sent a code by SMS to your mobile number XXXX XXX 178."],
    ..TOKEN
};

/// The object of a job, and how its results are written.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) format: JobFormat,
    pub(super) user: String,
    /// The id of the connection, report or payment.
    pub(super) resource: String,
    pub(super) institution: String,
    /// Leaves the `result` key out where others write `null`.
    pub(super) no_nulls: bool,
    /// Writes `details` where others write `detail`.
    pub(super) details: bool,
}

/// A script being written: the steps as they are now, and the phases so far.
#[derive(Debug)]
pub(super) struct ScriptWriter {
    scenario: Scenario,
    rng: Rng,
    subject: Subject,
    steps: Vec<Step>,
    /// How many times slower than usual.
    slowness: u64,
    at_ms: u64,
    phases: Vec<Phase>,
}

impl ScriptWriter {
    pub(super) fn new(scenario: Scenario, rng: Rng, subject: Subject) -> Self {
        let titles = scenario.titles().iter();
        let mut writer = Self {
            steps: titles.map(|title| Step::new(*title, "pending")).collect(),
            scenario,
            rng,
            subject,
            slowness: 1,
            at_ms: 0,
            phases: Vec::new(),
        };
        if writer.subject.no_nulls {
            for step in &mut writer.steps {
                step.result = None;
            }
        }
        writer.show();
        writer
    }

    /// The scenario from its beginning; `step` and `code` choose what fails in those that fail.
    pub(super) fn write(mut self, step: Option<&str>, code: Option<&str>) -> Script {
        match self.scenario {
            Scenario::MfaToken
            | Scenario::MfaQuestions
            | Scenario::MfaApproval
            | Scenario::MfaStrict
            | Scenario::MfaExpired
            | Scenario::MfaKept
            | Scenario::SeedMfaExample
            | Scenario::StepAppears => return self.ask(),
            Scenario::Failed
            | Scenario::StatementFailed
            | Scenario::ReportFailed
            | Scenario::PaymentFailed => self.fail_somewhere(step, code),
            Scenario::QueuedSuccess | Scenario::QueuedFailed => self.queue(),
            Scenario::MfaSkipped | Scenario::MfaMisspelt => {
                self.run(0, MFA);
                self.set(MFA, "skipped", Value::Null);
                self.run(MFA, usize::MAX);
            }
            Scenario::Instant => {
                for index in 0..self.steps.len() {
                    let link = self.link_of(index);
                    self.set(index, "success", link);
                }
                return Script::new(vec![Phase::steps(0, &self.steps)]);
            }
            Scenario::UnknownStatus => {
                self.run(0, 1);
                self.wait(200..=800);
                let result = json!({"type": "spline", "count": 3});
                self.show_set(1, "reticulating", result);
                self.wait(1000..=3000);
                self.run(1, usize::MAX);
            }
            Scenario::GoesBack => {
                self.run(0, 1);
                self.wait(200..=800);
                self.start(1);
                self.wait(1000..=3000);
                self.show_set(1, "pending", Value::Null);
                self.wait(1000..=3000);
                self.run(1, usize::MAX);
            }
            Scenario::StepVanishes => {
                self.run(0, 1);
                self.wait(200..=800);
                self.run(1, 2);
                self.wait(1000..=3000);
                self.steps.pop();
                self.show();
            }
            Scenario::SeedExample => {
                self.run(0, 2);
                self.start(2);
                self.wait(3000..=3000);
                self.run(2, 3);
            }
            Scenario::NeverEnds => {
                self.run(0, 1);
                self.start(1);
            }
            Scenario::Slow => {
                self.slowness = 20;
                self.run(0, usize::MAX);
            }
            Scenario::Success | Scenario::Statement | Scenario::Report | Scenario::Payment => {
                self.run(0, usize::MAX);
            }
        }
        Script::new(self.phases)
    }

    fn fail_somewhere(&mut self, step: Option<&str>, code: Option<&str>) {
        let position = |title| self.steps.iter().position(|step| step.title == title);
        let index = match (step.and_then(position), self.scenario) {
            (Some(chosen), _) => chosen,
            (None, Scenario::PaymentFailed) => 1,
            (None, Scenario::Failed) if self.rng.bool() => self.rng.usize(1..3),
            (None, _) => 0,
        };
        self.run(0, index);
        self.start(index);
        self.wait(800..=4500);
        let error = match code {
            Some(code) => Some(step_errors::by_code(code)),
            None => self.draw_error(index).map(|error| error.map(str::to_owned)),
        };
        let result = error.map_or(Value::Null, |error| self.error(error));
        self.show_set(index, "failed", result);
    }

    fn draw_error(&mut self, index: usize) -> Option<StepError> {
        let lists = match self.scenario {
            Scenario::ReportFailed => return None,
            Scenario::StatementFailed => [step_errors::STATEMENT, &[]],
            Scenario::Failed if index == 0 => [step_errors::LOGIN, step_errors::BANK],
            _ => [step_errors::BANK, &[]],
        };
        self.rng.choice(lists.concat())
    }

    fn queue(&mut self) {
        self.wait(200..=800);
        self.start(0);
        self.wait(800..=4500);
        let queued = self.error(step_errors::QUEUED);
        self.show_set(0, "pending", queued);
        let tries = self.rng.u64(1..=3);
        self.wait(tries * QUEUE_MS..=tries * QUEUE_MS);
        if self.scenario == Scenario::QueuedFailed {
            let error = self.error(step_errors::GAVE_UP);
            self.show_set(0, "failed", error);
        } else {
            self.run(0, usize::MAX);
        }
    }

    fn ask(mut self) -> Script {
        self.run(0, MFA);
        self.wait(200..=800);
        if self.scenario == Scenario::StepAppears {
            let step = Step::new("mfa-challenge", "pending");
            self.steps.insert(MFA, step);
        }
        let expiring = |expiry_ms| Question { expiry_ms, ..TOKEN };
        let (question, tries) = match self.scenario {
            Scenario::MfaQuestions => (QUESTIONS, 3),
            Scenario::MfaApproval => (APPROVAL, 1),
            Scenario::MfaStrict => (TOKEN, 1),
            Scenario::MfaKept => (TEXT_MESSAGE, 3),
            Scenario::MfaExpired => (expiring(5000), 3),
            Scenario::SeedMfaExample => (expiring(3600), 3),
            _ => (TOKEN, 3),
        };
        self.show_question(&question, false);
        let challenge = self.challenge(&question, tries);
        Script::new(self.phases).asking(challenge)
    }

    /// The seed's page says 3600 where minutes must be meant, so that challenge lives as long as the others.
    fn challenge(&mut self, question: &Question, tries: u32) -> Challenge {
        let mut accepted = self.branch();
        let asked = self.steps.get(MFA).and_then(|step| step.result.clone());
        let kept = asked.filter(|_| self.scenario == Scenario::MfaKept);
        accepted.start(MFA);
        accepted.wait(800..=3000);
        accepted.show_set(MFA, "success", kept.unwrap_or(Value::Null));
        accepted.run(MFA, usize::MAX);

        let mut refused = self.branch();
        refused.start(MFA);
        refused.wait(800..=3000);
        let asked_again = (tries > 1).then(|| {
            refused.show_question(question, true);
            Box::new(refused.challenge(question, tries - 1))
        });
        if asked_again.is_none() {
            refused.show_set(MFA, "failed", Value::Null);
        }

        let mut expired = self.branch();
        let error = expired.error(step_errors::TIMED_OUT);
        expired.show_set(MFA, "failed", error);
        Challenge {
            expected: question.expected.iter().map(ToString::to_string).collect(),
            expires_ms: Some(match question.expiry_ms {
                3600 => TOKEN.expiry_ms,
                ms => ms,
            }),
            accepted: Script::new(accepted.phases),
            refused: Some(Script {
                phases: refused.phases,
                challenge: asked_again,
            }),
            expired: Some(Script::new(expired.phases)),
        }
    }

    /// A branch that continues from here, its time counted from its own beginning.
    fn branch(&mut self) -> Self {
        Self {
            scenario: self.scenario,
            rng: self.rng.fork(),
            subject: self.subject.clone(),
            steps: self.steps.clone(),
            slowness: self.slowness,
            at_ms: 0,
            phases: Vec::new(),
        }
    }

    fn wait(&mut self, range: RangeInclusive<u64>) {
        self.at_ms += self.rng.u64(range) * self.slowness;
    }

    fn show(&mut self) {
        self.phases.push(Phase::steps(self.at_ms, &self.steps));
    }

    /// Changes a step without a new phase.
    fn set(&mut self, index: usize, status: &str, result: Value) {
        let hidden = self.subject.no_nulls && result.is_null();
        if let Some(step) = self.steps.get_mut(index) {
            status.clone_into(&mut step.status);
            step.result = (!hidden).then_some(result);
        }
    }

    fn show_set(&mut self, index: usize, status: &str, result: Value) {
        self.set(index, status, result);
        self.show();
    }

    fn start(&mut self, index: usize) {
        self.show_set(index, "in-progress", Value::Null);
    }

    /// Takes steps `from..to` through in-progress to success. Steps that are already done are skipped. One time in four
    /// there is a pause between two steps.
    fn run(&mut self, from: usize, to: usize) {
        for index in from..to.min(self.steps.len()) {
            let done = |step: &Step| matches!(step.status.as_str(), "success" | "skipped");
            if self.steps.get(index).is_some_and(done) {
                continue;
            }
            if self.phases.is_empty() || index == 0 || self.rng.u8(0..4) == 0 {
                self.wait(200..=800);
            }
            self.start(index);
            self.wait(1000..=4500);
            let link = self.link_of(index);
            self.show_set(index, "success", link);
        }
    }

    /// The step in progress with the question as its result.
    fn show_question(&mut self, question: &Question, again: bool) {
        let prefix = if again {
            "The answer was not right. "
        } else {
            ""
        };
        let format = self.subject.format;
        let link = format.link("{base}", "/jobs/{id}/mfa");
        let result = format.wrap(json!({
            "type": "mfa", "method": question.method,
            "description": format!("{prefix}{}", question.description),
            "input": question.input, "expiryMs": question.expiry_ms, "links": {"response": link},
        }));
        self.show_set(MFA, "in-progress", result);
    }

    fn error(&self, [code, title, detail]: [impl Into<String>; 3]) -> Value {
        let mut object = json!({"code": code.into(), "title": title.into()});
        let key = if self.subject.details {
            "details"
        } else {
            "detail"
        };
        object[key] = Value::String(detail.into());
        object
    }

    fn link_of(&mut self, index: usize) -> Value {
        let Subject {
            format,
            user,
            resource,
            institution,
            ..
        } = &self.subject;
        let title = self.steps.get(index).map_or("", |step| step.title.as_str());
        let (kind, url) = match title {
            "verify-credentials" => ("link", format!("/users/{user}/connections/{resource}")),
            "create-report" if self.rng.bool() => ("report", format!("/reports/{resource}")),
            "create-report" => ("link", format!("/reports/{resource}")),
            "validate-payment" | "external-processing" | "payment-completed" => {
                ("link", format!("/payments/payrequests/{resource}"))
            }
            title if title.starts_with("mfa-") => return Value::Null,
            title => {
                let what = title.strip_prefix("retrieve-").unwrap_or(title);
                let filter = format!("filter=institution.id.eq('{institution}')");
                ("link", format!("/users/{user}/{what}?{filter}"))
            }
        };
        format.wrap(json!({"type": kind, "url": url}))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::script::Content;
    use super::*;

    fn script(scenario: Scenario, seed: u64) -> Script {
        let subject = Subject {
            format: JobFormat::V3,
            user: "u".to_owned(),
            resource: "c".to_owned(),
            institution: "AU00000".to_owned(),
            no_nulls: false,
            details: false,
        };
        ScriptWriter::new(scenario, Rng::with_seed(seed), subject).write(None, None)
    }

    #[test]
    fn every_error_text_strikes_sooner_or_later() {
        let mut seen = HashSet::new();
        for seed in 0..2000 {
            for scenario in [Scenario::Failed, Scenario::StatementFailed] {
                let script = script(scenario, seed);
                let Some(Content::Steps(steps)) = script.phases.last().map(|last| &last.content)
                else {
                    panic!("a scenario is written in steps");
                };
                let step: Value = steps
                    .iter()
                    .map(|step| serde_json::from_str(step.get()).unwrap())
                    .find(|step: &Value| step["status"] == "failed")
                    .unwrap();
                seen.insert(step["result"]["title"].as_str().unwrap().to_owned());
            }
        }
        let lists = [
            step_errors::LOGIN,
            step_errors::BANK,
            step_errors::STATEMENT,
        ];
        let known = lists.concat().into_iter();
        let known: HashSet<String> = known.map(|error| error[1].to_owned()).collect();
        assert_eq!(seen, known);
    }

    #[test]
    fn plain_scenarios_take_three_to_sixteen_seconds_and_slow_ones_minutes() {
        let span = |scenario: Scenario, seed: u64| {
            let script = script(scenario, seed);
            script.phases.last().map_or(0, |last| last.at_ms)
        };
        for seed in 0..200 {
            assert!((3_000..=16_000).contains(&span(Scenario::Success, seed)));
            assert!((50_000..=320_000).contains(&span(Scenario::Slow, seed)));
            assert!(span(Scenario::QueuedSuccess, seed) > QUEUE_MS);
        }
    }
}
