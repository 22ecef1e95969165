//! The demo, in process and in a hurry.

use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobtrackd::cli::demo::{DemoArgs, Screen, run_on};
use jobtrackd::config::{self, Sources};
use tokio_util::sync::CancellationToken;

/// A writer whose text can be read while it is in use.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Seen {
    result: anyhow::Result<()>,
    progress: String,
    report: String,
}

impl Seen {
    /// The temporary folder, as the first line names it.
    fn folder(&self) -> PathBuf {
        let line = self.progress.lines().next().unwrap();
        line.rsplit_once(" in ").unwrap().1.into()
    }
}

async fn see(args: DemoArgs, stop: &CancellationToken) -> Seen {
    let (progress, report) = (Paper::default(), Paper::default());
    let screen = Screen::plain(Box::new(progress.clone()), Box::new(report.clone()));
    let result = run_on(args, screen, stop, &CancellationToken::new()).await;
    Seen {
        result,
        progress: progress.text(),
        report: report.text(),
    }
}

fn hurried() -> DemoArgs {
    DemoArgs {
        pace: 10.0,
        ..DemoArgs::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_tracked_and_delivered_and_nothing_is_left_behind() {
    let seen = see(hurried(), &CancellationToken::new()).await;
    let Seen {
        result,
        progress,
        report,
    } = &seen;
    assert!(result.is_ok(), "{result:?}\n{progress}\n{report}");
    for line in [
        "61723              enqueued (seed page, MFA)",
        "61723              step mfa-challenge: in-progress",
        "61723-page         step retrieve-transactions: in-progress -> success",
        "mfa-token          the user answers the challenge wrongly",
        "instant            job.completed refused by audit (500)",
        "instant            job.completed delivered to audit",
        "never-ends         ended: failed (cancelled)",
        "expired            ended: failed (expired)",
        "unknown            ended: failed (not_found)",
        "foreign-url        ended: failed (rejected)",
    ] {
        assert!(progress.contains(line), "{line}\n{progress}");
    }
    assert!(!report.contains('✗'), "{report}");
    assert!(!report.contains('\x1b'), "{report}");
    assert!(!seen.folder().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_never_delivered_make_it_fail_and_are_named() {
    let args = DemoArgs {
        refuse: Some("job.delayed".to_owned()),
        ..hurried()
    };
    let seen = see(args, &CancellationToken::new()).await;
    let error = seen.result.as_ref().unwrap_err().to_string();
    assert!(error.contains("every event was delivered"), "{error}");
    let problem = "queued-success: job.delayed for audit is exhausted";
    assert!(seen.report.contains(problem), "{}", seen.report);
    assert!(!seen.folder().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_gives_up_in_time_and_says_what_is_missing() {
    let args = DemoArgs {
        limit: Duration::from_millis(300),
        ..hurried()
    };
    let seen = see(args, &CancellationToken::new()).await;
    let error = seen.result.as_ref().unwrap_err().to_string();
    assert!(error.contains("not over after 300ms"), "{error}");
    assert!(error.contains("every job came to the end"), "{error}");
    assert!(seen.report.contains("✗ every job came to the end"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_it_stops_and_removes_its_folder() {
    let stop = CancellationToken::new();
    stop.cancel();
    let seen = see(hurried(), &stop).await;
    let error = seen.result.as_ref().unwrap_err().to_string();
    assert!(error.contains("interrupted"), "{error}");
    assert!(!seen.folder().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_kept_is_private_and_holds_a_configuration_for_the_other_commands() {
    let stop = CancellationToken::new();
    stop.cancel();
    let args = DemoArgs {
        keep: true,
        ..hurried()
    };
    let seen = see(args, &stop).await;
    let folder = seen.folder();
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    let file = folder.join("jobtrackd.toml");
    let said = format!("jobtrackd --config {} show 61723", file.display());
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let settings = config::load(&sources).unwrap();
    let there = settings.database.path.exists();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(mode & 0o777, 0o700);
    assert!(seen.report.contains(&said), "{}", seen.report);
    assert!(there);
    assert_eq!(settings.database.path, folder.join("jobs.db"));
    assert_eq!(settings.webhooks.len(), 2);
}
