//! What is measured, one after the other: commits, first requests, ends, deliveries, polls.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::children::{Daemon, Peers, processor_time_of};
use super::place::{Place, Site, WEBHOOK};
use crate::clock::{Clock, Jitter};
use crate::measuring::percentile;
use crate::simulator::quick::{ANNOUNCED, DELIVERIES, ENDED, POLLS};
use crate::store::{Jobs as _, NewJob, Replay, ReplayFilter, Replays as _, Store};

/// Jobs are polled once and then left alone.
const LAZY: &str = "1h";

/// More often than there is time for, so that there is always a job that is due.
const EAGER: &str = "50ms";

/// Jobs that are polled, and rows that wait to be followed, for each second of a measurement.
const ROWS_PER_SECOND: f64 = 1000.0;

/// Rows of one transaction.
const CHUNK: usize = 1000;

/// Most jobs that end in one measurement.
const MOST_ENDS: usize = 40_000;

/// Most commits that are measured.
const MOST_COMMITS: usize = 300;

/// Longest pause between two rows of which the first request is waited for; longer than intake's, so that rows come at any moment of that.
const PAUSE: Duration = Duration::from_millis(60);

/// How often it is asked how far the daemon is.
const STEP: Duration = Duration::from_millis(2);

/// Longest time for what is waited for beside a measurement.
const PATIENCE: Duration = Duration::from_secs(60);

/// Things per second, and what one of them costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    /// Processor time of the daemon for one of them, in microseconds.
    pub(super) daemon_us: f64,
    /// Processor time of the peers for one of them, in microseconds.
    pub(super) peers_us: f64,
}

/// How long something takes, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// How often it was measured.
    pub(super) count: usize,
}

/// All that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    pub(super) polls: Rate,
    pub(super) ends: Rate,
    pub(super) deliveries: Rate,
    pub(super) first_request: Times,
    pub(super) commit: Times,
}

/// A measurement and what it needs.
pub(super) struct Bench {
    place: Place,
    span: Duration,
    clock: Clock,
    peers: Option<Peers>,
    stage: Option<Stage>,
}

/// A database and its daemon.
struct Stage {
    site: Site,
    store: Store,
    daemon: Option<Daemon>,
}

impl Bench {
    /// Nothing is started yet.
    pub(super) fn new(place: Place, span: Duration, clock: Clock) -> Self {
        Self {
            place,
            span,
            clock,
            peers: None,
            stage: None,
        }
    }

    /// Measures everything.
    ///
    /// # Errors
    /// When a part cannot be started, or does not do what it should.
    pub(super) async fn measure(&mut self) -> anyhow::Result<Figures> {
        let span = self.span;
        let mut peers = self.peers.insert(Peers::start().await?);
        let new = Stage::new(&self.place, &self.clock, &peers.base_url, LAZY);
        let stage = self.stage.insert(new.await?);
        let commit = commits(&stage.store, &self.clock, span.mul_f64(0.4)).await?;
        let (store, pid) = stage.start()?;
        let measuring = async {
            let first_request = first_requests(peers, &store, span).await?;
            let ends = ends(peers, &store, pid, span).await?;
            anyhow::Ok((first_request, ends))
        };
        let (first_request, (ends, ended)) = stage.during(measuring).await?;
        stage.stop().await?;
        replay(&stage.store).await?;
        let before = peers.ask(DELIVERIES).await?;
        let (_, pid) = stage.start()?;
        let measuring = deliveries(peers, pid, before..before + ended, span);
        let deliveries = stage.during(measuring).await?;
        self.end_stage().await?;

        peers = self.peers.as_mut().context("no peers")?;
        let new = Stage::new(&self.place, &self.clock, &peers.base_url, EAGER);
        let stage = self.stage.insert(new.await?);
        let jobs = rows_in(span);
        insert(&stage.store, "job", 0..jobs).await?;
        let (_, pid) = stage.start()?;
        let measuring = polls(peers, pid, u32::try_from(jobs)?, span);
        let polls = stage.during(measuring).await?;
        self.end_stage().await?;
        Ok(Figures {
            polls,
            ends,
            deliveries,
            first_request,
            commit,
        })
    }

    async fn end_stage(&mut self) -> anyhow::Result<()> {
        match self.stage.take() {
            Some(stage) => stage.end().await,
            None => Ok(()),
        }
    }

