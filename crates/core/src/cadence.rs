//! When a job is polled next.

use std::time::Duration;

use serde::Serialize;

use super::backoff::{Backoff, spread};
use super::planted::{self, Bug};
use super::time::UnixMillis;

/// The `[polling]` section (docs/configuration.md, "Keys").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PollingPolicy {
    /// Delay after the first poll, and after every poll that saw a transition.
    pub initial_delay: Duration,
    /// Growth of the delay while nothing happens, at least 1.
    pub multiplier: f64,
    /// Largest delay while polls succeed.
    pub max_delay: Duration,
    /// Part of a delay by which it is randomly shortened or lengthened, 0 to 1.
    pub jitter: f64,
    /// Largest delay after polls that failed.
    pub error_max_delay: Duration,
    /// Delay while a step is queued by the API (`temporary-unavailable-queued`).
    pub queued_delay: Duration,
    /// How long 404 and 410 mean "not there yet".
    pub not_found_grace: Duration,
    /// Age at which a job without its own deadline expires.
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

/// Growth of the delay after polls that failed; the configured multiplier may be as small as 1.
const ERROR_MULTIPLIER: f64 = 2.0;

impl PollingPolicy {
    /// The delay after a good poll: `quiet_polls` is how many good polls in a row have seen no transition, this one
    /// included (0: this one saw a transition). `random` is in 0..1.
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

    /// The delay after `errors` polls in a row that failed. `random` is in 0..1.
    #[must_use]
    pub fn error_delay(&self, errors: u32, random: f64) -> Duration {
        let curve = Backoff {
            initial: self.initial_delay,
            multiplier: ERROR_MULTIPLIER,
            max: self.error_max_delay,
        };
        spread(curve.delay(errors), self.jitter, random)
    }

    /// The delay while a step is queued by the API. `random` is in 0..1.
    #[must_use]
    pub fn queued_delay(&self, random: f64) -> Duration {
        spread(self.queued_delay, self.jitter, random)
    }
}

/// How long a job is polled often after a poll was requested while a challenge was open: a bank takes seconds, rarely
/// minutes.
const HOT: Duration = Duration::from_secs(2 * 60);

/// Most requests that are counted: the maximum of the column.
const MAX_POLLS: u64 = i64::MAX.unsigned_abs();

/// The outcomes of one job's polls so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Requests made for it.
    pub polls: u64,
    /// Good polls in a row that saw no transition.
    pub quiet_polls: u32,
    /// Failed polls in a row.
    pub consecutive_errors: u32,
    /// The error of the last failed poll; kept after a success.
    pub last_error: Option<String>,
    /// When it was last polled.
    pub last_polled_at: Option<UnixMillis>,
    /// When the API first answered 404 or 410 without a good answer since.
    pub not_found_since: Option<UnixMillis>,
    /// Whether a step waits in the API's retry queue.
    pub queued: bool,
    /// Whether the job has passed a bound (docs/jobs.md, "Bounds of one job").
    #[serde(skip)]
    pub limited: bool,
    /// Whether a step waits for the user. In memory only, like the next two: the next good answer sets it again.
    #[serde(skip)]
    pub has_challenge: bool,
    /// Until when the delay does not grow, because the user has answered and the bank works.
    #[serde(skip)]
    pub hot_until: Option<UnixMillis>,
    /// The fingerprint of the last answer, if it was stale, and how many in a row had it.
    #[serde(skip)]
    pub stale: Option<(u64, u32)>,
}

/// This many equal stale answers in a row are accepted (docs/jobs.md, "Stale answers").
const ACCEPTED_AFTER: u32 = 3;

/// The `last_error` of a job that has passed a bound.
const LIMITED: &str = "the job has passed a bound (10,000 transitions, 10,000 events, 1,000 vanished steps, 64 MiB of events); \
                       only its end is recorded";

