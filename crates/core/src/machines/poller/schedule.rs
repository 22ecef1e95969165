//! When each job is due, and which of the due jobs goes first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::alarms::Alarms;
use super::number::Number;
use crate::job::JobId;
use crate::planted::{self, Bug};
use crate::time::{Monotonic, UnixMillis};

/// A job that is due for longer than this is not passed over for ever, whatever its rank.
const OVERDUE: Duration = Duration::from_secs(120);

/// First polls that fall due within 2 to the power of this many nanoseconds, 17 s, go by id.
const TOGETHER: u32 = 34;

/// While jobs are overdue, one poll in so many is that of the longest due.
const TURNS: u32 = 4;

/// The order of due jobs: those with a requested poll, then those whose final poll is due, then by priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) urgent: bool,
    pub(super) is_final: bool,
    pub(super) priority: i64,
}

/// A job that falls due.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) at: Monotonic,
    pub(super) rank: Rank,
    /// Its id, if it was never polled.
    pub(super) first: Option<JobId>,
}

/// Jobs that are not due yet, jobs that are due, and deadlines.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// By nanoseconds, in slots of a second.
    waiting: Alarms<30>,
    /// Due jobs that were polled before, the longest due first.
    again: BTreeMap<(Monotonic, Number), Rank>,
    /// The same jobs: best rank first, then the longest due.
    ranked: BTreeSet<(Reverse<Rank>, Monotonic, Number)>,
    /// Due jobs that were never polled, the longest due first. Of two equal ranks they have every other turn, so that a million
    /// rows inserted at once do not delay the polls of others.
    first: BTreeMap<(Monotonic, Number), (Rank, JobId)>,
    /// The same jobs: best rank first. Those that came within some seconds go by their ids, since what is recorded of them is in
    /// the order of ids, and neighbours share pages.
    ranked_first: BTreeSet<(Reverse<Rank>, u64, JobId, Monotonic, Number)>,
    /// Whether the last poll by rank was a job's first.
    was_first: bool,
    /// Polls by rank in a row while a job was overdue.
    turns: u32,
    /// By milliseconds, in slots of a minute.
    deadlines: Alarms<16>,
}

/// As a key of [`Alarms`].
fn key(at: Monotonic) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

impl Schedule {
    /// Adds a job that has no entry.
    pub(super) fn insert(&mut self, number: Number, due: Monotonic) {
        self.waiting.insert(key(due), number);
    }

    /// Removes a job.
    pub(super) fn remove(&mut self, number: Number, due: Monotonic) {
        if !self.waiting.remove(key(due), number) {
            self.take((due, number));
        }
    }