    /// Ends all processes as they stand, and removes what is left of them.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(super) async fn close(mut self) -> anyhow::Result<Place> {
        let ended = self.end_stage().await;
        if let Some(peers) = self.peers {
            peers.kill().await;
        }
        ended.map(|()| self.place)
    }
}

impl Stage {
    async fn new(place: &Place, clock: &Clock, peers: &str, delay: &str) -> anyhow::Result<Self> {
        let site = place.site()?;
        site.configure(peers, delay)?;
        let database = site.database();
        let store = Store::create_or_migrate(site.file(&database), clock.clone()).await?;
        Ok(Self {
            site,
            store,
            daemon: None,
        })
    }

    /// Starts the daemon; answers with its number, and with connections of another program to its database.
    fn start(&mut self) -> anyhow::Result<(Store, u32)> {
        let daemon = self.daemon.insert(Daemon::start(&self.site)?);
        Ok((self.store.clone(), daemon.pid))
    }

    /// Awaits `work`, unless the daemon ends.
    async fn during<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let Self { site, daemon, .. } = self;
        let daemon = daemon.as_mut().context("no daemon")?;
        tokio::select! {
            done = work => done,
            error = daemon.ended(site) => Err(error),
        }
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        match self.daemon.take() {
            Some(daemon) => daemon.stop().await,
            None => Ok(()),
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        if let Some(daemon) = self.daemon {
            daemon.kill().await;
        }
        self.store.close().await;
        self.site.remove()
    }
}

/// How many rows go with a measurement of this length.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "some thousands"
)]
fn rows_in(span: Duration) -> usize {
    (span.as_secs_f64() * ROWS_PER_SECOND).clamp(50.0, 20_000.0) as usize
}

/// Jobs named `PREFIX-NUMBER`, in one transaction.
async fn insert(
    store: &Store,
    prefix: &str,
    numbers: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let job = |number| NewJob {
        id: format!("{prefix}-{number}"),
        ..NewJob::default()
    };
    let jobs: Vec<NewJob> = numbers.map(job).collect();
    store.enqueue_all(&jobs).await?;
    Ok(())
}

/// How long it takes until one row is on the disk.
async fn commits(store: &Store, clock: &Clock, span: Duration) -> anyhow::Result<Times> {
    let tomorrow = clock.now().plus(Duration::from_secs(24 * 3600));
    let mut times = Vec::new();
    let begun = Instant::now();
    for number in 0..MOST_COMMITS {
        let job = NewJob {
            id: format!("commit-{number}"),
            // The daemon that is started next leaves it alone.
            not_before: Some(tomorrow),
            ..NewJob::default()
        };
        let asked = Instant::now();
        store.enqueue(&job).await?;
        times.push(asked.elapsed());
        if begun.elapsed() >= span {
            break;
        }
    }
    Ok(Times::of(&times))
}

/// How long it takes from the commit of a row to the request for its job. The first one finds a daemon that is starting.
async fn first_requests(peers: &mut Peers, store: &Store, span: Duration) -> anyhow::Result<Times> {
    let jitter = Jitter::system();
    let mut times = Vec::new();
    let mut begun = None;
    for number in 0_u32.. {
        let id = format!("{ANNOUNCED}-{number}");
        let job = NewJob {
            id: id.clone(),
            ..NewJob::default()
        };
        store.enqueue(&job).await?;
        let committed = Instant::now();
        let polled = peers.line().await?;
        ensure!(polled == id, "{polled:?} was requested, not {id}");
        match begun {
            None => begun = Some(Instant::now()),
            Some(_) => times.push(committed.elapsed()),
        }
        if begun.is_some_and(|begun| begun.elapsed() >= span) && !times.is_empty() {
            break;
        }
        sleep(PAUSE.mul_f64(jitter.fraction())).await;
    }
    Ok(Times::of(&times))
}

