//! The schedule: when each job is due, and which of the due jobs goes first. Pure; time is an argument.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use tokio::time::Instant;

use crate::core::job::JobId;
use crate::core::time::UnixMillis;

/// A job's entry in the [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    due: Instant,
    rank: Rank,
}

/// The order of due jobs: those with a requested poll, then those whose final poll is due, then by priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) urgent: bool,
    pub(super) is_final: bool,
    pub(super) priority: i64,
}

impl Entry {
    /// When the job is due.
    pub(super) fn due(self) -> Instant {
        self.due
    }
}

/// Jobs that are not due yet, jobs that are due, and deadlines.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    waiting: BTreeSet<(Instant, JobId)>,
    /// Best rank first, then the longest due.
    ready: BTreeSet<(Reverse<Rank>, Instant, JobId)>,
    deadlines: BTreeSet<(UnixMillis, JobId)>,
}

impl Schedule {
    /// Adds a job that has no entry.
    pub(super) fn insert(&mut self, id: &JobId, due: Instant, rank: Rank) -> Entry {
        self.waiting.insert((due, id.clone()));
        Entry { due, rank }
    }

    /// Removes a job.
    pub(super) fn remove(&mut self, id: &JobId, entry: Entry) {
        if !self.waiting.remove(&(entry.due, id.clone())) {
            self.ready
                .remove(&(Reverse(entry.rank), entry.due, id.clone()));
        }
    }

    /// Adds, moves or removes a deadline.
    pub(super) fn set_deadline(
        &mut self,
        id: &JobId,
        old: Option<UnixMillis>,
        new: Option<UnixMillis>,
    ) {
        if let Some(old) = old {
            self.deadlines.remove(&(old, id.clone()));
        }
        if let Some(new) = new {
            self.deadlines.insert((new, id.clone()));
        }
    }

    /// Moves the jobs that are due at `now` to the ready ones, with the rank that `rank_of` returns.
    pub(super) fn advance(&mut self, now: Instant, rank_of: impl Fn(&JobId) -> Rank) {
        while let Some((due, _)) = self.waiting.first()
            && *due <= now
        {
            if let Some((due, id)) = self.waiting.pop_first() {
                self.ready.insert((Reverse(rank_of(&id)), due, id));
            }
        }
    }

    /// Takes the ready job of the best rank.
    pub(super) fn pop_ready(&mut self) -> Option<JobId> {
        self.ready.pop_first().map(|(_, _, id)| id)
    }

    /// Takes the longest due of the ready jobs, whatever its rank; `except` only if it is the only one.
    pub(super) fn pop_longest_due(&mut self, except: Option<&JobId>) -> Option<JobId> {
        let longest = self
            .ready
            .iter()
            .min_by_key(|(_, due, id)| (Some(id) == except, *due))?
            .clone();
        self.ready.remove(&longest);
        Some(longest.2)
    }

    /// Whether a job is ready to be polled.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Takes a job whose deadline has passed at `now`.
    pub(super) fn pop_expired(&mut self, now: UnixMillis) -> Option<JobId> {
        if self
            .deadlines
            .first()
            .is_some_and(|(deadline, _)| *deadline <= now)
        {
            return self.deadlines.pop_first().map(|(_, id)| id);
        }
        None
    }

    /// When the next waiting job is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn due_jobs_go_by_rank_then_by_how_long_they_are_due() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let id = |text: &str| JobId::parse(text).unwrap();
        let ranks = |id: &JobId| Rank {
            urgent: id.as_str() == "urgent",
            is_final: id.as_str() == "final",
            priority: if id.as_str().starts_with("high") {
                5
            } else {
                0
            },
        };
        for (name, due) in [
            ("low1", 1),
            ("low0", 0),
            ("high2", 2),
            ("late", 9),
            ("first", 0),
            ("urgent", 2),
            ("final", 2),
        ] {
            let name = id(name);
            schedule.insert(&name, at(due), ranks(&name));
        }
        let gone = schedule.insert(&id("gone"), at(0), Rank::default());
        schedule.advance(at(2), ranks);
        schedule.remove(&id("gone"), gone);
        let first = id("first");
        assert_eq!(schedule.pop_longest_due(Some(&first)), Some(id("low0")));
        assert_eq!(schedule.pop_longest_due(None), Some(first));
        let order: Vec<String> = std::iter::from_fn(|| schedule.pop_ready())
            .map(|id| id.to_string())
            .collect();
        assert_eq!(order, ["urgent", "final", "high2", "low1"]);
        assert_eq!(schedule.pop_longest_due(Some(&id("low1"))), None);
        schedule.insert(&id("only"), at(3), Rank::default());
        schedule.advance(at(3), ranks);
        let only = id("only");
        assert_eq!(schedule.pop_longest_due(Some(&only)), Some(only));
        assert_eq!(schedule.next_due(), Some(at(9)));
    }

    #[test]
    fn a_deadline_is_taken_once_and_can_be_moved() {
        let mut schedule = Schedule::default();
        let id = JobId::parse("a").unwrap();
        schedule.set_deadline(&id, None, Some(UnixMillis(5)));
        schedule.set_deadline(&id, Some(UnixMillis(5)), Some(UnixMillis(8)));
        assert_eq!(schedule.pop_expired(UnixMillis(7)), None);
        assert_eq!(schedule.next_deadline(), Some(UnixMillis(8)));
        assert_eq!(schedule.pop_expired(UnixMillis(8)), Some(id));
        assert_eq!(schedule.pop_expired(UnixMillis(9)), None);
    }
}
