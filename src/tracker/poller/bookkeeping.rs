//! The poller's own records: paused time for metrics, the API's pause and the progress of jobs for the next start.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::{FLUSH, Poller};
use crate::core::time::UnixMillis;
use crate::telemetry;
use crate::tracker::poll::schedule_update;
use crate::upstream::gate::GateState;

/// A pause of the API is recorded again only if its end has moved by more than this.
const PAUSE_STEP: Duration = Duration::from_secs(1);

/// Rows of progress sent to the writer at once; more would delay observations.
const FLUSH_PAGE: usize = 5000;

/// Counts the time for which the gate is closed.
#[derive(Debug, Default)]
pub(super) struct PausedTime {
    /// The time of the last call and the end of the closure, if the gate was closed then.
    open: Option<(Instant, Instant)>,
    /// Time not counted yet, less than a second.
    remainder: Duration,
}

impl PausedTime {
    /// Whole seconds of closure since the last call, given the present state of the gate.
    fn count(&mut self, gate: &GateState, now: Instant) -> u64 {
        if let Some((since, until)) = self.open.take() {
            self.remainder += now.min(until).saturating_duration_since(since);
        }
        if let GateState::Closed { until, .. } = gate {
            self.open = Some((now, *until));
        }
        let seconds = self.remainder.as_secs();
        self.remainder -= Duration::from_secs(seconds);
        seconds
    }
}

impl Poller {
    /// Counts the time since the last call if the gate was closed.
    pub(super) fn count_paused_time(&mut self) {
        let now = Instant::now();
        let gate = self.context.upstream.gate().state(now);
        telemetry::paused(self.paused_time.count(&gate, now));
    }

    /// Records the end of the API's pause, once per pause, so that it survives a restart.
    pub(super) fn record_pause(&mut self) {
        let now = Instant::now();
        let Some(pause) = self.context.upstream.gate().pause(now) else {
            self.recorded_pause = UnixMillis(0);
            return;
        };
        let until = self.context.clock.now().plus(pause - now);
        if until > self.recorded_pause.plus(PAUSE_STEP) {
            let origin = self.context.api_origin.clone();
            if self.context.recorder.upstream_paused(origin, until) {
                self.recorded_pause = until;
            }
        }
    }

    /// Sends the unrecorded progress to the writer; tries again later if the writer is busy.
    pub(super) fn flush(&mut self) {
        self.flush_at = None;
        let update = |id| {
            let job = self.jobs.get(id)?;
            Some(schedule_update(id, &job.progress, Some(job.next_poll_at)))
        };
        let mut updates: Vec<_> = self.unwritten.iter().filter_map(update).collect();
        // Sorted, so that the order is fixed.
        updates.sort_unstable_by(|one, other| one.job_id.cmp(&other.job_id));
        while !updates.is_empty() {
            let page = updates.drain(..updates.len().min(FLUSH_PAGE)).collect();
            if !self.context.recorder.scheduled(page) {
                self.flush_at = Some(Instant::now() + FLUSH);
                debug!("the writer is busy; progress is recorded later");
                return;
            }
        }
        self.unwritten.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::gate::{GateReason, GateReasonKind};

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_counted_while_it_lasts_and_no_longer() {
        let (mut paused, start) = (PausedTime::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let closed = |until| GateState::Closed {
            until: at(until),
            reason: GateReason {
                kind: GateReasonKind::Throttled,
                detail: String::new(),
            },
        };
        assert_eq!(paused.count(&GateState::Open, at(0)), 0);
        assert_eq!(
            paused.count(&closed(5000), at(3000)),
            0,
            "it was open before"
        );
        assert_eq!(paused.count(&closed(6000), at(4400)), 1);
        assert_eq!(
            paused.count(&GateState::Open, at(60_000)),
            2,
            "0.4 s and 1.6 s"
        );
        assert_eq!(paused.count(&closed(99_000), at(61_000)), 0);
        assert_eq!(paused.count(&GateState::Open, at(62_500)), 1, "cut short");
        assert_eq!(paused.count(&GateState::Open, at(90_000)), 0);
    }
}
