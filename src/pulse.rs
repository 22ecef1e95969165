//! Whether a loop still advances: it rests while it waits for something to happen, and must not work for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A loop that has worked on one thing for longer than this has stalled. Above every limit inside the loops: a
/// statement that waits for a foreign lock gives up after 5 s.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Shared between a loop and those who watch it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulse {
    origin: Instant,
    /// Milliseconds from `origin` to the beginning of the work, plus one; 0 while resting.
    working_since: Arc<AtomicU64>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            working_since: Arc::default(),
        }
    }
}

impl Pulse {
    /// Called by the loop when something happened that it has to deal with.
    pub fn works(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.working_since.store(millis + 1, Ordering::Relaxed);
    }

    /// Called by the loop when it begins to wait for something to happen.
    pub fn rests(&self) {
        self.working_since.store(0, Ordering::Relaxed);
    }

    /// Whether the loop has been working for longer than [`STALLED_AFTER`].
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        match self.working_since.load(Ordering::Relaxed) {
            0 => false,
            since => {
                self.origin
                    .elapsed()
                    .saturating_sub(Duration::from_millis(since - 1))
                    > STALLED_AFTER
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_work_that_takes_too_long_is_a_stall() {
        let pulse = Pulse::default();
        tokio::time::sleep(STALLED_AFTER * 2).await;
        assert!(!pulse.is_stalled(), "resting");
        pulse.works();
        tokio::time::sleep(STALLED_AFTER).await;
        assert!(!pulse.is_stalled(), "within the limit");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(pulse.is_stalled());
        pulse.rests();
        assert!(!pulse.is_stalled());
    }
}
