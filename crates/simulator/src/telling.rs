//! Every story, written down as a script.

use fastrand::Rng;
use serde_json::{Value, json};

use super::errors::{self, Family};
use super::scenario::Scenario;
use super::script::{Challenge, Phase, Script, Step};
use super::story::{Look, Question, Story};

const CONNECTION: &[&str] = &[
    "verify-credentials",
    "retrieve-accounts",
    "retrieve-transactions",
];
const WITH_MFA: &[&str] = &[
    "verify-credentials",
    "mfa-challenge",
    "retrieve-accounts",
    "retrieve-transactions",
];
const MYGOV: &[&str] = &[
    "verify-credentials",
    "mfa-challenge",
    "retrieve-accounts",
    "retrieve-transactions",
    "retrieve-statements",
];
const PAYMENT: &[&str] = &[
    "validate-payment",
    "external-processing",
    "payment-completed",
];
const MFA: usize = 1;
const QUEUE_MS: u64 = 2 * 60 * 60 * 1000;

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
    expiry_ms: 120_000,
};
const APPROVAL: Question = Question {
    method: "token",
    description: "Approve the sign-in in your bank's app, then confirm it here",
    input: &["Type confirmed"],
    expected: &["confirmed"],
    expiry_ms: 120_000,
};
const TEXT_MESSAGE: Question = Question {
    input: &["We sent a code by SMS to your mobile number XXXX XXX 178."],
    ..TOKEN
};

/// Which story, with the choices left to whoever asks for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Telling<'a> {
    pub(super) scenario: Scenario,
    pub(super) step: Option<&'a str>,
    pub(super) code: Option<&'a str>,
}

impl Telling<'_> {
    /// Writes the story down.
    pub(super) fn script(&self, rng: Rng, look: Look) -> Script {
        let titles = self.scenario.titles();
        let mut story = Story::begin(rng, look, titles);
        match self.scenario {
            Scenario::MfaToken
            | Scenario::MfaQuestions
            | Scenario::MfaApproval
            | Scenario::MfaStrict
            | Scenario::MfaExpired
            | Scenario::MfaKept
            | Scenario::SeedMfaExample
            | Scenario::StepAppears => return self.asking(story),
            Scenario::Failed
            | Scenario::StatementFailed
            | Scenario::ReportFailed
            | Scenario::PaymentFailed => self.failing(&mut story),
            Scenario::QueuedSuccess | Scenario::QueuedFailed => self.queued(&mut story),
            Scenario::MfaSkipped | Scenario::MfaMisspelt => {
                story.run(0, MFA);
                story.skip(MFA);
                story.run(MFA, usize::MAX);
            }
            Scenario::Instant => {
                for index in 0..titles.len() {
                    story.succeed(index);
                }
                let steps = story.steps;
                return Script::new(vec![Phase::steps(0, &steps)]);
            }
            Scenario::UnknownStatus | Scenario::GoesBack | Scenario::StepVanishes => {
                self.odd(&mut story);
            }
            Scenario::SeedExample => {
                story.run(0, 2);
                story.start(2);
                story.show();
                story.wait(3000..=3000);
                story.run(2, 3);
            }
            Scenario::NeverEnds => {
                story.run(0, 1);
                story.start(1);
                story.show();
            }
            Scenario::Slow => {
                story.slowness = 20;
                story.run(0, usize::MAX);
            }
            Scenario::Success | Scenario::Statement | Scenario::Report | Scenario::Payment => {
                story.run(0, usize::MAX);
            }
        }
        Script::new(story.phases())
    }

    fn failing(&self, story: &mut Story) {
        let chosen = self
            .step
            .and_then(|title| story.steps.iter().position(|step| step.title == title));
        let index = match self.scenario {
            _ if chosen.is_some() => chosen.unwrap_or_default(),
            Scenario::PaymentFailed => 1,
            Scenario::Failed if story.rng.bool() => story.rng.usize(1..3),
            _ => 0,
        };
        story.run(0, index);
        story.start(index);
        story.show();
        story.wait(800..=4500);
        let error = match self.code {
            Some(code) => Some(errors::by_code(code)),
            None => self.drawn_error(story, index),
        };
        story.fail(index, error);
        story.show();
    }

    fn drawn_error(&self, story: &mut Story, index: usize) -> Option<errors::Owned> {
        let families: &[Family] = match self.scenario {
            Scenario::ReportFailed => return None,
            Scenario::StatementFailed => &[Family::Statement],
            Scenario::Failed if index == 0 => &[Family::Login, Family::Bank],
            _ => &[Family::Bank],
        };
        let fits = |error: &&errors::ErrorText| families.contains(&error.family);
        let fitting: Vec<_> = errors::ALL.iter().filter(fits).collect();
        story.rng.choice(fitting).map(|error| error.owned())
    }

    fn queued(&self, story: &mut Story) {
        story.wait(200..=800);
        story.start(0);
        story.show();
        story.wait(800..=4500);
        let error = story.error(errors::QUEUED.owned());
        story.set(0, "pending", error);
        story.show();
        let tries = story.rng.u64(1..=3);
        story.wait(tries * QUEUE_MS..=tries * QUEUE_MS);
        if self.scenario == Scenario::QueuedFailed {
            story.fail(0, Some(errors::GAVE_UP.owned()));
            story.show();
        } else {
            story.run(0, usize::MAX);
        }
    }

    fn odd(&self, story: &mut Story) {
        story.run(0, 1);
        story.wait(200..=800);
        match self.scenario {
            Scenario::StepVanishes => {
                story.run(1, 2);
                story.wait(1000..=3000);
                story.steps.pop();
                story.show();
            }
            Scenario::GoesBack => {
                story.start(1);
                story.show();
                story.wait(1000..=3000);
                story.set(1, "pending", Value::Null);
                story.show();
                story.wait(1000..=3000);
            }
            _ => {
                story.set(1, "reticulating", json!({"type": "spline", "count": 3}));
                story.show();
                story.wait(1000..=3000);
            }
        }
        story.run(1, usize::MAX);
    }

    fn asking(&self, mut story: Story) -> Script {
        story.run(0, MFA);
        story.wait(200..=800);
        if self.scenario == Scenario::StepAppears {
            story
                .steps
                .insert(MFA, Step::new("mfa-challenge", "pending"));
        }
        let (question, tries) = match self.scenario {
            Scenario::MfaQuestions => (QUESTIONS, 3),
            Scenario::MfaApproval => (APPROVAL, 1),
            Scenario::MfaStrict => (TOKEN, 1),
            Scenario::MfaKept => (TEXT_MESSAGE, 3),
            Scenario::MfaExpired => (
                Question {
                    expiry_ms: 5000,
                    ..TOKEN
                },
                3,
            ),
            Scenario::SeedMfaExample => (
                Question {
                    expiry_ms: 3600,
                    ..TOKEN
                },
                3,
            ),
            _ => (TOKEN, 3),
        };
        story.ask(MFA, &question, false);
        let challenge = self.challenge(&mut story, &question, tries);
        Script::new(story.phases()).asking(challenge)
    }

    /// The seed's page says 3600 where minutes must be meant, so that challenge lives as long as the others.
    fn challenge(&self, story: &mut Story, question: &Question, tries: u32) -> Challenge {
        let kept = (self.scenario == Scenario::MfaKept)
            .then(|| story.steps.get(MFA).and_then(|step| step.result.clone()))
            .flatten();
        let mut accepted = story.branch();
        accepted.start(MFA);
        accepted.show();
        accepted.wait(800..=3000);
        accepted.set(MFA, "success", kept.unwrap_or(Value::Null));
        accepted.show();
        accepted.run(MFA, usize::MAX);

        let mut refused = story.branch();
        refused.start(MFA);
        refused.show();
        refused.wait(800..=3000);
        let refused = if tries > 1 {
            refused.ask(MFA, question, true);
            let again = self.challenge(&mut refused, question, tries - 1);
            Script::new(refused.phases()).asking(again)
        } else {
            refused.fail(MFA, None);
            refused.show();
            Script::new(refused.phases())
        };

        let mut expired = story.branch();
        expired.fail(MFA, Some(errors::TIMED_OUT.owned()));
        expired.show();
        Challenge {
            expected: question.expected.iter().map(ToString::to_string).collect(),
            expires_ms: Some(question.expiry_ms).map(|ms| if ms == 3600 { 120_000 } else { ms }),
            accepted: Script::new(accepted.phases()),
            refused: Some(refused),
            expired: Some(Script::new(expired.phases())),
        }
    }
}

