//! The dashboard among a million finished jobs and a hundred thousand open ones, a thousand polls a second and fifty viewers: how
//! soon each page comes, how soon a new row is polled meanwhile, and what the viewers cost.

use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::daemon::Daemon;
use super::noticing::{ROWS, delays, insert_one_by_one};
use super::percentile;
use super::place::DatabaseFile;
use super::upstream::Upstream;

const FINISHED: u32 = 1_000_000;

const WAITING: u32 = 99_000;

/// Jobs that are polled once a second.
const POLLED: u32 = 1000;

const VIEWERS: usize = 50;

/// How long processor time is counted.
const SPAN: Duration = Duration::from_secs(20);

/// How often each page is asked for.
const ROUNDS: usize = 20;

/// Longest wait for a page.
const PATIENCE: Duration = Duration::from_secs(5);

/// Every page, and every filter of those that have some.
const PAGES: [&str; 22] = [
    "/",
    "/dashboard/jobs",
    "/dashboard/jobs?state=pending",
    "/dashboard/jobs?state=in-progress",
    "/dashboard/jobs?state=success",
    "/dashboard/jobs?state=failed",
    "/dashboard/jobs?failure=step",
    "/dashboard/jobs?failure=expired",
    "/dashboard/jobs?webhook=billing",
    "/dashboard/jobs?webhook=nobody",
    "/dashboard/jobs?text=old-77",
    "/dashboard/jobs?text=nowhere",
    "/dashboard/jobs?since=10m",
    "/dashboard/jobs?until=10m",
    "/dashboard/jobs?ended_since=10m",
    "/dashboard/jobs?state=failed&ended_until=10m",
    "/dashboard/jobs/old-500000",
    "/dashboard/jobs/polled-7",
    "/dashboard/webhooks",
    "/dashboard/webhooks/billing",
    "/dashboard/events",
    "/dashboard/events?type=job.failed",
];

/// What the viewers look at, in turn.
const WATCHED: [&str; 4] = [
    "/",
    "/dashboard/jobs",
    "/dashboard/jobs/polled-7",
    "/dashboard/webhooks/billing",
];

pub(crate) async fn run() -> anyhow::Result<()> {
    let (seen, requests) = mpsc::unbounded_channel();
    let upstream = Upstream::start(Some(seen)).await?;
    let place = DatabaseFile::new()?;
    place.store().await?.close().await;
    fill(&place).await?;
    let polling = "initial_delay = \"1s\"\nmax_delay = \"1s\"\n\
                   [webhooks.billing]\nurl = \"https://hooks.example/\"\nsecret = \"whsec_c2lua3NpbmtzaW5rc2lua3NpbmtzaW5rc2luaw==\"";
    let address = place.configure_listening(&upstream.base_url(), polling)?;
    let daemon = Daemon::start_alone(&place).await?;
    sleep(Duration::from_secs(15)).await;
    let alone = share(&daemon).await?;
    let polls = upstream.answered();
    let viewers: Vec<JoinHandle<()>> = (0..VIEWERS)
        .map(|n| tokio::spawn(watch(address.clone(), WATCHED[n % WATCHED.len()])))
        .collect();
    sleep(Duration::from_secs(5)).await;
    let watched = share(&daemon).await?;
    let polls = (upstream.answered() - polls) as f64 / (SPAN.as_secs_f64() + 5.0);
    println!(
        "dashboard, {FINISHED} finished and {} open jobs, {polls:.0} polls/s: {:.1} % of one core, {:.1} % with {VIEWERS} viewers",
        WAITING + POLLED,
        alone * 100.0,
        watched * 100.0,
    );
    let (asked, committed) = tokio::join!(pages(&address), insert_one_by_one(&place));
    asked?;
    let mut delays = delays(committed?, requests).await?;
    println!(
        "    a row of another process polled meanwhile: p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms ({ROWS} rows)\n",
        percentile(&mut delays, 50),
        percentile(&mut delays, 99),
        percentile(&mut delays, 100),
    );
    anyhow::ensure!(
        viewers.iter().all(|viewer| !viewer.is_finished()),
        "a viewer has lost the stream"
    );
    daemon.kill();
    Ok(())
}

