//! What polls read of their jobs, unless it is known: all that wait while one statement runs are read by the next one.

use std::future::Future;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::known::Known;
use crate::core::job::JobId;
use crate::core::observe::Tracked;
use crate::store::{JobRow, Jobs as _, Store, StoreError, patiently};

/// Most jobs of one statement: all of them may be large.
const MOST: usize = 256;

/// The reads of all polls.
#[derive(Debug)]
pub(super) struct Reads {
    store: Store,
    jobs: Together<JobRow>,
    tracked: Together<Tracked>,
    known: Known,
}

impl Reads {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            jobs: Together::default(),
            tracked: Together::default(),
            known: Known::default(),
        }
    }

    /// The row of a job; `None` when it is gone.
    pub(super) async fn job(&self, id: &JobId) -> Result<Option<JobRow>, StoreError> {
        self.jobs.read(id, &self.store).await
    }

    /// A job as it was last recorded; `None` when its row is gone.
    pub(super) async fn tracked(&self, id: &JobId) -> Result<Option<Tracked>, StoreError> {
        match self.known.take(id) {
            Some(tracked) => Ok(Some(tracked)),
            None => self.tracked.read(id, &self.store).await,
        }
    }

    /// Takes note of rows that another program has changed.
    pub(super) fn changed(&self, rows: &[JobRow]) {
        self.known.forget(rows.iter().map(|row| &row.id));
    }

    /// Takes note of a job that was just recorded.
    pub(super) fn recorded(&self, job: Tracked) {
        self.known.keep(job);
    }
}

type Read<T> = Result<Option<T>, StoreError>;

/// What is read of several jobs at once.
trait Readable: Sized {
    fn all(
        store: &Store,
        ids: &[JobId],
    ) -> impl Future<Output = Result<Vec<Read<Self>>, StoreError>> + Send;
}

impl Readable for JobRow {
    async fn all(store: &Store, ids: &[JobId]) -> Result<Vec<Read<Self>>, StoreError> {
        patiently(|| store.all_jobs(ids)).await
    }
}

impl Readable for Tracked {
    async fn all(store: &Store, ids: &[JobId]) -> Result<Vec<Read<Self>>, StoreError> {
        patiently(|| store.all_tracked(ids)).await
    }
}

/// Reads of one kind.
#[derive(Debug)]
struct Together<T> {
    waiting: Mutex<Vec<(JobId, oneshot::Sender<Read<T>>)>>,
    /// Held while a statement runs.
    flight: tokio::sync::Mutex<()>,
}

impl<T> Default for Together<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        }
    }
}

impl<T: Readable> Together<T> {
    /// Reads this one with others that wait: by this caller, or by another one.
    async fn read(&self, id: &JobId, store: &Store) -> Read<T> {
        loop {
            let (sender, mut mine) = oneshot::channel();
            self.waiting.lock().push((id.clone(), sender));
            loop {
                let _flight = tokio::select! {
                    biased;
                    Ok(done) = &mut mine => return done,
                    flight = self.flight.lock() => flight,
                };
                // The one before may have read it already.
                match mine.try_recv() {
                    Ok(done) => return done,
                    Err(oneshot::error::TryRecvError::Closed) => break,
                    Err(oneshot::error::TryRecvError::Empty) => {}
                }
                let (ids, senders): (Vec<JobId>, Vec<_>) = {
                    let mut waiting = self.waiting.lock();
                    let most = waiting.len().min(MOST);
                    waiting.drain(..most).unzip()
                };
                // When it fails or is dropped, the others begin anew.
                for (sender, done) in senders.into_iter().zip(T::all(store, &ids).await?) {
                    let _ = sender.send(done);
                }
            }
        }
    }
}
