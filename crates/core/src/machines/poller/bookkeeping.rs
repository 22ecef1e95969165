//! What the poller has recorded: paused time for metrics, the API's pause and the progress of jobs for the next start.

use std::time::Duration;

use super::{Effect, Poller, Report};
use crate::batch::ScheduleUpdate;
use crate::machines::gate::{Gate, GateState};
use crate::time::{Monotonic, Now, UnixMillis};

/// A pause of the API is recorded again only if its end has moved by more than this.
const PAUSE_STEP: Duration = Duration::from_secs(1);

/// Rows of progress recorded at once; more would delay observations.
const FLUSH_PAGE: usize = 5000;

/// Counts the time for which the gate is closed.
#[derive(Debug, Default)]
pub(super) struct PausedTime {
    /// The time of the last call and the end of the closure, if the gate was closed then.
    open: Option<(Monotonic, Monotonic)>,
    /// Time not counted yet, less than a second.
    remainder: Duration,
}

impl PausedTime {
    /// Whole seconds of closure since the last call, given the end of the present one.
    fn count(&mut self, closed_until: Option<Monotonic>, now: Monotonic) -> u64 {
        if let Some((since, until)) = self.open.take() {
            self.remainder += now.min(until).since(since);
        }
        self.open = closed_until.map(|until| (now, until));
        let seconds = self.remainder.as_secs();
        self.remainder -= Duration::from_secs(seconds);
        seconds
    }
}

impl Poller {
    /// Counts the time since the last call if the gate was closed.
    pub(super) fn count_paused_time(&mut self, now: Monotonic, gate: &Gate) {
        let closed_until = match gate.state(now) {
            GateState::Closed { until, .. } => Some(until),
            GateState::Open => None,
        };
        let seconds = self.paused_time.count(closed_until, now);
        if seconds > 0 {
            self.effects.push(Effect::Report(Report::Paused(seconds)));
        }
    }

    /// Has the end of the API's pause recorded, once per pause, so that it survives a restart.
    pub(super) fn record_pause(&mut self, now: Now, gate: &Gate) {
        let Some(pause) = gate.pause(now.monotonic) else {
            self.recorded_pause = UnixMillis(0);
            return;
        };
        let until = now.wall.plus(pause.since(now.monotonic));
        if until > self.recorded_pause.plus(PAUSE_STEP) {
            let origin = self.settings.api_origin.clone();
            self.recorded_pause = until;
            self.effects.push(Effect::RecordPause(origin, until));
        }
    }

    /// Has the progress recorded that is not yet.
    pub fn flush(&mut self) {
        self.flush_at = None;
        let unwritten = std::mem::take(&mut self.unwritten);
        let mut updates = unwritten.into_iter().filter_map(|id| {
            let job = self.jobs.get(&id)?;
            Some(ScheduleUpdate {
                progress: job.progress.clone(),
                next_poll_at: Some(job.next_poll_at),
                job_id: id,
            })
        });
        loop {
            let page: Vec<ScheduleUpdate> = updates.by_ref().take(FLUSH_PAGE).collect();
            if page.is_empty() {
                return;
            }
            self.effects.push(Effect::RecordProgress(page));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_counted_while_it_lasts_and_no_longer() {
        let mut paused = PausedTime::default();
        let at = |ms| Monotonic::default().plus(Duration::from_millis(ms));
        assert_eq!(paused.count(None, at(0)), 0);
        assert_eq!(paused.count(Some(at(5000)), at(3000)), 0, "it was open");
        assert_eq!(paused.count(Some(at(6000)), at(4400)), 1);
        assert_eq!(paused.count(None, at(60_000)), 2, "0.4 s and 1.6 s");
        assert_eq!(paused.count(Some(at(99_000)), at(61_000)), 0);
        assert_eq!(paused.count(None, at(62_500)), 1, "cut short");
        assert_eq!(paused.count(None, at(90_000)), 0);
    }
}