    /// Takes a due job.
    fn take(&mut self, (at, number): (Monotonic, Number)) -> Option<Number> {
        if let Some(rank) = self.again.remove(&(at, number)) {
            self.ranked.remove(&(Reverse(rank), at, number));
        } else {
            let (rank, id) = self.first.remove(&(at, number))?;
            let entry = (Reverse(rank), at.0 >> TOGETHER, id, at, number);
            self.ranked_first.remove(&entry);
        }
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
            self.deadlines.remove(old.0, number);
        }
        if let Some(new) = new {
            self.deadlines.insert(new.0, number);
        }
    }

    /// Moves the jobs that are due at `now` to the due ones, as `due_of` describes them.
    pub(super) fn advance(&mut self, now: Monotonic, due_of: impl Fn(Number) -> Option<Due>) {
        let now = key(now);
        self.waiting
            .open(now, |number| due_of(number).map(|due| key(due.at)));
        while let Some((_, number)) = self.waiting.pop(now) {
            if let Some(Due { at, rank, first }) = due_of(number) {
                match first {
                    Some(id) => {
                        let entry = (Reverse(rank), at.0 >> TOGETHER, id.clone(), at, number);
                        self.ranked_first.insert(entry);
                        self.first.insert((at, number), (rank, id));
                    }
                    None => {
                        self.ranked.insert((Reverse(rank), at, number));
                        self.again.insert((at, number), rank);
                    }
                }
            }
        }
    }

    /// Takes the due job of the best rank. While jobs are [`OVERDUE`], the longest due has a turn now and then. Those that were
    /// never polled have none unless `takes_first`.
    pub(super) fn pop_due(&mut self, now: Monotonic, takes_first: bool) -> Option<Number> {
        let again = self.again.keys().next();
        let first = self.first.keys().next().filter(|_| takes_first);
        let longest = *again.into_iter().chain(first).min()?;
        self.turns = match now.since(longest.0) > OVERDUE {
            true => (self.turns + 1) % TURNS,
            false => 1,
        };
        if self.turns == 0 && !planted::is(Bug::PriorityStarves) {
            return self.take(longest);
        }
        let again = self.ranked.first().map(|(rank, at, it)| (*rank, *at, *it));
        let first = self.ranked_first.first().filter(|_| takes_first);
        let first = first.map(|(rank, _, _, at, it)| (*rank, *at, *it));
        self.was_first = match (again, first) {
            (Some(again), Some(first)) if again.0 == first.0 => !self.was_first,
            (Some(again), Some(first)) => first.0 < again.0,
            (again, _) => again.is_none(),
        };
        let (_, at, number) = if self.was_first { first? } else { again? };
        self.take((at, number))
    }

    /// Takes the longest due job, whatever its rank; `except` only if it is the only one.
    pub(super) fn pop_longest_due(&mut self, except: Option<Number>) -> Option<Number> {
        let (again, first) = (self.again.keys().take(2), self.first.keys().take(2));
        let mut longest: Vec<_> = again.chain(first).copied().collect();
        longest.sort_unstable();
        let other = longest.iter().find(|(_, number)| Some(*number) != except);
        let entry = *other.or(longest.first())?;
        self.take(entry)
    }

    /// Whether a job is due; one that was never polled counts if `takes_first`.
    pub(super) fn has_due(&self, takes_first: bool) -> bool {
        !self.again.is_empty() || takes_first && !self.first.is_empty()
    }

    /// Takes a job whose deadline has passed at `now`; `deadline_of` returns that of a job.
    pub(super) fn pop_expired(
        &mut self,
        now: UnixMillis,
        deadline_of: impl Fn(Number) -> Option<UnixMillis>,
    ) -> Option<Number> {
        self.deadlines
            .open(now.0, |number| deadline_of(number).map(|at| at.0));
        self.deadlines.pop(now.0).map(|(_, number)| number)
    }

    /// When the next waiting job is due, or less than a second before.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        self.waiting
            .first()
            .map(|at| Monotonic(u64::try_from(at).unwrap_or_default()))
    }

    /// The earliest deadline, or less than a minute before.
    pub(super) fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.first().map(UnixMillis)
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
        let times = [1, 0, 2, 9, 0, 2, 2, 0, 3];
        let due_of = |number: Number| {
            let rank = Rank {
                urgent: name(number) == "urgent",
                is_final: name(number) == "final",
                priority: if name(number).starts_with("high") {
                    5
                } else {
                    0
                },
            };
            let at = at(*times.get(number.index())?);
            let first = None;
            Some(Due { at, rank, first })
        };
        for (job, due) in names.iter().zip(times).filter(|(job, _)| **job != "only") {
            schedule.insert(id(job), at(due));
        }
        schedule.advance(at(2), due_of);
        schedule.remove(id("gone"), at(0));
        let first = id("first");
        assert_eq!(schedule.pop_longest_due(Some(first)), Some(id("low0")));
        assert_eq!(schedule.pop_longest_due(None), Some(first));
        let order: Vec<&str> = std::iter::from_fn(|| schedule.pop_due(at(2), true))
            .map(name)
            .collect();
        assert_eq!(order, ["urgent", "final", "high2", "low1"]);
        assert_eq!(schedule.pop_longest_due(Some(id("low1"))), None);
        schedule.insert(id("only"), at(3));
        schedule.advance(at(3), due_of);
        let only = id("only");
        assert_eq!(schedule.pop_longest_due(Some(only)), Some(only));
        let next = schedule.next_due().unwrap();
        assert!(next > at(7) && next <= at(9));
    }

    #[test]
    fn a_job_that_is_due_for_two_minutes_has_its_turn_though_others_always_rank_higher() {
        for takes_first in [true, false] {
            let mut schedule = Schedule::default();
            let (low, high) = (Number(0), Number(1));
            schedule.insert(low, Monotonic::default());
            let polled = (0..200).map(|second| {
                let now = Monotonic::default().plus(Duration::from_secs(second));
                schedule.insert(high, now);
                schedule.advance(now, |number| {
                    let is_high = number == high;
                    let rank = Rank {
                        urgent: is_high,
                        ..Rank::default()
                    };
                    let at = if is_high { now } else { Monotonic::default() };
                    let first = None;
                    Some(Due { at, rank, first })
                });
                schedule.pop_due(now, takes_first).unwrap()
            });
            let first_low = polled.into_iter().position(|number| number == low);
            assert_eq!(first_low, Some(123));
        }
    }

    #[test]
    fn of_equal_ranks_first_polls_have_every_other_turn_those_of_some_seconds_by_id() {
        let mut schedule = Schedule::default();
        let at = |number: Number| {
            let seconds = if number.0 == 0 { 0 } else { 60 };
            Monotonic::default().plus(Duration::from_secs(seconds))
        };
        let priorities = [0, 0, 0, 0, 0, 9, 1];
        for number in (0..7).map(Number) {
            schedule.insert(number, at(number));
        }
        // 0 to 3 and 5 are new.
        let ids = ["z", "c", "a", "b", "", "y"];
        schedule.advance(at(Number(1)), |number| {
            let priority = priorities[number.index()];
            let id = ids.get(number.index()).filter(|id| !id.is_empty());
            let rank = Rank {
                priority,
                ..Rank::default()
            };
            let first = id.map(|id| JobId::parse(id).unwrap());
            let at = at(number);
            Some(Due { at, rank, first })
        });
        let order: Vec<u32> = std::iter::from_fn(|| schedule.pop_due(at(Number(1)), true))
            .map(|number| number.0)
            .collect();
        assert_eq!(order, [5, 6, 0, 4, 2, 3, 1]);
    }

    #[test]
    fn a_deadline_is_taken_once_and_can_be_moved() {
        let mut schedule = Schedule::default();
        let id = Number(0);
        let deadline = |_| Some(UnixMillis(8));
        schedule.set_deadline(id, None, Some(UnixMillis(5)));
        schedule.set_deadline(id, Some(UnixMillis(5)), Some(UnixMillis(8)));
        assert_eq!(schedule.pop_expired(UnixMillis(7), deadline), None);
        assert_eq!(schedule.next_deadline(), Some(UnixMillis(8)));
        assert_eq!(schedule.pop_expired(UnixMillis(8), deadline), Some(id));
        assert_eq!(schedule.pop_expired(UnixMillis(9), deadline), None);
    }
}