impl Progress {
    /// Counts the requests of a poll that ended at `now`, whatever its outcome.
    pub fn count(&mut self, requests: u32, now: UnixMillis) {
        if requests > 0 {
            let polls = self.polls.saturating_add(u64::from(requests));
            self.polls = polls.min(MAX_POLLS);
            self.last_polled_at = Some(now);
        }
    }

    /// Records a good poll. `moved`: it saw a transition, or the job for the first time.
    pub fn good(&mut self, moved: bool, queued: bool) {
        self.quiet_polls = if moved {
            0
        } else {
            self.quiet_polls.saturating_add(1)
        };
        self.consecutive_errors = 0;
        self.not_found_since = None;
        self.queued = queued;
    }

    /// Records a stale answer; returns whether it is believed, because it came often enough in a row.
    pub fn stale(&mut self, fingerprint: u64) -> bool {
        let again = self.stale.filter(|(before, _)| *before == fingerprint);
        let times = again.map_or(1, |(_, times)| times + 1);
        self.stale = (times < ACCEPTED_AFTER).then_some((fingerprint, times));
        times >= ACCEPTED_AFTER
    }

    /// Records that the job has passed a bound; returns whether that is new.
    pub fn limit(&mut self) -> bool {
        self.last_error = Some(LIMITED.to_owned());
        !std::mem::replace(&mut self.limited, true)
    }

    /// Records a request to poll at once. While a challenge is open that means that it was answered, so delays are short
    /// for two minutes.
    pub fn poll_requested(&mut self, now: UnixMillis) {
        if self.has_challenge {
            self.hot_until = Some(now.plus(HOT));
        }
    }

    /// Records a poll that failed.
    pub fn failed(&mut self, error: String) {
        self.consecutive_errors = self.consecutive_errors.saturating_add(1);
        self.last_error = Some(error);
    }

    /// Records a 404 or 410 seen at `now`; returns whether the grace is over.
    pub fn not_found(&mut self, error: String, now: UnixMillis, policy: &PollingPolicy) -> bool {
        // A time in the future was recorded by a clock that was ahead.
        let since = self.not_found_since.filter(|since| *since <= now);
        let since = *self.not_found_since.insert(since.unwrap_or(now));
        self.failed(error);
        now.since(since) >= policy.not_found_grace || planted::is(Bug::NoGrace)
    }

    /// Upper bound of the delay before the next poll, jitter included; `longest_pause` is the longest `Retry-After` accepted
    /// after a failed poll.
    #[must_use]
    pub fn longest_delay(&self, policy: &PollingPolicy, longest_pause: Duration) -> Duration {
        let longest = |delay| spread(delay, policy.jitter, 1.0);
        match self.consecutive_errors {
            0 if self.queued && !self.limited => longest(policy.queued_delay),
            0 => longest(policy.max_delay),
            _ => longest(policy.error_max_delay).max(longest_pause),
        }
    }

