//! The last hour in memory, minute by minute, and the latest polls: what the dashboard draws, whether metrics are recorded or
//! not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::job::{FailureKind, JobId};
use crate::core::time::UnixMillis;

/// Minutes that are kept.
pub const MINUTES: usize = 60;

/// Polls that are kept, of all jobs together.
const POLLS: usize = 4096;

/// Bounds of detection delays, in milliseconds: the last class is everything above.
pub const DELAYS: [u64; 12] = [
    100, 250, 500, 1000, 2500, 5000, 10_000, 15_000, 30_000, 60_000, 300_000, 900_000,
];

/// What happened in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Polls that showed the job.
    pub polls: u32,
    /// Polls that did not.
    pub failed_polls: u32,
    /// Jobs that ended with success.
    pub successes: u32,
    /// Jobs that failed, by kind.
    pub failures: [u32; 5],
    /// Changes, by the time until they were observed: up to each of [`DELAYS`], and above.
    pub delays: [u32; DELAYS.len() + 1],
    /// Events that were delivered.
    pub delivered: u32,
    /// Attempts that failed.
    pub failed_attempts: u32,
}

/// One poll of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollTick {
    /// When it was over.
    pub at: UnixMillis,
    /// What came of it, in a word.
    pub outcome: &'static str,
}

impl PollTick {
    /// Whether it brought an answer, a new one or that there is none.
    pub(crate) fn is_good(&self) -> bool {
        ["answered", "not_modified"].contains(&self.outcome)
    }

    /// What came of it, for people.
    pub(crate) fn words(&self) -> String {
        self.outcome.replace('_', " ")
    }
}

/// The last hour. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    minutes: [Minute; MINUTES],
    /// The minute since 1970 that was written last.
    latest: i64,
    polls: VecDeque<(JobId, PollTick)>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            minutes: [Minute::default(); MINUTES],
            latest: 0,
            polls: VecDeque::new(),
        }
    }
}

impl Recent {
    /// A poll of this job is over.
    pub fn polled(&self, id: &JobId, at: UnixMillis, outcome: &'static str, good: bool) {
        let mut inner = self.0.lock();
        if inner.polls.len() == POLLS {
            inner.polls.pop_front();
        }
        inner
            .polls
            .push_back((id.clone(), PollTick { at, outcome }));
        let minute = inner.minute(at);
        match good {
            true => minute.polls += 1,
            false => minute.failed_polls += 1,
        }
    }

    /// A change was recorded this long after it happened.
    pub fn detected(&self, at: UnixMillis, delay: Duration) {
        let millis = crate::core::time::millis(delay);
        let class = DELAYS.iter().position(|bound| millis <= *bound);
        let mut inner = self.0.lock();
        inner.minute(at).delays[class.unwrap_or(DELAYS.len())] += 1;
    }

    /// A job has ended.
    pub fn ended(&self, at: UnixMillis, failure: Option<FailureKind>) {
        let mut inner = self.0.lock();
        let minute = inner.minute(at);
        match failure {
            None => minute.successes += 1,
            Some(kind) => minute.failures[kind as usize] += 1,
        }
    }

    /// An attempt at a delivery has ended.
    pub fn attempted(&self, at: UnixMillis, delivered: bool) {
        let mut inner = self.0.lock();
        let minute = inner.minute(at);
        match delivered {
            true => minute.delivered += 1,
            false => minute.failed_attempts += 1,
        }
    }

    /// The last hour, the present minute last.
    #[must_use]
    pub fn minutes(&self, now: UnixMillis) -> Vec<Minute> {
        let mut inner = self.0.lock();
        inner.minute(now);
        let first = inner.latest + 1;
        let minutes = (first..first + MINUTES as i64).map(|at| inner.minutes[place(at)]);
        minutes.collect()
    }

    /// The latest polls of a job among those of all jobs, in order.
    #[must_use]
    pub fn polls_of(&self, id: &JobId) -> Vec<PollTick> {
        let inner = self.0.lock();
        let polls = inner.polls.iter().filter(|(each, _)| each == id);
        polls.map(|(_, tick)| tick.clone()).collect()
    }
}

impl Inner {
    /// The minute of this time; those that were skipped are empty. A time before the last hour counts in the present
    /// minute, so that a clock that is set back loses nothing.
    fn minute(&mut self, at: UnixMillis) -> &mut Minute {
        let minute = at.0.div_euclid(60_000);
        if minute > self.latest {
            let skipped = (self.latest + 1).max(minute - MINUTES as i64 + 1)..=minute;
            for each in skipped {
                self.minutes[place(each)] = Minute::default();
            }
            self.latest = minute;
        }
        let known = self.latest - (MINUTES as i64) < minute;
        &mut self.minutes[place(if known { minute } else { self.latest })]
    }
}

fn place(minute: i64) -> usize {
    usize::try_from(minute.rem_euclid(MINUTES as i64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(number: i64) -> UnixMillis {
        UnixMillis(number * 60_000)
    }

    #[test]
    fn an_hour_is_kept_and_minutes_without_news_are_empty() {
        let recent = Recent::default();
        let delivered = |recent: &Recent, now| -> Vec<u32> {
            let minutes = recent.minutes(minute(now));
            minutes.iter().map(|each| each.delivered).collect()
        };
        recent.attempted(minute(1000), true);
        recent.attempted(minute(1002), true);
        recent.attempted(minute(1002), true);
        assert_eq!(delivered(&recent, 1002)[57..], [1, 0, 2]);
        assert_eq!(delivered(&recent, 1059)[..3], [1, 0, 2]);
        assert_eq!(delivered(&recent, 1060)[..2], [0, 2]);
        assert_eq!(delivered(&recent, 1200), [0; 60]);
        recent.attempted(minute(3), true);
        assert_eq!(delivered(&recent, 1200)[59], 1, "the clock was set back");
    }

    #[test]
    fn the_latest_polls_of_all_jobs_are_kept_and_each_job_has_its_own() {
        let recent = Recent::default();
        let (one, other) = (JobId::parse("1").unwrap(), JobId::parse("2").unwrap());
        recent.polled(&one, minute(5), "answered", true);
        for _ in 0..POLLS - 1 {
            recent.polled(&other, minute(5), "timeout", false);
        }
        assert_eq!(recent.polls_of(&one).len(), 1);
        recent.polled(&other, minute(5), "timeout", false);
        assert_eq!(recent.polls_of(&one), []);
        assert_eq!(recent.polls_of(&other).len(), POLLS);
        let now = recent.minutes(minute(5))[59];
        assert_eq!((now.polls, now.failed_polls), (1, POLLS as u32));
    }
}
