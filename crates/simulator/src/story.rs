//! Tells a job's story step by step and writes it down as phases.

use fastrand::Rng;
use serde_json::{Value, json};

use super::dress::Dress;
use super::errors;
use super::script::{Phase, Step};

/// What a story is about and how its results are written.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) dress: Dress,
    pub(super) user: String,
    /// The connection, report or payment the job works on.
    pub(super) thing: String,
    pub(super) institution: String,
    /// Leaves the `result` key out where others write `null`.
    pub(super) no_nulls: bool,
    /// Writes `details` where others write `detail`.
    pub(super) details: bool,
}

/// An unfinished story: the steps as they stand, and the phases told so far.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) rng: Rng,
    pub(super) look: Look,
    pub(super) steps: Vec<Step>,
    /// How many times slower than usual.
    pub(super) slowness: u64,
    at_ms: u64,
    phases: Vec<Phase>,
}

/// A question as the API words it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) method: &'static str,
    pub(super) description: &'static str,
    pub(super) input: &'static [&'static str],
    pub(super) expected: &'static [&'static str],
    pub(super) expiry_ms: u64,
}

impl Story {
    /// All steps pending, shown at once.
    pub(super) fn begin(rng: Rng, look: Look, titles: &[&str]) -> Self {
        let mut story = Self {
            rng,
            look,
            steps: titles
                .iter()
                .map(|title| Step::new(*title, "pending"))
                .collect(),
            slowness: 1,
            at_ms: 0,
            phases: Vec::new(),
        };
        if story.look.no_nulls {
            for step in &mut story.steps {
                step.result = None;
            }
        }
        story.show();
        story
    }

    /// A branch that goes on from here, its time counted from its own beginning.
    pub(super) fn branch(&mut self) -> Self {
        Self {
            rng: self.rng.fork(),
            look: self.look.clone(),
            steps: self.steps.clone(),
            slowness: self.slowness,
            at_ms: 0,
            phases: Vec::new(),
        }
    }

    pub(super) fn phases(self) -> Vec<Phase> {
        self.phases
    }

    pub(super) fn wait(&mut self, range: std::ops::RangeInclusive<u64>) {
        self.at_ms += self.rng.u64(range) * self.slowness;
    }

    pub(super) fn show(&mut self) {
        self.phases.push(Phase::steps(self.at_ms, &self.steps));
    }

    /// Sets a step; `Value::Null` obeys the look.
    pub(super) fn set(&mut self, index: usize, status: &str, result: Value) {
        let hidden = self.look.no_nulls && result.is_null();
        if let Some(step) = self.steps.get_mut(index) {
            status.clone_into(&mut step.status);
            step.result = (!hidden).then_some(result);
        }
    }

    pub(super) fn start(&mut self, index: usize) {
        self.set(index, "in-progress", Value::Null);
    }

    pub(super) fn succeed(&mut self, index: usize) {
        let result = self.link_of(index);
        self.set(index, "success", result);
    }

    pub(super) fn skip(&mut self, index: usize) {
        self.set(index, "skipped", Value::Null);
    }

    pub(super) fn fail(&mut self, index: usize, error: Option<errors::Owned>) {
        let result = error.map_or(Value::Null, |error| self.error(error));
        self.set(index, "failed", result);
    }

    pub(super) fn error(&self, (code, title, detail): errors::Owned) -> Value {
        let mut object = json!({"code": code, "title": title});
        let key = if self.look.details {
            "details"
        } else {
            "detail"
        };
        object[key] = Value::String(detail);
        object
    }

    /// Takes steps `from..to` through in-progress to success. Steps that are already done are passed over. One time in
    /// four the API rests between two steps.
    pub(super) fn run(&mut self, from: usize, to: usize) {
        for index in from..to.min(self.steps.len()) {
            let done = |step: &Step| matches!(step.status.as_str(), "success" | "skipped");
            if self.steps.get(index).is_some_and(done) {
                continue;
            }
            if self.phases.is_empty() || index == 0 || self.rng.u8(0..4) == 0 {
                self.wait(200..=800);
            }
            self.start(index);
            self.show();
            self.wait(1000..=4500);
            self.succeed(index);
            self.show();
        }
    }

    /// The step in progress with the question as its result.
    pub(super) fn ask(&mut self, index: usize, question: &Question, again: bool) {
        let description = if again {
            format!("The answer was not right. {}", question.description)
        } else {
            question.description.to_owned()
        };
        let link = self.look.dress.link("/jobs/{id}/mfa");
        let result = self.look.dress.wrap(json!({
            "type": "mfa", "method": question.method, "description": description,
            "input": question.input, "expiryMs": question.expiry_ms, "links": {"response": link},
        }));
        self.set(index, "in-progress", result);
        self.show();
    }

    fn link_of(&mut self, index: usize) -> Value {
        let Look {
            dress,
            user,
            thing,
            institution,
            ..
        } = &self.look;
        let title = self.steps.get(index).map_or("", |step| step.title.as_str());
        let (kind, url) = match title {
            "verify-credentials" => ("link", format!("/users/{user}/connections/{thing}")),
            "create-report" if self.rng.bool() => ("report", format!("/reports/{thing}")),
            "create-report" => ("link", format!("/reports/{thing}")),
            "validate-payment" | "external-processing" | "payment-completed" => {
                ("link", format!("/payments/payrequests/{thing}"))
            }
            title if title.starts_with("mfa-") => return Value::Null,
            title => {
                let what = title.strip_prefix("retrieve-").unwrap_or(title);
                let filter = format!("filter=institution.id.eq('{institution}')");
                ("link", format!("/users/{user}/{what}?{filter}"))
            }
        };
        dress.wrap(json!({"type": kind, "url": url}))
    }
}
