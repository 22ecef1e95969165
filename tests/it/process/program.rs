//! The built program as a child process: what it says, how it ends, and that it never outlives its test.

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::waiting::PATIENCE;

/// A child process. Signals go through a handle on it, so that they never reach another one with the same number.
pub(super) struct Program {
    pub(super) pid: u32,
    handle: OwnedFd,
    said: watch::Receiver<Said>,
}

/// What a program has written to standard error so far, and how it ended.
#[derive(Debug, Clone, Default)]
struct Said {
    text: String,
    status: Option<ExitStatus>,
}

/// A program that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; `None` after a signal.
    pub(super) code: Option<i32>,
    /// All of its standard error.
    pub(super) text: String,
}

impl Program {
    /// Starts it. Standard error is read all the time, standard output must stay empty and is not looked at.
    pub(super) fn start(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id();
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let (saying, said) = watch::channel(Said::default());
        std::thread::spawn(move || listen(child, &saying));
        Self { pid, handle, said }
    }

    /// Sends a signal; it is an error when the program has ended.
    pub(super) fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.handle, signal).unwrap();
    }

    /// Everything it has said so far.
    pub(super) fn text(&self) -> String {
        self.said.borrow().text.clone()
    }

    /// Waits for a line with these words.
    pub(super) async fn says(&self, words: &str) -> String {
        self.says_again(words, 1).await
    }

    /// Waits for so many lines with these words, and answers the last of them.
    pub(super) async fn says_again(&self, words: &str, times: usize) -> String {
        self.says_within(PATIENCE, words, times).await
    }

    pub(super) async fn says_within(
        &self,
        patience: Duration,
        words: &str,
        times: usize,
    ) -> String {
        let line = |said: &Said| {
            let whole = said.text.rfind('\n').map_or("", |end| &said.text[..end]);
            let mut lines = whole.lines().filter(|line| line.contains(words));
            lines.nth(times - 1).map(str::to_owned)
        };
        let mut said = self.said.clone();
        let seen = timeout(
            patience,
            said.wait_for(|said| line(said).is_some() || said.status.is_some()),
        );
        let found = match seen.await {
            Ok(Ok(said)) => line(&said),
            _ => None,
        };
        found.unwrap_or_else(|| {
            panic!(
                "{words:?} was not said {times} times, but:\n{}",
                self.text()
            )
        })
    }

    /// The address of the status server, once the program follows jobs.
    pub(super) async fn ready(&self) -> String {
        let line = self.says("jobtrackd follows jobs").await;
        let line: Value = serde_json::from_str(&line).unwrap();
        line["status"].as_str().unwrap().to_owned()
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) -> Ended {
        self.ended_within(PATIENCE).await
    }

    pub(super) async fn ended_within(&self, patience: Duration) -> Ended {
        let mut said = self.said.clone();
        let ended = timeout(patience, said.wait_for(|said| said.status.is_some())).await;
        let Ok(ended) = ended else {
            panic!(
                "it has not ended in {patience:?}; it said:\n{}",
                self.text()
            );
        };
        let said = ended.unwrap();
        assert!(!said.text.contains("panicked at"), "{}", said.text);
        Ended {
            code: said.status.and_then(|status| status.code()),
            text: said.text.clone(),
        }
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub(super) async fn kill(self) {
        self.signal(Signal::KILL);
        assert_eq!(self.ended().await.code, None);
    }

    /// Asks it to stop, as a service manager does; it must be fine with that.
    pub(super) async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.text);
        ended
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

fn listen(mut child: Child, saying: &watch::Sender<Said>) {
    let mut stderr = child.stderr.take().unwrap();
    let mut chunk = [0; 8192];
    let mut kept = Vec::new();
    while let Ok(read @ 1..) = stderr.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..read]);
        let whole = kept
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let lines: Vec<u8> = kept.drain(..whole).collect();
        saying.send_modify(|said| said.text.push_str(&String::from_utf8_lossy(&lines)));
    }
    let status = child.wait().unwrap();
    saying.send_modify(|said| {
        said.text.push_str(&String::from_utf8_lossy(&kept));
        said.status = Some(status);
    });
}
