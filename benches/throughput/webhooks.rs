//! Deliveries with slow receivers, many webhooks, a table full of old deliveries, and a webhook that hangs; against a bare loop
//! in this process that only signs and POSTs.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobtrackd::clock::Clock;
use jobtrackd::sockets::Sockets;
use jobtrackd::webhook::{Message, Sender, WebhookSettings};

use super::daemon::Daemon;
use super::delivering::{BODY, prepare};
use super::median;
use super::noticing::LAZY;
use super::place::DatabaseFile;
use super::receiver::Receivers;

/// Requests to one webhook at once: the default.
const IN_FLIGHT: u64 = 8;

/// Runs of which the median is reported.
const RUNS: u32 = 3;

/// Deliveries in the table that are over.
const OLD: u64 = 1_000_000;

/// One way to tell.
struct Case {
    webhooks: u64,
    latency: Duration,
    deliveries: u64,
}

pub(crate) async fn run() -> anyhow::Result<()> {
    let empty = DatabaseFile::new()?;
    empty.store().await?.close().await;
    let full = DatabaseFile::new()?;
    full.store().await?.close().await;
    fill(&full).await?;
    println!("deliveries/s, {IN_FLIGHT} requests at once to each webhook, bodies of {BODY} bytes:");
    for (webhooks, latency, deliveries) in [(100, 0, 12_000), (1, 50, 600), (100, 50, 12_000)] {
        let case = Case {
            webhooks,
            latency: Duration::from_millis(latency),
            deliveries,
        };
        compare(&case, &empty, &full).await?;
    }
    hanging(&empty).await
}

/// The bare loop, the daemon over an empty table, and the daemon over a full one, in turn.
async fn compare(case: &Case, empty: &DatabaseFile, full: &DatabaseFile) -> anyhow::Result<()> {
    let webhooks = usize::try_from(case.webhooks)?;
    let receivers = Receivers::start(webhooks, Some(case.latency)).await?;
    let (mut bare, mut over_empty, mut over_full) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let settings = configure(empty, &receivers, &[])?;
        bare.push(bare_loop(case, &settings, &receivers).await?);
        over_empty.push(delivering_world(case, empty, &receivers).await?);
        configure(full, &receivers, &[])?;
        over_full.push(delivering_world(case, full, &receivers).await?);
    }
    let (bare, over_empty, over_full) = (median(bare), median(over_empty), median(over_full));
    println!(
        "    {:>3} webhooks, {:>2} ms: {over_empty:>6.0}, bare loop {bare:>6.0}, ratio {:.2}; among a million old ones {over_full:>6.0}, ratio {:.2}",
        case.webhooks,
        case.latency.as_millis(),
        over_empty / bare,
        over_full / over_empty,
    );
    Ok(())
}

/// What others lose when one more webhook hangs.
async fn hanging(place: &DatabaseFile) -> anyhow::Result<()> {
    let case = Case {
        webhooks: 4,
        latency: Duration::from_millis(5),
        deliveries: 16_000,
    };
    let receivers = Receivers::start(4, Some(case.latency)).await?;
    let dead = Receivers::start(1, None).await?;
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        configure(place, &receivers, &[])?;
        alone.push(delivering_world(&case, place, &receivers).await?);
        configure(place, &receivers, &dead.addresses)?;
        prepare(place, "'dead0'", 4000).await?;
        beside.push(delivering_world(&case, place, &receivers).await?);
    }
    let (alone, beside) = (median(alone), median(beside));
    println!(
        "4 webhooks of 5 ms beside a fifth that hangs, with 4,000 events waiting for it: {beside:.0} deliveries/s, {alone:.0} without it, ratio {:.3}\n",
        beside / alone
    );
    Ok(())
}

