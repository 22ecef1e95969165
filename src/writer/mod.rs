//! The writer: commits the changes of many jobs together. Nothing is sent before it is committed.
//!
//! Changes come from the loops through a [`Recorder`]; `batching` puts them into transactions; [`Writer`] commits them
//! to the store, answers the loops, and wakes dispatchers ([`wakeups`]) and requests at the status server ([`commits`]).

mod batching;

pub mod commits;

pub mod wakeups;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info};

use crate::clock::Clock;
use crate::core::job::JobId;
pub use crate::core::machines::poll::Recorded;
use crate::core::time::UnixMillis;
use crate::heartbeat::Heartbeat;
use crate::store::{
    Batch, Commits as _, Committed, FinishedAttempt, Recordable, ScheduleUpdate, Shortage, Store,
    StoreError, Undelivered,
};
use crate::telemetry;
use batching::{MAX_BATCH, Transaction, Waiting, gather};
use commits::Commits;
use wakeups::Wakeups;

/// Most changes in the queue; beyond that the loops wait.
const QUEUE: usize = 2 * MAX_BATCH;

/// Pause before a transaction is tried again after a full disk or a locked database.
const RETRY: Duration = Duration::from_millis(500);

/// Sends changes to the writer. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Change>,
    writable: watch::Receiver<Writable>,
}

/// Whether outcomes can be recorded. While they cannot, nothing is polled or sent (docs/guarantees.md, "Crashes, disks
/// and clocks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writable {
    /// The last transaction was committed, or there was none yet.
    Yes,
    /// The disk is full; a transaction waits for space.
    DiskFull,
    /// Another program holds the lock; a transaction waits for it.
    Locked,
    /// This process has run out of a resource; a transaction waits for it.
    Short(Shortage),
}

#[derive(Debug)]
enum Change {
    Seen(Box<Recordable>, oneshot::Sender<Recorded>),
    Attempted(Box<FinishedAttempt>, oneshot::Sender<bool>),
    Expired(Vec<Undelivered>, oneshot::Sender<bool>),
    Scheduled(Vec<ScheduleUpdate>),
    PollRequestsTaken(Vec<JobId>),
    UpstreamPaused(String, UnixMillis),
    ChangesSeen(i64),
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
        let (done, committed) = oneshot::channel();
        self.send(Change::Seen(Box::new(recordable), done)).await?;
        committed.await.map_err(|_| WriterGone)
    }

    /// Records an attempt and what follows from it; `false` if a rule of the schema forbids it, or it is not the next attempt
    /// of its delivery.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn attempted(&self, attempt: FinishedAttempt) -> Result<bool, WriterGone> {
        let (done, committed) = oneshot::channel();
        self.send(Change::Attempted(Box::new(attempt), done))
            .await?;
        committed.await.map_err(|_| WriterGone)
    }

    /// Gives up expired deliveries; `false` if a rule of the schema forbids it.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn expired(&self, expiries: Vec<Undelivered>) -> Result<bool, WriterGone> {
        let (done, committed) = oneshot::channel();
        self.send(Change::Expired(expiries, done)).await?;
        committed.await.map_err(|_| WriterGone)
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

    /// Resets `poll_requested` of these jobs.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn poll_requests_taken(&self, jobs: Vec<JobId>) -> Result<(), WriterGone> {
        self.send(Change::PollRequestsTaken(jobs)).await
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
    writable: watch::Sender<Writable>,
    wakeups: Wakeups,
    commits: Commits,
    changes_seen: Option<i64>,
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
        writable,
        wakeups,
        commits: Commits::default(),
        changes_seen: None,
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
        let mut next = Vec::with_capacity(MAX_BATCH);
        while self.receive(&mut next).await > 0 {
            // What does not fit into the transaction waits for the next one.
            while !next.is_empty() {
                let mut later = Vec::new();
                let transaction = gather(&mut next, &mut later, &mut self.changes_seen);
                self.commit(transaction).await?;
                next = later;
            }
        }
        Ok(())
    }

    /// Waits for changes; returns 0 when the last handle was dropped.
    async fn receive(&mut self, next: &mut Vec<Change>) -> usize {
        loop {
            tokio::select! {
                () = self.heartbeat.requested() => {}
                received = self.queue.recv_many(next, MAX_BATCH) => return received,
            }
        }
    }

    /// Commits a transaction. If a rule of the schema refuses it, another program has changed rows of some job; then each
    /// change is committed by itself, so that the other jobs continue.
    async fn commit(&mut self, mut transaction: Transaction) -> Result<(), StoreError> {
        if transaction.batch.is_empty() {
            return Ok(());
        }
        transaction.batch.changes_seen = self.changes_seen.take();
        transaction.batch.now = Some(self.clock.now());
        let mut left = VecDeque::from([transaction]);
        while let Some(Transaction { batch, waiting }) = left.pop_front() {
            match self.commit_patiently(&batch).await {
                Ok(committed) => {
                    // Freed before the answers, which let the loops make new changes.
                    drop(batch);
                    self.answer(waiting, &committed);
                }
                Err(StoreError::Refused(rule)) => {
                    let refused = Transaction { batch, waiting };
                    left.extend(refused.split(&rule).map_err(StoreError::Refused)?);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Answers the loops that wait, and wakes the dispatchers that have something new to send. An answer that cannot be sent
    /// is dropped: its loop has been stopped.
    fn answer(&self, waiting: Waiting, committed: &Committed) {
        let seen = waiting.seen.iter().map(|(id, _)| id);
        let recorded: Vec<&JobId> = seen.filter(|id| committed.recorded.contains(*id)).collect();
        self.commits.notify(&recorded);
        for (id, done) in waiting.seen {
            let recorded = match committed.recorded.contains(&id) {
                true => Recorded::Yes,
                false => Recorded::Stale,
            };
            let _ = done.send(recorded);
        }
        for (key, done) in waiting.attempted {
            let is_next = !committed.unexpected_attempts.contains(&key);
            if !is_next {
                let (event_id, webhook, attempt) = &key;
                error!(event_id, %webhook, attempt, "an attempt is not the next one of its delivery; its row was changed by another program");
            }
            let _ = done.send(is_next);
        }
        for done in waiting.expired {
            let _ = done.send(true);
        }
        for webhook in &committed.webhooks {
            self.wakeups.wake(webhook);
        }
    }

    /// Tries to commit until it succeeds or fails permanently.
    async fn commit_patiently(&self, batch: &Batch) -> Result<Committed, StoreError> {
        loop {
            self.heartbeat.beat();
            let began = Instant::now();
            let committed = self.store.commit(batch).await;
            let trouble = match committed {
                Ok(committed) => {
                    telemetry::committed(batch.changes(), began.elapsed());
                    if self.writable.send_replace(Writable::Yes) != Writable::Yes {
                        info!("the database can be written again");
                    }
                    return Ok(committed);
                }
                Err(error) if error.is_temporary() => error,
                Err(error) => return Err(error),
            };
            let state = match trouble {
                StoreError::Full => Writable::DiskFull,
                StoreError::Short(shortage) => Writable::Short(shortage),
                _ => Writable::Locked,
            };
            if self.writable.send_replace(state) != state {
                error!(error = %trouble, "the database cannot be written; nothing is polled or sent until it can");
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

#[cfg(test)]
mod tests;
