//! Detects loops that have stalled: the watchdog requests a beat of each, and a loop beats each time it comes back to
//! waiting for events.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::store::{StoreError, patiently};

/// A loop has stalled if a request for a beat is open for longer than this. Above every limit inside the loops: a
/// statement that waits for another program's lock fails after 5 s.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Shared by a loop and the watchdog. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    /// Milliseconds from `origin` to the oldest open request, plus one; 0 if none is open.
    requested_at: AtomicU64,
    wake: Notify,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                origin: Instant::now(),
                requested_at: AtomicU64::new(0),
                wake: Notify::new(),
            }),
        }
    }
}

impl Heartbeat {
    /// Requests a beat. An open request keeps its time.
    pub fn request(&self) {
        let now = self.shared.millis() + 1;
        let requested_at = &self.shared.requested_at;
        let first = requested_at.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.shared.wake.notify_one();
        }
    }

    /// Answers the open request; called by the loop in each round.
    pub fn beat(&self) {
        self.shared.requested_at.store(0, Ordering::Release);
    }

    /// Waits for a request and beats; one branch of the loop's `select!`.
    pub async fn requested(&self) {
        self.shared.wake.notified().await;
        self.beat();
    }

    /// Awaits `work` and beats meanwhile; for work that depends on another loop, which has its own heartbeat.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return output,
                () = self.requested() => {}
            }
        }
    }

    /// Reads as [`patiently`] does and beats at each try: a database that is locked for long is not a stall.
    ///
    /// # Errors
    /// Those of the read that are not temporary.
    pub async fn read<T, F>(&self, mut read: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        patiently(|| {
            self.beat();
            read()
        })
        .await
    }

    /// Whether a request has been open for longer than [`STALLED_AFTER`].
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        match self.shared.requested_at.load(Ordering::Acquire) {
            0 => false,
            requested_at => {
                let open = self.shared.millis().saturating_sub(requested_at - 1);
                Duration::from_millis(open) > STALLED_AFTER
            }
        }
    }
}

impl Shared {
    fn millis(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_request_that_stays_open_is_a_stall() {
        let heartbeat = Heartbeat::default();
        tokio::time::sleep(STALLED_AFTER * 2).await;
        assert!(!heartbeat.is_stalled(), "none was requested");
        heartbeat.request();
        tokio::time::sleep(STALLED_AFTER).await;
        assert!(!heartbeat.is_stalled(), "within the limit");
        heartbeat.request();
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(
            heartbeat.is_stalled(),
            "another request does not reset the time of the first"
        );
        heartbeat.beat();
        assert!(!heartbeat.is_stalled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_beats_when_it_is_requested() {
        let heartbeat = Heartbeat::default();
        let waiting = heartbeat.clone();
        let idle = tokio::spawn(async move {
            waiting.during(std::future::pending::<()>()).await;
        });
        for _ in 0..3 {
            heartbeat.request();
            tokio::time::sleep(STALLED_AFTER * 2).await;
            assert!(!heartbeat.is_stalled());
        }
        idle.abort();
    }
}
