//! What the API shows of a job, stage by stage: all of it follows from the job's id, so that the oracle needs no memory of
//! its own.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fastrand::Rng;
use serde_json::{Value, json};

/// The most steps of a job.
const MAX_STEPS: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) title: String,
    pub(crate) status: &'static str,
    pub(crate) result: Value,
}

/// The stages of a job, of which only the last one is an end.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    pub(crate) id: String,
    pub(crate) stages: Vec<Vec<Step>>,
}

/// A change of one step between two stages: its title, and its status before and after.
pub(crate) type Change = (String, Option<String>, String);

impl Course {
    pub(crate) fn of(id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let mut random = Rng::with_seed(hasher.finish());
        let count = 1 + random.usize(..MAX_STEPS);
        let fails = random.usize(..4) == 0;
        let mut steps: Vec<Step> = (0..count).map(|at| Step::pending(at, "step")).collect();
        let mut stages = vec![steps.clone()];
        let mut at = 0;
        while at < steps.len() {
            steps[at].status = "in-progress";
            stages.push(steps.clone());
            if random.usize(..4) == 0 {
                steps[at].result = json!({"type": "note", "text": "half of it is done"});
                stages.push(steps.clone());
            }
            if random.usize(..6) == 0 && steps.len() < 2 * MAX_STEPS {
                steps.push(Step::pending(steps.len(), "late"));
            }
            let is_last = at + 1 == steps.len();
            let (status, result) = match is_last && fails {
                true => (
                    "failed",
                    json!({"code": "gone", "title": "Gone", "detail": "It is gone"}),
                ),
                false => (
                    "success",
                    json!({"type": "link", "url": format!("/results/{id}/{at}")}),
                ),
            };
            (steps[at].status, steps[at].result) = (status, result);
            stages.push(steps.clone());
            at += 1;
        }
        Self {
            id: id.to_owned(),
            stages,
        }
    }

    pub(crate) fn last(&self) -> usize {
        self.stages.len() - 1
    }

    /// The state in which the job ends.
    pub(crate) fn end(&self) -> &'static str {
        let steps = &self.stages[self.last()];
        match steps.iter().any(|step| step.status == "failed") {
            true => "failed",
            false => "success",
        }
    }

    /// The time of the last change, which names the stage.
    pub(crate) fn updated(stage: usize) -> String {
        format!("2026-11-22T15:{:02}:{:02}Z", stage / 60, stage % 60)
    }

    /// The stage that was changed last at this time.
    pub(crate) fn stage_of(&self, updated: &str) -> Option<usize> {
        (0..self.stages.len()).find(|stage| Self::updated(*stage) == updated)
    }

    pub(crate) fn body(&self, stage: usize) -> String {
        let steps: Vec<Value> = self.stages[stage]
            .iter()
            .map(|step| json!({"title": step.title, "status": step.status, "result": step.result}))
            .collect();
        let body = json!({
            "type": "job", "id": self.id, "created": "2026-11-22T15:00:00Z", "updated": Self::updated(stage),
            "steps": steps, "links": {"self": format!("/jobs/{}", self.id)},
        });
        body.to_string()
    }

    /// What a program that saw `before` and then `stage` has to record, in the order of the steps.
    pub(crate) fn changes(&self, before: Option<usize>, stage: usize) -> Vec<Change> {
        let old: BTreeMap<&str, &Step> = before
            .map(|before| {
                self.stages[before]
                    .iter()
                    .map(|step| (step.title.as_str(), step))
            })
            .into_iter()
            .flatten()
            .collect();
        let changed = self.stages[stage].iter().filter_map(|step| {
            let old = old.get(step.title.as_str());
            let is_new =
                old.is_none_or(|old| old.status != step.status || old.result != step.result);
            let from = old.map(|old| old.status.to_owned());
            is_new.then(|| (step.title.clone(), from, step.status.to_owned()))
        });
        changed.collect()
    }
}

impl Step {
    fn pending(at: usize, kind: &str) -> Self {
        Self {
            title: format!("{kind}-{at}"),
            status: "pending",
            result: Value::Null,
        }
    }
}
