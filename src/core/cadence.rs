//! When a job is polled next.

use std::time::Duration;

use super::backoff::{Backoff, spread};

/// The `[polling]` section (contract, section 6).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PollingPolicy {
    /// Delay after the first poll, and after every poll that saw a transition.
    pub initial_delay: Duration,
    /// Growth of the delay while nothing happens, at least 1.
    pub multiplier: f64,
    /// Largest delay while all is well.
    pub max_delay: Duration,
    /// Part of a delay by which it is randomly shortened or lengthened, 0 to 1.
    pub jitter: f64,
    /// Largest delay after polls that failed.
    pub error_max_delay: Duration,
    /// Delay while a step is queued by the API (`temporary-unavailable-queued`).
    pub queued_delay: Duration,
    /// How long 404 and 410 are taken as "not there yet".
    pub not_found_grace: Duration,
    /// Age at which a job without a deadline of its own expires.
    pub deadline: Duration,
}

impl Default for PollingPolicy {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_secs(1),
            multiplier: 1.5,
            max_delay: Duration::from_secs(30),
            jitter: 0.1,
            error_max_delay: Duration::from_secs(5 * 60),
            queued_delay: Duration::from_secs(2 * 60 * 60),
            not_found_grace: Duration::from_secs(2 * 60),
            deadline: Duration::from_secs(8 * 24 * 60 * 60),
        }
    }
}

/// Growth of the delay after polls that failed; the cadence's own multiplier may be as small as 1.
const ERROR_MULTIPLIER: f64 = 2.0;

impl PollingPolicy {
    /// The delay after a good poll: `quiet_polls` is how many good polls in a row have seen no transition, this one
    /// included (0: this one saw a transition). `random` lies in 0..1.
    #[must_use]
    pub fn delay(&self, quiet_polls: u32, random: f64) -> Duration {
        let curve = Backoff {
            initial: self.initial_delay,
            multiplier: self.multiplier,
            max: self.max_delay,
        };
        spread(
            curve.delay(quiet_polls.saturating_add(1)),
            self.jitter,
            random,
        )
    }

    /// The delay after `errors` polls in a row that failed. `random` lies in 0..1.
    #[must_use]
    pub fn error_delay(&self, errors: u32, random: f64) -> Duration {
        let curve = Backoff {
            initial: self.initial_delay,
            multiplier: ERROR_MULTIPLIER,
            max: self.error_max_delay,
        };
        spread(curve.delay(errors), self.jitter, random)
    }

    /// The delay while a step is queued by the API. `random` lies in 0..1.
    #[must_use]
    pub fn queued_delay(&self, random: f64) -> Duration {
        spread(self.queued_delay, self.jitter, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_while_nothing_happens_and_returns_after_a_transition() {
        let policy = PollingPolicy::default();
        let millis = |quiet| policy.delay(quiet, 0.5).as_millis();
        assert_eq!(
            [millis(0), millis(1), millis(2), millis(9)],
            [1000, 1500, 2250, 30_000]
        );
        assert_eq!(policy.delay(0, 0.0), Duration::from_millis(900));
    }

    #[test]
    fn errors_have_their_own_curve_up_to_their_own_maximum() {
        let policy = PollingPolicy::default();
        let seconds = |errors| policy.error_delay(errors, 0.5).as_secs();
        assert_eq!(
            [seconds(1), seconds(2), seconds(3), seconds(9), seconds(10)],
            [1, 2, 4, 256, 300]
        );
        assert_eq!(policy.queued_delay(0.5), Duration::from_secs(7200));
    }
}
