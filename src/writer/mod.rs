//! The writer: commits the changes of many jobs together. Nothing is sent before it is committed.
//!
//! Changes come from the loops through a [`Recorder`]; [`batching`] puts them into
//! transactions; [`Writer`] commits these to the store, answers the loops, and wakes dispatchers ([`wakeups`]) and requests at
//! the status server ([`commits`]).

pub mod commits;

pub mod wakeups;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use crate::clock::Clock;
use crate::core::job::JobId;
use crate::core::machines::batching::{self, Batching, Effect, MAX_BATCH, Report};
pub use crate::core::machines::batching::{Recorded, Writable};
use crate::core::time::UnixMillis;
use crate::heartbeat::Heartbeat;
use crate::store::{
    Commits as _, FinishedAttempt, Recordable, ScheduleUpdate, Store, StoreError, Undelivered,
};
use crate::telemetry;
use commits::Commits;
use wakeups::Wakeups;

/// Most changes in the queue; beyond that the loops wait.
const QUEUE: usize = 2 * MAX_BATCH;

type Change = batching::Change<oneshot::Sender<Recorded>>;

/// Sends changes to the writer. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Change>,
    writable: watch::Receiver<Writable>,
}

/// The writer has ended before it recorded this; the process is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the writer has ended")]
pub struct WriterGone;

impl Recorder {
    /// Records an observation.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn observed(&self, recordable: Recordable) -> Result<Recorded, WriterGone> {
        self.record(|done| Change::Seen(Box::new(recordable), done))
            .await
    }

    /// Records an attempt and what follows from it; `false` if a rule of the schema forbids it, or it is not the next attempt
    /// of its delivery.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn attempted(&self, attempt: FinishedAttempt) -> Result<bool, WriterGone> {
        let recorded = self.record(|done| Change::Attempted(Box::new(attempt), done));
        Ok(recorded.await? == Recorded::Yes)
    }

    /// Gives up expired deliveries; `false` if a rule of the schema forbids it.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn expired(&self, expiries: Vec<Undelivered>) -> Result<bool, WriterGone> {
        let recorded = self.record(|done| Change::Expired(expiries, done));
        Ok(recorded.await? == Recorded::Yes)
    }

    /// Records the progress of jobs without waiting.
    ///
    /// # Errors
    /// The progress, if the queue is full.
    pub fn scheduled(&self, schedules: Vec<ScheduleUpdate>) -> Result<(), Vec<ScheduleUpdate>> {
        let sent = self.queue.try_send(Change::Scheduled(schedules));
        sent.map_err(|error| match error.into_inner() {
            Change::Scheduled(schedules) => schedules,
            _ => Vec::new(),
        })
    }

    /// Records until when the API at this origin is paused, so that the pause survives a restart; `false` if the queue is full.
    #[must_use]
    pub fn upstream_paused(&self, origin: String, until: UnixMillis) -> bool {
        self.queue
            .try_send(Change::UpstreamPaused(origin, until))
            .is_ok()
    }

    /// Resets `poll_requested` of these jobs, unless they have changed after the change of this number.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn poll_requests_taken(&self, jobs: Vec<JobId>, seen: i64) -> Result<(), WriterGone> {
        self.send(Change::PollRequestsTaken(jobs, seen)).await
    }

    /// Deletes the recorded row changes up to this number, with the next transaction.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn changes_seen(&self, newest: i64) -> Result<(), WriterGone> {
        self.send(Change::ChangesSeen(newest)).await
    }

    /// Whether outcomes can be recorded, now and when that changes.
    #[must_use]
    pub fn writable(&self) -> watch::Receiver<Writable> {
        self.writable.clone()
    }

    async fn record(
        &self,
        change: impl FnOnce(oneshot::Sender<Recorded>) -> Change,
    ) -> Result<Recorded, WriterGone> {
        let (done, committed) = oneshot::channel();
        self.send(change(done)).await?;
        committed.await.map_err(|_| WriterGone)
    }

    async fn send(&self, change: Change) -> Result<(), WriterGone> {
        self.queue.send(change).await.map_err(|_| WriterGone)
    }
}

/// The loop behind [`Recorder`].
#[derive(Debug)]
pub struct Writer {
    store: Store,
    clock: Clock,
    queue: mpsc::Receiver<Change>,
    batching: Batching<oneshot::Sender<Recorded>>,
    writable: watch::Sender<Writable>,
    wakeups: Wakeups,
    commits: Commits,
    heartbeat: Heartbeat,
}

