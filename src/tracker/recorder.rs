//! The one writer: commits many jobs' changes together, and nothing leaves the process before its commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::clock::Clock;
use crate::core::delivery::WebhookName;
use crate::core::job::JobId;
use crate::pulse::Pulse;
use crate::store::{
    AttemptRecord, Batch, Committed, Recordable, ScheduleUpdate, Store, StoreError,
};

/// Most changes of one transaction. More of them wait for the next one.
pub const MAX_BATCH: usize = 1000;

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
}

#[derive(Debug)]
enum Change {
    Seen(Box<Recordable>, oneshot::Sender<bool>),
    Attempted(Box<AttemptRecord>, oneshot::Sender<()>),
    Scheduled(Vec<ScheduleUpdate>),
    PollRequestsTaken(Vec<JobId>),
    ChangesSeen(i64),
}

/// The writer has ended before it recorded this; the process is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the writer has ended")]
pub struct WriterGone;

impl Recorder {
    /// Records an observation; `false` when the job had changed meanwhile and is to be looked at again.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn seen(&self, recordable: Recordable) -> Result<bool, WriterGone> {
        let (done, committed) = oneshot::channel();
        self.send(Change::Seen(Box::new(recordable), done)).await?;
        committed.await.map_err(|_| WriterGone)
    }

    /// Records an attempt and what follows from it.
    ///
    /// # Errors
    /// [`WriterGone`].
    pub async fn attempted(&self, attempt: AttemptRecord) -> Result<(), WriterGone> {
        let (done, committed) = oneshot::channel();
        self.send(Change::Attempted(Box::new(attempt), done))
            .await?;
        committed.await.map_err(|_| WriterGone)
    }

    /// Notes where polling stands. Informative: `false` when the writer is too busy to take it just now.
    #[must_use]
    pub fn scheduled(&self, schedules: Vec<ScheduleUpdate>) -> bool {
        self.queue.try_send(Change::Scheduled(schedules)).is_ok()
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
    nudges: HashMap<WebhookName, Arc<Notify>>,
    changes_seen: Option<i64>,
    pulse: Pulse,
}

/// Makes the writer and a first handle. `nudges` are told when a webhook has something new to deliver.
#[must_use]
pub fn recorder(
    store: Store,
    clock: Clock,
    nudges: HashMap<WebhookName, Arc<Notify>>,
) -> (Recorder, Writer) {
    let (queue, changes) = mpsc::channel(QUEUE);
    let (writable, watch) = watch::channel(Writable::Yes);
    let writer = Writer {
        store,
        clock,
        queue: changes,
        writable,
        nudges,
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
    seen: Vec<(JobId, oneshot::Sender<bool>)>,
    attempted: Vec<oneshot::Sender<()>>,
}

impl Writer {
    /// Whether it advances.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Commits until the last handle is dropped, or `give_up` is cancelled while a transaction waits for the disk.
    ///
    /// # Errors
    /// When the database cannot be trusted any more; the process has to start afresh then.
    pub async fn run(mut self, give_up: CancellationToken) -> Result<(), StoreError> {
        let mut next = Vec::with_capacity(MAX_BATCH);
        loop {
            next.clear();
            if self.queue.recv_many(&mut next, MAX_BATCH).await == 0 {
                return Ok(());
            }
            // A second observation of one job waits: it was decided upon what the first one changes.
            let mut later: Vec<Change> = Vec::new();
            let (batch, waiting) = self.gather(&mut next, &mut later);
            self.commit(batch, waiting, &give_up).await?;
            while !later.is_empty() {
                let mut again = std::mem::take(&mut later);
                let (batch, waiting) = self.gather(&mut again, &mut later);
                self.commit(batch, waiting, &give_up).await?;
            }
        }
    }

    fn gather(&mut self, changes: &mut Vec<Change>, later: &mut Vec<Change>) -> (Batch, Waiting) {
        let mut batch = Batch::default();
        let mut waiting = Waiting::default();
        let mut jobs: HashSet<JobId> = HashSet::new();
        for change in changes.drain(..) {
            match change {
                Change::Seen(recordable, done) => {
                    let id = recordable.observation.job_id.clone();
                    if jobs.insert(id.clone()) {
                        batch.observations.push(*recordable);
                        waiting.seen.push((id, done));
                    } else {
                        later.push(Change::Seen(recordable, done));
                    }
                }
                Change::Attempted(attempt, done) => {
                    batch.attempts.push(*attempt);
                    waiting.attempted.push(done);
                }
                Change::Scheduled(schedules) => batch.schedules.extend(schedules),
                Change::PollRequestsTaken(jobs) => batch.poll_requests_taken.extend(jobs),
                Change::ChangesSeen(newest) => {
                    self.changes_seen = self.changes_seen.max(Some(newest));
                }
            }
        }
        (batch, waiting)
    }

    async fn commit(
        &mut self,
        mut batch: Batch,
        waiting: Waiting,
        give_up: &CancellationToken,
    ) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        batch.changes_seen = self.changes_seen.take();
        batch.now = Some(self.clock.now());
        let Some(committed) = self.commit_patiently(&batch, give_up).await? else {
            return Ok(());
        };
        for (id, done) in waiting.seen {
            // Nobody waits any more only when the process is going down.
            let _ = done.send(committed.recorded.contains(&id));
        }
        for done in waiting.attempted {
            let _ = done.send(());
        }
        for webhook in &committed.webhooks {
            if let Some(nudge) = self.nudges.get(webhook) {
                nudge.notify_one();
            }
        }
        Ok(())
    }

    /// Tries until it works; `None` when told to give up.
    async fn commit_patiently(
        &self,
        batch: &Batch,
        give_up: &CancellationToken,
    ) -> Result<Option<Committed>, StoreError> {
        loop {
            self.pulse.works();
            let committed = self.store.commit(batch).await;
            self.pulse.rests();
            let trouble = match committed {
                Ok(committed) => {
                    if self.writable.send_replace(Writable::Yes) != Writable::Yes {
                        info!("the database can be written again");
                    }
                    return Ok(Some(committed));
                }
                Err(error) if error.is_temporary() => error,
                Err(error) => return Err(error),
            };
            let state = match trouble {
                StoreError::Full => Writable::DiskFull,
                _ => Writable::Locked,
            };
            if self.writable.send_replace(state) != state {
                error!(error = %trouble, "the database cannot be written; nothing is polled or sent until it can");
            }
            tokio::select! {
                () = give_up.cancelled() => return Ok(None),
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
}
