//! Signals to processes of ours, and their effect.

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::waiting::{PATIENCE, until};

pub(crate) fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("a process id")?;
    Ok(kill_process(pid, signal)?)
}

/// Stops a process, and waits until none of its threads computes any more; those in a system call do not return from it.
pub(crate) async fn freeze(pid: u32) -> anyhow::Result<()> {
    send(pid, Signal::STOP)?;
    until("all threads stand still", PATIENCE, async || {
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            let stat = std::fs::read_to_string(task?.path().join("stat"))?;
            let state = stat
                .rsplit_once(") ")
                .and_then(|(_, rest)| rest.chars().next());
            if !state.is_some_and(|state| "TtDZ".contains(state)) {
                return Ok(false);
            }
        }
        Ok(true)
    })
    .await
}
