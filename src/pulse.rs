//! Whether a loop still advances: it is asked for a sign of life now and then, and answers whenever it comes round to
//! wait for something to happen.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A loop that leaves a question open for longer than this has stalled. Above every limit inside the loops: a
/// statement that waits for a foreign lock gives up after 5 s.
pub const STALLED_AFTER: Duration = Duration::from_secs(30);

/// Shared between a loop and those who watch it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pulse {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    origin: Instant,
    /// Milliseconds from `origin` to the oldest question without an answer, plus one; 0 without one.
    asked_at: AtomicU64,
    wake: Notify,
}

impl Default for Pulse {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                origin: Instant::now(),
                asked_at: AtomicU64::new(0),
                wake: Notify::new(),
            }),
        }
    }
}

impl Pulse {
    /// Asks for a sign of life. A question that is still open stays the older one.
    pub fn ask(&self) {
        let now = self.shared.millis() + 1;
        let asked_at = &self.shared.asked_at;
        let first = asked_at.compare_exchange(0, now, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.shared.wake.notify_one();
        }
    }

    /// Called by the loop when it comes round.
    pub fn answers(&self) {
        self.shared.asked_at.store(0, Ordering::Release);
    }

    /// One of the things the loop waits for: resolves when it is asked, and has answered then.
    pub async fn asked(&self) {
        self.shared.wake.notified().await;
        self.answers();
    }

    /// Awaits another loop, which has a pulse of its own, and answers meanwhile.
    pub async fn while_waiting<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                output = &mut work => return output,
                () = self.asked() => {}
            }
        }
    }

    /// Whether a question has been open for longer than [`STALLED_AFTER`].
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        match self.shared.asked_at.load(Ordering::Acquire) {
            0 => false,
            asked_at => {
                let open = self.shared.millis().saturating_sub(asked_at - 1);
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
    async fn only_a_question_that_stays_open_is_a_stall() {
        let pulse = Pulse::default();
        tokio::time::sleep(STALLED_AFTER * 2).await;
        assert!(!pulse.is_stalled(), "nobody asked");
        pulse.ask();
        tokio::time::sleep(STALLED_AFTER).await;
        assert!(!pulse.is_stalled(), "within the limit");
        pulse.ask();
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(
            pulse.is_stalled(),
            "asking again does not make the first question younger"
        );
        pulse.answers();
        assert!(!pulse.is_stalled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_answers_when_it_is_asked() {
        let pulse = Pulse::default();
        let waiting = pulse.clone();
        let idle = tokio::spawn(async move {
            waiting.while_waiting(std::future::pending::<()>()).await;
        });
        for _ in 0..3 {
            pulse.ask();
            tokio::time::sleep(STALLED_AFTER * 2).await;
            assert!(!pulse.is_stalled());
        }
        idle.abort();
    }
}
