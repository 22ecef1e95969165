//! The daemon as a process of its own: the program that `cargo bench` has built, as it is delivered.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::measuring::processor_time;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixDatagram;
use tokio::time::{Instant, timeout};

use super::peers::{MEASURED, on_core};
use super::place::DatabaseFile;

const PROGRAM: &str = env!("CARGO_BIN_EXE_jobtrackd");

/// How long the daemon may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon; stopped when it is dropped.
pub(crate) struct Daemon {
    process: Child,
    /// From its start to the moment it said that it was ready, in seconds.
    pub(crate) start_up: f64,
    /// Where it tells of itself; kept, so that it also finds somebody who listens when it stops.
    notified: UnixDatagram,
}

impl Daemon {
    /// Starts it with the configuration of `place` and waits until it says that it is ready.
    pub(crate) async fn start(place: &DatabaseFile) -> anyhow::Result<Self> {
        Self::started(place, Command::new(PROGRAM)).await
    }

    /// The same, alone on the core that is measured.
    pub(crate) async fn start_alone(place: &DatabaseFile) -> anyhow::Result<Self> {
        Self::started(place, on_core(MEASURED, PROGRAM)).await
    }

    async fn started(place: &DatabaseFile, mut program: Command) -> anyhow::Result<Self> {
        let path = place.path("notify");
        // The socket of an earlier one may be there.
        drop(fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path)?;
        let begun = Instant::now();
        let process = program
            .arg("--config")
            .arg(place.configuration())
            .arg("run")
            .env_clear()
            .env("NOTIFY_SOCKET", &path)
            .process_group(0)
            .spawn()?;
        let mut daemon = Self {
            process,
            start_up: 0.0,
            notified: socket,
        };
        let mut said = [0; 512];
        loop {
            let length = timeout(PATIENCE, daemon.notified.recv(&mut said)).await;
            let length = length.context("the daemon does not get ready")??;
            // It says what it is busy with first.
            if said[..length].starts_with(b"READY=1") {
                break;
            }
        }
        daemon.start_up = begun.elapsed().as_secs_f64();
        Ok(daemon)
    }

    /// Ends it as it stands, without waiting for requests that hang.
    pub(crate) fn kill(mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }

    /// Time it has spent on a processor, in seconds.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        Ok(processor_time(&self.process.id().to_string())?.as_secs_f64())
    }

    /// Memory it has in use, in KiB.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The most memory it has had in use, in KiB.
    pub(crate) fn peak_memory(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &'static str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.trim().split(' ').next());
        Ok(number.context(field)?.parse()?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Ok(Some(pid)) = i32::try_from(self.process.id()).map(Pid::from_raw)
            && kill_process(pid, Signal::TERM).is_err()
        {
            return;
        }
        // What it ended with does not matter to the figures.
        drop(self.process.wait());
    }
}
