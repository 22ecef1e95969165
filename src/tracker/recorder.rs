//! The one writer: commits many jobs' changes together, and nothing leaves the process before its commit.

mod apart;

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{error, info};

use crate::clock::Clock;
use crate::core::delivery::WebhookName;
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::pulse::Pulse;
use crate::store::{
    Batch, Committed, Expiry, FinishedAttempt, Recordable, ScheduleUpdate, Shortage, Store,
    StoreError,
};
use crate::telemetry;
use crate::tracker::commits::Commits;
use crate::tracker::wakeups::Wakeups;

/// Most changes of one transaction. More of them wait for the next one.
pub const MAX_BATCH: usize = 1000;

/// Most bytes of observations and attempts in one transaction (4 MiB), unless a single one has more. What is recorded stays in
/// memory until its commit, and others wait as long as that takes.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// Changes that may wait for the writer before those who make them wait.
const QUEUE: usize = 2 * MAX_BATCH;

/// Pause before a transaction that found the disk full or the database locked is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// A handle for those who have something to record. Cheap to clone; the writer ends when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Change>,
    writable: watch::Receiver<Writable>,
}

/// Whether outcomes can be recorded. While they cannot, nothing is polled or sent (contract, section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writable {
    /// The last transaction was committed, or none was needed yet.
    Yes,
    /// The disk is full; a transaction waits for space.
    DiskFull,
    /// Another program holds the lock; a transaction waits for it.
    Locked,
    /// This process lacks something; a transaction waits until it has it.
    Short(Shortage),
}

/// What became of an observation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is committed.
    Yes,
    /// The job had changed meanwhile, and is to be looked at again.
    Stale,
    /// A rule of the schema, named here, forbids it.
    Refused(String),
}

#[derive(Debug)]
enum Change {
    Seen(Box<Recordable>, oneshot::Sender<Recorded>),
    Attempted(Box<FinishedAttempt>, oneshot::Sender<bool>),
    Expired(Vec<Expiry>, oneshot::Sender<bool>),
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
    pub async fn seen(&self, recordable: Recordable) -> Result<Recorded, WriterGone> {
        let (done, committed) = oneshot::channel();
        self.send(Change::Seen(Box::new(recordable), done)).await?;
        committed.await.map_err(|_| WriterGone)
    }

    /// Records an attempt and what follows from it; `false` when a rule of the schema forbids it, or it is not the next one
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

    /// Gives up what has expired; `false` when a rule of the schema forbids it.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn expired(&self, expiries: Vec<Expiry>) -> Result<bool, WriterGone> {
        let (done, committed) = oneshot::channel();
        self.send(Change::Expired(expiries, done)).await?;
        committed.await.map_err(|_| WriterGone)
    }

    /// Notes where polling stands. Informative: `false` when the writer is too busy to take it just now.
    #[must_use]
    pub fn scheduled(&self, schedules: Vec<ScheduleUpdate>) -> bool {
        self.queue.try_send(Change::Scheduled(schedules)).is_ok()
    }

    /// Notes until when the API at this origin asked to be left alone, so that a restart does not forget it. `false` when
    /// the writer is too busy to take it just now.
    #[must_use]
    pub fn upstream_paused(&self, origin: String, until: UnixMillis) -> bool {
        self.queue
            .try_send(Change::UpstreamPaused(origin, until))
            .is_ok()
    }

    /// Notes that `poll_requested` of these jobs was noticed.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn poll_requests_taken(&self, jobs: Vec<JobId>) -> Result<(), WriterGone> {
        self.send(Change::PollRequestsTaken(jobs)).await
    }

    /// Notes that changes up to this number were noticed; forgotten with the next transaction.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn changes_seen(&self, newest: i64) -> Result<(), WriterGone> {
        self.send(Change::ChangesSeen(newest)).await
    }

    /// Whether outcomes can be recorded, and when that changes.
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
    pulse: Pulse,
}

/// Makes the writer and a first handle. Those who send to a webhook are woken when it has something new to deliver.
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
        pulse: Pulse::default(),
    };
    (
        Recorder {
            queue,
            writable: watch,
        },
        writer,
    )
}

/// Those who wait for a transaction.
#[derive(Default)]
struct Waiting {
    seen: Vec<(JobId, oneshot::Sender<Recorded>)>,
    attempted: Vec<(AttemptKey, oneshot::Sender<bool>)>,
    expired: Vec<oneshot::Sender<bool>>,
}

/// An attempt: event, webhook, number.
type AttemptKey = (String, WebhookName, u32);

fn key_of(finished: &FinishedAttempt) -> AttemptKey {
    let attempt = &finished.attempt;
    let (event_id, webhook) = (attempt.event_id.clone(), attempt.webhook.clone());
    (event_id, webhook, attempt.number)
}

