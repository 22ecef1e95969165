//! How fast the daemon polls, against a bare loop of the same HTTP client, and one of reqwest; and what a poll that found nothing
//! new writes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::daemon::Daemon;
use super::peers::{Peer, beside_an_empty_database};
use super::place::DatabaseFile;
use super::table::{self, Round};

const JOBS: usize = 20_000;

/// Before the clock is started, so that every connection is there and every job recorded.
const WARM_UP: Duration = Duration::from_secs(3);

/// How long the daemon is measured.
const SPAN: Duration = Duration::from_secs(4);

/// Polls of one round of the bare loop.
const POLLS: u64 = 60_000;

/// Rounds of each of the two, in turn.
const ROUNDS: usize = 3;

const UNSEEN: &str = "SELECT count(*) FROM jobs WHERE state = 'pending'";

/// More often than there is time for, so that there is always a job that is due.
const EAGER: &str = "initial_delay = \"100ms\"\nmax_delay = \"100ms\"";

pub(crate) async fn run() -> anyhow::Result<()> {
    for in_flight in [256, 32] {
        let (mut daemon, mut bare, mut reqwest) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            daemon.push(daemon_round(in_flight).await?);
            bare.push(bare_round("polls", in_flight).await?);
            reqwest.push(bare_round("reqwest-polls", in_flight).await?);
        }
        let what = format!("unchanged polls, {in_flight} in flight; bare loop of");
        let same = format!("{what} the same client");
        table::rounds(&same, &daemon, &bare, "at least 0.85");
        table::rounds(&format!("{what} reqwest"), &daemon, &reqwest, "");
    }
    count_commits().await
}

async fn daemon_round(in_flight: usize) -> anyhow::Result<Round> {
    let (_place, daemon, mut peers) = started(in_flight, EAGER).await?;
    let polls =
        async |peers: &mut Peer| Ok::<f64, anyhow::Error>(peers.ask("polls").await?.parse()?);
    let (begun, before, cpu) = (Instant::now(), polls(&mut peers).await?, daemon.cpu()?);
    sleep(SPAN).await;
    let polls = polls(&mut peers).await? - before;
    let round = Round::new(polls, begun.elapsed().as_secs_f64(), daemon.cpu()? - cpu);
    daemon.kill();
    Ok(round)
}

/// A daemon with jobs of its own, all of them recorded. An old table would not do: what is overdue at start is spread
/// over some seconds.
async fn started(in_flight: usize, polling: &str) -> anyhow::Result<(DatabaseFile, Daemon, Peer)> {
    let (peers, base, place) = beside_an_empty_database("peers").await?;
    let mut outsider = place.outsider().await?;
    outsider.insert_many("job", JOBS, None).await?;
    let limit = format!("max_in_flight = {in_flight}");
    place.configure(&base, &limit, polling)?;
    let daemon = Daemon::start_alone(&place).await?;
    while outsider.number(UNSEEN).await? > 0 {
        sleep(Duration::from_millis(20)).await;
    }
    sleep(WARM_UP).await;
    Ok((place, daemon, peers))
}

async fn bare_round(what: &str, in_flight: usize) -> anyhow::Result<Round> {
    let mut peers = Peer::beside(&["peers"])?;
    let base = peers.line().await?;
    let (in_flight, polls) = (in_flight.to_string(), POLLS.to_string());
    let mut bare = Peer::measured(&["bare", what, &base, &in_flight, &polls])?;
    #[expect(clippy::cast_precision_loss, reason = "a constant far below 2^52")]
    let polls = POLLS as f64;
    Round::said(polls, &bare.line().await?)
}

/// Commits are seen by reading every few milliseconds whether there was one.
async fn count_commits() -> anyhow::Result<()> {
    let polling = "initial_delay = \"1s\"\nmax_delay = \"1s\"";
    let (place, daemon, mut peers) = started(256, polling).await?;
    let mut outsider = place.outsider().await?;
    let before: f64 = peers.ask("polls").await?.parse()?;
    let begun = Instant::now();
    let mut version = outsider.number("PRAGMA data_version").await?;
    let mut commits = 0_u32;
    while begun.elapsed() < SPAN {
        sleep(Duration::from_millis(5)).await;
        let now = outsider.number("PRAGMA data_version").await?;
        commits += u32::from(now != version);
        version = now;
    }
    let polls = peers.ask("polls").await?.parse::<f64>()? - before;
    daemon.kill();
    let what =
        format!("commits during {polls:.0} polls of {JOBS} jobs that do not change, each second");
    table::alone(&what, &commits.to_string(), "");
    Ok(())
}
