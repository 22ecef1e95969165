//! What the poller writes down for people and for the next start.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::{FLUSH, Poller};
use crate::core::time::UnixMillis;
use crate::tracker::look::schedule_update;
use crate::upstream::gate::GateReasonKind;

/// A pause of the upstream is written down again only when it ends this much later.
const PAUSE_STEP: Duration = Duration::from_secs(1);

/// Rows of bookkeeping handed to the writer at once; more of them would keep it from what happened meanwhile.
const FLUSH_PAGE: usize = 5000;

impl Poller {
    /// Writes down until when the upstream wants to be left alone, once per pause: a restart must not forget it.
    pub(super) fn note_pause(&mut self, kind: GateReasonKind, until: UnixMillis) {
        let known = self.noted_pause.plus(PAUSE_STEP);
        if kind == GateReasonKind::Throttled && until > known {
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
