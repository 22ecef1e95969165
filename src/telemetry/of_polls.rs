//! What each poll counts. These metrics are found once: to find one by its name and labels costs more than to write it.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::{labels, names};

/// Of the recorder of this process, once it is installed.
static FOUND: OnceLock<OfPolls> = OnceLock::new();

/// The metrics that each poll writes.
pub(super) struct OfPolls {
    outcomes: [(&'static str, Counter); labels::POLLS.len()],
    duration: Histogram,
    lag: Histogram,
}

/// Finds them in the recorder that was installed.
pub(super) fn find() {
    FOUND.get_or_init(|| OfPolls {
        outcomes: labels::POLLS
            .map(|outcome| (outcome, counter!(names::POLLS.name, "outcome" => outcome))),
        duration: histogram!(names::POLL_DURATION.name),
        lag: histogram!(names::SCHEDULE_LAG.name),
    });
}

impl OfPolls {
    /// `None` when no recorder is installed.
    pub(super) fn found() -> Option<&'static Self> {
        FOUND.get()
    }

    /// A poll starts, this long after it was due.
    pub(super) fn started(&self, lag: Duration) {
        self.lag.record(lag);
    }

    /// A poll is over.
    pub(super) fn over(&self, outcome: &'static str, duration: Duration) {
        let found = self.outcomes.iter().find(|(word, _)| *word == outcome);
        if let Some((_, counter)) = found {
            counter.increment(1);
        }
        self.duration.record(duration);
    }
}
