//! Numbers of jobs by a time. Most times are far away, so only those of the next moments are kept in order; the others are in
//! one set of numbers per slot of time, which takes some bytes a job, whatever their order.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;

use super::number::Number;

/// Jobs by time. Times are integers; a slot is 2 to the power of `SHIFT` of them.
#[derive(Debug, Default)]
pub(super) struct Alarms<const SHIFT: u32> {
    /// Those before the first slot that is not open.
    near: BTreeSet<(i64, Number)>,
    far: BTreeMap<i64, RoaringBitmap>,
    /// The first slot that is not open.
    first_far: i64,
}

impl<const SHIFT: u32> Alarms<SHIFT> {
    /// Adds an entry; a job has one at most.
    pub(super) fn insert(&mut self, at: i64, number: Number) {
        let slot = at >> SHIFT;
        if slot < self.first_far {
            self.near.insert((at, number));
        } else {
            self.far.entry(slot).or_default().insert(number.0);
        }
    }

    /// Removes an entry; `false` if there is none.
    pub(super) fn remove(&mut self, at: i64, number: Number) -> bool {
        let slot = at >> SHIFT;
        if slot < self.first_far {
            return self.near.remove(&(at, number));
        }
        let Some(numbers) = self.far.get_mut(&slot) else {
            return false;
        };
        let is_there = numbers.remove(number.0);
        if numbers.is_empty() {
            self.far.remove(&slot);
        }
        is_there
    }

    /// Opens the slots up to `now`; `at_of` returns the time of an entry.
    pub(super) fn open(&mut self, now: i64, at_of: impl Fn(Number) -> Option<i64>) {
        let last = now >> SHIFT;
        while let Some(slot) = self.far.first_entry().filter(|slot| *slot.key() <= last) {
            self.first_far = *slot.key() + 1;
            let numbers = slot.remove().into_iter().map(Number);
            let entries = numbers.filter_map(|number| Some((at_of(number)?, number)));
            self.near.extend(entries);
        }
        self.first_far = self.first_far.max(last.saturating_add(1));
    }

    /// Takes the first entry, if its time has come at `now`. The slots up to `now` are open.
    pub(super) fn pop(&mut self, now: i64) -> Option<(i64, Number)> {
        self.near.first().filter(|(at, _)| *at <= now)?;
        self.near.pop_first()
    }

    /// A time before which no entry is; that of the first one when its slot is open.
    pub(super) fn first(&self) -> Option<i64> {
        match self.near.first() {
            Some((at, _)) => Some(*at),
            None => self.far.first_key_value().map(|(slot, _)| slot << SHIFT),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u32, i64),
        Remove(u32),
        Pop(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (0..20_u32, -50..200_i64).prop_map(|(number, at)| Step::Insert(number, at)),
            (0..20_u32).prop_map(Step::Remove),
            (-60..220_i64).prop_map(Step::Pop),
        ];
        prop::collection::vec(step, 1..80)
    }

    proptest! {
        #[test]
        fn jobs_come_by_their_times_though_the_clock_is_set_and_none_is_lost(steps in steps()) {
            let mut alarms = Alarms::<4>::default();
            let mut times: BTreeMap<u32, i64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(number, at) => {
                        if let Some(old) = times.insert(number, at) {
                            prop_assert!(alarms.remove(old, Number(number)));
                        }
                        alarms.insert(at, Number(number));
                    }
                    Step::Remove(number) => {
                        if let Some(at) = times.remove(&number) {
                            prop_assert!(alarms.remove(at, Number(number)));
                            prop_assert!(!alarms.remove(at, Number(number)));
                        }
                    }
                    Step::Pop(now) => {
                        alarms.open(now, |number| times.get(&number.0).copied());
                        let due = times.iter().map(|(number, at)| (*at, Number(*number)));
                        let mut due: Vec<_> = due.filter(|(at, _)| *at <= now).collect();
                        due.sort_unstable();
                        let popped: Vec<_> = std::iter::from_fn(|| alarms.pop(now)).collect();
                        prop_assert_eq!(&popped, &due);
                        times.retain(|_, at| *at > now);
                    }
                }
                let first = times.values().min().copied();
                prop_assert_eq!(alarms.first().is_some(), first.is_some());
                prop_assert!(alarms.first() <= first);
            }
        }
    }

    #[test]
    fn the_first_time_is_exact_once_its_slot_is_open() {
        let mut alarms = Alarms::<10>::default();
        alarms.insert(5000, Number(1));
        alarms.insert(4999, Number(2));
        assert_eq!(alarms.first(), Some(4096));
        alarms.open(4096, |number| {
            Some(if number == Number(1) { 5000 } else { 4999 })
        });
        assert_eq!(alarms.first(), Some(4999));
        assert_eq!(alarms.pop(4998), None);
    }
}
