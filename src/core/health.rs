//! The health of a webhook as a whole: after failures in a row it is held, probed with one event at a time, and ramped up
//! again once it takes one (WEBHOOK-RULES, section 6).
//!
//! What waits meanwhile uses up nothing of its schedule: an outage costs the probed event its retries, and no other.

use std::time::Duration;

use super::delivery::AfterAttempt;
use super::time::UnixMillis;

/// Failures in a row, over all lanes, after which a webhook is held.
pub const HOLD_AFTER: u32 = 5;

/// Pause between the last attempt of an event that was probed in vain and the probe with the next one, where the webhook's
/// `retry` has no entry to say so.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

/// How a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It takes events, as far as is known. Left after [`HOLD_AFTER`] failures in a row.
    Ready {
        /// Failures in a row so far.
        failures: u32,
    },
    /// Nothing but probes is sent, one at a time. Left by any success.
    Held(Hold),
    /// It has taken a probe. Left upwards when `allowed` reaches the webhook's `max_in_flight`, and by the first failure
    /// back into a hold.
    Ramping {
        /// Most requests at once, at least 1.
        allowed: u32,
        /// Successes since `allowed` was raised last.
        taken: u32,
    },
}

/// A webhook that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
    pub since: UnixMillis,
    /// Failures in a row, probes included.
    pub failures: u32,
    /// No probe earlier; `None`: at once.
    pub probe_at: Option<UnixMillis>,
    /// The event that is sent as a probe while it is pending; `None`: the one that is due first.
    pub event_id: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self::Ready { failures: 0 }
    }
}

/// An attempt, as far as the webhook's health is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'a> {
    /// The event that was sent.
    pub event_id: &'a str,
    /// Whether it was sent because the webhook is held.
    pub is_probe: bool,
    /// Whether it was answered with 2xx.
    pub is_success: bool,
    /// What follows for the event.
    pub after: AfterAttempt,
}

impl Health {
    /// The health after an attempt that ended at `now`. A webhook that asks for a rest neither fails nor succeeds.
    #[must_use]
    pub fn after(
        self,
        tried: &Tried<'_>,
        retry: &[Duration],
        max_in_flight: usize,
        now: UnixMillis,
    ) -> Self {
        if tried.is_success {
            return self.succeeded(max_in_flight);
        }
        if let AfterAttempt::Rest(until) = tried.after {
            return match self {
                Self::Held(hold) if tried.is_probe => Self::Held(Hold {
                    probe_at: Some(until),
                    ..hold
                }),
                other => other,
            };
        }
        self.failed(tried, retry, now)
    }

    /// Most requests that may be under way at once.
    #[must_use]
    pub fn allowed(&self, max_in_flight: usize) -> usize {
        match self {
            Self::Ready { .. } => max_in_flight,
            Self::Held(_) => 1,
            Self::Ramping { allowed, .. } => usize::try_from(*allowed)
                .unwrap_or(usize::MAX)
                .clamp(1, max_in_flight.max(1)),
        }
    }

    /// Failures in a row so far.
    #[must_use]
    pub fn failures(&self) -> u32 {
        match self {
            Self::Ready { failures } => *failures,
            Self::Held(hold) => hold.failures,
            Self::Ramping { .. } => 0,
        }
    }

    /// The hold, if it is held.
    #[must_use]
    pub fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Held(hold) => Some(hold),
            Self::Ready { .. } | Self::Ramping { .. } => None,
        }
    }

    fn succeeded(self, max_in_flight: usize) -> Self {
        let (allowed, taken) = match self {
            Self::Ready { .. } => return Self::default(),
            Self::Held(_) => (1, 0),
            Self::Ramping { allowed, taken } if taken + 1 < allowed => (allowed, taken + 1),
            Self::Ramping { allowed, .. } => (allowed.saturating_mul(2), 0),
        };
        if usize::try_from(allowed).is_ok_and(|allowed| allowed >= max_in_flight) {
            Self::default()
        } else {
            Self::Ramping { allowed, taken }
        }
    }

    fn failed(self, tried: &Tried<'_>, retry: &[Duration], now: UnixMillis) -> Self {
        let next = match tried.after {
            AfterAttempt::Retry(at) => at,
            _ => now.plus(retry.first().copied().unwrap_or(PROBE_PAUSE)),
        };
        match self {
            Self::Ready { failures } if failures + 1 < HOLD_AFTER => Self::Ready {
                failures: failures + 1,
            },
            Self::Held(hold) if tried.is_probe => Self::Held(Hold {
                failures: hold.failures.saturating_add(1),
                probe_at: Some(next),
                event_id: is_retried(tried).then(|| tried.event_id.to_owned()),
                ..hold
            }),
            // It was under way when the hold began.
            Self::Held(hold) => Self::Held(Hold {
                failures: hold.failures.saturating_add(1),
                ..hold
            }),
            Self::Ready { .. } | Self::Ramping { .. } => Self::Held(Hold {
                since: now,
                failures: match self {
                    Self::Ready { failures } => failures.saturating_add(1),
                    _ => 1,
                },
                probe_at: Some(next),
                event_id: None,
            }),
        }
    }
}

fn is_retried(tried: &Tried<'_>) -> bool {
    matches!(tried.after, AfterAttempt::Retry(_))
}

#[cfg(test)]
mod tests;
