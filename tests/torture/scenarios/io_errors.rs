//! EIO of one flush or one write of a transaction: only opening the file again shows what is on the disk. So the daemon ends
//! without trying that commit again, and a new start goes on.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::load::Load;
use crate::rig::{Figures, Rig};
use crate::support::waiting::{PATIENCE, pause, until};
use crate::tracer::{self, Hit, Tracer};

/// The calls that fail: one of the first so many of a thread.
const CALLS: [(&str, usize); 2] = [("fsync", 8), ("pwrite64", 40)];
/// How long it goes on after a fault that SQLite keeps to itself, in milliseconds.
const UNREPORTED_MS: u64 = 300;
/// How soon the daemon has to end.
const END: Duration = Duration::from_secs(20);

pub(super) async fn run(rig: &mut Rig, rounds: usize) -> anyhow::Result<Figures> {
    rig.migrate().await?;
    // Nothing is posted to the status server, which has a connection of its own: all that the daemon writes is its writer's.
    let load = Load::start(&rig.ground, rig.database(), 50, "e");
    let (mut commits, mut unreported) = (0, 0);
    for round in 0..rounds {
        let (call, calls) = CALLS[round % CALLS.len()];
        // Every fourth round from the very beginning, the others at work; there what the first call belongs to cannot be seen.
        let is_start = round % 4 == 3;
        let when = if is_start { 1 } else { 2 } + rig.random.usize(..calls);
        let fault = [format!("inject={call}:error=EIO:when={when}")];
        let log = rig.path(&format!("strace-{round}.log"));
        let (mut daemon, tracer) = if is_start {
            rig.wrap(Some(tracer::wrapper(&fault, &log)));
            (rig.start()?, None)
        } else {
            let daemon = rig.running().await?;
            let tracer = Tracer::attach(daemon.pid, &fault, &log).await?;
            (daemon, Some(tracer))
        };
        let mut hit = Hit::Other;
        let seen = until("a fault", PATIENCE, async || {
            let fault = tracer::first_fault(&read(&log));
            hit = fault.map_or(hit, |(hit, _)| hit);
            Ok(fault.is_some())
        });
        seen.await?;
        if hit == Hit::Unreported {
            pause(UNREPORTED_MS).await;
            daemon.kill().await?;
            unreported += 1;
        } else {
            let ended = daemon.ended(END).await;
            let status = ended.with_context(|| format!("after EIO of {call} ({hit:?})"))?;
            ensure!(
                status.code() == Some(1),
                "after EIO of {call} it ended with {status}:\n{}",
                daemon.text()
            );
            let writes = tracer::first_fault(&read(&log)).map_or(0, |(_, writes)| writes);
            ensure!(
                writes == 0,
                "{writes} writes to the log after EIO of {call}"
            );
            commits += 1;
        }
        drop(tracer);
        rig.check().await?;
    }
    load.stop().await;
    let daemon = rig.running().await?;
    let figures = rig
        .finish(daemon)
        .await?
        .with("starts ended by EIO", commits);
    Ok(figures.with("faults that SQLite kept to itself", unreported))
}

/// What strace has written so far; it makes the file when it begins.
fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}
