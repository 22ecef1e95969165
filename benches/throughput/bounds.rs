//! What one job that changes for ever leaves in the database, until it has passed a bound and only its end is recorded.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::daemon::Daemon;
use super::peers::Peer;
use super::place::DatabaseFile;

/// How often it is polled.
const OFTEN: &str = "initial_delay = \"100ms\"\nmax_delay = \"100ms\"\njitter = 0.0\n";

/// How long it is watched for at most.
const PATIENCE: Duration = Duration::from_secs(120);

const LIMITED: &str = "SELECT count(*) FROM jobs WHERE limited = 1";

pub(crate) async fn run() -> anyhow::Result<()> {
    println!(
        "one job with answers of 1 MiB that differ at each poll, until it has passed a bound:"
    );
    for shape in ["steps", "challenges", "numbers"] {
        let mut api = Peer::start(&["api", shape])?;
        let base_url = api.line().await?;
        let place = DatabaseFile::new()?;
        place.store().await?.close().await;
        place.configure(&base_url, "", OFTEN)?;
        let daemon = Daemon::start(&place).await?;
        let mut outsider = place.outsider().await?;
        outsider.insert_many("large", 1, None).await?;
        let begun = Instant::now();
        timeout(PATIENCE, async {
            while outsider.number(LIMITED).await? == 0 {
                sleep(Duration::from_millis(50)).await;
            }
            anyhow::Ok(())
        })
        .await??;
        let time = begun.elapsed().as_secs_f64();
        let transitions = outsider.number("SELECT count(*) FROM transitions").await?;
        let bytes = outsider
            .number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
            .await?;
        println!(
            "    {shape}: {transitions} transitions and {} MiB of database after {time:.1} s, {:.0} MiB of memory at most",
            bytes >> 20,
            daemon.peak_memory()? / 1024.0
        );
        daemon.kill();
    }
    println!();
    Ok(())
}
