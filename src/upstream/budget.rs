//! How many requests per second we allow ourselves, shared by all who send them.

use std::num::NonZeroU32;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::core::machines::budget;

/// The budget of `upstream.requests_per_second` ([`budget::Budget`]).
#[derive(Debug)]
pub struct Budget {
    clock: Clock,
    machine: Mutex<budget::Budget>,
}

/// An urgent request that waits; dropped when it goes out or is given up.
struct Urgent<'a>(&'a Budget);

impl<'a> Urgent<'a> {
    fn new(budget: &'a Budget) -> Self {
        budget.with(budget::Budget::begin_urgent);
        Self(budget)
    }
}

impl Drop for Urgent<'_> {
    fn drop(&mut self) {
        self.0.with(budget::Budget::end_urgent);
    }
}

impl Budget {
    /// A budget of `requests_per_second` (a million at most); `None` for no limit.
    #[must_use]
    pub fn new(clock: Clock, requests_per_second: Option<NonZeroU32>) -> Self {
        Self {
            clock,
            machine: Mutex::new(budget::Budget::new(requests_per_second)),
        }
    }

    pub(super) fn set_rate(&self, requests_per_second: Option<NonZeroU32>) {
        self.with(|budget| budget.set_rate(requests_per_second));
    }

    /// Takes one request out of the budget, unless an urgent one waits.
    ///
    /// # Errors
    /// How long to wait before there may be one to take, never zero; nothing was taken.
    pub fn try_take(&self) -> Result<(), Duration> {
        let now = self.clock.monotonic();
        self.with(|budget| budget.try_take(now))
    }

    /// Takes one request out of the budget as soon as there is one. Dropping the future takes nothing.
    pub async fn take(&self) {
        while let Err(wait) = self.try_take() {
            sleep(wait).await;
        }
    }

    /// The same, ahead of all that are not urgent: a user waits for this request.
    pub async fn take_urgently(&self) {
        let _urgent = Urgent::new(self);
        let try_take = || {
            let now = self.clock.monotonic();
            self.with(|budget| budget.try_take_urgently(now))
        };
        while let Err(wait) = try_take() {
            sleep(wait).await;
        }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut budget::Budget) -> T) -> T {
        change(&mut self.machine.lock())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn budget(per_second: u32) -> Budget {
        Budget::new(Clock::system(), NonZeroU32::new(per_second))
    }

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
    async fn a_high_rate_is_reached_in_spite_of_coarse_timers_and_never_exceeded() {
        for rate in [10, 100, 2000] {
            let taken = taken_within(&budget(rate), Duration::from_secs(10)).await;
            let burst = (rate / 100).max(1);
            assert!(taken <= 10 * rate + burst, "{taken} of {rate} per second");
            assert!(taken >= 9 * rate, "{taken} of {rate} per second");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_request_goes_ahead_of_all_others_and_is_forgotten_when_dropped() {
        let budget = budget(2);
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
}
