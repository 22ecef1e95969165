//! How many requests per second we allow ourselves.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Most requests per second that differ from "no limit"; timers are not finer.
const MAX_PER_SECOND: u32 = 1_000_000;

/// Requests that fall due within 10 ms may go out together, so that the millisecond steps of timers do not lower a high
/// rate. Below 200 requests per second this is one request at a time.
const BURSTS_PER_SECOND: u32 = 100;

/// The budget of `upstream.requests_per_second`: evenly paced; what is not used is not saved up.
///
/// Requests for a job's URL are counted, the second one after a refreshed token too. Requests for tokens are not: they
/// are rare, have other limits, and polls wait for them.
#[derive(Debug)]
pub struct Budget {
    /// Time between two requests; zero for no limit.
    pace: Duration,
    /// How much earlier than it is due a request may go out.
    ahead: Duration,
    /// When the next request is due.
    due: Mutex<Instant>,
    /// How many urgent requests wait; others are not let through meanwhile.
    urgent: AtomicUsize,
}

/// An urgent request that waits; dropped when it goes out or is given up.
struct Urgent<'a>(&'a AtomicUsize);

impl<'a> Urgent<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budget {
    /// A budget of `requests_per_second` (a million at most); `None` for no limit.
    #[must_use]
    pub fn new(requests_per_second: Option<NonZeroU32>) -> Self {
        let rate = requests_per_second.map(|rate| rate.get().min(MAX_PER_SECOND));
        let pace = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        Self {
            pace,
            ahead: pace * rate.map_or(0, |rate| (rate / BURSTS_PER_SECOND).saturating_sub(1)),
            due: Mutex::new(Instant::now()),
            urgent: AtomicUsize::new(0),
        }
    }

    /// Takes one request out of the budget, unless an urgent one waits.
    ///
    /// # Errors
    /// How long to wait before there may be one to take, never zero; nothing was taken.
    pub fn try_take(&self) -> Result<(), Duration> {
        if !self.pace.is_zero() && self.urgent.load(Ordering::Relaxed) > 0 {
            return Err(self.pace.max(Duration::from_millis(1)));
        }
        self.take_if_due()
    }

    /// Takes one request out of the budget as soon as there is one. Dropping the future takes nothing.
    pub async fn take(&self) {
        while let Err(wait) = self.try_take() {
            tokio::time::sleep(wait).await;
        }
    }

    /// The same, ahead of all that are not urgent: a user waits for this request.
    pub async fn take_urgently(&self) {
        let _urgent = Urgent::new(&self.urgent);
        while let Err(wait) = self.take_if_due() {
            tokio::time::sleep(wait).await;
        }
    }

    fn take_if_due(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut due = self.due.lock();
        let wait = due.saturating_duration_since(now + self.ahead);
        if !wait.is_zero() {
            return Err(wait);
        }
        *due = now.max(*due) + self.pace;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken_within(budget: &Budget, time: Duration) -> u32 {
        let mut taken = 0;
        let counting = async {
            loop {
                budget.take().await;
                taken += 1;
            }
        };
        let _ = tokio::time::timeout(time, counting).await;
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_paced_evenly_and_none_are_saved_up() {
        let budget = Budget::new(NonZeroU32::new(4));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(budget.try_take(), Ok(()));
        assert_eq!(budget.try_take(), Err(Duration::from_millis(250)));
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(budget.try_take(), Err(Duration::from_millis(150)));
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(budget.try_take(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_high_rate_is_reached_in_spite_of_coarse_timers_and_never_exceeded() {
        for rate in [10, 100, 2000] {
            let budget = Budget::new(NonZeroU32::new(rate));
            let taken = taken_within(&budget, Duration::from_secs(10)).await;
            let burst = (rate / 100).max(1);
            assert!(taken <= 10 * rate + burst, "{taken} of {rate} per second");
            assert!(taken >= 9 * rate, "{taken} of {rate} per second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_request_goes_ahead_of_all_others_and_is_forgotten_when_dropped() {
        let budget = Budget::new(NonZeroU32::new(2));
        assert_eq!(budget.try_take(), Ok(()));
        let start = Instant::now();
        for dropped in [false, true] {
            let mut urgent = Box::pin(budget.take_urgently());
            let at_once = tokio::time::timeout(Duration::ZERO, &mut urgent);
            assert!(at_once.await.is_err());
            tokio::time::sleep(Duration::from_millis(600)).await;
            let wait = budget.try_take().unwrap_err();
            assert!(!wait.is_zero(), "there is one, but not for this");
            if dropped {
                drop(urgent);
                assert_eq!(budget.try_take(), Ok(()));
            } else {
                urgent.await;
                assert_eq!(start.elapsed().as_millis(), 600);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_and_with_an_absurd_one_nothing_waits_or_panics() {
        assert_eq!(Budget::new(None).try_take(), Ok(()));
        assert_eq!(Budget::new(Some(NonZeroU32::MAX)).try_take(), Ok(()));
    }
}
