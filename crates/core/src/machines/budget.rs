//! How many requests per second we allow ourselves.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::planted::{self, Bug};
use crate::time::Monotonic;

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
    /// When the last request was due.
    last: Option<Monotonic>,
    /// How many urgent requests wait; others are not let through meanwhile.
    urgent: usize,
}

impl Budget {
    /// A budget of `requests_per_second` (a million at most); `None` for no limit.
    #[must_use]
    pub fn new(requests_per_second: Option<NonZeroU32>) -> Self {
        let mut budget = Self {
            pace: Duration::ZERO,
            ahead: Duration::ZERO,
            last: None,
            urgent: 0,
        };
        budget.set_rate(requests_per_second);
        budget
    }

    /// Changes the rate: the next request goes out at the new pace after the last one.
    pub fn set_rate(&mut self, requests_per_second: Option<NonZeroU32>) {
        let rate = requests_per_second.map(|rate| rate.get().min(MAX_PER_SECOND));
        self.pace = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        let at_once = rate.map_or(0, |rate| (rate / BURSTS_PER_SECOND).saturating_sub(1));
        self.ahead = self.pace * at_once;
    }

    /// Takes one request out of the budget, unless an urgent one waits.
    ///
    /// # Errors
    /// How long to wait before there may be one to take, never zero; nothing was taken.
    pub fn try_take(&mut self, now: Monotonic) -> Result<(), Duration> {
        if !self.pace.is_zero() && self.urgent > 0 {
            return Err(self.pace.max(Duration::from_millis(1)));
        }
        self.try_take_urgently(now)
    }

    /// The same for an urgent request, which does not wait for others.
    ///
    /// # Errors
    /// How long to wait, never zero; nothing was taken.
    pub fn try_take_urgently(&mut self, now: Monotonic) -> Result<(), Duration> {
        let due = self.last.map_or(now, |last| last.plus(self.pace));
        let wait = due.since(now.plus(self.ahead));
        if !wait.is_zero() && !planted::is(Bug::BudgetIgnored) {
            return Err(wait);
        }
        self.last = Some(now.max(due));
        Ok(())
    }

    /// An urgent request waits from now on: until [`Budget::end_urgent`] the others wait for it.
    pub fn begin_urgent(&mut self) {
        self.urgent += 1;
    }

    /// An urgent request went out or was given up.
    pub fn end_urgent(&mut self) {
        self.urgent = self.urgent.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Monotonic {
        Monotonic::default().plus(Duration::from_millis(millis))
    }

    fn rate(per_second: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(per_second)
    }

    fn wait(millis: u64) -> Result<(), Duration> {
        Err(Duration::from_millis(millis))
    }

    #[test]
    fn requests_are_paced_evenly_and_none_are_saved_up() {
        let mut budget = Budget::new(rate(4));
        for (millis, taken) in [
            (60_000, Ok(())),
            (60_000, wait(250)),
            (60_100, wait(150)),
            (60_250, Ok(())),
            (90_000, Ok(())),
            (90_000, wait(250)),
        ] {
            assert_eq!(budget.try_take(at(millis)), taken, "{millis}");
        }
    }

    #[test]
    fn an_urgent_request_goes_ahead_of_all_others() {
        let mut budget = Budget::new(rate(2));
        assert_eq!(budget.try_take(at(0)), Ok(()));
        budget.begin_urgent();
        assert_eq!(budget.try_take_urgently(at(100)), wait(400));
        assert_eq!(budget.try_take(at(600)), wait(500), "not for this one");
        assert_eq!(budget.try_take_urgently(at(600)), Ok(()));
        budget.end_urgent();
        assert_eq!(budget.try_take(at(1000)), wait(100));
        assert_eq!(budget.try_take(at(1100)), Ok(()));
    }

    #[test]
    fn another_rate_holds_from_the_last_request_on() {
        let mut budget = Budget::new(rate(1));
        assert_eq!(budget.try_take(at(0)), Ok(()));
        budget.set_rate(rate(10));
        assert_eq!(budget.try_take(at(50)), wait(50));
        assert_eq!(budget.try_take(at(100)), Ok(()));
        budget.set_rate(rate(1));
        assert_eq!(budget.try_take(at(200)), wait(900));
        budget.set_rate(None);
        assert_eq!(budget.try_take(at(200)), Ok(()));
    }

    #[test]
    fn without_a_limit_and_with_an_absurd_one_nothing_waits() {
        assert_eq!(Budget::new(None).try_take(at(0)), Ok(()));
        assert_eq!(Budget::new(rate(u32::MAX)).try_take(at(0)), Ok(()));
    }

    proptest! {
        #[test]
        fn the_rate_is_never_passed_in_any_window_and_who_waits_as_long_as_it_says_gets_one(
            per_second in prop_oneof![1..20u32, 100..5000u32],
            steps in prop::collection::vec((0..40_000u64, 1..60usize, any::<bool>()), 1..30),
        ) {
            let mut budget = Budget::new(rate(per_second));
            let (mut now, mut taken) = (at(1000), Vec::new());
            for (micros, tries, patient) in steps {
                now = now.plus(Duration::from_micros(micros));
                for _ in 0..tries {
                    match budget.try_take(now) {
                        Ok(()) => taken.push(now),
                        Err(wait) if patient => {
                            prop_assert!(!wait.is_zero() && wait <= Duration::from_secs(1));
                            let shortly_before = wait.saturating_sub(Duration::from_nanos(1));
                            prop_assert!(budget.try_take(now.plus(shortly_before)).is_err());
                            now = now.plus(wait);
                            prop_assert_eq!(budget.try_take(now), Ok(()));
                            taken.push(now);
                        }
                        Err(_) => {}
                    }
                }
            }
            // Of those between any two, one per pace, and the burst: how far ahead of the pace one is, against all before.
            let (pace, burst) = (budget.pace.as_nanos(), (per_second / BURSTS_PER_SECOND).max(1));
            let ahead = |(count, at): (u128, Monotonic)| {
                i128::try_from(count * pace).unwrap() - i128::from(at.0)
            };
            let mut least = i128::MAX;
            for at in (0..).zip(taken).map(ahead) {
                least = least.min(at);
                let most = i128::try_from(pace * u128::from(burst - 1)).unwrap();
                prop_assert!(at - least <= most);
            }
        }
    }
}
