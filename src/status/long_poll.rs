//! Requests that wait for a commit: how many, for how long, and what wakes them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::refusal::Refusal;
use crate::writer::commits::{Commits, Subscription};

/// Most requests that wait at once (`?wait=`).
pub const MAX_WAITS: usize = 256;

/// Most streams that are open at once.
pub const MAX_STREAMS: usize = 100;

/// When a client that was refused may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Wakes requests when something is committed, and counts them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub(super) commits: Commits,
    end: CancellationToken,
    waits: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// Why a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something was committed.
    Commit,
    /// Its time is over, or the daemon stops.
    End,
}

impl Waiting {
    /// For requests that wait for these commits.
    #[must_use]
    pub fn new(commits: Commits) -> Self {
        Self {
            commits,
            end: CancellationToken::new(),
            waits: Arc::new(Semaphore::new(MAX_WAITS)),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }

    /// Ends all waits: requests are answered at once, streams end.
    pub fn end(&self) {
        self.end.cancel();
    }

    /// How many requests wait now.
    #[must_use]
    pub fn waits(&self) -> usize {
        MAX_WAITS - self.waits.available_permits()
    }

    /// How many streams are open now.
    #[must_use]
    pub fn streams(&self) -> usize {
        MAX_STREAMS - self.streams.available_permits()
    }

    /// A permit for one more request that waits.
    pub(super) fn wait(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        permit(&self.waits, "Too many requests wait already.")
    }

    /// A permit for one more stream.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        permit(&self.streams, "Too many streams are open already.")
    }

    /// Waits for a commit until `deadline`.
    pub(super) async fn until(&self, deadline: Instant, commits: &mut Subscription) -> Woken {
        tokio::select! {
            biased;
            () = self.end.cancelled() => Woken::End,
            () = commits.changed() => Woken::Commit,
            () = tokio::time::sleep_until(deadline) => Woken::End,
        }
    }

    /// Whether the daemon stops.
    pub(super) fn is_over(&self) -> bool {
        self.end.is_cancelled()
    }
}

fn permit(permits: &Arc<Semaphore>, full: &'static str) -> Result<OwnedSemaphorePermit, Refusal> {
    let permit = Arc::clone(permits).try_acquire_owned();
    permit.map_err(|_| Refusal::unavailable(full).retry_after(RETRY_AFTER))
}
