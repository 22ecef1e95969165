//! Other programs on the same database: they insert, keep the lock, are stopped or die with it.

use std::os::unix::fs::{PermissionsExt, chown};

use anyhow::{Context as _, ensure};
use rustix::process::Signal;

use super::{CAN_WRITE, CANNOT_WRITE};
use crate::load::Load;
use crate::manager::WATCHDOG;
use crate::outside::{Outside, as_user};
use crate::rig::{Figures, Rig};
use crate::support::waiting::{PATIENCE, pause};
use crate::tables;

/// How long nothing may be sent, once the daemon has said that it cannot write.
const STOPPED_MS: u64 = 1500;
const KILLED_WITHIN_MS: u64 = 200;
/// Programs that insert beside each other, and rows of each.
const INSERTING: usize = 3;
const ROWS: usize = 400;

/// Two users of one group, in the place of the daemon's and of another service's.
const DAEMON: u32 = 64_001;
const OTHER: u32 = 64_002;
const GROUP: u32 = 64_000;

pub(super) async fn run(rig: &mut Rig, rounds: usize) -> anyhow::Result<Figures> {
    let mut daemon = rig.running().await?;
    let load = Load::start(&rig.ground, rig.database(), 40, "w");
    rig.manager.reset();
    let mut killed = 0;
    for round in 1..=rounds {
        killed += kill_while_they_insert(rig, round).await?;
        // It dies in its transaction, which nobody ever sees.
        let dying = format!("never-{round}");
        let mut other = Outside::start(rig.database())?;
        other.lock(&dying).await?;
        pause(rig.random.u64(..KILLED_WITHIN_MS)).await;
        other.kill().await?;
        // It is stopped in its transaction, for longer than anybody waits.
        let stopped = format!("stopped-{round}");
        let mut other = Outside::start(rig.database())?;
        other.lock(&stopped).await?;
        other.signal(Signal::STOP)?;
        daemon.says_again(CANNOT_WRITE, round, PATIENCE).await?;
        pause(300).await;
        let before = rig.ground.posts();
        pause(STOPPED_MS).await;
        let after = rig.ground.posts();
        ensure!(
            before == after,
            "sends went from {before} to {after} while the lock was held"
        );
        other.signal(Signal::CONT)?;
        other.run("COMMIT;").await?;
        rig.ground.acknowledge(stopped);
        daemon.says_again(CAN_WRITE, round, PATIENCE).await?;
        let sql = format!("SELECT count(*) FROM jobs WHERE id = '{dying}'");
        ensure!(
            tables::number(rig.database(), &sql).await? == 0,
            "a transaction that was not committed is there"
        );
    }
    let (longest, _) = rig.manager.hunger();
    ensure!(
        longest < WATCHDOG,
        "the watchdog was not fed for {longest:?}"
    );
    load.stop().await;
    Ok(rig
        .finish(daemon)
        .await?
        .with("writers killed", killed + rounds)
        .with("stopped with the lock", rounds))
}

/// Lets several programs insert at once, and kills them at different moments. What they have printed is committed.
async fn kill_while_they_insert(rig: &mut Rig, round: usize) -> anyhow::Result<usize> {
    let mut others = Vec::new();
    for number in 0..INSERTING {
        let mut other = Outside::start(rig.database())?;
        other
            .run(".bail on\nPRAGMA busy_timeout = 20000;\nPRAGMA wal_autocheckpoint = 0;")
            .await?;
        let rows = (0..ROWS).map(|row| format!("i{round}-{number}-{row}"));
        let sql: String = rows
            .map(|id| format!("INSERT INTO jobs (id) VALUES ('{id}');\nSELECT '{id}';\n"))
            .collect();
        other.write(&sql).await?;
        others.push(other);
    }
    for other in others {
        pause(rig.random.u64(..KILLED_WITHIN_MS)).await;
        for id in other.kill().await? {
            rig.ground.acknowledge(id);
        }
    }
    Ok(INSERTING)
}

/// The daemon and the others are different users. One that shuts out everybody by its umask dies while the daemon is down.
pub(super) async fn umask(rig: &mut Rig, rounds: usize) -> anyhow::Result<Figures> {
    let folder = rig.keep_database_in("shared")?;
    chown(&folder, Some(DAEMON), Some(GROUP))?;
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o2770))?;
    rig.publish_program()?;
    for round in 1..=rounds {
        let mut daemon = rig.running_as(as_user(DAEMON, GROUP)).await?;
        pause(rig.random.u64(..KILLED_WITHIN_MS)).await;
        daemon.runs()?;
        match round % 2 {
            0 => daemon.stop().await?,
            _ => daemon.kill().await?,
        }
        let (committed, dying) = (format!("committed-{round}"), format!("never-{round}"));
        let mut other = Outside::by_user(rig.database(), OTHER, GROUP)?;
        other
            .run(&format!(
                ".bail on\nINSERT INTO jobs (id) VALUES ('{committed}');"
            ))
            .await?;
        other.lock(&dying).await.context("by another user")?;
        other.kill().await?;
        rig.ground.acknowledge(committed);
    }
    let daemon = rig.running_as(as_user(DAEMON, GROUP)).await?;
    Ok(rig
        .finish(daemon)
        .await?
        .with("writers killed while the daemon was down", rounds))
}
