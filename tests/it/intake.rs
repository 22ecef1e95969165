//! Noticing what other programs do to the table, without a wakeup: by the tick that production has, in paused time.

use std::sync::Arc;
use std::time::Duration;

use jobtrackd::clock::{Clock, Jitter};
use jobtrackd::core::dialect::Basiq;
use jobtrackd::heartbeat::Heartbeat;
use jobtrackd::sockets::Sockets;
use jobtrackd::store::{JobRow, Store};
use jobtrackd::tracker::intake::{Intake, Notice, Noticed};
use jobtrackd::tracker::looks::Looking;
use jobtrackd::upstream::AnswerMemory;
use jobtrackd::upstream::{Auth, JobPath, Upstream, UpstreamSettings};
use jobtrackd::writer::recorder;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::support::world::{EPOCH, World};

/// What docs/enqueuing.md, "The row", promises.
const SOON: Duration = Duration::from_millis(100);

/// Rows that one notice may hold, at most.
const PAGE: usize = 500;

/// The tick of production alone.
fn ticks() -> Looking {
    Looking {
        after_writes: false,
        ..Looking::default()
    }
}

/// A world with the tick of production; its daemon runs.
async fn attentive(more: &str) -> World {
    let mut world = World::new().await;
    world.looking = ticks();
    more.clone_into(&mut world.more);
    world.start().await;
    world
}

fn waits(world: &World, id: &str) {
    world.make(id, &[(0, &[("verify", "in-progress")])]);
}

/// Milliseconds of paused time since the world began.
fn elapsed(world: &World) -> i64 {
    world.clock.now().0 - EPOCH.0
}