impl Writer {
    /// Those who wait for commits hear of this writer's.
    #[must_use]
    pub fn telling(mut self, commits: Commits) -> Self {
        self.commits = commits;
        self
    }

    /// Whether it advances.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Commits until the last handle is dropped.
    ///
    /// # Errors
    /// When the database cannot be trusted any more; the process has to start afresh then.
    pub async fn run(mut self) -> Result<(), StoreError> {
        let mut next = Vec::with_capacity(MAX_BATCH);
        while self.receive(&mut next).await > 0 {
            // A second observation of one job waits, as it was decided upon what the first one changes; so does what
            // would make the transaction too large.
            while !next.is_empty() {
                let mut later = Vec::new();
                let (batch, waiting) = self.gather(&mut next, &mut later);
                self.commit(batch, waiting).await?;
                next = later;
            }
        }
        Ok(())
    }

    /// Waits for changes; 0 when nobody can send any more.
    async fn receive(&mut self, next: &mut Vec<Change>) -> usize {
        loop {
            tokio::select! {
                () = self.pulse.asked() => {}
                received = self.queue.recv_many(next, MAX_BATCH) => return received,
            }
        }
    }

    fn gather(&mut self, changes: &mut Vec<Change>, later: &mut Vec<Change>) -> (Batch, Waiting) {
        let mut batch = Batch::default();
        let mut waiting = Waiting::default();
        let mut jobs: HashSet<JobId> = HashSet::new();
        let mut bytes = 0;
        let mut has_room = |more: usize| {
            let fits = bytes == 0 || bytes + more <= MAX_BATCH_BYTES;
            bytes += if fits { more } else { 0 };
            fits
        };
        for change in changes.drain(..) {
            match change {
                Change::Seen(recordable, done) => {
                    let id = recordable.observation.job_id.clone();
                    if !jobs.contains(&id) && has_room(recordable.bytes()) {
                        jobs.insert(id.clone());
                        batch.observations.push(*recordable);
                        waiting.seen.push((id, done));
                    } else {
                        later.push(Change::Seen(recordable, done));
                    }
                }
                Change::Attempted(attempt, done) if !has_room(attempt.bytes()) => {
                    later.push(Change::Attempted(attempt, done));
                }
                Change::Attempted(attempt, done) => {
                    waiting.attempted.push((key_of(&attempt), done));
                    batch.attempts.push(*attempt);
                }
                Change::Expired(expiries, done) => {
                    batch.expiries.extend(expiries);
                    waiting.expired.push(done);
                }
                // A page a transaction: many thousand rows of bookkeeping must not hold up what happened.
                Change::Scheduled(schedules) if batch.schedules.is_empty() => {
                    batch.schedules = schedules;
                }
                Change::Scheduled(schedules) => later.push(Change::Scheduled(schedules)),
                Change::UpstreamPaused(origin, until) => {
                    batch.upstream_paused = Some((origin, until));
                }
                Change::PollRequestsTaken(jobs) => batch.poll_requests_taken.extend(jobs),
                Change::ChangesSeen(newest) => {
                    self.changes_seen = self.changes_seen.max(Some(newest));
                }
            }
        }
        (batch, waiting)
    }

    async fn commit(&mut self, mut batch: Batch, waiting: Waiting) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        batch.changes_seen = self.changes_seen.take();
        batch.now = Some(self.clock.now());
        match self.commit_patiently(&batch).await {
            Ok(committed) => {
                // Its memory is counted until those who wait are answered.
                drop(batch);
                self.answer(waiting, &committed);
            }
            Err(error @ StoreError::Refused(_)) => {
                self.commit_apart(batch, waiting, error).await?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Tells those who wait, and the webhooks that have something new. Nobody waits only when the process is going down.
    fn answer(&self, waiting: Waiting, committed: &Committed) {
        self.commits.made(&committed.recorded);
        for (id, done) in waiting.seen {
            let recorded = if committed.recorded.contains(&id) {
                Recorded::Yes
            } else {
                Recorded::Stale
            };
            let _ = done.send(recorded);
        }
        for (key, done) in waiting.attempted {
            let is_strange = committed.strange_attempts.contains(&key);
            if is_strange {
                let (event_id, webhook, attempt) = &key;
                error!(event_id, %webhook, attempt, "an attempt is not the next one of its delivery; its row was changed by another hand");
            }
            let _ = done.send(!is_strange);
        }
        for done in waiting.expired {
            let _ = done.send(true);
        }
        for webhook in &committed.webhooks {
            self.wakeups.wake(webhook);
        }
    }

    /// Tries until it works, or cannot work any more.
    async fn commit_patiently(&self, batch: &Batch) -> Result<Committed, StoreError> {
        loop {
            self.pulse.answers();
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
