//! No space left: the daemon stays, says so, polls and sends nothing, and goes on by itself when there is space again.

use anyhow::ensure;

use super::{CAN_WRITE, CANNOT_WRITE};
use crate::daemon::Daemon;
use crate::disk;
use crate::load::Load;
use crate::rig::{Figures, Rig};
use crate::support::waiting::{PATIENCE, pause};
use crate::tracer::Tracer;

/// What is in flight when it notices has come to its end after so long.
const SETTLED_MS: u64 = 700;
/// How long it stays full from then on, at most.
const FULL_MS: u64 = 1500;
const BETWEEN_MS: u64 = 800;

/// By the answers of the kernel to the daemon alone.
pub(super) async fn calls(rig: &mut Rig, rounds: usize) -> anyhow::Result<Figures> {
    let mut daemon = rig.running().await?;
    let load = Load::start(&rig.ground, rig.database(), 25, "n");
    let mut injected = 0;
    for round in 1..=rounds {
        pause(200 + rig.random.u64(..BETWEEN_MS)).await;
        let log = rig.path(&format!("strace-{round}.log"));
        let faults = ["inject=pwrite64:error=ENOSPC".to_owned()];
        let tracer = Tracer::attach(daemon.pid, &faults, &log).await?;
        quiet_while_full(rig, &mut daemon, round).await?;
        injected += tracer.injected();
        tracer.detach().await?;
        recovers(&mut daemon, round).await?;
    }
    load.stop().await;
    Ok(rig
        .finish(daemon)
        .await?
        .with("times full", rounds)
        .with("calls with ENOSPC", injected))
}

/// By a small file system that somebody else fills.
pub(super) async fn disk(rig: &mut Rig, rounds: usize) -> anyhow::Result<Figures> {
    let folder = rig.keep_database_in("small")?;
    disk::small(&folder, "32m")?;
    let mut daemon = rig.running().await?;
    let load = Load::start(&rig.ground, rig.database(), 40, "t");
    for round in 1..=rounds {
        pause(200 + rig.random.u64(..BETWEEN_MS)).await;
        let filler = disk::fill(&folder)?;
        quiet_while_full(rig, &mut daemon, round).await?;
        std::fs::remove_file(filler)?;
        recovers(&mut daemon, round).await?;
    }
    load.stop().await;
    Ok(rig.finish(daemon).await?.with("times full", rounds))
}

async fn quiet_while_full(rig: &Rig, daemon: &mut Daemon, times: usize) -> anyhow::Result<()> {
    daemon.says_again(CANNOT_WRITE, times, PATIENCE).await?;
    pause(SETTLED_MS).await;
    let before = (rig.ground.polls(), rig.ground.posts());
    pause(FULL_MS).await;
    let after = (rig.ground.polls(), rig.ground.posts());
    ensure!(
        before == after,
        "polls and sends went from {before:?} to {after:?} while nothing could be recorded"
    );
    daemon.runs()
}

async fn recovers(daemon: &mut Daemon, times: usize) -> anyhow::Result<()> {
    daemon.says_again(CAN_WRITE, times, PATIENCE).await
}
