//! Under pressure: nothing is asked or delivered in a hot loop, nobody starves, and an end stays an end.

use std::time::Duration;

use jobtrackd::clock::Jitter;
use jobtrackd::core::event::Subscriptions;
use jobtrackd::core::job::JobId;
use jobtrackd::core::time::Monotonic;
use jobtrackd::memory::Memory;
use jobtrackd::simulator::{Fault, FaultRule, Phase, Step};
use jobtrackd::sockets::Sockets;
use jobtrackd::store::{JobRow, Jobs as _, NewJob, Store};
use jobtrackd::telemetry::Recent;
use jobtrackd::tracker::intake::{Notice, Noticed};
use jobtrackd::tracker::poller::{Poller, PollerError, PollerParts, PollerSettings};
use jobtrackd::upstream::{AnswerMemory, Upstream};
use jobtrackd::writer::{Writer, recorder};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::world::World;

const MINUTE: Duration = Duration::from_secs(60);

const DONE: &[(u64, &[(&str, &str)])] = &[(0, &[("a", "success")])];

const RUNNING: &[(u64, &[(&str, &str)])] = &[(0, &[("a", "in-progress")])];

fn throttled() -> Fault {
    Fault::Status {
        status: 429,
        retry_after: None,
        body: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_asks_for_no_pause_at_all_is_not_sent_to_in_a_hot_loop() {
    let mut world = World::new().await;
    world.all.clear();
    world.start().await;
    world.sink.reply_in_turn("all", &[(429, "0"); 20]);
    world.follow("j", DONE).await;
    world.until_ended(2 * 60 * MINUTE).await;
    let times: Vec<i64> = world
        .sink
        .received()
        .iter()
        .map(|each| each.timestamp())
        .collect();
    assert_eq!(times.len(), 21);
    let gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
    let as_expected = |(gap, wanted): (&i64, &i64)| (*wanted..=wanted + 1).contains(gap);
    assert!(gaps.iter().zip(&expected).all(as_expected), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn one_important_job_that_is_always_throttled_keeps_no_other_waiting_for_ever() {
    let mut world = World::running().await;
    world.make("loud", RUNNING);
    world.make("calm", DONE);
    world
        .control()
        .inject(FaultRule::new(throttled()).on_job("loud"))
        .unwrap();
    world
        .sql("INSERT INTO jobs (id, priority) VALUES ('loud', 9)")
        .await;
    world.pass(5 * MINUTE).await;
    world.enqueue("calm").await;
    world
        .until(
            60 * MINUTE,
            "SELECT state FROM jobs WHERE id = 'calm'",
            "success",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_throttled_job_shows_when_it_is_polled_next_and_keeps_to_it_after_a_restart() {
    let mut world = World::running().await;
    world.make("j", DONE);
    let fault = Fault::Status {
        status: 429,
        retry_after: Some(jobtrackd::simulator::RetryAfter::Seconds(600)),
        body: None,
    };
    world
        .control()
        .inject(FaultRule::new(fault).on_job("j").times(1))
        .unwrap();
    world.enqueue("j").await;
    let wait = "SELECT next_poll_at - last_polled_at >= 600000 FROM jobs";
    world.until(MINUTE, wait, "1").await;
    world.stop().await;
    world.start().await;
    world.until_ended(20 * MINUTE).await;
    let polled = world.polled_at("j");
    assert_eq!(polled.len(), 2);
    assert!(polled[1] - polled[0] >= 600_000, "{polled:?}");
}

/// A poller that nobody tells of rows but the test.
struct Alone {
    row: JobRow,
    read_at: Monotonic,
    notices: mpsc::Sender<Noticed>,
    stop: CancellationToken,
    poller: JoinHandle<Result<(), PollerError>>,
    _settings: watch::Sender<PollerSettings>,
}

impl Alone {
    /// With job `j`, and a writer that does not run yet.
    async fn new(world: &World) -> (Self, Writer) {
        let settings = world.settings();
        let (clock, jitter) = (world.clock.clone(), Jitter::seeded(7));
        let store = Store::create_or_migrate(&world.database(), clock.clone()).await;
        let store = store.unwrap();
        world.date_new_jobs().await;
        let job = NewJob {
            id: "j".to_owned(),
            ..NewJob::default()
        };
        assert!(store.enqueue(&job).await.unwrap());
        let read_at = clock.monotonic();
        let row = store.job(&JobId::parse("j").unwrap()).await.unwrap();
        let (recorder, writer) = recorder(store.clone(), clock.clone(), Default::default());
        let upstream = Upstream::new(
            &settings.upstream,
            clock.clone(),
            jitter.clone(),
            Sockets::default(),
            world.answers.clone(),
        )
        .unwrap();
        let settings = PollerSettings {
            upstream,
            api_origin: world.simulator.base_url().to_owned(),
            subscriptions: Subscriptions::default(),
            policy: settings.polling,
            max_in_flight: 1,
        };
        let parts = PollerParts {
            store,
            recorder,
            clock,
            jitter,
            recent: Recent::default(),
        };
        let (notices, noticed) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let (_settings, settings) = watch::channel(settings);
        let poller = tokio::spawn(Poller::new(parts, settings, noticed).run(stop.clone()));
        let alone = Self {
            row: row.unwrap(),
            read_at,
            notices,
            stop,
            poller,
            _settings,
        };
        (alone, writer)
    }

    async fn notice(&self) {
        let rows = Notice::Rows(vec![self.row.clone()]);
        self.notices.send((rows, self.read_at)).await.unwrap();
        tokio::time::sleep(MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_read_before_the_job_ended_is_not_polled_again() {
    let world = World::new().await;
    world.make("j", DONE);
    let (alone, writer) = Alone::new(&world).await;
    tokio::spawn(writer.run());
    for _ in 0..3 {
        alone.notice().await;
    }
    alone.stop.cancel();
    alone.poller.await.unwrap().unwrap();
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
    assert_eq!(world.polled_at("j").len(), 1);
}

/// A job whose only answer has a result of 100 KiB.
fn make_large(world: &World) {
    let step = Step::new("a", "success").with("x".repeat(100 << 10).into());
    world.tell("j", vec![Phase::steps(0, &[step])]);
}

#[tokio::test(start_paused = true)]
async fn memory_for_what_follows_from_an_answer_is_held_until_the_commit() {
    let mut world = World::new().await;
    let (reading, large) = (Memory::of(1 << 20), Memory::of(8 << 20));
    world.answers = AnswerMemory::of(reading.clone(), large.clone());
    make_large(&world);
    let (alone, writer) = Alone::new(&world).await;
    alone.notice().await;
    assert_eq!(world.polled_at("j").len(), 1);
    assert_eq!(reading.free(), 1 << 20, "it was read");
    assert!(large.free() < 7 << 20, "many times what was read is held");
    tokio::spawn(writer.run());
    tokio::time::sleep(MINUTE).await;
    assert_eq!(world.value("SELECT state FROM jobs").await, "success");
    assert_eq!(large.free(), 8 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_reload_does_not_bring_memory_for_answers_of_its_own() {
    for is_read in [false, true] {
        let mut world = World::new().await;
        let (reading, large) = (Memory::of(1 << 20), Memory::of(1 << 20));
        world.answers = AnswerMemory::of(reading.clone(), large.clone());
        let taken = if is_read { large } else { reading };
        let taken = taken.reserve(usize::MAX).await;
        world.start().await;
        world.upstream.push_str("\ntimeout = \"20s\"");
        world.reload();
        world.pass(MINUTE).await;
        make_large(&world);
        world.enqueue("j").await;
        world.follow("small", DONE).await;
        world.pass(10 * MINUTE).await;
        let states = "SELECT group_concat(state) FROM (SELECT state FROM jobs ORDER BY id)";
        assert_eq!(world.value(states).await, "pending,success");
        let error = "SELECT last_error IS NULL FROM jobs WHERE id = 'j'";
        assert_eq!(world.value(error).await, "1", "waiting is no timeout");
        drop(taken);
        world.until(MINUTE, states, "success,success").await;
        assert_eq!(world.polled_at("j").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_cancellations_is_recorded_a_few_at_a_time() {
    let mut world = World::new().await;
    world.upstream.push_str("\nmax_in_flight = 4");
    world.all = "events = [\"job.completed\"]".to_owned();
    world.start().await;
    let later = world.clock.now().0 + 3_600_000;
    let numbers: Vec<String> = (0..2000).map(|n: u32| n.to_string()).collect();
    world
        .sql(&format!(
            "INSERT INTO jobs (id, not_before) SELECT 'j' || value, {later} FROM json_each('[{}]')",
            numbers.join(",")
        ))
        .await;
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM jobs WHERE state = 'pending'",
            "2000",
        )
        .await;
    world.sql("UPDATE jobs SET cancel_requested = 1").await;
    let mut most = 0;
    while world
        .value("SELECT count(*) FROM jobs WHERE state = 'failed'")
        .await
        != "2000"
    {
        let (_, ready) = world.get("/readyz").await;
        most = most.max(ready["polls_in_flight"].as_u64().unwrap());
    }
    assert!((1..=64).contains(&most), "{most} at once");
    assert_eq!(world.control().requests().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_cancellation_cuts_short_is_counted() {
    let mut world = World::running().await;
    world.make("j", RUNNING);
    world
        .control()
        .inject(FaultRule::new(Fault::Hang).on_job("j"))
        .unwrap();
    world.enqueue("j").await;
    world.pass(Duration::from_secs(5)).await;
    world.sql("UPDATE jobs SET cancel_requested = 1").await;
    world.until_ended(MINUTE).await;
    assert_eq!(world.polled_at("j").len(), 1);
    let row = world
        .rows("SELECT json_extract(failure, '$.kind'), polls, last_polled_at IS NOT NULL FROM jobs")
        .await;
    assert_eq!(row, [["cancelled", "1", "1"]]);
}

#[tokio::test(start_paused = true)]
async fn another_webhook_named_later_is_the_one_that_gets_the_events() {
    let mut world = World::running().await;
    world.make(
        "j",
        &[(0, &[("a", "in-progress")]), (9000, &[("a", "success")])],
    );
    world
        .sql("INSERT INTO jobs (id, webhook) VALUES ('j', 'nobody')")
        .await;
    world
        .until(MINUTE, "SELECT state FROM jobs", "in-progress")
        .await;
    assert_eq!(world.get("/readyz").await.1["jobs_with_unknown_webhook"], 1);
    world.sql("UPDATE jobs SET webhook = 'all'").await;
    world.until_ended(MINUTE).await;
    assert_eq!(
        world.sink.kinds("all", "j"),
        ["job.step_changed", "job.completed"]
    );
    assert_eq!(world.get("/readyz").await.1["jobs_with_unknown_webhook"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_row_spoilt_by_another_hand_is_in_trouble_alone() {
    let mut world = World::running().await;
    for id in ["bytes", "count", "fine"] {
        world.make(
            id,
            &[(0, &[("a", "in-progress")]), (9000, &[("a", "success")])],
        );
        world.enqueue(id).await;
    }
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM jobs WHERE state = 'in-progress'",
            "3",
        )
        .await;
    world
        .sql("UPDATE jobs SET resource = CAST(x'ff' AS TEXT) WHERE id = 'bytes'; UPDATE jobs SET polls = 9223372036854775807 WHERE id = 'count'")
        .await;
    world.stop().await;
    world.start().await;
    world
        .until(
            MINUTE,
            "SELECT count(*) FROM jobs WHERE state = 'success'",
            "2",
        )
        .await;
    world
        .until(
            MINUTE,
            "SELECT last_error LIKE '%resource%' FROM jobs WHERE id = 'bytes'",
            "1",
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_next_poll_written_by_a_clock_that_was_ahead_is_not_waited_for() {
    let mut world = World::running().await;
    world.make(
        "j",
        &[(0, &[("a", "in-progress")]), (9000, &[("a", "success")])],
    );
    world.enqueue("j").await;
    world
        .until(MINUTE, "SELECT state FROM jobs", "in-progress")
        .await;
    world.stop().await;
    let year = 365 * 24 * 3_600_000_i64;
    world
        .sql(&format!(
            "UPDATE jobs SET next_poll_at = next_poll_at + {year}"
        ))
        .await;
    world.start().await;
    world.until_ended(25 * 60 * MINUTE).await;
}
