//! Power cuts of the file system that the database is on. A machine without power computes nothing either: so the programs are
//! stopped first, else a flush that is in flight at the cut may report a success that is none.

use anyhow::ensure;
use sqlx::Connection as _;

use crate::disk::Disk;
use crate::load::Load;
use crate::oracle;
use crate::outside::Outside;
use crate::rig::{Figures, Rig};
use crate::signals::freeze;
use crate::support::waiting::pause;
use crate::tables;
use crate::tracer;

/// How long the daemon works before a cut, in milliseconds.
const WORK_MS: std::ops::Range<u64> = 100..700;
/// How often a job is enqueued, in milliseconds.
const EVERY_MS: u64 = 15;
/// After so many cuts without a loss it is believed that they cut nothing.
const MOST_CUTS: usize = 20;
/// Rows that the control hands over at once; more than it can write before its cut.
const ROWS: usize = 20_000;

fn disk(rig: &mut Rig) -> anyhow::Result<Disk> {
    let folder = rig.keep_database_in("disk")?;
    Disk::new(rig.path("disk.img"), folder)
}

/// One life of the daemon that a cut ends, seen on the disk as it is afterwards.
async fn cut(rig: &mut Rig, disk: &Disk, load: Load) -> anyhow::Result<oracle::Complaints> {
    let mut daemon = rig.running().await?;
    load.post_to(Some(daemon.ready().await?));
    pause(rig.random.u64(WORK_MS)).await;
    load.distrust();
    freeze(daemon.pid).await?;
    disk.cut()?;
    daemon.kill().await?;
    load.stop().await;
    disk.restore().await?;
    Ok(oracle::always(&rig.ground.seen(), &rig.tables().await?))
}

/// The daemon loses nothing.
pub(super) async fn cuts(rig: &mut Rig, cuts: usize) -> anyhow::Result<Figures> {
    let disk = disk(rig)?;
    rig.migrate().await?;
    for round in 0..cuts {
        let load = Load::start(&rig.ground, rig.database(), EVERY_MS, &format!("p{round}"));
        let complaints = cut(rig, &disk, load).await?;
        Rig::judge(&complaints)?;
    }
    let daemon = rig.running().await?;
    let figures = rig.finish(daemon).await?.with("cuts", cuts);
    drop(disk);
    Ok(figures)
}

/// The same cuts do lose something if the daemon's flushes do nothing, or this test would prove nothing.
pub(super) async fn unflushed(rig: &mut Rig) -> anyhow::Result<Figures> {
    let disk = disk(rig)?;
    rig.migrate().await?;
    // What was there before is on the disk.
    disk.flush()?;
    for round in 0..MOST_CUTS {
        let faults = ["fsync", "fdatasync"].map(|call| format!("inject={call}:retval=0"));
        rig.wrap(Some(tracer::wrapper(&faults, &rig.path("strace.log"))));
        let load = Load::posting(&rig.ground, EVERY_MS, &format!("p{round}"));
        let complaints = cut(rig, &disk, load).await;
        // Damage that SQLite itself refuses is a loss, too.
        let lost = complaints.map_or(1, |complaints| complaints.len());
        if lost > 0 {
            return Ok(Figures::default()
                .with("cuts", round + 1)
                .with("losses, as there must be", lost));
        }
    }
    anyhow::bail!("{MOST_CUTS} cuts without a flush lost nothing: the cuts cut nothing");
}

/// SQLite with synchronous=NORMAL loses what FULL does not.
pub(super) async fn control(rig: &mut Rig, cuts: usize) -> anyhow::Result<Figures> {
    let disk = disk(rig)?;
    let mut lossy = [0, 0];
    let mut rounds = 0;
    while rounds < cuts || (lossy[1] == 0 && rounds < MOST_CUTS) {
        for (number, synchronous) in ["FULL", "NORMAL"].into_iter().enumerate() {
            let (acknowledged, found) = write_until_cut(rig, &disk, synchronous, rounds).await?;
            lossy[number] += usize::from(found < acknowledged);
        }
        rounds += 1;
    }
    ensure!(
        lossy[0] == 0,
        "{} of {rounds} cuts lost commits of synchronous=FULL",
        lossy[0]
    );
    ensure!(
        lossy[1] > 0,
        "{rounds} cuts lost nothing of synchronous=NORMAL: the cuts cut nothing"
    );
    let figures = Figures::default()
        .with("cuts each", rounds)
        .with("with a loss under FULL", lossy[0]);
    Ok(figures.with("with a loss under NORMAL", lossy[1]))
}

/// A program that commits row after row until the cut: how many it acknowledged, and how many of them are there.
async fn write_until_cut(
    rig: &mut Rig,
    disk: &Disk,
    synchronous: &str,
    round: usize,
) -> anyhow::Result<(i64, i64)> {
    let database = rig
        .database()
        .with_file_name(format!("{synchronous}-{round}.db"));
    let mut other = Outside::start(&database)?;
    let begin = format!(
        ".bail on\nPRAGMA journal_mode = WAL;\nPRAGMA wal_autocheckpoint = 0;\nPRAGMA synchronous = {synchronous};\nCREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT);"
    );
    other.run(&begin).await?;
    disk.flush()?;
    let rows = (1..=ROWS)
        .map(|n| format!("INSERT INTO t VALUES ({n}, hex(randomblob(100)));\nSELECT {n};\n"));
    let mut writing = other.flood(rows.collect());
    writing.begun().await?;
    pause(rig.random.u64(WORK_MS)).await;
    freeze(writing.pid()?).await?;
    disk.cut()?;
    let acknowledged = writing.kill().await?;
    disk.restore().await?;
    let mut connection = tables::open(&database).await?;
    let found = sqlx::query_scalar("SELECT count(*) FROM t")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    for ending in ["", "-wal", "-shm"] {
        // They are gone already if the last one closed them.
        let _ = std::fs::remove_file(format!("{}{ending}", database.display()));
    }
    Ok((i64::try_from(acknowledged)?, found))
}
