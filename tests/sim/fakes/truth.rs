//! What happens to a remote job: a list of versions, each true from its time on.

use crate::chance::Draws;
use crate::time::{MINUTE, MS, SECOND, Time, shown};

/// A step as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) title: &'static str,
    /// The API's word.
    pub(crate) status: String,
    /// JSON.
    pub(crate) result: Option<String>,
    /// The result is a challenge that counts down to this time.
    pub(crate) answer_until: Option<Time>,
}

/// Whether the job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Running,
    Success,
    /// A step with this number has failed.
    Failed(usize),
}

/// What is true of a job from a time on.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) from: Time,
    pub(crate) steps: Vec<Step>,
    pub(crate) verdict: Verdict,
}

/// All versions of a job. The API knows nothing of the job before the first.
#[derive(Debug, Clone)]
pub(crate) struct Story {
    pub(crate) versions: Vec<Version>,
}

/// The error that a failed step or job has.
pub(crate) const CODE: &str = "invalid-credentials";
pub(crate) const TITLE: &str = "Cannot login: \"no\".";
pub(crate) const DETAIL: &str = "Please check \u{e9} and try again.";

/// The title of the only step of an API without steps.
pub(crate) const OPERATION: &str = "operation";

impl Story {
    pub(crate) fn at(&self, at: Time) -> Option<&Version> {
        self.versions
            .iter()
            .rev()
            .find(|version| version.from <= at)
    }

    /// When the job has ended, if it ever does.
    pub(crate) fn end(&self) -> Option<Time> {
        let mut versions = self.versions.iter();
        let ended = versions.find(|version| version.verdict != Verdict::Running)?;
        Some(ended.from)
    }

    pub(crate) fn line(&self) -> String {
        let begin = self.versions.first().map_or(0, |version| version.from);
        let end = self
            .versions
            .last()
            .map(|last| format!("{:?} from {}", last.verdict, shown(last.from)));
        format!(
            "there from {}, {} versions, {}",
            shown(begin),
            self.versions.len(),
            end.unwrap_or_default()
        )
    }

    pub(crate) fn draw(
        draws: &mut Draws,
        dialect: &'static str,
        inserted: Time,
        horizon: Time,
        max_delay: Time,
    ) -> Self {
        // The row may come before the remote job, and long after it.
        let begin = match draws.between(0, 9) {
            0 => inserted + draws.scale(MS, MINUTE),
            1 => inserted.saturating_sub(draws.scale(SECOND, horizon / 4)),
            _ => inserted.saturating_sub(draws.scale(MS, 10 * SECOND)),
        };
        let length = match draws.between(0, 9) {
            0..3 => draws.scale(SECOND, MINUTE),
            3..8 => draws.scale(SECOND, horizon / 3),
            _ => draws.scale(max_delay, horizon * 2),
        };
        let mut writer = Writer {
            draws,
            versions: Vec::new(),
            at: begin,
        };
        match dialect {
            "basiq" => writer.steps(length),
            _ => writer.operation(dialect, length),
        }
        Self {
            versions: writer.versions,
        }
    }
}

struct Writer<'a> {
    draws: &'a mut Draws,
    versions: Vec<Version>,
    at: Time,
}

/// Two have one title.
const TITLES: [&str; 4] = [
    "verify-credentials",
    "retrieve-accounts",
    "retrieve-transactions",
    "retrieve-accounts",
];

