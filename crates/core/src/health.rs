//! The health of a webhook as a whole: after failures of several jobs in a row it is held, probed with one event at a time,
//! and ramped up again once it accepts one (docs/events-and-receiving.md, "After an outage").
//!
//! Failures of one event alone, however many, do not hold a webhook. Events that wait for a held webhook use up no entry of
//! their schedule.

use std::time::Duration;

use super::backoff::Backoff;
use super::delivery::AfterAttempt;
use super::job::JobId;
use super::planted::{self, Bug};
use super::time::UnixMillis;

/// Number of jobs whose events fail in a row, with no success between, until the webhook is held.
pub const HOLD_AFTER_JOBS: usize = 3;

/// Delays between the probes of a hold, independent of the schedules of the events that are sent.
pub const PROBE_PACE: Backoff = Backoff {
    initial: Duration::from_secs(1),
    multiplier: 2.0,
    max: Duration::from_secs(5 * 60),
};

/// The health of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Events are sent without limits of the hold. Left when [`HOLD_AFTER_JOBS`] jobs have failed in a row.
    Ready(Failing),
    /// Nothing but probes is sent, one at a time. Left by any success.
    Held(Hold),
    /// It has accepted a probe. Left upwards when `allowed` reaches the webhook's `max_in_flight`, and back into a hold when
    /// [`HOLD_AFTER_JOBS`] jobs have failed in a row; events that had failed before do not count.
    Ramping {
        /// Most requests at once, at least 1.
        allowed: u32,
        /// Successes in a row since `allowed` was raised last.
        taken: u32,
        /// Failures since the last success.
        failing: Failing,
    },
}

/// Failures in a row, with no success between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failing {
    /// How many.
    pub failures: u32,
    /// The different jobs whose events failed, fewer than [`HOLD_AFTER_JOBS`].
    pub jobs: Vec<JobId>,
}

/// A webhook that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Since when.
    pub since: UnixMillis,
    /// Failures in a row, probes included.
    pub failures: u32,
    /// Probes of this hold that failed.
    pub probes: u32,
    /// The earliest time of the next probe; `None`: at once.
    pub probe_at: Option<UnixMillis>,
    /// The event of the last probe.
    pub event_id: Option<String>,
}

impl Default for Health {
    fn default() -> Self {
        Self::Ready(Failing::default())
    }
}

/// The facts of an attempt that change the webhook's health.
#[derive(Debug, Clone, Copy)]
pub struct HealthEvidence<'a> {
    /// The event's job.
    pub job_id: &'a JobId,
    /// The event that was sent.
    pub event_id: &'a str,
    /// Whether it was sent as a probe of the hold.
    pub is_probe: bool,
    /// Whether an earlier attempt at the event failed.
    pub failed_before: bool,
    /// What follows for the event.
    pub after: AfterAttempt,
    /// Until when the webhook is paused at its request.
    pub paused_until: Option<UnixMillis>,
}

impl Health {
    /// The health after an attempt that ended at `now`. An answer that requests a pause is neither a failure nor a success.
    #[must_use]
    pub fn after(
        self,
        attempt: &HealthEvidence<'_>,
        max_in_flight: usize,
        now: UnixMillis,
    ) -> Self {
        if attempt.after == AfterAttempt::Delivered {
            return self.succeeded(max_in_flight);
        }
        if let Some(until) = attempt.paused_until {
            return match self {
                Self::Held(hold) if attempt.is_probe => Self::Held(Hold {
                    probe_at: Some(until),
                    ..hold
                }),
                other => other,
            };
        }
        self.failed(attempt, now)
    }

    /// Most requests that may be in flight at once.
    #[must_use]
    pub fn allowed(&self, max_in_flight: usize) -> usize {
        match self {
            Self::Ready(_) => max_in_flight,
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
            Self::Ready(failing) => failing.failures,
            Self::Held(hold) => hold.failures,
            Self::Ramping { failing, .. } => failing.failures,
        }
    }

    /// The hold, if it is held.
    #[must_use]
    pub fn hold(&self) -> Option<&Hold> {
        match self {
            Self::Held(hold) => Some(hold),
            Self::Ready(_) | Self::Ramping { .. } => None,
        }
    }

    /// The same, with the next probe no later than [`PROBE_PACE`] allows: a clock that was ahead may have set it.
    #[must_use]
    pub fn clamped(self, now: UnixMillis) -> Self {
        match self {
            Self::Held(hold) => Self::Held(Hold {
                since: hold.since.min(now),
                probe_at: hold.probe_at.map(|at| at.min(now.plus(PROBE_PACE.max))),
                ..hold
            }),
            other => other,
        }
    }

    fn succeeded(self, max_in_flight: usize) -> Self {
        let (allowed, taken) = match self {
            Self::Ready(_) => return Self::default(),
            Self::Held(_) => (1, 0),
            Self::Ramping { allowed, taken, .. } if taken + 1 < allowed => (allowed, taken + 1),
            Self::Ramping { allowed, .. } => (allowed.saturating_mul(2), 0),
        };
        if usize::try_from(allowed).is_ok_and(|allowed| allowed >= max_in_flight) {
            Self::default()
        } else {
            Self::Ramping {
                allowed,
                taken,
                failing: Failing::default(),
            }
        }
    }

    fn failed(self, attempt: &HealthEvidence<'_>, now: UnixMillis) -> Self {
        match self {
            Self::Ready(failing) => failing.and(attempt.job_id, now),
            Self::Held(hold) if attempt.is_probe => {
                let probes = hold.probes.saturating_add(1);
                Self::Held(Hold {
                    failures: hold.failures.saturating_add(1),
                    probes,
                    probe_at: Some(now.plus(PROBE_PACE.delay(probes.saturating_add(1)))),
                    event_id: Some(attempt.event_id.to_owned()),
                    ..hold
                })
            }
            // It was in flight when the hold began, or expires before the next probe.
            Self::Held(hold) => Self::Held(Hold {
                failures: hold.failures.saturating_add(1),
                ..hold
            }),
            ramping @ Self::Ramping { .. } if attempt.failed_before => ramping,
            Self::Ramping {
                allowed, failing, ..
            } => match failing.and(attempt.job_id, now) {
                Self::Ready(failing) => Self::Ramping {
                    allowed,
                    taken: 0,
                    failing,
                },
                held => held,
            },
        }
    }
}

impl Failing {
    /// The health after one more failure.
    fn and(mut self, job_id: &JobId, now: UnixMillis) -> Health {
        self.failures = self.failures.saturating_add(1);
        if !self.jobs.contains(job_id) {
            self.jobs.push(job_id.clone());
        }
        if self.jobs.len() < HOLD_AFTER_JOBS && !planted::is(Bug::HoldByOne) {
            Health::Ready(self)
        } else {
            Health::Held(Hold::new(self.failures, now))
        }
    }
}

impl Hold {
    fn new(failures: u32, now: UnixMillis) -> Self {
        Self {
            since: now,
            failures,
            probes: 0,
            probe_at: Some(now.plus(PROBE_PACE.delay(1))),
            event_id: None,
        }
    }
}

#[cfg(test)]
mod tests;
