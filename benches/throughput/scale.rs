//! What 100,000 jobs cost: memory, start-up, processor time while they wait, and writing all of them down.

use std::time::Duration;

use jobtrackd::clock::Clock;
use jobtrackd::store::Commits as _;
use tokio::time::Instant;

use super::daemon::Daemon;
use super::noticing::LAZY;
use super::place::DatabaseFile;
use super::upstream::Upstream;
use super::writer::{inserted, schedule_batch};

const JOBS: usize = 100_000;

/// Jobs that are polled ten times a second among those that wait.
const BUSY: usize = 50;

pub(crate) async fn run() -> anyhow::Result<()> {
    let upstream = Upstream::start(None).await?;
    let place = DatabaseFile::new()?;
    let store = place.store().await?;
    place.configure(&upstream.base_url(), "", LAZY)?;
    let empty = Daemon::start(&place).await?;
    let (empty_start, empty_memory) = (empty.start_up, empty.memory()?);
    drop(empty);

    let later = Clock::system().now().plus(Duration::from_secs(3600)).0;
    let mut outsider = place.outsider().await?;
    outsider.insert_many("wait", JOBS, Some(later)).await?;
    let full = Daemon::start(&place).await?;
    println!(
        "100,000 followed jobs: {:.0} bytes each ({:.0} MiB resident, {:.0} MiB without jobs), start-up {:.2} s ({:.2} s without jobs)",
        (full.memory()? - empty_memory) * 1024.0 / 1e5,
        full.memory()? / 1024.0,
        empty_memory / 1024.0,
        full.start_up,
        empty_start,
    );
    drop(full);

    let waiting = inserted(&store, "wait", JOBS).await?;
    let begun = Instant::now();
    store.commit(&schedule_batch(&waiting, 1)).await?;
    println!(
        "bookkeeping of 100,000 jobs in one commit: {:.2} s",
        begun.elapsed().as_secs_f64()
    );

    place.configure(
        &upstream.base_url(),
        "",
        "initial_delay = \"100ms\"\nmax_delay = \"100ms\"",
    )?;
    outsider.insert_many("busy", BUSY, None).await?;
    let daemon = Daemon::start(&place).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (begun, cpu, polls) = (Instant::now(), daemon.cpu()?, upstream.answered());
    tokio::time::sleep(Duration::from_secs(4)).await;
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{BUSY} jobs polled ten times a second among 100,000 that wait: {:.1} % of one core, {} polls in {seconds:.1} s\n",
        (daemon.cpu()? - cpu) / seconds * 100.0,
        upstream.answered() - polls,
    );
    drop(daemon);
    store.close().await;
    Ok(())
}
