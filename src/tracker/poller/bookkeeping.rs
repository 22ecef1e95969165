//! What the poller writes down for people and for the next start.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::{FLUSH, Poller};
use crate::core::time::UnixMillis;
use crate::telemetry;
use crate::tracker::look::schedule_update;
use crate::upstream::gate::GateState;

/// A pause of the upstream is written down again only when it ends this much later.
const PAUSE_STEP: Duration = Duration::from_secs(1);

/// Rows of bookkeeping handed to the writer at once; more of them would keep it from what happened meanwhile.
const FLUSH_PAGE: usize = 5000;

/// The time in which no poll may be started, counted as it goes by.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    /// From when on, and until when at most, as of the last look at the gate.
    open: Option<(Instant, Instant)>,
    /// Less than a second, not counted yet.
    rest: Duration,
}

impl HeldBack {
    /// Whole seconds since the last look, when the gate is in this state now.
    fn count(&mut self, gate: &GateState, now: Instant) -> u64 {
        if let Some((since, until)) = self.open.take() {
            self.rest += now.min(until).saturating_duration_since(since);
        }
        if let GateState::Closed { until, .. } = gate {
            self.open = Some((now, *until));
        }
        let seconds = self.rest.as_secs();
        self.rest -= Duration::from_secs(seconds);
        seconds
    }
}

impl Poller {
    /// Counts the time since the last look at the gate, if it was closed.
    pub(super) fn count_pause(&mut self) {
        let now = Instant::now();
        let gate = self.surroundings.upstream.gate().state(now);
        telemetry::paused(self.held_back.count(&gate, now));
    }

    /// Writes down until when all polls wait because the upstream asked for it, once per pause: a restart must not forget it.
    pub(super) fn note_pause(&mut self) {
        let now = Instant::now();
        let Some(pause) = self.surroundings.upstream.gate().pause(now) else {
            self.noted_pause = UnixMillis(0);
            return;
        };
        let until = self.surroundings.clock.now().plus(pause - now);
        if until > self.noted_pause.plus(PAUSE_STEP) {
            let origin = self.surroundings.api_origin.clone();
            if self.surroundings.recorder.upstream_paused(origin, until) {
                self.noted_pause = until;
            }
        }
    }

    /// Hands what is not written down yet to the writer, unless it is busy; then it is tried again.
    pub(super) fn flush(&mut self) {
        self.flush_at = None;
        let written = |id| {
            let job = self.jobs.get(id)?;
            Some(schedule_update(id, &job.progress, Some(job.next_poll_at)))
        };
        let updates: Vec<_> = self.unwritten.iter().filter_map(written).collect();
        for page in updates.chunks(FLUSH_PAGE) {
            if !self.surroundings.recorder.scheduled(page.to_vec()) {
                self.flush_at = Some(Instant::now() + FLUSH);
                debug!("the writer is busy; where polling stands is written down later");
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
    async fn a_pause_is_counted_as_it_goes_by_and_no_longer_than_it_lasts() {
        let (mut held, start) = (HeldBack::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let closed = |until| GateState::Closed {
            until: at(until),
            reason: GateReason {
                kind: GateReasonKind::Throttled,
                detail: String::new(),
            },
        };
        assert_eq!(held.count(&GateState::Open, at(0)), 0);
        assert_eq!(held.count(&closed(5000), at(3000)), 0, "it was open before");
        assert_eq!(held.count(&closed(6000), at(4400)), 1);
        assert_eq!(
            held.count(&GateState::Open, at(60_000)),
            2,
            "0.4 s and 1.6 s"
        );
        assert_eq!(held.count(&closed(99_000), at(61_000)), 0);
        assert_eq!(held.count(&GateState::Open, at(62_500)), 1, "cut short");
        assert_eq!(held.count(&GateState::Open, at(90_000)), 0);
    }
}
