//! How fast the writer commits: many rows per statement against one by one against one commit each.

use anyhow::Context as _;
use jobtrackd::clock::Clock;
use jobtrackd::core::cadence::Progress;
use jobtrackd::core::delivery::WebhookName;
use jobtrackd::core::dialect::Basiq;
use jobtrackd::core::job::JobId;
use jobtrackd::core::observe::{Evidence, Tracked, observe};
use jobtrackd::core::time::UnixMillis;
use jobtrackd::simulator::quick;
use jobtrackd::store::{Batch, Commits as _, Jobs as _, Recordable, ScheduleUpdate, Store};
use sqlx::Connection as _;
use tokio::time::Instant;

use super::median;
use super::place::{DatabaseFile, Outsider};

/// Rows of one transaction, as many as the daemon puts into one.
const BATCH: usize = 1000;

/// Jobs in the table.
const JOBS: usize = 10_000;

/// Rounds of each way, in turn.
const ROUNDS: usize = 5;

/// Transactions of a round that has one row in each.
const SINGLES: usize = 200;

/// The daemon's bookkeeping as a program without batches would write it.
const ONE_SCHEDULE: &str = "UPDATE jobs SET polls = max(polls, ?2), quiet_polls = ?3, consecutive_errors = 0, \
    last_error = NULL, last_polled_at = ?4, next_poll_at = ?4, not_found_since = NULL, queued = 0 \
    WHERE id = ?1 AND state IN ('pending', 'in-progress')";

pub(crate) async fn run() -> anyhow::Result<()> {
    let place = DatabaseFile::new()?;
    let store = place.store().await?;
    let mut outsider = place.outsider().await?;
    outsider.insert_many("job", JOBS, None).await?;
    let jobs = inserted(&store, "job", JOBS).await?;
    schedules(&store, &mut outsider, &jobs).await?;
    observations(&store, jobs).await?;
    store.close().await;
    Ok(())
}

/// The jobs that were inserted with these ids.
pub(crate) async fn inserted(
    store: &Store,
    prefix: &str,
    count: usize,
) -> anyhow::Result<Vec<Tracked>> {
    let mut jobs = Vec::with_capacity(count);
    for number in 1..=count {
        let id = JobId::parse(&format!("{prefix}-{number}"))?;
        jobs.push(store.tracked(&id).await?.context("no job")?);
    }
    Ok(jobs)
}

async fn schedules(store: &Store, outsider: &mut Outsider, jobs: &[Tracked]) -> anyhow::Result<()> {
    let (mut many, mut each, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        for rows in jobs.chunks(BATCH) {
            store.commit(&schedule_batch(rows, round)).await?;
        }
        many.push(rate(jobs.len(), begun));
        let begun = Instant::now();
        for rows in jobs.chunks(BATCH).take(3) {
            one_by_one(outsider, rows, round).await?;
        }
        each.push(rate(3 * BATCH, begun));
        let begun = Instant::now();
        for row in jobs.chunks(1).take(SINGLES) {
            store.commit(&schedule_batch(row, round)).await?;
        }
        single.push(rate(SINGLES, begun));
    }
    let (many, each, single) = (median(many), median(each), median(single));
    println!(
        "bookkeeping, rows/s: {many:.0} with {BATCH} rows per statement and commit, {each:.0} with a statement each in as large commits, {single:.0} with a commit each\n    \
         (ratios {:.1} and {:.1}; medians of {ROUNDS} rounds in turn, {JOBS} jobs in the table)",
        many / each,
        many / single,
    );
    Ok(())
}

async fn one_by_one(
    outsider: &mut Outsider,
    rows: &[Tracked],
    round: usize,
) -> Result<(), sqlx::Error> {
    let mut transaction = outsider.0.begin_with("BEGIN IMMEDIATE").await?;
    for job in rows {
        sqlx::query(ONE_SCHEDULE)
            .bind(job.id.as_str())
            .bind(i64::try_from(round).unwrap_or(i64::MAX))
            .bind(3)
            .bind(Clock::system().now().0)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}

/// Observations as the daemon makes them: one step moves, so there is a transition, an event and a delivery.
async fn observations(store: &Store, mut jobs: Vec<Tracked>) -> anyhow::Result<()> {
    for jobs in jobs.chunks_mut(BATCH) {
        store.commit(&observation_batch(jobs, "pending")?).await?;
    }
    let (mut many, mut single) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let word = ["in-progress", "pending"][round % 2];
        let half = JOBS / 2;
        let batches: Vec<Batch> = jobs[..half]
            .chunks_mut(BATCH)
            .map(|jobs| observation_batch(jobs, word))
            .collect::<Result<_, _>>()?;
        let begun = Instant::now();
        for batch in &batches {
            let committed = store.commit(batch).await?;
            anyhow::ensure!(committed.recorded.len() == BATCH, "not all were recorded");
        }
        many.push(rate(half, begun));
        let singles: Vec<Batch> = jobs[half..]
            .chunks_mut(1)
            .take(SINGLES)
            .map(|jobs| observation_batch(jobs, word))
            .collect::<Result<_, _>>()?;
        let begun = Instant::now();
        for batch in &singles {
            store.commit(batch).await?;
        }
        single.push(rate(SINGLES, begun));
    }
    let (many, single) = (median(many), median(single));
    println!(
        "observations/s (job, step, transition, event, delivery): {many:.0} with {BATCH} per commit, {single:.0} with a commit each, ratio {:.1}\n",
        many / single,
    );
    Ok(())
}

fn observation_batch(jobs: &mut [Tracked], second_step: &str) -> anyhow::Result<Batch> {
    let now = Clock::system().now();
    let observations = jobs
        .iter_mut()
        .map(|job| seen(job, second_step, now))
        .collect::<anyhow::Result<_>>()?;
    Ok(Batch {
        observations,
        now: Some(now),
        ..Batch::default()
    })
}

fn seen(job: &mut Tracked, second_step: &str, now: UnixMillis) -> anyhow::Result<Recordable> {
    let body = quick::job(job.id.as_str(), second_step, "pending");
    let sighting = Evidence::Snapshot(Basiq::snapshot(&body, Some(&job.id))?);
    let observation = observe(job, &sighting, now, "https://api.example")?;
    job.state = observation.state;
    job.revision += 1;
    job.steps.clone_from(&observation.steps);
    job.last_seq += u32::try_from(observation.transitions.len())?;
    job.last_sequence += u32::try_from(observation.events.len())?;
    Ok(Recordable {
        webhooks: vec![vec![WebhookName::new("billing")]; observation.events.len()],
        schedule: schedule(job, u64::try_from(job.revision)?, now),
        observation,
    })
}

/// Bookkeeping of these jobs, and nothing else.
pub(crate) fn schedule_batch(jobs: &[Tracked], polls: usize) -> Batch {
    let now = Clock::system().now();
    let polls = u64::try_from(polls).unwrap_or(u64::MAX);
    Batch {
        schedules: jobs.iter().map(|job| schedule(job, polls, now)).collect(),
        now: Some(now),
        ..Batch::default()
    }
}

fn schedule(job: &Tracked, polls: u64, now: UnixMillis) -> ScheduleUpdate {
    ScheduleUpdate {
        job_id: job.id.clone(),
        created_at: job.created_at,
        progress: Progress {
            polls,
            quiet_polls: 3,
            last_polled_at: Some(now),
            ..Progress::default()
        },
        next_poll_at: Some(now),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows are far below 2^52"
)]
fn rate(rows: usize, begun: Instant) -> f64 {
    rows as f64 / begun.elapsed().as_secs_f64()
}
