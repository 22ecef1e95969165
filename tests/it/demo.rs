//! The demo as its user sees it: the process in a hurry, its lines, its page, its end and its exit code.

mod checks;
mod end_to_end;
mod history;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jobtrackd::config::{self, Sources};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::support::pty::Pty;
use crate::support::waiting::found;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_jobtrackd");

/// How many times faster than usual.
const PACE: f64 = 10.0;

/// How long a demo in a hurry may take that takes four seconds on an idle computer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a demo ended.
struct Ended {
    code: Option<i32>,
    report: String,
    progress: String,
}

impl Ended {
    /// The temporary folder, as the first line names it.
    fn folder(&self) -> PathBuf {
        let line = self.progress.lines().next().unwrap();
        line.rsplit_once(" in ").unwrap().1.into()
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().arg("demo").args(arguments);
    command.arg(format!("--pace={PACE}"));
    command
}

/// A demo that runs, and what it writes.
struct Running {
    child: Child,
    progress: NamedTempFile,
    report: NamedTempFile,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let [progress, report] = [(); 2].map(|()| NamedTempFile::new().unwrap());
        let child = command(arguments)
            .stdin(Stdio::null())
            .stdout(report.reopen().unwrap())
            .stderr(progress.reopen().unwrap())
            .spawn()
            .unwrap();
        Self {
            child,
            progress,
            report,
        }
    }

