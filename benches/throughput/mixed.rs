//! Jobs as they come in practice: ten thousand at once, three steps each, polled every two seconds, against a bare loop that
//! stores nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::daemon::Daemon;
use super::flows::{FIGURES, PACE, PREFIX};
use super::peers::{Peer, beside_an_empty_database};
use super::table;

const JOBS: usize = 10_000;

/// Both may have as many requests in flight.
const IN_FLIGHT: &str = "256";

/// What is measured of either.
struct Shown {
    /// Processor time per poll, in microseconds.
    cost: f64,
    /// From an end to the answer that shows it, on average, in milliseconds.
    detection: f64,
    /// From an end to the webhook, and from the answer that shows it to the webhook: the 99th percentiles in milliseconds.
    delivery: f64,
    reaction: f64,
}

pub(crate) async fn run() -> anyhow::Result<()> {
    let (mut peers, base, place) = beside_an_empty_database("peers").await?;
    place.configure(
        &base,
        &format!("max_in_flight = {IN_FLIGHT}"),
        &webhook(&base),
    )?;
    let mut outsider = place.outsider().await?;
    let daemon = Daemon::start_alone(&place).await?;
    sleep(Duration::from_millis(500)).await;
    let cpu = daemon.cpu()?;
    outsider
        .insert_many(PREFIX.trim_end_matches('-'), JOBS, None)
        .await?;
    let begun = Instant::now();
    while delivered(&mut peers).await? < JOBS {
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(120),
            "not all ends were delivered"
        );
        sleep(Duration::from_millis(200)).await;
    }
    let daemon = shown(&mut peers, daemon.cpu()? - cpu).await?;

    let mut peers = Peer::beside(&["peers"])?;
    let base = peers.line().await?;
    place.configure(
        &base,
        &format!("max_in_flight = {IN_FLIGHT}"),
        &webhook(&base),
    )?;
    let (configuration, count) = (place.configuration(), JOBS.to_string());
    let configuration = configuration.to_string_lossy();
    let mut bare = Peer::measured(&["flows", &base, IN_FLIGHT, &count, &configuration])?;
    let cpu = bare.line().await?.parse()?;
    let bare = shown(&mut peers, cpu).await?;

    compare(&daemon, &bare);
    Ok(())
}

fn compare(daemon: &Shown, bare: &Shown) {
    for (what, unit, daemon, bare, aim) in [
        (
            "processor time per poll",
            "µs",
            daemon.cost,
            bare.cost,
            "at most 3",
        ),
        (
            "from an end to the answer that shows it, mean",
            "ms",
            daemon.detection,
            bare.detection,
            "",
        ),
        (
            "from an end to the webhook, p99",
            "ms",
            daemon.delivery,
            bare.delivery,
            "at most 1.25",
        ),
        (
            "from the answer that shows it to the webhook, p99",
            "ms",
            daemon.reaction,
            bare.reaction,
            "",
        ),
    ] {
        let what = format!("{JOBS} jobs of three steps, a poll each {PACE:?}: {what}");
        table::beside(&what, unit, daemon, bare, aim);
    }
}

async fn delivered(peers: &mut Peer) -> anyhow::Result<usize> {
    let figures = peers.ask(FIGURES).await?;
    Ok(figures.split(' ').next().unwrap_or_default().parse()?)
}

async fn shown(peers: &mut Peer, cpu: f64) -> anyhow::Result<Shown> {
    let polls: f64 = peers.ask("polls").await?.parse()?;
    let figures = peers.ask(FIGURES).await?;
    let figures: Result<Vec<f64>, _> = figures.split(' ').map(str::parse).collect();
    let [_, detection, delivery, reaction, _] = figures?[..] else {
        anyhow::bail!("five figures are expected");
    };
    Ok(Shown {
        cost: cpu / polls * 1e6,
        detection,
        delivery,
        reaction,
    })
}

fn webhook(base: &str) -> String {
    let pace = PACE.as_secs();
    format!(
        "initial_delay = \"{pace}s\"\nmax_delay = \"{pace}s\"\n[webhooks.all]\nurl = \"{base}/hook\"\nallow_private = true\n\
         secret = \"whsec_c2lua3NpbmtzaW5rc2lua3NpbmtzaW5rc2luaw==\"\nmax_in_flight = 64\n"
    )
}
