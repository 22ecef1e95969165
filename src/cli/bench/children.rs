//! The processes of a measurement: the daemon, and its peers. Each ends at the end of its standard input, and so with this one.

use std::fs;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rustix::process::{Signal, getpid, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::place::Site;
use crate::measuring::processor_time;

/// This program, whatever has become of its file.
const PROGRAM: &str = "/proc/self/exe";

/// How long a process may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends this process as SIGTERM does at the end of standard input.
pub(super) fn end_with_input() {
    std::thread::spawn(|| {
        // An error is an end, too.
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        let _ = kill_process(getpid(), Signal::TERM);
    });
}

/// This program in another role, without anything of the environment. Ctrl-C does not reach it.
fn command(role: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .args(["bench", "--role", role]);
    command
}

/// Time that the process of this number has spent on a processor.
pub(super) fn processor_time_of(pid: u32) -> anyhow::Result<Duration> {
    let time = processor_time(&pid.to_string());
    time.context("a process that was measured has ended")
}

/// Ends it as it stands.
async fn kill(mut process: Child) {
    // It may have ended by itself.
    drop(process.kill().await);
}

/// The API and the receiver.
pub(super) struct Peers {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
    hears: ChildStdin,
    pub(super) pid: u32,
    /// `http://ADDRESS:PORT`.
    pub(super) base_url: String,
}

impl Peers {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let mut command = command("peers");
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let out = process.stdout.take().context("no standard output")?;
        let hears = process.stdin.take().context("no standard input")?;
        let mut peers = Self {
            pid: process.id().unwrap_or_default(),
            process,
            says: BufReader::new(out).lines(),
            hears,
            base_url: String::new(),
        };
        peers.base_url = peers.line().await?;
        Ok(peers)
    }

    /// The next line they say: a job whose request is announced, or an answer.
    pub(super) async fn line(&mut self) -> anyhow::Result<String> {
        let line = timeout(PATIENCE, self.says.next_line()).await;
        let line = line.context("nothing came from the daemon for too long")??;
        line.context("the simulated API has ended")
    }

    /// The number that is the answer to a question.
    pub(super) async fn ask(&mut self, question: &str) -> anyhow::Result<u32> {
        self.hears
            .write_all(format!("{question}\n").as_bytes())
            .await?;
        Ok(self.line().await?.parse()?)
    }

    pub(super) async fn kill(self) {
        kill(self.process).await;
    }
}

/// The daemon.
pub(super) struct Daemon {
    process: Child,
    hears: Option<ChildStdin>,
    pub(super) pid: u32,
}

impl Daemon {
    /// Starts it with the configuration of `site`.
    pub(super) fn start(site: &Site) -> anyhow::Result<Self> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(site.log())?;
        let mut command = command("daemon");
        let mut process = command
            .arg("--config")
            .arg(site.configuration())
            .stderr(log)
            .spawn()?;
        Ok(Self {
            pid: process.id().unwrap_or_default(),
            hears: process.stdin.take(),
            process,
        })
    }

    /// Resolves when it has ended by itself, with the last line of its log.
    pub(super) async fn ended(&mut self, site: &Site) -> anyhow::Error {
        let ended = self.process.wait().await;
        let log = fs::read_to_string(site.log()).unwrap_or_default();
        let last = log.lines().last().unwrap_or("it wrote no log").to_owned();
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        anyhow!(last).context(format!("the daemon that is measured has ended: {how}"))
    }

    /// Stops it, and waits until it has.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.hears.take());
        let ended = timeout(PATIENCE, self.process.wait()).await;
        match ended.context("the daemon that is measured does not stop")?? {
            ended if ended.success() => Ok(()),
            ended => bail!("the daemon that is measured did not stop as it should: {ended}"),
        }
    }

    pub(super) async fn kill(self) {
        kill(self.process).await;
    }
}
