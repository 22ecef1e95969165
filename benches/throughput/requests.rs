//! What clients of the status server cost the loops: how soon a row is polled while they ask for as much as they can.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::clock::{Clock, Jitter};
use tokio::time::timeout;

use super::daemon::Daemon;
use super::noticing::LAZY;
use super::peers::{NAMES, Peer};
use super::percentile;
use super::place::DatabaseFile;

/// Clients that ask for a user's jobs without a pause.
const CLIENTS: usize = 40;

/// Users; each has 500 jobs, which is a whole page.
const USERS: usize = NAMES;

const JOBS: usize = 50_000;

/// Bytes of each remote job, about.
const BYTES: usize = 7000;

/// Rows that are inserted, one at a time.
const ROWS: usize = 300;

/// Longest pause between two of them.
const PAUSE: Duration = Duration::from_millis(60);

/// Longer than it takes to insert the rows.
const SPAN: Duration = Duration::from_secs(25);

pub(crate) async fn run() -> anyhow::Result<()> {
    let mut upstream = Peer::start(&["upstream"])?;
    let base_url = upstream.line().await?;
    let place = DatabaseFile::new()?;
    place.store().await?.close().await;
    fill(&place).await?;
    let address = place.configure_listening(&base_url, LAZY)?;
    let daemon = Daemon::start(&place).await?;
    let mut calm = delays(&place, &mut upstream, "calm").await?;
    let mut clients = Peer::clients(&address, CLIENTS, SPAN, "fast", "/users/u{n}/jobs")?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (before, begun) = (daemon.cpu()?, tokio::time::Instant::now());
    let mut busy = delays(&place, &mut upstream, "busy").await?;
    let share = (daemon.cpu()? - before) / begun.elapsed().as_secs_f64() * 100.0;
    let bytes = std::fs::metadata(place.database())?.len() >> 20;
    println!(
        "a row of another process polled, {CLIENTS} clients of /users/{{u}}/jobs, {JOBS} jobs in {bytes} MiB: \
         p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms; without them {:.0}, {:.0}, {:.0} ms",
        percentile(&mut busy, 50),
        percentile(&mut busy, 99),
        percentile(&mut busy, 100),
        percentile(&mut calm, 50),
        percentile(&mut calm, 99),
        percentile(&mut calm, 100),
    );
    let said = clients.line().await?;
    println!("    ({ROWS} rows; the daemon took {share:.0} % of one core; clients: {said})\n",);
    Ok(())
}

/// Milliseconds from the commit of each row to the request for its job.
async fn delays(
    place: &DatabaseFile,
    upstream: &mut Peer,
    prefix: &str,
) -> anyhow::Result<Vec<f64>> {
    let (clock, jitter) = (Clock::system(), Jitter::system());
    let mut outsider = place.outsider().await?;
    let mut committed = HashMap::new();
    for number in 0..ROWS {
        tokio::time::sleep(PAUSE.mul_f64(jitter.fraction())).await;
        let id = format!("{prefix}-{number}");
        sqlx::query("INSERT INTO jobs (id) VALUES (?1)")
            .bind(&id)
            .execute(&mut outsider.0)
            .await?;
        committed.insert(id, clock.now());
    }
    let mut delays = Vec::with_capacity(ROWS);
    while !committed.is_empty() {
        let line = timeout(Duration::from_secs(60), upstream.line()).await;
        let line = line.context("a row was never polled")??;
        let (id, at) = line.split_once(' ').context("not a request")?;
        if let Some(then) = committed.remove(id) {
            let at: i64 = at.parse()?;
            delays.push(f64::from(i32::try_from(at - then.0)?.max(0)));
        }
    }
    Ok(delays)
}

/// Jobs that have ended, each with what the API said of it, and whom they belong to.
async fn fill(place: &DatabaseFile) -> anyhow::Result<()> {
    let now = Clock::system().now().0;
    let mut outsider = place.outsider().await?;
    let sql = format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS})
         INSERT INTO jobs (id) SELECT 'old-' || i FROM n;
         UPDATE jobs SET state = 'success', finished_at = {now}, resource = json_object(
            'type', 'job', 'id', id, 'filler', printf('%.*c', {BYTES}, 'x'), 'steps', json('[]'),
            'links', json_object('source', '/users/u' || (substr(id, 5) % {USERS}) || '/connections/c'));
         INSERT INTO job_users (user, created_at, job_id)
         SELECT 'u' || (substr(id, 5) % {USERS}), created_at, id FROM jobs;
         DELETE FROM job_changes;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)"
    );
    outsider.run(sql).await
}
