//! Deliveries to one webhook that answers at once, against a bare loop that signs and POSTs and stores nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobtrackd::clock::Clock;
use tokio::time::{Instant, sleep};

use super::daemon::Daemon;
use super::ending::webhook;
use super::peers::{Peer, bare_round, beside_an_empty_database};
use super::place::DatabaseFile;
use super::table::{self, Round};

const DELIVERIES: u32 = 20_000;

/// Bytes of one event's body.
pub(crate) const BODY: usize = 1200;

/// Rounds of each of the two, in turn.
const ROUNDS: usize = 3;

pub(crate) async fn run() -> anyhow::Result<()> {
    for (in_flight, aim) in [("64", "at least 0.6"), ("8", "")] {
        let (mut daemon, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (mut peers, base, place) = beside_an_empty_database("peers").await?;
            place.configure(&base, "", &webhook(&base, in_flight))?;
            daemon.push(daemon_round(&place, &mut peers).await?);
            bare.push(bare_round("posts", &base, in_flight, DELIVERIES, &place).await?);
        }
        let what = format!("deliveries of {BODY} bytes to one webhook, {in_flight} at once");
        table::rounds(&what, &daemon, &bare, aim);
    }
    Ok(())
}

/// From when the first ones have come to the last one.
async fn daemon_round(place: &DatabaseFile, peers: &mut Peer) -> anyhow::Result<Round> {
    prepare(place, "'all'", DELIVERIES.into()).await?;
    let daemon = Daemon::start_alone(place).await?;
    let first = come(peers, 1).await?;
    let (begun, cpu) = (Instant::now(), daemon.cpu()?);
    let last = come(peers, DELIVERIES).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let round = Round::new(f64::from(last - first), seconds, daemon.cpu()? - cpu);
    daemon.kill();
    Ok(round)
}

/// Waits until at least so many have come, and says how many it were.
async fn come(peers: &mut Peer, enough: u32) -> anyhow::Result<u32> {
    let begun = Instant::now();
    loop {
        let come = peers.ask("deliveries").await?.parse()?;
        if come >= enough {
            return Ok(come);
        }
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "{come} of {enough} were delivered"
        );
        sleep(Duration::from_millis(2)).await;
    }
}

/// Jobs that are over, with an event each for the webhook that `webhook` names in SQL, due now.
pub(crate) async fn prepare(
    place: &DatabaseFile,
    webhook: &str,
    deliveries: u64,
) -> anyhow::Result<()> {
    static RUN: AtomicU64 = AtomicU64::new(0);
    let run = RUN.fetch_add(1, Ordering::Relaxed);
    let now = Clock::system().now().0;
    let mut outsider = place.outsider().await?;
    let sql = format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {deliveries})
         INSERT INTO jobs (id) SELECT 'r{run}-' || i FROM n;
         UPDATE jobs SET state = 'success', finished_at = {now} WHERE finished_at IS NULL;
         DELETE FROM job_changes;
         INSERT INTO events (id, job_id, sequence, type, created_at, body)
         SELECT 'evt_' || substr(lower(hex(id || '0123456789abcdef')), 1, 32), id, 1, 'job.completed', {now},
                '{{\"type\":\"job.completed\",\"data\":{{\"job_id\":\"' || id || '\",\"x\":\"' || printf('%.*c', {BODY}, 'x') || '\"}}}}'
         FROM jobs WHERE id GLOB 'r{run}-*';
         INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, next_attempt_at)
         SELECT id, {webhook}, job_id, 1, 'pending', {now} FROM events WHERE job_id GLOB 'r{run}-*';
         COMMIT"
    );
    outsider.run(sql).await
}
