//! What is kept of a followed job.

use std::num::NonZeroU64;
use std::sync::Arc;

use super::kept::{Kept, MaybeTime};
use super::schedule::{Due, Rank};
use crate::job::{Failure, JobId};
use crate::rows::JobRow;
use crate::time::{Monotonic, UnixMillis};

/// A job that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) id: JobId,
    pub(super) rare: Option<Box<Rare>>,
    /// Whether its next poll was requested.
    pub(super) urgent: bool,
    /// Whether it is among those whose progress is to be recorded.
    pub(super) is_unwritten: bool,
    /// Whether nothing was recorded of it when its row was read, and it has no metadata.
    pub(super) is_blank: bool,
    /// When the row was inserted.
    pub(super) created_at: UnixMillis,
    pub(super) deadline: UnixMillis,
    /// After the deadline: the end of the window for the final poll.
    pub(super) final_poll_until: MaybeTime,
    pub(super) progress: Kept,
    /// Of the last answer that was recorded.
    pub(super) hash: Option<NonZeroU64>,
    /// Until when it is not polled because of a `Retry-After`.
    pub(super) paused_until: UnixMillis,
    pub(super) next_poll_at: UnixMillis,
    pub(super) state: State,
}

/// What few rows have.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rare {
    pub(super) url: Option<Arc<str>>,
    pub(super) webhook: Option<Arc<str>>,
    pub(super) priority: i64,
    pub(super) not_before: Option<UnixMillis>,
    /// The row's own deadline.
    pub(super) deadline_at: Option<UnixMillis>,
}

static USUAL: Rare = Rare {
    url: None,
    webhook: None,
    priority: 0,
    not_before: None,
    deadline_at: None,
};

impl Rare {
    pub(super) fn of(row: &JobRow) -> Option<Box<Self>> {
        let arc = |text: &Option<String>| text.as_deref().map(Arc::from);
        let rare = Self {
            url: arc(&row.url),
            webhook: arc(&row.webhook),
            priority: row.priority,
            not_before: row.not_before,
            deadline_at: row.deadline_at,
        };
        (rare != USUAL).then(|| Box::new(rare))
    }
}

impl Followed {
    pub(super) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&USUAL)
    }

    pub(super) fn not_before(&self) -> Option<UnixMillis> {
        self.rare().not_before
    }

    /// Whether its deadline has passed, and the poll after that is due or in flight.
    pub(super) fn is_final(&self) -> bool {
        self.final_poll_until != MaybeTime::NONE
    }

    /// When it is due and its order among the due jobs, if it waits for its next poll.
    pub(super) fn falls_due(&self) -> Option<Due> {
        let State::Scheduled(at) = self.state else {
            return None;
        };
        Some(Due {
            at,
            rank: Rank {
                urgent: self.urgent,
                is_final: self.is_final(),
                priority: self.rare().priority,
            },
            first: self.progress.is_new().then(|| self.id.clone()),
        })
    }
}

#[derive(Debug)]
pub(super) enum State {
    /// Waits for its next poll, which is due then.
    Scheduled(Monotonic),
    /// Waits for its end to be recorded, until fewer other ends are in work.
    Ending(Box<Failure>),
    /// Being polled or ended. `may_cut`: an end may cut the poll short, `then` follows right after it, `is_first`: the job was
    /// never polled before, `is_final`: it began after the deadline, `keeps_etag`: neither its URL nor the settings have changed
    /// since.
    Polling {
        may_cut: bool,
        then: Then,
        is_first: bool,
        is_final: bool,
        keeps_etag: bool,
    },
}

/// What follows the poll in flight.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    PollAgain,
    End(Box<Failure>),
    /// The row shows that the job has ended.
    Forget,
    /// The row was deleted, and another one of the same id inserted.
    Follow(Box<JobRow>),
}

/// What was noted of a poll while it was in flight.
pub(super) struct Followup {
    pub(super) then: Then,
    /// Whether the job was never polled before.
    pub(super) is_first: bool,
    /// Whether it began after the deadline.
    pub(super) is_final: bool,
    pub(super) keeps_etag: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_waits_takes_little_memory() {
        assert!(size_of::<Followed>() <= 144, "{}", size_of::<Followed>());
    }
}
