//! How fast the daemon polls, against a bare loop of the same HTTP client; and what a poll that found nothing new writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::app::{Daemon, Environment};
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Client, Method, Request, Url};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::daemon::cpu;
use super::median;
use super::place::DatabaseFile;
use super::upstream::Upstream;

const JOBS: usize = 2000;

/// Polls before the clock is started, so that every connection is there.
const WARM_UP: u64 = 2 * JOBS as u64;

/// Polls of one round.
const POLLS: u64 = 30_000;

/// Rounds of each of the two, in turn.
const ROUNDS: usize = 5;

const UNSEEN: &str = "SELECT count(*) FROM jobs WHERE state = 'pending'";

/// As often as the configuration allows, so that there is always a job that is due.
const EAGER: &str = "initial_delay = \"10ms\"\nmax_delay = \"10ms\"\njitter = 0.0";

pub(crate) async fn run() -> anyhow::Result<()> {
    let upstream = Upstream::start(None).await?;
    for in_flight in [256, 32] {
        let (mut daemon, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            daemon.push(daemon_round(in_flight, &upstream).await?);
            bare.push(bare_round(in_flight, &upstream).await?);
        }
        let rate = |rounds: &[Round]| median(rounds.iter().map(|round| round.rate).collect());
        let cost = |rounds: &[Round]| median(rounds.iter().map(|round| round.cost).collect());
        let ratio = |figure: fn(&Round) -> f64| {
            let pairs = daemon.iter().zip(&bare);
            median(
                pairs
                    .map(|(daemon, bare)| figure(daemon) / figure(bare))
                    .collect(),
            )
        };
        println!(
            "polls, {in_flight:>3} in flight: daemon {:.0}/s, bare loop of the same client {:.0}/s, ratio {:.2}; \
             processor time per poll {:.1} µs and {:.1} µs, ratio {:.2}\n    \
             (medians of {ROUNDS} rounds of {POLLS} polls in turn; {JOBS} jobs that never change; upstream in the same process)",
            rate(&daemon),
            rate(&bare),
            ratio(|round| round.rate),
            cost(&daemon),
            cost(&bare),
            ratio(|round| round.cost),
        );
    }
    count_commits(&upstream).await
}

/// What one round showed.
struct Round {
    /// Polls per second.
    rate: f64,
    /// Processor time of the whole process per poll, the upstream included, in microseconds.
    cost: f64,
}

impl Round {
    fn new(polls: u64, seconds: f64, cpu: f64) -> Self {
        Self {
            rate: count(polls) / seconds,
            cost: cpu / count(polls) * 1e6,
        }
    }
}

async fn daemon_round(in_flight: usize, upstream: &Upstream) -> anyhow::Result<Round> {
    let (place, daemon) = started(in_flight, upstream).await?;
    let (before, spent) = (upstream.answered(), cpu("self")?);
    let seconds = upstream.answers(POLLS).await?;
    let round = Round::new(upstream.answered() - before, seconds, cpu("self")? - spent);
    daemon.stop(&CancellationToken::new()).await?;
    drop(place);
    Ok(round)
}

/// A daemon with jobs of its own, all of them recorded. An old table would not do: what is overdue at start is spread
/// over some seconds.
async fn started(in_flight: usize, upstream: &Upstream) -> anyhow::Result<(DatabaseFile, Daemon)> {
    let place = DatabaseFile::new()?;
    place.store().await?.close().await;
    let mut outsider = place.outsider().await?;
    outsider.insert_many("job", JOBS, None).await?;
    let limit = format!("max_in_flight = {in_flight}");
    let settings = place.configure(&upstream.base_url(), &limit, EAGER)?;
    let stop = CancellationToken::new();
    let daemon = Daemon::start(settings, Environment::default(), &stop).await?;
    while outsider.number(UNSEEN).await? > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    upstream.answers(WARM_UP).await?;
    Ok((place, daemon))
}

/// So many tasks that do nothing but ask and read the answer.
async fn bare_round(in_flight: usize, upstream: &Upstream) -> anyhow::Result<Round> {
    let client = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(in_flight)
        .build()?;
    let urls = (1..=JOBS).map(|i| Url::parse(&format!("{}/jobs/job-{i}", upstream.base_url())));
    let urls: Arc<[Url]> = urls.collect::<Result<_, _>>()?;
    bare_polls(&client, &urls, in_flight, WARM_UP).await?;
    let (begun, spent) = (Instant::now(), cpu("self")?);
    bare_polls(&client, &urls, in_flight, POLLS).await?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Round::new(POLLS, seconds, cpu("self")? - spent))
}

async fn bare_polls(
    client: &Client,
    urls: &Arc<[Url]>,
    in_flight: usize,
    polls: u64,
) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (client, urls, next) = (client.clone(), Arc::clone(urls), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= polls {
                    return Ok::<_, anyhow::Error>(());
                }
                let url = &urls[usize::try_from(number)? % urls.len()];
                let mut request = Request::new(Method::GET, url.clone());
                let headers = request.headers_mut();
                headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
                let answer = client.execute(request).await?;
                anyhow::ensure!(answer.status().is_success(), "the upstream refuses");
                answer.bytes().await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the bare loop")??;
    }
    Ok(())
}

/// Commits are seen by looking every few milliseconds whether there was one; the daemon makes about one a second.
async fn count_commits(upstream: &Upstream) -> anyhow::Result<()> {
    let (place, daemon) = started(32, upstream).await?;
    let mut outsider = place.outsider().await?;
    let (begun, before) = (Instant::now(), upstream.answered());
    let mut version = outsider.number("PRAGMA data_version").await?;
    let mut commits = 0_u32;
    while begun.elapsed() < Duration::from_secs(4) {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let now = outsider.number("PRAGMA data_version").await?;
        commits += u32::from(now != version);
        version = now;
    }
    let polls = count(upstream.answered() - before);
    let seconds = begun.elapsed().as_secs_f64();
    daemon.stop(&CancellationToken::new()).await?;
    println!(
        "writes of unchanged polls: {:.1} commits per 10,000 polls ({commits} commits, {polls:.0} polls, {seconds:.1} s; bookkeeping of all jobs, once a second)\n",
        f64::from(commits) / polls * 10_000.0
    );
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of polls are far below 2^52"
)]
fn count(number: u64) -> f64 {
    number as f64
}
