//! When each job is due, and which of the due jobs goes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::number::Number;
use crate::planted::{self, Bug};
use crate::time::{Monotonic, UnixMillis};

/// A job that is due for longer than this is not passed over for ever, whatever its rank.
const OVERDUE: Duration = Duration::from_secs(120);

/// While jobs are overdue, one poll in so many is that of the longest due.
const TURNS: u32 = 4;

/// The order of due jobs: those with a requested poll, then those whose final poll is due, then by priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) urgent: bool,
    pub(super) is_final: bool,
    pub(super) priority: i64,
}

/// Jobs that are not due yet, jobs that are due, and deadlines.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    waiting: BTreeSet<(Monotonic, Number)>,
    /// The longest due first.
    due: BTreeMap<(Monotonic, Number), Rank>,
    /// The same jobs: best rank first, then the longest due.
    ranked: BTreeSet<(Reverse<Rank>, Monotonic, Number)>,
    /// Polls by rank in a row while a job was overdue.
    turns: u32,
    deadlines: BTreeSet<(UnixMillis, Number)>,
}

impl Schedule {
    /// Adds a job that has no entry.
    pub(super) fn insert(&mut self, number: Number, due: Monotonic) {
        self.waiting.insert((due, number));
    }

    /// Removes a job.
    pub(super) fn remove(&mut self, number: Number, due: Monotonic) {
        let entry = (due, number);
        if !self.waiting.remove(&entry) {
            self.take(entry);
        }
    }

    /// Takes a due job.
    fn take(&mut self, (due, number): (Monotonic, Number)) -> Option<Number> {
        let rank = self.due.remove(&(due, number))?;
        self.ranked.remove(&(Reverse(rank), due, number));
        Some(number)
    }

    /// Adds, moves or removes a deadline.
    pub(super) fn set_deadline(
        &mut self,
        number: Number,
        old: Option<UnixMillis>,
        new: Option<UnixMillis>,
    ) {
        if let Some(old) = old {
            self.deadlines.remove(&(old, number));
        }
        if let Some(new) = new {
            self.deadlines.insert((new, number));
        }
    }

    /// Moves the jobs that are due at `now` to the due ones, with the rank that `rank_of` returns.
    pub(super) fn advance(&mut self, now: Monotonic, rank_of: impl Fn(Number) -> Rank) {
        while let Some((due, _)) = self.waiting.first()
            && *due <= now
        {
            if let Some((due, number)) = self.waiting.pop_first() {
                let rank = rank_of(number);
                self.ranked.insert((Reverse(rank), due, number));
                self.due.insert((due, number), rank);
            }
        }
    }

    /// Takes the due job of the best rank. While jobs are [`OVERDUE`], the longest due has a turn now and then.
    pub(super) fn pop_due(&mut self, now: Monotonic) -> Option<Number> {
        let ((oldest, _), _) = self.due.first_key_value()?;
        self.turns = match now.since(*oldest) > OVERDUE {
            true => (self.turns + 1) % TURNS,
            false => 1,
        };
        if self.turns == 0 && !planted::is(Bug::PriorityStarves) {
            return self.pop_longest_due(None);
        }
        let (_, due, number) = *self.ranked.first()?;
        self.take((due, number))
    }

    /// Takes the longest due job, whatever its rank; `except` only if it is the only one.
    pub(super) fn pop_longest_due(&mut self, except: Option<Number>) -> Option<Number> {
        let mut longest = self.due.keys();
        let first = longest.next()?;
        let entry = match longest.next() {
            Some(second) if Some(first.1) == except => second,
            _ => first,
        };
        self.take(*entry)
    }

    /// Whether a job is due.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Takes a job whose deadline has passed at `now`.
    pub(super) fn pop_expired(&mut self, now: UnixMillis) -> Option<Number> {
        if self
            .deadlines
            .first()
            .is_some_and(|(deadline, _)| *deadline <= now)
        {
            return self.deadlines.pop_first().map(|(_, number)| number);
        }
        None
    }

    /// When the next waiting job is due.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// The earliest deadline.
    pub(super) fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_jobs_go_by_rank_then_by_how_long_they_are_due() {
        let mut schedule = Schedule::default();
        let at = |seconds| Monotonic::default().plus(Duration::from_secs(seconds));
        let names = [
            "low1", "low0", "high2", "late", "first", "urgent", "final", "gone", "only",
        ];
        let id = |text: &str| {
            let index = names.iter().position(|name| *name == text).unwrap();
            Number(u32::try_from(index).unwrap())
        };
        let name = |number: Number| names[number.0 as usize];
        let ranks = |number: Number| Rank {
            urgent: name(number) == "urgent",
            is_final: name(number) == "final",
            priority: if name(number).starts_with("high") {
                5
            } else {
                0
            },
        };
        for (job, due) in [
            ("low1", 1),
            ("low0", 0),
            ("high2", 2),
            ("late", 9),
            ("first", 0),
            ("urgent", 2),
            ("final", 2),
        ] {
            schedule.insert(id(job), at(due));
        }
        schedule.insert(id("gone"), at(0));
        schedule.advance(at(2), ranks);
        schedule.remove(id("gone"), at(0));
        let first = id("first");
        assert_eq!(schedule.pop_longest_due(Some(first)), Some(id("low0")));
        assert_eq!(schedule.pop_longest_due(None), Some(first));
        let order: Vec<&str> = std::iter::from_fn(|| schedule.pop_due(at(2)))
            .map(name)
            .collect();
        assert_eq!(order, ["urgent", "final", "high2", "low1"]);
        assert_eq!(schedule.pop_longest_due(Some(id("low1"))), None);
        schedule.insert(id("only"), at(3));
        schedule.advance(at(3), ranks);
        let only = id("only");
        assert_eq!(schedule.pop_longest_due(Some(only)), Some(only));
        assert_eq!(schedule.next_due(), Some(at(9)));
    }

    #[test]
    fn a_job_that_is_due_for_two_minutes_has_its_turn_though_others_always_rank_higher() {
        let mut schedule = Schedule::default();
        let (low, high) = (Number(0), Number(1));
        let rank = |number: Number| Rank {
            urgent: number == high,
            ..Rank::default()
        };
        schedule.insert(low, Monotonic::default());
        let polled = (0..200).map(|second| {
            let now = Monotonic::default().plus(Duration::from_secs(second));
            schedule.insert(high, now);
            schedule.advance(now, rank);
            schedule.pop_due(now).unwrap()
        });
        let first_low = polled.into_iter().position(|number| number == low);
        assert_eq!(first_low, Some(123));
    }

    #[test]
    fn a_deadline_is_taken_once_and_can_be_moved() {
        let mut schedule = Schedule::default();
        let id = Number(0);
        schedule.set_deadline(id, None, Some(UnixMillis(5)));
        schedule.set_deadline(id, Some(UnixMillis(5)), Some(UnixMillis(8)));
        assert_eq!(schedule.pop_expired(UnixMillis(7)), None);
        assert_eq!(schedule.next_deadline(), Some(UnixMillis(8)));
        assert_eq!(schedule.pop_expired(UnixMillis(8)), Some(id));
        assert_eq!(schedule.pop_expired(UnixMillis(9)), None);
    }
}
