//! What can be found out about a host, as findings: `check` runs some of these probes, `doctor` all of them.
//!
//! A probe reads and changes nothing. Permissions are judged by mode bits: the caller may be root, who may do everything.

pub(super) mod account;
pub(super) mod configuration;
pub(super) mod daemon;
pub(super) mod database;
mod files;
pub(super) mod host;
pub(super) mod jobs;
pub(super) mod upstream;
pub(super) mod webhooks;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use strum::IntoStaticStr;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::privilege::reads_as_root;
use super::screen::Tone;
use crate::config::DatabaseSettings;
use crate::status::{HostFinding, HostProbe};

/// Longest wait for any answer.
const LIMIT: Duration = Duration::from_secs(5);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// For information, or not visible to this user.
    Note,
    /// It works, and may soon not.
    Warning,
    /// It does not work.
    Problem,
}

impl Level {
    pub(super) fn mark(self) -> (&'static str, Tone) {
        match self {
            Self::Ok => ("✓", Tone::Good),
            Self::Note => ("·", Tone::Dim),
            Self::Warning => ("!", Tone::Warn),
            Self::Problem => ("✗", Tone::Bad),
        }
    }
}

/// The state of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// Its stable name, `subject.aspect`.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// What is so, in a sentence.
    pub(super) text: String,
    /// Why it matters, and what to type next; nothing for what is as it should be.
    pub(super) advice: Option<String>,
    /// The webhook it is about.
    pub(super) webhook: Option<String>,
}

fn ok(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(check, Level::Ok, text)
}

fn note(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(check, Level::Note, text)
}

fn warning(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(check, Level::Warning, text)
}

fn problem(check: &'static str, text: impl Into<String>) -> Finding {
    Finding::new(check, Level::Problem, text)
}

impl Finding {
    fn new(check: &'static str, level: Level, text: impl Into<String>) -> Self {
        Self {
            check,
            level,
            text: text.into(),
            advice: None,
            webhook: None,
        }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn of_webhook(mut self, name: &str) -> Self {
        self.webhook = Some(name.to_owned());
        self
    }

    /// The finding for what this user may not read.
    pub(super) fn hidden(check: &'static str, text: impl Into<String>) -> Self {
        note(check, text).advise(as_root())
    }

    /// What it is about, for people: `database`, `webhook billing`.
    pub(super) fn subject(&self) -> String {
        match &self.webhook {
            Some(webhook) => format!("webhook {webhook}"),
            None => {
                let subject = self.check.split_once('.');
                subject
                    .map_or(self.check, |(subject, _)| subject)
                    .to_owned()
            }
        }
    }
}

/// Examines the host of a running daemon: what is quickly found without reading a row, sending a request or asking a program
/// other than that of the clock.
pub(super) fn of_a_running_daemon(database: DatabaseSettings) -> HostProbe {
    HostProbe::new(move || {
        let database = database.clone();
        async move {
            let examined = spawn_blocking(move || {
                database::around(&database, &account::Accounts::of_this_machine())
            });
            let mut findings = examined.await.unwrap_or_default();
            findings.push(host::synchronised().await);
            let wrong = findings.into_iter().filter_map(|each| {
                let is_problem = each.level == Level::Problem;
                (is_problem || each.level == Level::Warning).then(|| HostFinding {
                    is_problem,
                    text: each.text,
                    advice: each.advice.unwrap_or_default(),
                })
            });
            wrong.collect()
        }
    })
}

/// The file beside another one with this ending added to its name.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The size of a file, 0 for one that is not there.
fn size_of(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

/// Advice for what this user may not read.
fn as_root() -> &'static str {
    if reads_as_root() {
        "not even root may, so it is the file system; run: findmnt; dmesg | tail -n 50"
    } else {
        "to check that too, run: sudo jobtrackd doctor"
    }
}

/// Longest output of another program that is read, in bytes.
const PROGRAM_OUTPUT: u64 = 4 << 10;

/// The standard output of a program of the search path, run without a shell, whatever its exit code. `Err` in a few words
/// when it is there and gives no answer, `None` when it is not there.
async fn output_of(program: &str, arguments: &[&str]) -> Option<io::Result<String>> {
    std::env::var_os("PATH")?;
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(error)),
    };
    let answer = async {
        let mut bytes = Vec::new();
        if let Some(out) = child.stdout.take() {
            out.take(PROGRAM_OUTPUT).read_to_end(&mut bytes).await?;
        }
        child.wait().await?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    };
    Some(within("no answer", answer).await)
}

/// The outcome of `work`, which fails with `late` and the limit after [`LIMIT`].
async fn within<T>(late: &str, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_| io::Error::other(format!("{late} within {} s", LIMIT.as_secs()));
    timeout(LIMIT, work).await.map_err(late)?
}