impl Scenario {
    fn titles(self) -> &'static [&'static str] {
        match self {
            Self::MfaToken
            | Self::MfaQuestions
            | Self::MfaApproval
            | Self::MfaStrict
            | Self::MfaExpired
            | Self::MfaSkipped
            | Self::SeedMfaExample => WITH_MFA,
            Self::MfaMisspelt => &[
                "verify-credentials",
                "mfa-challenege",
                "retrieve-accounts",
                "retrieve-transactions",
            ],
            Self::MfaKept => MYGOV,
            Self::Report | Self::ReportFailed => &["create-report"],
            Self::Payment | Self::PaymentFailed => PAYMENT,
            _ => CONNECTION,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::super::dress::Dress;
    use super::super::script::Content;
    use super::*;

    fn look() -> Look {
        Look {
            dress: Dress::V3,
            user: "u".to_owned(),
            thing: "c".to_owned(),
            institution: "AU00000".to_owned(),
            no_nulls: false,
            details: false,
        }
    }

    #[test]
    fn every_error_text_strikes_sooner_or_later() {
        let mut seen = HashSet::new();
        for seed in 0..2000 {
            for scenario in [Scenario::Failed, Scenario::StatementFailed] {
                let telling = Telling {
                    scenario,
                    step: None,
                    code: None,
                };
                let script = telling.script(Rng::with_seed(seed), look());
                let Some(Content::Steps(steps)) = script.phases.last().map(|last| &last.content)
                else {
                    panic!("a story is told in steps");
                };
                let step: Value = steps
                    .iter()
                    .map(|step| serde_json::from_str(step.get()).unwrap())
                    .find(|step: &Value| step["status"] == "failed")
                    .unwrap();
                seen.insert(step["result"]["title"].as_str().unwrap().to_owned());
            }
        }
        let known: HashSet<String> = errors::ALL.iter().map(|e| e.title.to_owned()).collect();
        assert_eq!(seen, known);
    }

    #[test]
    fn plain_stories_take_three_to_sixteen_seconds_and_slow_ones_minutes() {
        let span = |scenario: Scenario, seed: u64| {
            let telling = Telling {
                scenario,
                step: None,
                code: None,
            };
            let script = telling.script(Rng::with_seed(seed), look());
            script.phases.last().map_or(0, |last| last.at_ms)
        };
        for seed in 0..200 {
            assert!((3_000..=16_000).contains(&span(Scenario::Success, seed)));
            assert!((50_000..=320_000).contains(&span(Scenario::Slow, seed)));
            assert!(span(Scenario::QueuedSuccess, seed) > QUEUE_MS);
        }
    }
}