/// Webhooks w0, w1 … at these receivers, and "dead0" at those.
fn configure(
    place: &DatabaseFile,
    receivers: &Receivers,
    dead: &[std::net::SocketAddr],
) -> anyhow::Result<Vec<WebhookSettings>> {
    let mut sections = LAZY.to_owned();
    let named = receivers.addresses.iter().map(|address| ("w", address));
    let named = named.enumerate();
    let dead = dead.iter().map(|address| ("dead", address)).enumerate();
    for (number, (name, address)) in named.chain(dead) {
        write!(
            sections,
            "\n[webhooks.{name}{number}]\nurl = \"http://{address}/hook\"\nallow_private = true\n\
             secret = \"whsec_c2lua3NpbmtzaW5rc2lua3NpbmtzaW5rc2luaw==\"\nmax_in_flight = {IN_FLIGHT}\n"
        )?;
    }
    Ok(place
        .configure("http://127.0.0.1:9", "", &sections)?
        .webhooks)
}

/// A thousand jobs with a thousand events each, all of them delivered.
async fn fill(place: &DatabaseFile) -> anyhow::Result<()> {
    let now = Clock::system().now().0;
    let mut outsider = place.outsider().await?;
    let jobs = OLD / 1000;
    let sql = format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {jobs})
         INSERT INTO jobs (id) SELECT 'old-' || i FROM n;
         UPDATE jobs SET state = 'success', finished_at = {now};
         DELETE FROM job_changes;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
         INSERT INTO events (id, job_id, sequence, type, created_at, body)
         SELECT 'evt_' || jobs.id || '_' || i, jobs.id, i, 'job.step_changed', {now}, printf('%.*c', 200, 'x') FROM jobs, n;
         INSERT INTO deliveries (event_id, webhook, job_id, sequence, state, attempts, delivered_at, last_attempt_at)
         SELECT id, 'w0', job_id, sequence, 'delivered', 1, {now}, {now} FROM events;
         COMMIT"
    );
    outsider.run(sql).await
}

/// The daemon tells everything that waits; deliveries per second, by the receivers' clock.
async fn delivering_world(
    case: &Case,
    place: &DatabaseFile,
    receivers: &Receivers,
) -> anyhow::Result<f64> {
    let webhook = format!("'w' || (cursor % {})", case.webhooks);
    prepare(place, &webhook, case.deliveries).await?;
    receivers.clear();
    let daemon = Daemon::start(place).await?;
    let seconds = receivers.got(case.deliveries).await?;
    daemon.kill();
    rate(case.deliveries, seconds)
}

/// As many requests at once as the daemon may have, and nothing but signing and sending.
async fn bare_loop(
    case: &Case,
    settings: &[WebhookSettings],
    receivers: &Receivers,
) -> anyhow::Result<f64> {
    receivers.clear();
    let sender = Sender::new(Clock::system(), settings, Sockets::default())?;
    let settings: Arc<[WebhookSettings]> = settings.into();
    let left = Arc::new(AtomicU64::new(case.deliveries));
    let body = bytes::Bytes::from(vec![b'x'; BODY]);
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..case.webhooks * IN_FLIGHT {
        let webhook = usize::try_from(lane % case.webhooks)?;
        let (sender, settings, left) = (sender.clone(), Arc::clone(&settings), Arc::clone(&left));
        let body = body.clone();
        tasks.spawn(async move {
            let take = |left: u64| left.checked_sub(1);
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
            {
                let message = Message {
                    id: "evt_0123456789abcdef0123456789abcdef",
                    body: body.clone(),
                    attempt: 1,
                    is_replay: false,
                };
                // One that was not sent is missed by the receivers, who are waited for.
                let _ = sender.send(&settings[webhook], &message).await;
            }
        });
    }
    tasks.join_all().await;
    let seconds = receivers.got(case.deliveries).await?;
    rate(case.deliveries, seconds)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn rate(deliveries: u64, seconds: f64) -> anyhow::Result<f64> {
    anyhow::ensure!(seconds > 0.0, "nothing was measured");
    Ok(deliveries as f64 / seconds)
}
