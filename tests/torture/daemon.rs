//! The program under test as a child process.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::waiting::{PATIENCE, until};

const READY: &str = "jobtrackd follows jobs";

/// A child process that is killed when dropped. Signals go through a handle on it, so that they never reach another one
/// with the same number.
pub(crate) struct Daemon {
    pub(crate) pid: u32,
    child: Child,
    handle: OwnedFd,
    log: PathBuf,
}

impl Daemon {
    /// Starts it; its standard error goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.as_std().get_program()))?;
        let pid = child.id().context("it ended at once")?;
        let number = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .context("a process id")?;
        let handle = pidfd_open(number, PidfdFlags::empty())?;
        Ok(Self {
            pid,
            child,
            handle,
            log: log.to_owned(),
        })
    }

    /// Everything it has written so far.
    pub(crate) fn text(&self) -> String {
        std::fs::read(&self.log).map_or_else(
            |_| String::new(),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    fn end_of_text(&self) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Waits until it follows jobs; answers the address of its status server.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<String> {
        self.says(READY, PATIENCE).await?;
        let text = self.text();
        let line = text
            .lines()
            .find(|line| line.contains(READY))
            .unwrap_or_default();
        let line: Value = serde_json::from_str(line)?;
        Ok(line["status"]
            .as_str()
            .context("no address of the status server")?
            .to_owned())
    }

    /// Waits until it has written these words; an error if it ends before.
    pub(crate) async fn says(&mut self, words: &str, patience: Duration) -> anyhow::Result<()> {
        self.says_again(words, 1, patience).await
    }

    /// Waits until it has written these words so many times.
    pub(crate) async fn says_again(
        &mut self,
        words: &str,
        times: usize,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let said = until(words, patience, async || {
            if self.text().matches(words).count() >= times {
                return Ok(true);
            }
            match self.child.try_wait()? {
                Some(status) => bail!("the daemon has ended ({status}) and has not said: {words}"),
                None => Ok(false),
            }
        });
        let said = said.await;
        said.with_context(|| format!("its log ends with:\n{}", self.end_of_text()))
    }

    /// An error if it has ended.
    pub(crate) fn runs(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!(
                "the daemon has ended by itself ({status}):\n{}",
                self.end_of_text()
            ),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        pidfd_send_signal(&self.handle, signal).context("the daemon is gone")
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let ended = timeout(patience, self.child.wait()).await;
        let Ok(ended) = ended else {
            bail!("it has not ended in {patience:?}:\n{}", self.end_of_text());
        };
        ensure!(
            !self.text().contains("panicked at"),
            "it panicked:\n{}",
            self.end_of_text()
        );
        Ok(ended?)
    }

    /// Kills it as a crash would; it must not have ended by itself.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.runs()?;
        self.signal(Signal::KILL)?;
        self.ended(PATIENCE).await?;
        Ok(())
    }

    /// Asks it to stop, as a service manager does; it must be fine with that.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.ended(PATIENCE).await?;
        ensure!(
            status.success(),
            "it was asked to stop and ended with {status}:\n{}",
            self.end_of_text()
        );
        Ok(())
    }
}