/// Makes the writer and a first handle. The dispatchers in `wakeups` are woken when they have something new to deliver.
#[must_use]
pub fn recorder(store: Store, clock: Clock, wakeups: Wakeups) -> (Recorder, Writer) {
    let (queue, changes) = mpsc::channel(QUEUE);
    let (writable, watch) = watch::channel(Writable::Yes);
    let writer = Writer {
        store,
        clock,
        queue: changes,
        batching: Batching::default(),
        writable,
        wakeups,
        commits: Commits::default(),
        heartbeat: Heartbeat::default(),
    };
    (
        Recorder {
            queue,
            writable: watch,
        },
        writer,
    )
}

impl Writer {
    /// Has this writer notify `commits` of each commit.
    #[must_use]
    pub fn waking(mut self, commits: Commits) -> Self {
        self.commits = commits;
        self
    }

    /// Shows whether the loop advances.
    #[must_use]
    pub fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.clone()
    }

    /// Commits until the last handle is dropped.
    ///
    /// # Errors
    /// When the database cannot be used any more; the process has to be started again.
    pub async fn run(mut self) -> Result<(), StoreError> {
        let mut received = Vec::with_capacity(MAX_BATCH);
        while self.receive(&mut received).await > 0 {
            for change in received.drain(..) {
                self.batching.push(change);
            }
            self.commit_all().await?;
        }
        Ok(())
    }

    /// Waits for changes; returns 0 when the last handle was dropped.
    async fn receive(&mut self, received: &mut Vec<Change>) -> usize {
        loop {
            tokio::select! {
                () = self.heartbeat.requested() => {}
                count = self.queue.recv_many(received, MAX_BATCH) => return count,
            }
        }
    }

    async fn commit_all(&mut self) -> Result<(), StoreError> {
        loop {
            self.heartbeat.beat();
            let Some(batch) = self.batching.start(self.clock.read()) else {
                let Some(at) = self.batching.wake_at() else {
                    return Ok(());
                };
                sleep_until(self.clock.instant(at)).await;
                continue;
            };
            let (began, changes) = (Instant::now(), batch.changes());
            let effects = match self.store.commit(batch).await {
                Ok(committed) => {
                    telemetry::committed(changes, began.elapsed());
                    self.batching.committed(&committed)
                }
                Err(StoreError::Refused(rule)) => {
                    let refused = self.batching.refused(&rule);
                    refused.map_err(StoreError::Refused)?
                }
                Err(error) if error.is_temporary() => {
                    let now = self.clock.monotonic();
                    let effects = self.batching.unwritable(reason(&error), now);
                    if !effects.is_empty() {
                        error!(%error, "the database cannot be written; nothing is sent until it can");
                    }
                    effects
                }
                Err(error) => return Err(error),
            };
            for effect in effects {
                self.perform(effect);
            }
        }
    }

    /// An answer that cannot be sent is dropped: its loop has been stopped.
    fn perform(&self, effect: Effect<oneshot::Sender<Recorded>>) {
        match effect {
            Effect::Writable(state) => {
                self.writable.send_replace(state);
                if state == Writable::Yes {
                    info!("the database can be written again");
                }
            }
            Effect::Notify(jobs) => self.commits.notify(&jobs),
            Effect::Answer(done, recorded) => drop(done.send(recorded)),
            Effect::Wake(webhook) => self.wakeups.wake(&webhook),
            Effect::Report(report) => log(&report),
        }
    }
}

fn reason(error: &StoreError) -> Writable {
    match error {
        StoreError::Full => Writable::DiskFull,
        StoreError::Short(shortage) => Writable::Short(*shortage),
        _ => Writable::Locked,
    }
}

fn log(report: &Report) {
    match report {
        Report::UnexpectedAttempt((event_id, webhook, attempt)) => {
            error!(event_id, %webhook, attempt, "an attempt is not the next one of its delivery; its row was changed by another program");
        }
        Report::RefusedAttempt((event_id, webhook, attempt), error) => {
            error!(event_id, %webhook, attempt, error, "an attempt cannot be recorded; its rows were changed by another program");
        }
        Report::RefusedExpiries(error) => {
            error!(
                error,
                "expired events cannot be given up; their rows were changed by another program"
            );
        }
    }
}
