//! How soon the daemon is there after its start, and how soon a webhook has the end that an answer shows, while a thousand jobs
//! end each second.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::daemon::Daemon;
use super::ending::{IN_FLIGHT, webhook};
use super::flows::{FIGURES, OVER};
use super::median;
use super::peers::beside_an_empty_database;
use super::table;

const STARTS: usize = 10;

/// Rows that are inserted together, and how often.
const ROWS: u32 = 50;
const EACH: Duration = Duration::from_millis(50);

/// How long that goes on.
const SPAN: Duration = Duration::from_secs(15);

pub(crate) async fn run() -> anyhow::Result<()> {
    let (mut peers, base, place) = beside_an_empty_database("peers").await?;
    place.configure(&base, "", &webhook(&base, IN_FLIGHT))?;
    let mut starts = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let daemon = Daemon::start_alone(&place).await?;
        starts.push(daemon.start_up * 1000.0);
        daemon.kill();
    }
    let start = format!("{:.0} ms", median(starts));
    table::alone(
        "start with an empty database, until it is ready",
        &start,
        "at most 50 ms",
    );
    let mut outsider = place.outsider().await?;
    let daemon = Daemon::start_alone(&place).await?;
    sleep(Duration::from_millis(500)).await;
    let (begun, cpu) = (Instant::now(), daemon.cpu()?);
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut inserted = 0;
    while begun.elapsed() < SPAN {
        ticks.tick().await;
        let sql = format!(
            "WITH RECURSIVE n (i) AS (VALUES ({inserted}) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {inserted} + {ROWS})
             INSERT INTO jobs (id) SELECT '{OVER}' || i FROM n"
        );
        outsider.run(sql).await?;
        inserted += ROWS;
    }
    let rate = f64::from(inserted) / begun.elapsed().as_secs_f64();
    let share = (daemon.cpu()? - cpu) / begun.elapsed().as_secs_f64();
    let figures = loop {
        let figures = peers.ask(FIGURES).await?;
        let figures: Result<Vec<f64>, _> = figures.split(' ').map(str::parse).collect();
        let figures = figures?;
        if figures[0] >= f64::from(inserted) {
            break figures;
        }
        anyhow::ensure!(
            begun.elapsed() < SPAN * 4,
            "not all ends were delivered: {figures:?}"
        );
        sleep(Duration::from_millis(50)).await;
    };
    let what = format!(
        "{rate:.0} ends a second, {:.0} % of one core: from the answer that shows an end to the webhook",
        share * 100.0
    );
    let figure = format!("p50 {:.0}, p99 {:.0} ms", figures[4], figures[3]);
    table::alone(&what, &figure, "p99 at most 25 ms");
    daemon.kill();
    Ok(())
}
