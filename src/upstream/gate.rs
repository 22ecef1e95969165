//! The gate, shared by all polls: its state is read, changed and logged here.

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{Clock, Jitter};
use crate::core::machines::gate::{self, Episodes, GateState, PollEnd, Ticket};
pub use crate::core::machines::gate::{Credentials, GateReason, GateReasonKind};
use crate::core::recurring::{Recurring, Report};
use crate::core::time::{Now, millis};

/// The gate ([`gate::Gate`]).
#[derive(Debug)]
pub struct Gate {
    clock: Clock,
    jitter: Jitter,
    machine: Mutex<gate::Gate>,
    logged: Mutex<Logged>,
    changes: watch::Sender<()>,
}

impl Gate {
    pub(super) fn new(clock: Clock, jitter: Jitter, most: Duration) -> Self {
        Self {
            clock,
            jitter,
            machine: Mutex::new(gate::Gate::new(most)),
            logged: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// For how long no poll may be started, and why; `None` while it is open. It opens by itself, and [`Gate::changed`]
    /// resolves when that moves earlier or later.
    #[must_use]
    pub fn closed(&self) -> Option<(Duration, GateReason)> {
        let now = self.clock.monotonic();
        match self.machine.lock().state(now) {
            GateState::Open => None,
            GateState::Closed { until, reason } => Some((until.since(now), reason)),
        }
    }

    /// Until when all polls wait because the upstream asked for it.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        let until = self.machine.lock().pause(self.clock.moment(now))?;
        Some(self.clock.instant(until))
    }

    /// Whether the upstream throttles us, as far as the latest answer says.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.machine.lock().is_throttled()
    }

    /// Whether the upstream accepts our credentials.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.machine.lock().credentials().clone()
    }

    /// One sentence for everything that is wrong with the upstream now; empty when all is well.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        let now = self.clock.monotonic();
        self.machine.lock().degraded(now, for_people)
    }

    /// Resolves when the gate was closed or opened, its end moved, or its trial ended, after this call (not: after the
    /// first poll of the future). So call this, then read the gate, then await the future.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.changes.subscribe();
        async move {
            if changes.changed().await.is_err() {
                // The gate is gone, so nothing can change it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether the upstream gives no usable answers ([`gate::Gate::is_down`]).
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.machine.lock().is_down()
    }

    /// To be called when a poll is started.
    pub(super) fn begin(&self) -> Ticket {
        self.machine.lock().begin()
    }

    /// To be called when a poll is over.
    pub(super) fn note(&self, poll: &PollEnd<'_>) {
        self.change(|machine, now, random| machine.note(poll, now, random));
    }

    /// Sets the longest pause that the upstream can ask for; a present one is cut to it.
    pub(super) fn set_longest_pause(&self, most: Duration) {
        self.change(|machine, now, _| machine.set_longest_pause(most, now.monotonic));
    }

    /// Closes it for this long, as the upstream asked earlier.
    pub(super) fn pause_for(&self, left: Duration) {
        self.change(|machine, now, _| {
            machine.pause_until(now.monotonic.plus(left), now.monotonic);
        });
    }

    /// Opens it, unless our credentials are refused.
    pub(super) fn resume(&self) {
        self.change(|machine, _, _| machine.resume());
    }

    /// Reads it while nothing changes it.
    pub(super) fn read<T>(&self, read: impl FnOnce(&gate::Gate) -> T) -> T {
        read(&self.machine.lock())
    }

    /// Changes it; logs what that began and ended, and wakes those who wait for it.
    fn change(&self, change: impl FnOnce(&mut gate::Gate, Now, f64)) {
        let (now, random) = (self.clock.read(), self.jitter.fraction());
        // Held to the end, so that the log has the order of the changes.
        let mut logged = self.logged.lock();
        let (changed, episodes) = {
            let mut machine = self.machine.lock();
            let state =
                |gate: &gate::Gate| (gate.state(now.monotonic), gate.on_trial(now.monotonic));
            let before = state(&machine);
            change(&mut machine, now, random);
            (before != state(&machine), machine.episodes())
        };
        if changed {
            self.changes.send_replace(());
        }
        logged.log(&episodes, now);
    }
}

/// A duration for people, in whole seconds, rounded up.
fn for_people(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// What has been logged.
#[derive(Debug, Default)]
struct Logged {
    throttled: Recurring<GateReasonKind>,
    unauthorized: Recurring<GateReasonKind>,
    forbidden: Recurring<()>,
    down: Recurring<()>,
}

impl Logged {
    /// Logs what began and what ended since the last call.
    fn log(&mut self, episodes: &Episodes, now: Now) {
        let time = now.wall;
        for (logged, closure) in [
            (&mut self.throttled, &episodes.throttled),
            (&mut self.unauthorized, &episodes.unauthorized),
        ] {
            let kind = closure.as_ref().map(|closure| closure.reason.kind);
            match (logged.note(kind, time), closure) {
                (Some(Report::Begun(kind)), Some(closure)) => tracing::warn!(
                    reason = kind.as_str(),
                    error = closure.reason.detail,
                    retry_in_ms = millis(closure.until.since(now.monotonic)),
                    "{}: no polls until then",
                    kind.sentence()
                ),
                (Some(Report::Ended(kind)), _) => {
                    tracing::info!(reason = kind.as_str(), "polls are answered again");
                }
                _ => {}
            }
        }
        for (logged, error, begun, ended) in [
            (
                &mut self.forbidden,
                &episodes.forbidden,
                "the upstream forbids jobs to our credentials",
                "our credentials are no longer forbidden",
            ),
            (
                &mut self.down,
                &episodes.down,
                "the upstream gives no usable answers",
                "the upstream gives usable answers again",
            ),
        ] {
            match logged.note(error.as_ref().map(drop), time) {
                Some(Report::Begun(())) => tracing::warn!(error, "{begun}"),
                Some(Report::Ended(())) => tracing::info!("{ended}"),
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_shown_in_whole_seconds_rounded_up() {
        for (millis, shown) in [
            (1000, "1s"),
            (1001, "2s"),
            (89_500, "1m 30s"),
            (3_600_000, "1h"),
        ] {
            assert_eq!(for_people(Duration::from_millis(millis)), shown);
        }
    }
}
