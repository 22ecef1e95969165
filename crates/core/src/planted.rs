//! Bugs that the simulation plants to find out whether it notices them. Without the feature `planted` there are none.

use strum::{EnumIter, EnumString, IntoStaticStr};

/// A bug, by the promise that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[repr(usize)]
pub enum Bug {
    /// An event is sent when its transaction is handed to the writer. The dispatcher reads what it sends from the tables, so
    /// there is no place for this one in it; the simulation's own loop does it.
    SendBeforeCommit = 1,
    /// A transaction counts as committed when the disk is full.
    AnswerBeforeCommit,
    /// A lane is free while the outcome of its request is not recorded.
    LaneOrder,
    /// A job that has ended is polled on.
    PollAfterEnd,
    /// Of two transitions in one answer the second is lost.
    LostTransition,
    /// The id of an event does not depend on when its row was inserted.
    IdNotDerived,
    /// After a full disk nothing is tried again.
    NoRecoveryAfterFull,
    /// The failures of one job hold a webhook.
    HoldByOne,
    /// A row that was inserted again is forgotten with the one before it.
    ForgetOfNewerRow,
    /// One refused job costs all others their token.
    TokenDropped,
    /// A stale answer is recorded.
    StaleRecorded,
    /// Waits that a wrong clock has set are not shortened.
    ClampMissing,
    /// A fallback that has an event is sent it again.
    FallbackTwice,
    /// A replay begins with the last event.
    ReplayOrder,
    /// A reload starts a second poll beside the one in flight.
    ReloadPollsTwice,
    /// The highest priority goes first, however long others are due, and is the trial of every pause.
    PriorityStarves,
    /// The rate is not kept.
    BudgetIgnored,
    /// The limit of polls at once is not kept.
    InFlightIgnored,
    /// A `Retry-After` is not kept.
    RetryAfterIgnored,
    /// The first 404 ends a job.
    NoGrace,
    /// A job expires without the poll at its deadline.
    NoFinalPoll,
    /// The entity tag of any 2xx is kept, so that a 304 stands for another answer than the one that was recorded.
    EtagOfAnyStatus,
    /// A step that waits in the API's queue has an event for each answer that shows it.
    DelayedTwice,
    /// A challenge is another one whenever its expiry counts down.
    ChallengeTwice,
    /// An event that failed is sent again after half its wait.
    RetryEarly,
    /// A webhook's request for a rest concerns the event alone.
    RestIgnored,
}

#[cfg(feature = "planted")]
mod switch {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Bug;

    static PLANTED: AtomicUsize = AtomicUsize::new(0);

    /// Plants this bug and none else, for the whole process.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as usize), Ordering::Relaxed);
    }

    /// Whether the bug is planted.
    #[must_use]
    pub fn is(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as usize
    }
}

#[cfg(feature = "planted")]
pub use switch::{is, plant};

/// Whether the bug is planted: never.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}
