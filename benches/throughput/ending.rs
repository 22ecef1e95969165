//! Jobs that have ended already: from the row to the webhook, everything durable, against a bare loop that stores nothing.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::daemon::Daemon;
use super::noticing::LAZY;
use super::peers::{Peer, bare_round, beside_an_empty_database};
use super::place::DatabaseFile;
use super::table::{self, Round};

const JOBS: u32 = 10_000;

/// Rounds of each of the two, in turn.
const ROUNDS: usize = 3;

/// Both may have as many requests in flight.
pub(crate) const IN_FLIGHT: &str = "64";

pub(crate) async fn run() -> anyhow::Result<()> {
    let (mut daemon, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut peers, base, place) = beside_an_empty_database("peers").await?;
        place.configure(&base, "max_in_flight = 256", &webhook(&base, IN_FLIGHT))?;
        daemon.push(daemon_round(&place, &mut peers).await?);
        bare.push(bare_round("ends", &base, IN_FLIGHT, JOBS, &place).await?);
    }
    table::rounds(
        "jobs that have ended, row to webhook",
        &daemon,
        &bare,
        "at least 0.5",
    );
    Ok(())
}

async fn daemon_round(place: &DatabaseFile, peers: &mut Peer) -> anyhow::Result<Round> {
    let mut outsider = place.outsider().await?;
    let daemon = Daemon::start_alone(place).await?;
    sleep(Duration::from_millis(500)).await;
    let (begun, cpu) = (Instant::now(), daemon.cpu()?);
    outsider
        .insert_many("end", usize::try_from(JOBS)?, None)
        .await?;
    while peers.ask("deliveries").await?.parse::<u32>()? < JOBS {
        anyhow::ensure!(
            begun.elapsed() < Duration::from_secs(60),
            "not all ends were delivered"
        );
        sleep(Duration::from_millis(5)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let round = Round::new(f64::from(JOBS), seconds, daemon.cpu()? - cpu);
    daemon.kill();
    Ok(round)
}

/// The configuration of a webhook there that gets so many events at once, and of polls that do not come again.
pub(crate) fn webhook(base: &str, in_flight: &str) -> String {
    format!(
        "{LAZY}\n[webhooks.all]\nurl = \"{base}/hook\"\nallow_private = true\n\
         secret = \"whsec_c2lua3NpbmtzaW5rc2lua3NpbmtzaW5rc2luaw==\"\nmax_in_flight = {in_flight}\n"
    )
}