    /// How long after `now` the next poll is due. `random` is in 0..1.
    #[must_use]
    pub fn next_delay(&self, now: UnixMillis, policy: &PollingPolicy, random: f64) -> Duration {
        if self.consecutive_errors > 0 {
            let delay = policy.error_delay(self.consecutive_errors, random);
            // One poll comes exactly at the end of the grace. If that fails in another way, the job backs off as usual.
            let left = self
                .not_found_since
                .map(|since| since.plus(policy.not_found_grace).since(now))
                .filter(|left| !left.is_zero());
            return left.map_or(delay, |left| delay.min(left));
        }
        if self.limited {
            return spread(policy.max_delay, policy.jitter, random);
        }
        if self.queued {
            return policy.queued_delay(random);
        }
        let hot = |until| now < until && until <= now.plus(HOT);
        let hot = self.hot_until.is_some_and(hot);
        policy.delay(if hot { 0 } else { self.quiet_polls }, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_an_error_and_the_queue_choose_the_curve() {
        let policy = PollingPolicy::default();
        let mut progress = Progress::default();
        let delay =
            |progress: &Progress| progress.next_delay(UnixMillis(0), &policy, 0.5).as_millis();
        progress.good(true, false);
        assert_eq!(delay(&progress), 1000);
        progress.good(false, false);
        progress.good(false, false);
        assert_eq!(delay(&progress), 2250);
        progress.failed("503".to_owned());
        progress.failed("503".to_owned());
        assert_eq!(delay(&progress), 2000);
        progress.good(false, true);
        assert_eq!(delay(&progress), 7_200_000);
        progress.good(true, false);
        assert_eq!(delay(&progress), 1000);
        assert_eq!(progress.last_error.as_deref(), Some("503"));
    }

    #[test]
    fn the_grace_of_a_404_ends_with_a_poll_and_starts_again_after_a_good_one() {
        let policy = PollingPolicy {
            not_found_grace: Duration::from_millis(2500),
            ..PollingPolicy::default()
        };
        let mut progress = Progress::default();
        assert!(!progress.not_found("404".to_owned(), UnixMillis(10_000), &policy));
        assert!(!progress.not_found("404".to_owned(), UnixMillis(11_000), &policy));
        assert_eq!(
            progress
                .next_delay(UnixMillis(11_000), &policy, 0.5)
                .as_millis(),
            1500
        );
        assert!(progress.not_found("404".to_owned(), UnixMillis(12_500), &policy));
        progress.good(false, false);
        assert!(!progress.not_found("404".to_owned(), UnixMillis(99_000), &policy));
        let no_grace = PollingPolicy {
            not_found_grace: Duration::ZERO,
            ..policy
        };
        assert!(Progress::default().not_found("404".to_owned(), UnixMillis(1), &no_grace));
    }

    #[test]
    fn an_outage_that_outlasts_the_grace_of_a_404_leads_to_backoff() {
        let policy = PollingPolicy::default();
        let mut progress = Progress::default();
        let mut now = UnixMillis(0);
        assert!(!progress.not_found("404".to_owned(), now, &policy));
        let delays: Vec<u64> = (0..12)
            .map(|_| {
                progress.failed("503".to_owned());
                let delay = progress.next_delay(now, &policy, 0.5);
                now = now.plus(delay);
                delay.as_secs()
            })
            .collect();
        assert_eq!(delays, [2, 4, 8, 16, 32, 58, 128, 256, 300, 300, 300, 300]);
    }

    #[test]
    fn a_request_to_poll_while_a_challenge_is_open_keeps_the_delays_short_for_a_while() {
        let policy = PollingPolicy::default();
        let mut progress = Progress::default();
        let quiet = |progress: &mut Progress, now: u64| {
            progress.good(false, false);
            let now = UnixMillis(0).plus(Duration::from_secs(now));
            progress.next_delay(now, &policy, 0.5).as_millis()
        };
        for _ in 0..9 {
            quiet(&mut progress, 0);
        }
        progress.poll_requested(UnixMillis(0));
        assert_eq!(quiet(&mut progress, 1), 30_000, "nothing was answered");
        progress.has_challenge = true;
        progress.poll_requested(UnixMillis(0));
        progress.has_challenge = false;
        let hot = [1, 2, 60, 119].map(|now| quiet(&mut progress, now));
        assert_eq!(hot, [1000; 4]);
        assert_eq!(quiet(&mut progress, 120), 30_000);
    }

    #[test]
    fn times_recorded_by_a_clock_that_was_ahead_are_ignored() {
        let policy = PollingPolicy::default();
        let now = UnixMillis(0);
        let ahead = now.plus(Duration::from_secs(365 * 24 * 60 * 60));
        let mut progress = Progress {
            quiet_polls: 9,
            hot_until: Some(ahead),
            ..Progress::default()
        };
        assert_eq!(progress.next_delay(now, &policy, 0.5), policy.max_delay);
        progress.not_found_since = Some(ahead);
        assert!(!progress.not_found("404".to_owned(), now, &policy));
        let over = now.plus(policy.not_found_grace);
        assert!(progress.not_found("404".to_owned(), over, &policy));
    }

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
