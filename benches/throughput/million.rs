//! A million jobs: the first polls of many, one transaction that inserts a million while others are polled, a start with a million,
//! and the memory they take.

use std::collections::HashMap;
use std::time::Duration;

use jobtrackd::simulator::quick::{More, job};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use super::daemon::Daemon;
use super::noticing::LAZY;
use super::peers::{Peer, beside_an_empty_database};
use super::percentile;
use super::place::{DatabaseFile, Outsider};
use super::table;

const JOBS: u32 = 1_000_000;

/// Numbers of jobs whose first polls are timed.
const SWEPT: [u32; 2] = [20_000, 100_000];

/// Jobs that are polled each second while a million others are inserted.
const OTHERS: usize = 20;

/// What the ids of those begin with.
pub(crate) const OTHER: &str = "other-";

/// What the ids of jobs begin with that are queued by the API.
const QUEUED: &str = "queued-";

/// The question how late their polls were.
pub(crate) const LATENESS: &str = "lateness";

/// From a poll of theirs to the next.
const PACE: Duration = Duration::from_secs(1);

/// Jobs are polled each second; those that the API queues are left alone after a poll.
const EACH_SECOND: &str = "initial_delay = \"1s\"\nmax_delay = \"1s\"\njitter = 0.0";

/// A minute from a poll to the next.
const MINUTE: &str = "initial_delay = \"60s\"\nmax_delay = \"60s\"";

/// How long polls are watched before and after a million rows came, and those that wait.
const SPAN: Duration = Duration::from_secs(15);

/// Jobs whose polls are timed.
#[derive(Default)]
pub(crate) struct Others(Mutex<HashMap<String, Instant>>, Mutex<Vec<f64>>);

impl More for Others {
    fn job(&self, id: &str) -> Option<String> {
        if id.starts_with(QUEUED) {
            return Some(format!(
                r#"{{"type":"job","id":"{id}","steps":[{{"title":"verify-credentials","status":"pending","result":{{"code":"temporary-unavailable-queued","title":"Queued","detail":"Later"}}}}],"links":{{"self":"https://api.example/jobs/{id}"}}}}"#
            ));
        }
        id.starts_with(OTHER).then(|| {
            let (mut jobs, now) = (self.0.lock(), Instant::now());
            if let Some(before) = jobs.insert(id.to_owned(), now) {
                let late = (now - before).as_secs_f64() - PACE.as_secs_f64();
                self.1.lock().push(late * 1000.0);
            }
            job(id, "in-progress", "pending")
        })
    }

    /// The median and the largest of the times since the last question by which a poll came later than a second after the one
    /// before, in milliseconds.
    fn ask(&self, question: &str) -> Option<String> {
        let mut late = std::mem::take(&mut *self.1.lock());
        let mut at = |part| percentile(&mut late, part);
        (question == LATENESS).then(|| format!("{:.0} {:.0}", at(50), at(100)))
    }
}

pub(crate) async fn run() -> anyhow::Result<()> {
    for jobs in SWEPT {
        sweep(jobs).await?;
    }
    transaction().await?;
    start().await
}

/// The first poll of each job: all of them are recorded.
async fn sweep(jobs: u32) -> anyhow::Result<()> {
    let (mut peers, place) = prepared(MINUTE).await?;
    let daemon = Daemon::start_alone(&place).await?;
    let mut outsider = place.outsider().await?;
    let begun = Instant::now();
    insert(&mut outsider, "", jobs).await?;
    let inserted = begun.elapsed().as_secs_f64();
    while peers.ask("polls").await?.parse::<u32>()? < jobs || outsider.number(UNSEEN).await? > 0 {
        sleep(Duration::from_millis(100)).await;
    }
    let what = format!("first polls of {jobs} jobs, inserted in {inserted:.1} s, all recorded");
    let cost = daemon.cpu()? / f64::from(jobs) * 1e6;
    let figure = format!("{:.1} s, {cost:.0} µs each", begun.elapsed().as_secs_f64());
    let aim = if jobs == 100_000 { "at most 8 s" } else { "" };
    table::alone(&what, &figure, aim);
    daemon.kill();
    Ok(())
}

/// Jobs that were never polled, one of them at most.
const UNSEEN: &str = "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state = 'pending' LIMIT 1)";