impl Writer<'_> {
    /// Adds a version, unless nothing changed.
    fn put(&mut self, steps: &[Step]) {
        let is_done = |step: &Step| matches!(step.status.as_str(), "success" | "skipped");
        let verdict = match steps.iter().position(|step| step.status == "failed") {
            Some(step) => Verdict::Failed(step),
            None if !steps.is_empty() && steps.iter().all(is_done) => Verdict::Success,
            None => Verdict::Running,
        };
        self.version(steps.to_vec(), verdict);
    }

    fn version(&mut self, steps: Vec<Step>, verdict: Verdict) {
        if self.versions.last().is_some_and(|last| last.steps == steps) {
            return;
        }
        self.versions.push(Version {
            from: self.at,
            steps,
            verdict,
        });
        // No two have one time of change.
        self.at += 2 * MS;
    }

    fn steps(&mut self, length: Time) {
        let count = self.draws.between(1, 4) as usize;
        let mut steps: Vec<Step> = TITLES[..count]
            .iter()
            .map(|title| step(title, "pending"))
            .collect();
        if self.draws.percent(10) {
            // Steps may come later.
            self.put(&[]);
            self.pass(length / 20);
        }
        self.put(&steps);
        let fails_at = self.draws.percent(30).then(|| self.draws.index(count));
        let part = (length / count as u64).max(4 * MS);
        for number in 0..count {
            if self.draws.percent(12) {
                self.queue(&mut steps, number, part);
            }
            steps[number].status = "in-progress".to_owned();
            self.put(&steps);
            match self.draws.between(0, 9) {
                0 => self.chatter(&mut steps, number, part),
                1 => self.flap(&mut steps, number, part),
                2 | 3 => self.challenge(&mut steps, number, part),
                _ => self.pass(part),
            }
            if fails_at == Some(number) {
                steps[number].status = "failed".to_owned();
                steps[number].result = Some(error_result());
                self.put(&steps);
                return;
            }
            let word = if self.draws.percent(10) {
                "skipped"
            } else {
                "success"
            };
            steps[number].status = word.to_owned();
            steps[number].result = (word == "success")
                .then(|| format!(r#"{{"type":"link","url":"/users/u-{number}/accounts"}}"#));
            if number + 1 < count {
                // Two change together.
                steps[number + 1].status = "in-progress".to_owned();
            }
            self.put(&steps);
        }
    }

    fn pass(&mut self, length: Time) {
        self.at += length.max(2 * MS);
    }

    /// The step waits in the API's retry queue, now and then twice.
    fn queue(&mut self, steps: &mut [Step], number: usize, part: Time) {
        let times = self.draws.between(1, 2);
        for _ in 0..times {
            steps[number].status = "pending".to_owned();
            steps[number].result = Some(
                r#"{"code":"temporary-unavailable-queued","title":"Retry pending","detail":"Job queued."}"#
                    .to_owned(),
            );
            self.put(steps);
            self.pass(part / times / 2);
            steps[number].status = "in-progress".to_owned();
            steps[number].result = None;
            self.put(steps);
            self.pass(part / times / 2);
        }
    }

    /// The result moves all the time.
    fn chatter(&mut self, steps: &mut [Step], number: usize, part: Time) {
        let times = self.draws.scale(3, 40);
        for n in 0..times {
            steps[number].result = Some(format!(r#"{{"progress":{}}}"#, n * 100 / times));
            self.put(steps);
            self.pass(part / times);
        }
    }

    /// The status goes back and forth, is a word nobody knows, the step vanishes and returns.
    fn flap(&mut self, steps: &mut [Step], number: usize, part: Time) {
        let times = self.draws.between(2, 6);
        for _ in 0..times {
            match self.draws.between(0, 3) {
                0 => {
                    let mut fewer = steps.to_vec();
                    fewer.remove(number);
                    self.put(&fewer);
                }
                1 => {
                    steps[number].status = "paused-by-\u{fc}".to_owned();
                    self.put(steps);
                }
                2 => {
                    steps[number].status = "pending".to_owned();
                    self.put(steps);
                }
                _ => {
                    let mut turned = steps.to_vec();
                    turned.reverse();
                    self.put(&turned);
                }
            }
            self.pass(part / times / 2);
            steps[number].status = "in-progress".to_owned();
            self.put(steps);
            self.pass(part / times / 2);
        }
    }

    fn challenge(&mut self, steps: &mut [Step], number: usize, part: Time) {
        let times = self.draws.between(1, 2);
        for n in 0..times {
            // Most count down, so that each answer has another result.
            let length = self.draws.scale(SECOND, (2 * part).max(2 * SECOND));
            steps[number].result = Some(format!(
                r#"{{"type":"mfa","method":"token","description":"Code {n}","input":["OTP"],"links":{{"response":"/jobs/x/mfa"}},"expiryMs":EXPIRY}}"#
            ));
            steps[number].answer_until = Some(self.at + length);
            self.put(steps);
            self.pass(part / times);
            steps[number].result = None;
            steps[number].answer_until = None;
            self.put(steps);
        }
    }

    /// A job without steps.
    fn operation(&mut self, dialect: &'static str, length: Time) {
        let (running, success, failed): (&[&str], &str, &str) = match dialect {
            "http-status" => (
                &["202"],
                self.draws.pick(&["200", "201", "204", "303"]),
                "422",
            ),
            "azure" => (
                &["NotStarted", "Running", "Replicating"],
                "Succeeded",
                self.draws.pick(&["Failed", "Canceled"]),
            ),
            "google-lro" => (&["false"], "true", "true"),
            "openai-batch" => (
                &["validating", "in_progress", "finalizing", "thinking"],
                "completed",
                self.draws.pick(&["failed", "expired", "cancelled"]),
            ),
            _ => (&["QUEUED", "RUNNING", "7"], "DONE", "BROKEN"),
        };
        let times = if running.len() > 1 {
            self.draws.between(1, 6)
        } else {
            1
        };
        for _ in 0..times {
            let word = self.draws.pick(running);
            self.version(vec![step(OPERATION, word)], Verdict::Running);
            self.pass(length / times);
        }
        let (word, verdict) = match self.draws.percent(30) {
            true => (failed, Verdict::Failed(0)),
            false => (success, Verdict::Success),
        };
        let mut last = step(OPERATION, word);
        last.result = end_result(dialect, word, verdict);
        self.version(vec![last], verdict);
    }
}

fn step(title: &'static str, status: &str) -> Step {
    Step {
        title,
        status: status.to_owned(),
        result: None,
        answer_until: None,
    }
}

fn error_result() -> String {
    serde_json::json!({"code": CODE, "title": TITLE, "details": DETAIL}).to_string()
}

/// What docs/dialects.md says is the result of the step at the end.
fn end_result(dialect: &str, word: &str, verdict: Verdict) -> Option<String> {
    let failed = verdict != Verdict::Success;
    match (dialect, failed) {
        ("http-status", true) => Some(
            serde_json::json!({"error": {"code": CODE, "message": TITLE, "details": DETAIL}}).to_string(),
        ),
        ("http-status", false) => matches!(word, "201" | "303").then(|| r#""/reports/9""#.to_owned()),
        ("azure" | "google-lro", true) => {
            Some(serde_json::json!({"code": CODE, "message": TITLE, "details": DETAIL}).to_string())
        }
        ("azure" | "google-lro", false) => Some(r#"{"total":3}"#.to_owned()),
        ("openai-batch", _) => Some(
            r#"{"output_file_id":"file-1","error_file_id":null,"request_counts":{"total":9,"completed":9,"failed":0}}"#
                .to_owned(),
        ),
        _ => None,
    }
}