/// Jobs that have ended already, from the row to the webhook, while some always wait; and how many there were.
async fn ends(
    peers: &mut Peers,
    store: &Store,
    pid: u32,
    span: Duration,
) -> anyhow::Result<(Rate, u32)> {
    let window = Window::open(peers, pid, DELIVERIES).await?;
    let mut inserted = 0;
    loop {
        let done = usize::try_from(peers.ask(DELIVERIES).await? - window.before)?;
        let is_over = window.begun.elapsed() >= span && done > 0;
        if is_over || done >= MOST_ENDS {
            break;
        }
        ensure!(
            window.begun.elapsed() < span + PATIENCE,
            "no job that has ended came to the webhook"
        );
        if inserted < (done + rows_in(span)).min(MOST_ENDS) {
            let more = rows_in(span).min(CHUNK);
            insert(store, ENDED, inserted..inserted + more).await?;
            inserted += more;
        } else {
            sleep(STEP).await;
        }
    }
    let (before, inserted) = (window.before, u32::try_from(inserted)?);
    let rate = window.close(peers).await?;
    wait_for(peers, DELIVERIES, before + inserted).await?;
    Ok((rate, inserted))
}

/// Makes all deliveries pending again.
async fn replay(store: &Store) -> anyhow::Result<()> {
    let filter = ReplayFilter {
        webhook: Some(WEBHOOK.to_owned()),
        limit: u64::MAX >> 1,
        ..ReplayFilter::default()
    };
    let mut replay: Replay = store.begin_replay(&filter).await?;
    loop {
        let page = store.replayable(&replay.filter, replay.reached).await?;
        let next = store.replay(&replay, &page).await?;
        if page.is_last {
            return Ok(());
        }
        replay = next.context("the replay was continued by another program")?;
    }
}

/// Events that wait for their webhook, from the first that comes on.
async fn deliveries(
    peers: &mut Peers,
    pid: u32,
    numbers: std::ops::Range<u32>,
    span: Duration,
) -> anyhow::Result<Rate> {
    wait_for(peers, DELIVERIES, numbers.start + 1).await?;
    let mut window = Window::open(peers, pid, DELIVERIES).await?;
    // Those that came while this was not yet noticed count as well; there may be no others.
    window.before = numbers.start;
    while window.begun.elapsed() < span && peers.ask(DELIVERIES).await? < numbers.end {
        sleep(STEP).await;
    }
    window.close(peers).await
}

/// Polls of jobs that do not change, once each has been recorded.
async fn polls(peers: &mut Peers, pid: u32, jobs: u32, span: Duration) -> anyhow::Result<Rate> {
    let before = peers.ask(POLLS).await?;
    wait_for(peers, POLLS, before + 2 * jobs).await?;
    sleep(span.mul_f64(0.2)).await;
    let window = Window::open(peers, pid, POLLS).await?;
    sleep(span.mul_f64(0.8)).await;
    window.close(peers).await
}

/// Waits until the answer to this question is as large.
async fn wait_for(peers: &mut Peers, question: &str, wanted: u32) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let count = peers.ask(question).await?;
        if count >= wanted {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "the daemon is too slow: {count} of {wanted} {question} after {PATIENCE:?}"
        );
        sleep(STEP).await;
    }
}

/// A time in which things are counted.
struct Window {
    question: &'static str,
    pid: u32,
    begun: Instant,
    before: u32,
    daemon: Duration,
    peers: Duration,
}

impl Window {
    async fn open(peers: &mut Peers, pid: u32, question: &'static str) -> anyhow::Result<Self> {
        Ok(Self {
            question,
            pid,
            before: peers.ask(question).await?,
            begun: Instant::now(),
            daemon: processor_time_of(pid)?,
            peers: processor_time_of(peers.pid)?,
        })
    }

    async fn close(self, peers: &mut Peers) -> anyhow::Result<Rate> {
        let count = f64::from(peers.ask(self.question).await? - self.before);
        let seconds = self.begun.elapsed().as_secs_f64();
        ensure!(count > 0.0 && seconds > 0.0, "nothing was measured");
        let each = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() * 1e6 / count
        };
        Ok(Rate {
            per_second: count / seconds,
            daemon_us: each(processor_time_of(self.pid)?, self.daemon),
            peers_us: each(processor_time_of(peers.pid)?, self.peers),
        })
    }
}

impl Times {
    fn of(times: &[Duration]) -> Self {
        let mut millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        Self {
            p50_ms: percentile(&mut millis, 50),
            p99_ms: percentile(&mut millis, 99),
            count: times.len(),
        }
    }
}
