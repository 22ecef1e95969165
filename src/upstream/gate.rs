//! When no polls are started at all, and whether the upstream accepts our credentials.

mod closure;

mod throttle;

mod machine;

use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

pub use closure::{Credentials, GateReason, GateReasonKind, GateState};
use closure::{Moment, Ticket};
use machine::{Episodes, Machine};
pub(super) use machine::{PollEnd, Signal};

use crate::clock::{Clock, Jitter};
use crate::core::job::JobId;
use crate::core::recurring::{Recurring, Report};
use crate::core::time::millis;

/// The gate, shared by all polls.
#[derive(Debug)]
pub struct Gate {
    clock: Clock,
    jitter: Jitter,
    machine: Mutex<Machine>,
    logged: Mutex<Logged>,
    changes: watch::Sender<()>,
}

impl Gate {
    pub(super) fn new(clock: Clock, jitter: Jitter, most: Duration) -> Self {
        Self {
            clock,
            jitter,
            machine: Mutex::new(Machine::new(most)),
            logged: Mutex::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// Whether a poll may be started at `now`.
    #[must_use]
    pub fn state(&self, now: Instant) -> GateState {
        self.machine.lock().state(now)
    }

    /// Whether the gate was closed, is open again at `now`, and no poll has been answered since. At most one poll should be
    /// in flight then, so that an upstream that still refuses gets one request, not one for each job.
    #[must_use]
    pub fn on_trial(&self, now: Instant) -> bool {
        self.machine.lock().on_trial(now)
    }

    /// The only job that was throttled, if any: the poll on trial should be of another, to see whether all are.
    #[must_use]
    pub fn suspect(&self) -> Option<JobId> {
        self.machine.lock().throttling().alone().cloned()
    }

    /// Until when all polls wait because the upstream asked for it.
    #[must_use]
    pub fn pause(&self, now: Instant) -> Option<Instant> {
        self.machine.lock().throttling().pause(now)
    }

    /// Whether the upstream throttles us, as far as the latest answer says.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.machine.lock().throttling().closure().is_some()
    }

    /// Whether the upstream accepts our credentials.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.machine.lock().credentials().clone()
    }

    /// One sentence for everything that is wrong with the upstream now; empty when all is well.
    #[must_use]
    pub fn degraded(&self) -> Vec<String> {
        self.machine.lock().degraded(Instant::now())
    }

    /// Resolves when the gate was closed or opened, its end moved, or its trial ended, after this call (not: after the
    /// first poll of the future). So call this, then read [`Gate::state`], then await the future.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.changes.subscribe();
        async move {
            if changes.changed().await.is_err() {
                // The gate is gone, so nothing can change it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether the upstream gives no usable answers: none or 5xx to three polls in a row, or to three different jobs what is
    /// not the job, while no job was read.
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
        self.change(|machine, moment| machine.note(poll, moment));
    }

    /// Closes it for this long, as the upstream asked earlier.
    pub(super) fn pause_for(&self, left: Duration) {
        self.change(|machine, moment| machine.pause_until(moment.now + left));
    }

    /// Opens it, unless our credentials are refused.
    pub(super) fn resume(&self) {
        self.change(|machine, _| machine.resume());
    }

    fn change(&self, change: impl FnOnce(&mut Machine, &Moment)) {
        let moment = Moment {
            now: Instant::now(),
            time_of_day: self.clock.now(),
            random: self.jitter.fraction(),
        };
        // Held to the end, so that the log has the order of the changes.
        let mut logged = self.logged.lock();
        let (episodes, changed) = {
            let mut machine = self.machine.lock();
            let state =
                |machine: &Machine| (machine.state(moment.now), machine.on_trial(moment.now));
            let before = state(&machine);
            change(&mut machine, &moment);
            (machine.episodes(), before != state(&machine))
        };
        if changed {
            self.changes.send_replace(());
        }
        logged.log(&episodes, &moment);
    }
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
    fn log(&mut self, episodes: &Episodes, moment: &Moment) {
        let time = moment.time_of_day;
        for (logged, closure) in [
            (&mut self.throttled, &episodes.throttled),
            (&mut self.unauthorized, &episodes.unauthorized),
        ] {
            let kind = closure.as_ref().map(|closure| closure.reason.kind);
            match (logged.note(kind, time), closure) {
                (Some(Report::Begun(kind)), Some(closure)) => tracing::warn!(
                    reason = kind.as_str(),
                    error = closure.reason.detail,
                    retry_in_ms = millis(closure.until.saturating_duration_since(moment.now)),
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
