//! Retention over a million old deliveries, and what others notice of it.

use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::clock::Clock;
use jobtrackd::core::job::JobId;
use jobtrackd::core::retention::{BatchSize, Retention, Stage};
use jobtrackd::store::{Commits as _, Jobs as _, Prune, Retention as _, Store};
use strum::IntoEnumIterator;
use tokio::time::Instant;

use super::percentile;
use super::place::DatabaseFile;
use super::writer::schedule_batch;

/// How long it is deleted, and how long not.
const SPAN: Duration = Duration::from_secs(8);

/// Pause between two commits of others.
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) async fn run() -> anyhow::Result<()> {
    let place = DatabaseFile::new()?;
    let store = place.store().await?;
    fill(&place).await?;
    let mut calm = commits(&store, SPAN).await?;
    let (mut busy, pruned) = tokio::join!(commits(&store, SPAN), prune(&store));
    let (busy, (mut took, rows)) = (
        busy.as_mut()
            .map_err(|_| anyhow::anyhow!("a commit failed"))?,
        pruned?,
    );
    println!(
        "retention over 1,000,000 old deliveries with attempts: {:.0} rows/s; a transaction kept others waiting for p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
        rows / SPAN.as_secs_f64(),
        percentile(&mut took, 50),
        percentile(&mut took, 99),
        percentile(&mut took, 100),
    );
    println!(
        "    commits of others meanwhile: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms; without it {:.1}, {:.1}, {:.1} ms\n",
        percentile(busy, 50),
        percentile(busy, 99),
        percentile(busy, 100),
        percentile(&mut calm, 50),
        percentile(&mut calm, 99),
        percentile(&mut calm, 100),
    );
    store.close().await;
    Ok(())
}

/// Small commits, one after the other with a pause; how long each took, in milliseconds.
async fn commits(store: &Store, span: Duration) -> anyhow::Result<Vec<f64>> {
    let begun = Instant::now();
    let busy = store.tracked(&JobId::parse("busy")?).await?;
    let busy = [busy.context("no job")?];
    let mut took = Vec::new();
    while begun.elapsed() < span {
        let commit = Instant::now();
        store.commit(&schedule_batch(&busy, took.len() + 1)).await?;
        took.push(commit.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(took)
}

/// What the daemon does, with its own sizes and pauses: how long each transaction took, and how many rows went.
async fn prune(store: &Store) -> anyhow::Result<(Vec<f64>, f64)> {
    let begun = Instant::now();
    let now = Clock::system().now();
    let (mut size, mut took, mut rows) = (BatchSize::default(), Vec::new(), 0);
    for stage in Stage::iter() {
        let before = Retention::default().before(stage, now).unwrap_or(now);
        let mut after = None;
        loop {
            let (found, stopped) = store.prunable(stage, before, after).await?;
            let mut jobs = found.as_slice();
            while !jobs.is_empty() {
                if begun.elapsed() >= SPAN {
                    return Ok((took, f64::from(u32::try_from(rows)?)));
                }
                let prune = Prune {
                    stage,
                    before,
                    jobs,
                    rows: size.rows(),
                };
                let pruned = store.prune(prune).await?;
                jobs = &jobs[pruned.jobs..];
                rows += pruned.rows;
                took.push(pruned.took.as_secs_f64() * 1000.0);
                size = size.after(pruned.took);
                tokio::time::sleep((pruned.took * 2).max(Duration::from_millis(10))).await;
            }
            match stopped {
                Some(place) => after = Some(place),
                None => break,
            }
        }
    }
    Ok((took, f64::from(u32::try_from(rows)?)))
}

/// 100,000 jobs with ten events each, delivered with one attempt, that ended a year ago; and one job that runs.
async fn fill(place: &DatabaseFile) -> anyhow::Result<()> {
    let then = Clock::system().now().0 - 365 * 86_400_000;
    let mut outsider = place.outsider().await?;
    let sql = format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
         INSERT INTO jobs (id) SELECT 'old-' || i FROM n;
         UPDATE jobs SET state = 'success', finished_at = {then};
         INSERT INTO jobs (id) VALUES ('busy');
         DELETE FROM job_changes;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10)
         INSERT INTO events (id, job_id, sequence, type, created_at, body)
         SELECT 'evt_' || jobs.id || '_' || i, jobs.id, i, 'job.step_changed', {then}, printf('%.*c', 500, 'x')
         FROM jobs, n WHERE jobs.id <> 'busy';
         INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, attempts, delivered_at, last_attempt_at)
         SELECT id, 'w0', job_id, sequence, 'delivered', 1, {then}, {then} FROM events;
         INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, \"trigger\")
         SELECT id, 'w0', 1, {then}, 1, 200, 'schedule' FROM events;
         COMMIT"
    );
    outsider.run(sql).await
}
