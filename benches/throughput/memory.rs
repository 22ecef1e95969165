//! The most memory that requests make the daemon hold: large lists, clients that hardly read, answers to challenges of a
//! job with a long history; one after the other, and all at once.

use std::time::Duration;

use jobtrackd::clock::Clock;

use tokio::time::sleep;

use super::answers;
use super::daemon::Daemon;
use super::noticing::LAZY;
use super::peers::Peer;
use super::place::DatabaseFile;
use super::receiver::Receivers;

/// Jobs whose steps hold 1 MiB each.
const JOBS: usize = 300;

/// Events of the job that waits for an answer, and bytes of each.
const EVENTS: usize = 10_000;
const BYTES: usize = 100 << 10;

const SPAN: Duration = Duration::from_secs(15);

/// Jobs with small answers, and how often all jobs are polled.
const SMALL: usize = 20;
const EAGER: &str = "initial_delay = \"1s\"\nmax_delay = \"1s\"\njitter = 0.0\n";

/// How long each shape of answers is polled.
const SPAN_OF_SHAPE: Duration = Duration::from_secs(8);

/// How long the webhook takes for an answer.
const SLOW: Duration = Duration::from_secs(2);

/// Clients, how they read, and what they ask for.
type Load = (usize, &'static str, &'static str);

const LISTS: Load = (40, "fast", "/jobs?limit=500");
const SLOW_LISTS: Load = (300, "slow", "/jobs?limit=500");
const SLOW_JOBS: Load = (112, "slow", "/jobs/large-{n}");
const SLOW_STREAMS: Load = (100, "slow", "/stream?after=0");
const ANSWERS: Load = (16, "fast", "/jobs/asks/mfa");

pub(crate) async fn run() -> anyhow::Result<()> {
    println!("most memory of the daemon:");
    answers().await?;
    requests().await?;
    println!();
    Ok(())
}

async fn requests() -> anyhow::Result<()> {
    let api = Receivers::start(1, Some(Duration::ZERO)).await?;
    let place = DatabaseFile::new()?;
    place.store().await?.close().await;
    fill(&place).await?;
    let address = place.configure_listening(&format!("http://{}", api.addresses[0]), LAZY)?;
    let cases: [(&str, &[Load]); 4] = [
        (
            "40 clients of GET /jobs over jobs with 1 MiB of steps",
            &[LISTS],
        ),
        (
            "512 clients that take a byte a second: lists, jobs, streams",
            &[SLOW_LISTS, SLOW_JOBS, SLOW_STREAMS],
        ),
        (
            "16 clients that answer a challenge of a job with 10,000 events of 100 KiB",
            &[ANSWERS],
        ),
        (
            "all of them at once",
            &[LISTS, SLOW_LISTS, SLOW_JOBS, SLOW_STREAMS, ANSWERS],
        ),
    ];
    for (name, loads) in cases {
        let daemon = Daemon::start(&place).await?;
        let before = daemon.peak_memory()? / 1024.0;
        let mut peers = Vec::new();
        for (count, manner, path) in loads {
            peers.push(Peer::clients(&address, *count, SPAN, manner, path)?);
        }
        let mut said = Vec::new();
        for peer in &mut peers {
            said.push(peer.line().await?);
        }
        println!(
            "    {name}: {:.0} MiB ({before:.0} MiB before; clients: {})",
            daemon.peak_memory()? / 1024.0,
            said.join("; ")
        );
    }
    Ok(())
}

/// Jobs whose answers are large and differ at every poll, small ones among them, and a slow webhook that gets every event.
async fn answers() -> anyhow::Result<()> {
    let receivers = Receivers::start(1, Some(SLOW)).await?;
    let webhook = format!(
        "{EAGER}[webhooks.all]\nurl = \"http://{}/\"\nsecret = \"whsec_{}\"\nevents = [\"*\"]\nallow_private = true",
        receivers.addresses[0],
        "MTIzNDU2Nzg".repeat(4)
    );
    for shape in answers::shapes() {
        for jobs in [24, 256] {
            let mut api = Peer::start(&["api", shape])?;
            let base_url = api.line().await?;
            let place = DatabaseFile::new()?;
            place.store().await?.close().await;
            place.configure(&base_url, "", &webhook)?;
            let daemon = Daemon::start(&place).await?;
            let before = daemon.peak_memory()? / 1024.0;
            let mut outsider = place.outsider().await?;
            outsider.insert_many("small", SMALL, None).await?;
            outsider.insert_many("large", jobs, None).await?;
            sleep(SPAN_OF_SHAPE).await;
            println!(
                "    {jobs} jobs with answers of 1 MiB, {shape}: {:.0} MiB ({before:.0} MiB before; {})",
                daemon.peak_memory()? / 1024.0,
                answers::said(&base_url).await?
            );
            daemon.kill();
        }
    }
    Ok(())
}

async fn fill(place: &DatabaseFile) -> anyhow::Result<()> {
    let now = Clock::system().now().0;
    let mut outsider = place.outsider().await?;
    let sql = format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {JOBS})
         INSERT INTO jobs (id) SELECT 'large-' || (i - 1) FROM n;
         INSERT INTO steps (job_id, title, occurrence, position, status, result, first_seen_at, updated_at)
         SELECT jobs.id, 'step ' || value, 0, value, 'success', json_quote(printf('%.*c', 104857, 'x')), {now}, {now}
         FROM jobs, json_each('[0,1,2,3,4,5,6,7,8,9]');
         UPDATE jobs SET state = 'success', finished_at = {now},
            resource = json_object('id', id, 'steps', json('[]'), 'filler', printf('%.*c', 1048000, 'x'));
         INSERT INTO jobs (id) VALUES ('asks');
         UPDATE jobs SET state = 'in-progress' WHERE id = 'asks';
         INSERT INTO steps (job_id, title, occurrence, position, status, result, first_seen_at, updated_at)
         VALUES ('asks', 'verify', 0, 0, 'in-progress', json_object('type', 'mfa', 'method', 'token', 'input', json('[\"code\"]'),
            'links', json_object('response', '/jobs/asks/mfa')), {now}, {now});
         WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {EVENTS})
         INSERT INTO events (id, job_id, sequence, type, created_at, body)
         SELECT 'evt_' || i, 'asks', i, iif(i % 100, 'job.step_changed', 'job.action_required'), {now},
            json_object('data', json_object('challenge', json_object('step', 'verify')), 'filler', printf('%.*c', {BYTES}, 'x'))
         FROM n;
         DELETE FROM job_changes;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE)"
    );
    outsider.run(sql).await
}
