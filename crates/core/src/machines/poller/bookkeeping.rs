//! What the poller has recorded: paused time for metrics, the API's pause and the progress of jobs for the next start.

use std::time::Duration;

use super::kept::Soon;
use super::number::Number;
use super::{Effect, FLUSH, Poller, Report};
use crate::batch::ScheduleUpdate;
use crate::cadence::Progress;
use crate::machines::gate::{Gate, GateState};
use crate::time::{Monotonic, Now, UnixMillis};

/// A pause of the API is recorded again only if its end has moved by more than this.
const PAUSE_STEP: Duration = Duration::from_secs(1);

/// Rows of progress recorded at once; more would delay observations.
const FLUSH_PAGE: usize = 5000;

/// Each second the progress of at least so many jobs is recorded, beside what has to be there after a crash, …
const FLUSH_LEAST: usize = 64;

/// … and that of one in so many of the most that waited for it. So it is recorded after about four minutes at the latest,
/// and a poll that changes nothing costs next to no writing, however many jobs there are (docs/tables.md).
const FLUSH_SHARE: usize = 256;

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

    /// The job's progress is to be recorded.
    pub(super) fn is_unwritten(&mut self, number: Number, soon: Soon, now: Monotonic) {
        let Some(job) = self.jobs.get_mut(number) else {
            return;
        };
        let is_known = std::mem::replace(&mut job.is_unwritten, true);
        match soon {
            // Its later entry, if there is one, does nothing then.
            Soon::Yes => {
                self.unwritten.push_front(number);
                self.unwritten_soon += 1;
            }
            Soon::No if is_known => return,
            Soon::No => self.unwritten.push_back(number),
        }
        self.flush_at.get_or_insert(now.plus(FLUSH));
    }

    /// Has all progress recorded that is not yet.
    pub fn flush(&mut self) {
        self.flush_some(usize::MAX);
        self.flush_at = None;
    }

    /// Has a share of it recorded, the oldest first.
    pub(super) fn flush_share(&mut self, now: Monotonic) {
        let share = self.unwritten.len().div_ceil(FLUSH_SHARE);
        self.flush_rows = self.flush_rows.max(share).max(FLUSH_LEAST);
        let soon = std::mem::take(&mut self.unwritten_soon);
        self.flush_some(self.flush_rows.max(soon));
        self.flush_at = (!self.unwritten.is_empty()).then(|| now.plus(FLUSH));
        if self.flush_at.is_none() {
            self.flush_rows = 0;
        }
    }

    fn flush_some(&mut self, most: usize) {
        let mut left = most.min(self.unwritten.len());
        while left > 0 {
            let page = left.min(FLUSH_PAGE);
            left -= page;
            let jobs = &mut self.jobs;
            let updates = self.unwritten.drain(..page).filter_map(|number| {
                let job = jobs.get_mut(number)?;
                // Of a job that is no longer followed there may be an entry, and of one that got its number.
                std::mem::take(&mut job.is_unwritten).then(|| ScheduleUpdate {
                    job_id: job.id.clone(),
                    created_at: job.created_at,
                    progress: Progress::from(&job.progress),
                    next_poll_at: Some(job.next_poll_at),
                })
            });
            let updates: Vec<ScheduleUpdate> = updates.collect();
            if !updates.is_empty() {
                self.effects.push(Effect::RecordProgress(updates));
            }
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