/// A million rows in one transaction, and how late others are polled then.
async fn transaction() -> anyhow::Result<()> {
    let (mut peers, place) = prepared(EACH_SECOND).await?;
    let mut outsider = place.outsider().await?;
    outsider
        .insert_many(OTHER.trim_end_matches('-'), OTHERS, None)
        .await?;
    let daemon = Daemon::start_alone(&place).await?;
    sleep(Duration::from_secs(2)).await;
    peers.ask(LATENESS).await?;
    sleep(SPAN).await;
    let before = peers.ask(LATENESS).await?;
    insert(&mut outsider, QUEUED, JOBS).await?;
    let during = peers.ask(LATENESS).await?;
    sleep(SPAN).await;
    let after = peers.ask(LATENESS).await?;
    let what = format!(
        "one transaction of {JOBS} rows: polls of {OTHERS} others came later than their second by (median, most)"
    );
    let figure = format!(
        "{before} ms before, {during} ms during it, {after} ms in the {} s after it; {:.0} MiB at most",
        SPAN.as_secs(),
        daemon.peak_memory()? / 1024.0
    );
    table::alone(&what, &figure, "at most 250 ms");
    daemon.kill();
    Ok(())
}

/// A start with a million jobs, of which one in a thousand is due, and what those take that wait.
async fn start() -> anyhow::Result<()> {
    let (mut peers, place) = prepared(LAZY).await?;
    let empty = Daemon::start_alone(&place).await?;
    sleep(Duration::from_secs(1)).await;
    let (empty_start, empty_memory) = (empty.start_up, empty.memory()?);
    empty.kill();
    let mut outsider = place.outsider().await?;
    insert(&mut outsider, "", JOBS).await?;
    outsider.pretend_polled().await?;
    let begun = Instant::now();
    let starting = Daemon::start_alone(&place);
    let first = async {
        while peers.ask("polls").await?.parse::<u32>()? == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, anyhow::Error>(begun.elapsed().as_secs_f64())
    };
    let (daemon, first) = tokio::join!(starting, first);
    let (daemon, first) = (daemon?, first?);
    sleep(SPAN).await;
    let memory = daemon.memory()?;
    let figure = format!(
        "first poll after {first:.2} s, all followed after {:.2} s ({empty_start:.2} s without jobs)",
        daemon.start_up
    );
    let what = format!("start with {JOBS} open jobs");
    table::alone(&what, &figure, "2 s, 10 s");
    let figure = format!(
        "{:.0} bytes each ({:.0} MiB resident, {:.0} MiB without jobs, {:.0} MiB at most)",
        (memory - empty_memory) * 1024.0 / f64::from(JOBS),
        memory / 1024.0,
        empty_memory / 1024.0,
        daemon.peak_memory()? / 1024.0,
    );
    table::alone(
        "memory while they wait",
        &figure,
        "256 bytes each, 320 MiB resident",
    );
    daemon.kill();
    Ok(())
}

async fn prepared(polling: &str) -> anyhow::Result<(Peer, DatabaseFile)> {
    let (peers, base, place) = beside_an_empty_database("others").await?;
    place.configure(&base, "", polling)?;
    Ok((peers, place))
}

/// Inserts jobs with ids of 36 characters after `prefix`, in one transaction.
async fn insert(outsider: &mut Outsider, prefix: &str, jobs: u32) -> anyhow::Result<()> {
    let sql = format!(
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {jobs}) \
         INSERT INTO jobs (id) SELECT printf('{prefix}%08x-5b0e-4d2a-9c3f-%012x', i * 2654435761 % 4294967296, i) FROM n"
    );
    outsider.run(sql).await
}

impl Outsider {
    /// As if all jobs had been polled, one in a thousand an hour ago.
    async fn pretend_polled(&mut self) -> anyhow::Result<()> {
        let sql = "UPDATE jobs SET state = 'in-progress', polls = 3, last_polled_at = created_at, \
                   next_poll_at = created_at + iif(rowid % 1000, 1800000 + abs(random()) % 1800000, 0); \
                   DELETE FROM job_changes; PRAGMA wal_checkpoint(TRUNCATE)";
        self.run(sql.to_owned()).await
    }
}
