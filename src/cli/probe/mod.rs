//! What can be found out of a host, in findings: `check` asks some of these probes, `doctor` all of them.
//!
//! A probe looks and changes nothing. Permissions are judged by mode bits: whoever asks may be root, who may everything.

pub(super) mod account;
pub(super) mod configuration;
pub(super) mod daemon;
pub(super) mod database;
pub(super) mod disk;
pub(super) mod files;
pub(super) mod host;
pub(super) mod jobs;
pub(super) mod tool;
pub(super) mod upstream;
pub(super) mod webhooks;

use serde::Serialize;

use super::privilege::reads_as_root;
use super::style::Tone;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing, or not to be seen from here.
    Note,
    /// It works, and may soon not.
    Warning,
    /// It does not work.
    Problem,
}

impl Level {
    pub(super) fn sign(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("✓", Tone::Good),
            Self::Note => ("·", Tone::Dim),
            Self::Warning => ("!", Tone::Warn),
            Self::Problem => ("✗", Tone::Bad),
        }
    }
}

/// What was found of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its stable name, `subject.aspect`.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What is so, in a sentence.
    pub(super) says: String,
    /// Why it matters, and what to type next; nothing for what is as it should be.
    pub(super) advice: Option<String>,
    /// The webhook it is about.
    pub(super) webhook: Option<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self {
            check,
            level: Level::Ok,
            says: says.into(),
            advice: None,
            webhook: None,
        }
    }

    pub(super) fn note(
        check: &'static str,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Level::Note, says, advice)
    }

    pub(super) fn warning(
        check: &'static str,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Level::Warning, says, advice)
    }

    pub(super) fn problem(
        check: &'static str,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Level::Problem, says, advice)
    }

    pub(super) fn new(
        check: &'static str,
        level: Level,
        says: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            level,
            advice: Some(advice.into()),
            ..Self::ok(check, says)
        }
    }

    pub(super) fn of_webhook(mut self, name: &str) -> Self {
        self.webhook = Some(name.to_owned());
        self
    }

    /// What it is about, for people: `database`, `webhook billing`.
    pub(super) fn subject(&self) -> String {
        match &self.webhook {
            Some(name) => format!("webhook {name}"),
            None => self
                .check
                .split('.')
                .next()
                .unwrap_or(self.check)
                .to_owned(),
        }
    }
}

/// A number of bytes for people: `812 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut rest = number;
    let mut unit = "bytes";
    for next in UNITS {
        if rest < 1024 {
            break;
        }
        rest /= 1024;
        unit = next;
    }
    format!("{rest} {unit}")
}

/// Advice for what this user may not look at.
pub(super) fn as_root() -> &'static str {
    if reads_as_root() {
        "not even root may, so it is the file system; run: findmnt; dmesg | tail -n 50"
    } else {
        "to look at that too, run: sudo jobtrackd doctor"
    }
}