/// The share of a core that the daemon takes.
async fn share(daemon: &Daemon) -> anyhow::Result<f64> {
    let (begun, before) = (Instant::now(), daemon.cpu()?);
    sleep(SPAN).await;
    Ok((daemon.cpu()? - before) / begun.elapsed().as_secs_f64())
}

/// Looks at a page that moves, until its stream ends.
async fn watch(address: String, page: &'static str) {
    let page = page.replace('/', "%2F");
    let path = format!("/dashboard/live?page={page}");
    let Ok(mut stream) = request(&address, &path).await else {
        return;
    };
    let mut bytes = vec![0; 64 << 10];
    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
}

/// How long each page takes from the request to its first byte, and to its last.
async fn pages(address: &str) -> anyhow::Result<()> {
    let (mut all, mut slowest) = (Vec::new(), Vec::new());
    for page in PAGES {
        let mut first = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            first.push(timeout(PATIENCE, first_byte(address, page)).await??);
        }
        slowest.push((percentile(&mut first, 100), page));
        all.extend(first);
    }
    slowest.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    println!(
        "    first byte of {} pages and filters, {ROUNDS} times each: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        PAGES.len(),
        percentile(&mut all, 50),
        percentile(&mut all, 99),
        percentile(&mut all, 100),
    );
    for (at_most, page) in &slowest[..5] {
        println!("        {page}: at most {at_most:.1} ms");
    }
    Ok(())
}

/// In milliseconds.
async fn first_byte(address: &str, page: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut stream = request(address, page).await?;
    let mut bytes = vec![0; 64 << 10];
    let read = stream.read(&mut bytes).await?;
    let first = begun.elapsed().as_secs_f64() * 1000.0;
    anyhow::ensure!(
        bytes[..read].starts_with(b"HTTP/1.1 200 "),
        "{page}: {}",
        String::from_utf8_lossy(&bytes[..read.min(400)])
    );
    while stream.read(&mut bytes).await? > 0 {}
    Ok(first)
}

async fn request(address: &str, path: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await.context("no connection")?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(stream)
}

/// The finished jobs, each with two steps, an event and its delivery; one in ten has failed. Then those that wait for an hour, and
/// those that are polled.
async fn fill(place: &DatabaseFile) -> anyhow::Result<()> {
    let now = Clock::system().now().0;
    let mut outsider = place.outsider().await?;
    let sql = format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {FINISHED})
         INSERT INTO jobs (id) SELECT 'old-' || i FROM n;
         UPDATE jobs SET created_at = {now} - 3600000 + rowid * 3;
         UPDATE jobs SET finished_at = created_at + 20000 + rowid % 977, polls = 7, last_polled_at = created_at + 20000,
            state = iif(rowid % 10, 'success', 'failed'),
            failure = iif(rowid % 10, NULL, json_object('kind', 'step', 'step', 'verify-credentials', 'code', 'invalid-credentials', 'title', 'Cannot login', 'detail', NULL));
         INSERT INTO steps (job_id, title, occurrence, position, status, class, first_seen_at, updated_at)
         SELECT id, 'verify-credentials', 0, 0, 'success', 'done', created_at, created_at + 9000 FROM jobs;
         INSERT INTO events (id, job_id, sequence, type, created_at, body)
         SELECT 'evt_' || rowid, id, 1, iif(rowid % 10, 'job.completed', 'job.failed'), finished_at,
            json_object('type', 'job.completed', 'data', json_object('job_id', id)) FROM jobs;
         INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, attempts, delivered_at)
         SELECT e.id, 'billing', e.job_id, 1, 'delivered', 1, e.created_at FROM events AS e;
         INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, [trigger])
         SELECT id, 'billing', 1, created_at, 12, 204, 'schedule' FROM events;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {WAITING})
         INSERT INTO jobs (id, not_before) SELECT 'waits-' || i, {now} + 3600000 FROM n;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {POLLED})
         INSERT INTO jobs (id) SELECT 'polled-' || i FROM n;
         DELETE FROM job_changes;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)"
    );
    outsider.run(sql).await
}
