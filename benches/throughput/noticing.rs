//! How soon a row that another process has committed is noticed, and what an idle daemon costs.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::clock::Jitter;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::daemon::Daemon;
use super::percentile;
use super::place::DatabaseFile;
use super::table;
use super::upstream::Upstream;

/// Rows that are inserted, one at a time.
pub(crate) const ROWS: usize = 300;

/// Longest pause between two of them.
const PAUSE: Duration = Duration::from_millis(60);

/// How long the idle daemon is watched.
const IDLE: Duration = Duration::from_secs(5);

/// Each job is polled once and then left alone.
pub(crate) const LAZY: &str =
    "initial_delay = \"1h\"\nmax_delay = \"1h\"\nerror_max_delay = \"1h\"";

pub(crate) async fn run() -> anyhow::Result<()> {
    let (seen, requests) = mpsc::unbounded_channel();
    let upstream = Upstream::start(Some(seen)).await?;
    let place = DatabaseFile::new()?;
    place.store().await?.close().await;
    place.configure(&upstream.base_url(), "", LAZY)?;
    let daemon = Daemon::start(&place).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (begun, before) = (Instant::now(), daemon.cpu()?);
    tokio::time::sleep(IDLE).await;
    let share = (daemon.cpu()? - before) / begun.elapsed().as_secs_f64();
    let idle = format!(
        "{:.2} % of one core, {:.1} MiB",
        share * 100.0,
        daemon.memory()? / 1024.0
    );
    table::alone("an idle daemon", &idle, "at most 0.5 %");
    let committed = insert_one_by_one(&place).await?;
    let mut delays = delays(committed, requests).await?;
    let what = format!(
        "a row of another process ({ROWS}, one at a time, at random moments), from its commit to the request"
    );
    let mut at = |part| percentile(&mut delays, part);
    let figure = format!(
        "p50 {:.0}, p99 {:.0}, at most {:.0} ms",
        at(50),
        at(99),
        at(100)
    );
    table::alone(&what, &figure, "p50 at most 15, p99 60 ms");
    Ok(())
}

/// When each row was committed.
pub(crate) async fn insert_one_by_one(
    place: &DatabaseFile,
) -> anyhow::Result<HashMap<String, Instant>> {
    let jitter = Jitter::system();
    let mut outsider = place.outsider().await?;
    let mut committed = HashMap::new();
    for number in 0..ROWS {
        tokio::time::sleep(PAUSE.mul_f64(jitter.fraction())).await;
        let id = format!("job-{number}");
        sqlx::query("INSERT INTO jobs (id) VALUES (?1)")
            .bind(&id)
            .execute(&mut outsider.0)
            .await?;
        committed.insert(id, Instant::now());
    }
    Ok(committed)
}

/// Milliseconds from each commit to the first request for that job.
pub(crate) async fn delays(
    mut committed: HashMap<String, Instant>,
    mut requests: mpsc::UnboundedReceiver<(String, Instant)>,
) -> anyhow::Result<Vec<f64>> {
    let mut delays = Vec::with_capacity(ROWS);
    while !committed.is_empty() {
        let request = timeout(Duration::from_secs(5), requests.recv()).await;
        let (id, at) = request
            .context("a row was never noticed")?
            .context("the upstream is gone")?;
        // The request may come before the outsider has seen the end of its own commit.
        if let Some(at_commit) = committed.remove(&id) {
            delays.push(at.saturating_duration_since(at_commit).as_secs_f64() * 1000.0);
        }
    }
    Ok(delays)
}