#[tokio::test(start_paused = true)]
async fn a_row_is_noticed_whenever_between_two_ticks_it_is_committed() {
    let mut world = attentive("").await;
    for number in 0..12 {
        let id = format!("job-{number}");
        waits(&world, &id);
        world.pass(Duration::from_millis(1000 + 7 * number)).await;
        let committed = elapsed(&world);
        world
            .foreign_sql(&format!("INSERT INTO jobs (id) VALUES ('{id}')"))
            .await;
        world.pass(SOON).await;
        let polled = world.polled_at(&id);
        assert_eq!(polled.len(), 1, "{id}, committed at {committed}");
        assert!(polled[0] >= committed, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_is_noticed_by_the_write_to_the_log_long_before_the_tick() {
    let mut world = World::new().await;
    world.looking.after_writes = true;
    world.start().await;
    for number in 0..12 {
        let id = format!("job-{number}");
        waits(&world, &id);
        // So long after the last write that it is looked seldom, unless there is a report.
        world.pass(Duration::from_millis(3000 + 21 * number)).await;
        world
            .foreign_sql(&format!("INSERT INTO jobs (id) VALUES ('{id}')"))
            .await;
        world.pass(Looking::default().tick / 2).await;
        assert_eq!(world.polled_at(&id).len(), 1, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_a_row_is_noticed_as_soon() {
    let mut world = attentive("").await;
    let hour = i64::try_from(Duration::from_secs(3600).as_millis()).unwrap();
    let later = EPOCH.0 + hour;
    for id in ["now", "sooner", "cancelled", "expired", "moved"] {
        waits(&world, id);
        world
            .foreign_sql(&format!(
                "INSERT INTO jobs (id, not_before) VALUES ('{id}', {later})"
            ))
            .await;
    }
    world.pass(SOON).await;
    assert!(world.control().requests().iter().all(|r| r.job.is_none()));

    world
        .foreign_sql("UPDATE jobs SET not_before = NULL WHERE id = 'sooner'")
        .await;
    world
        .foreign_sql("UPDATE jobs SET cancel_requested = 1 WHERE id = 'cancelled'")
        .await;
    world
        .foreign_sql("UPDATE jobs SET deadline_at = 1 WHERE id = 'expired'")
        .await;
    world
        .foreign_sql(
            "UPDATE jobs SET not_before = NULL, url = '/jobs/elsewhere' WHERE id = 'moved'",
        )
        .await;
    world
        .foreign_sql("UPDATE jobs SET not_before = NULL, poll_requested = 1 WHERE id = 'now'")
        .await;
    world.pass(SOON).await;
    for id in ["now", "sooner", "elsewhere"] {
        assert_eq!(world.polled_at(id).len(), 1, "{id}");
    }
    assert_eq!(world.polled_at("moved"), [] as [i64; 0]);
    let ended = world
        .rows("SELECT id, failure ->> 'kind' FROM jobs WHERE state = 'failed' ORDER BY id")
        .await;
    assert_eq!(ended, [["cancelled", "cancelled"], ["expired", "expired"]]);
    let asked = world
        .value("SELECT sum(poll_requested) FROM jobs WHERE id = 'now'")
        .await;
    assert_eq!(asked, "0");
}

#[tokio::test(start_paused = true)]
async fn a_changed_webhook_is_the_one_that_gets_the_events() {
    let other = "[webhooks.other]\nurl = \"http://SINK/other\"\nsecret = \"SECRET\"\n\
                 events = [\"*\"]\nallow_private = true\n";
    let mut world = attentive(other).await;
    world.make("a", &[(0, &[("verify", "success")])]);
    let later = EPOCH.0 + 5000;
    world
        .foreign_sql(&format!(
            "INSERT INTO jobs (id, not_before, webhook) VALUES ('a', {later}, 'all')"
        ))
        .await;
    world.pass(SOON).await;
    world.foreign_sql("UPDATE jobs SET webhook = 'other'").await;
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(
        world.sink.kinds("other", "a"),
        ["job.step_changed", "job.completed"]
    );
    assert!(world.sink.accepted("all").is_empty());
}

/// Intake by itself, with the test in the place of the poller.
struct Alone {
    folder: TempDir,
    clock: Clock,
    notices: mpsc::Receiver<Noticed>,
    stop: CancellationToken,
}

/// An API that nobody asks.
fn upstream(clock: &Clock) -> Upstream {
    let settings = UpstreamSettings {
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        dialect: Arc::new(Basiq),
        job_path: JobPath::parse("/jobs/{id}").unwrap(),
        auth: Auth::None,
        timeout: Duration::from_secs(1),
        max_retry_after: Duration::from_secs(1),
        max_in_flight: 1,
        requests_per_second: None,
    };
    Upstream::new(
        &settings,
        clock.clone(),
        Jitter::seeded(1),
        Sockets::default(),
        AnswerMemory::default(),
    )
    .unwrap()
}

impl Alone {
    /// Starts it over a table that `script` has filled.
    async fn start(script: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Clock::driven(EPOCH);
        let store = Store::create_or_migrate(&folder.path().join("jobs.db"), clock.clone())
            .await
            .unwrap();
        let (recorder, writer) = recorder(store.clone(), clock.clone(), Default::default());
        tokio::spawn(writer.run());
        let (poller, notices) = mpsc::channel(16);
        let intake = Intake {
            store,
            recorder,
            clock: clock.clone(),
            poller,
            wakeup: Arc::default(),
            upstream: tokio::sync::watch::channel(upstream(&clock)).1,
            wakeups: Default::default(),
            looking: ticks(),
            heartbeat: Heartbeat::default(),
        };
        let stop = CancellationToken::new();
        let alone = Self {
            folder,
            clock,
            notices,
            stop: stop.clone(),
        };
        alone.foreign_sql(script).await;
        tokio::spawn(intake.run(oneshot::channel().0, stop));
        alone
    }

    async fn foreign_sql(&self, sql: &str) {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("jobs.db"));
        let running = async {
            let mut outsider = SqliteConnection::connect_with(&options).await?;
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut outsider)
                .await?;
            outsider.close().await
        };
        self.clock.held(running).await.unwrap();
    }

    /// The next notices until so many rows have come, each with whether it is the backlog.
    async fn rows(&mut self, count: usize) -> Vec<(bool, Vec<JobRow>)> {
        let mut pages = Vec::new();
        let mut sum = 0;
        while sum < count {
            let page = match self.notices.recv().await.unwrap().0 {
                Notice::Rows(rows) => (false, rows),
                Notice::Backlog(rows) => (true, rows),
            };
            sum += page.1.len();
            pages.push(page);
        }
        assert_eq!(sum, count);
        pages
    }
}

fn numbered(prefix: &str, count: usize) -> String {
    format!(
        "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO jobs (id) SELECT '{prefix}-' || i FROM n"
    )
}

fn assert_pages(pages: &[(bool, Vec<JobRow>)], backlog: bool, prefix: &str) {
    let sizes: Vec<usize> = pages.iter().map(|(_, rows)| rows.len()).collect();
    assert!(sizes.iter().all(|size| *size <= PAGE), "{sizes:?}");
    assert!(pages.iter().all(|(from_start, _)| *from_start == backlog));
    let ids = pages.iter().flat_map(|(_, rows)| rows);
    for (index, row) in ids.enumerate() {
        assert_eq!(row.id.as_str(), format!("{prefix}-{}", index + 1));
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_rows_of_one_transaction_are_read_in_pages_and_in_order() {
    let mut alone = Alone::start(&numbered("old", 1200)).await;
    let pages = alone.rows(1200).await;
    assert_pages(&pages, true, "old");

    let before = alone.clock.now();
    alone.foreign_sql(&numbered("new", 10_000)).await;
    let pages = alone.rows(10_000).await;
    assert_pages(&pages, false, "new");
    assert!(alone.clock.now().since(before) <= SOON);

    // Nothing is delivered twice.
    let quiet = tokio::time::timeout(Duration::from_secs(1), alone.notices.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    alone.stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn all_rows_of_a_large_transaction_are_followed() {
    let mut world = attentive("").await;
    let later = EPOCH.0 + 3_600_000;
    world
        .foreign_sql(&format!(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
             INSERT INTO jobs (id, not_before) SELECT 'job-' || i, {later} FROM n"
        ))
        .await;
    world.pass(SOON).await;
    let (status, body) = world.get("/readyz").await;
    assert_eq!((status, &body["jobs_followed"]), (200, &10_000.into()));
}