    /// Waits for a line with these words.
    async fn says(&self, words: &str) -> String {
        let line = async || {
            let said = read(&self.progress);
            let whole = said.rfind('\n').map_or("", |end| &said[..end]);
            let mut lines = whole.lines();
            lines.find(|line| line.contains(words)).map(str::to_owned)
        };
        let line = found(PATIENCE, line).await;
        line.unwrap_or_else(|| panic!("{words} was not said:\n{}", read(&self.progress)))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    async fn ended(mut self) -> Ended {
        let ended = found(PATIENCE, async || self.child.try_wait().unwrap()).await;
        let Some(ended) = ended else {
            self.child.kill().unwrap();
            panic!("it has not ended:\n{}", read(&self.progress));
        };
        Ended {
            code: ended.code(),
            report: read(&self.report),
            progress: read(&self.progress),
        }
    }
}

fn read(file: &NamedTempFile) -> String {
    fs::read_to_string(file.path()).unwrap()
}

/// Runs a demo to its end; once it has begun it is sent this signal.
async fn run(arguments: &[&str], signal: Option<Signal>) -> Ended {
    let running = Running::start(arguments);
    if let Some(signal) = signal {
        running.says("").await;
        running.signal(signal);
    }
    running.ended().await
}

#[tokio::test]
async fn everything_is_tracked_and_delivered_and_nothing_is_left_behind() {
    let ended = run(&[], None).await;
    let Ended {
        code,
        report,
        progress,
    } = &ended;
    assert_eq!(*code, Some(0), "{progress}\n{report}");
    for line in [
        "  61723  enqueued (seed page, MFA)",
        "  61723  mfa-challenge: in-progress",
        "  61723-page  retrieve-transactions: in-progress → success",
        "  mfa-token  the user answers the challenge wrongly",
        "  instant  job.completed to audit: pending, attempt 1: status: 500",
        "  instant  job.completed to audit: delivered, attempt 3",
        "  never-ends  cancel requested",
        "/3: cancelled: Cancelled",
        "/3: expired: Deadline passed",
        "  unknown  failed 0/0: not_found",
        "  foreign-url  failed 0/0: rejected",
    ] {
        assert!(progress.contains(line), "{line}\n{progress}");
    }
    for line in [
        "  JOB ",
        "30 of 30 jobs ended, 0 deliveries pending",
        "✓ 61723 ",
        "30 jobs, ",
        "✓ every job came to the end the API gave it",
        "✓ every event was delivered, in order",
        "✓ every signature is right",
        "✓ a job of each other API came to its end the same way",
        "✓ azure         operation: ",
        "✓ the daemon stopped when asked to",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert!(!report.contains("✗ every"), "{report}");
    assert!(!report.contains('\x1b') && !progress.contains('\x1b'));
    assert!(!ended.folder().exists());
}

#[tokio::test]
async fn a_terminal_shows_the_page_of_watch_and_then_the_report() {
    let mut pty = Pty::start(&command(&[]), 140, 60);
    let drawn = pty.shows("  JOB ").await;
    assert!(drawn.is_other() && drawn.hides_cursor(), "{drawn:?}");
    let lines = drawn.lines();
    assert!(lines[0].contains(" running, "), "{}", drawn.text());
    let (ended, left) = pty.ended().await;
    assert_eq!(ended.code(), Some(0), "{}", left.text());
    assert!(left.is_clean(), "{left:?}");
    assert!(!left.text().contains(" running, "), "{}", left.text());
    assert!(left.text().contains("✓ every signature is right"));
    assert!(left.raw.contains("\u{1b}[32m✓"), "colours");
}

#[tokio::test]
async fn events_that_are_never_delivered_make_it_fail_and_are_named() {
    let ended = run(&["--refuse=job.delayed"], None).await;
    assert_eq!(ended.code, Some(1));
    let error = "error: the demo failed: not so: every event was delivered";
    assert!(ended.progress.contains(error), "{}", ended.progress);
    let problem = "queued-success: job.delayed for audit is exhausted";
    assert!(ended.report.contains(problem), "{}", ended.report);
    assert!(!ended.folder().exists());
}

#[tokio::test]
async fn it_gives_up_in_time_and_says_what_is_missing() {
    let ended = run(&["--limit=300ms"], None).await;
    assert_eq!(ended.code, Some(1));
    let error = "not over after 300ms; not so: every job came to the end";
    assert!(ended.progress.contains(error), "{}", ended.progress);
    assert!(ended.report.contains("✗ every job came to the end"));
    assert!(!ended.folder().exists());
}

#[tokio::test]
async fn a_signal_stops_it_and_it_removes_its_folder() {
    for signal in [Signal::INT, Signal::TERM] {
        let ended = run(&[], Some(signal)).await;
        assert_eq!(ended.code, Some(1));
        let error = "error: the demo was interrupted";
        assert!(ended.progress.contains(error), "{}", ended.progress);
        assert_eq!(ended.report, "");
        assert!(!ended.folder().exists());
    }
}

#[tokio::test]
async fn with_open_the_dashboard_stays_until_ctrl_c_which_ends_it_well() {
    let running = Running::start(&["--open"]);
    let line = running.says("the dashboard stays at ").await;
    let url = line
        .split_whitespace()
        .find(|word| word.starts_with("http"));
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = client.get(url.unwrap()).header("accept", "text/html");
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.contains("2 webhooks configured"), "{page}");
    running.signal(Signal::INT);
    let ended = running.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.progress);
    assert!(ended.report.contains("✓ the daemon stopped when asked to"));
    assert!(!ended.folder().exists());
}

#[tokio::test]
async fn the_daemons_log_is_shown_on_request() {
    let ended = run(&["--logs"], Some(Signal::INT)).await;
    let log = "WARN there was no database";
    assert!(ended.progress.contains(log), "{}", ended.progress);
}

#[tokio::test]
async fn a_folder_that_is_kept_is_private_and_holds_a_configuration_for_the_other_commands() {
    let ended = run(&["--keep"], Some(Signal::INT)).await;
    let folder = ended.folder();
    let mode = fs::metadata(&folder).unwrap().permissions().mode();
    let file = folder.join("jobtrackd.toml");
    let advice = format!("jobtrackd --config {} show 61723", file.display());
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let settings = config::load(&sources).unwrap();
    let is_there = settings.database.path.exists();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(mode & 0o777, 0o700);
    assert!(ended.report.contains(&advice), "{}", ended.report);
    assert!(is_there);
    assert_eq!(settings.database.path, folder.join("jobs.db"));
    assert_eq!(settings.webhooks.len(), 2);
}
