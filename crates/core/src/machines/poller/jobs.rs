//! The followed jobs. Each has a number, by which everything else refers to it: an id is kept once, whatever its length.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use slab::Slab;

use super::job::{Followed, Followup, State, Then};
use super::number::Number;
use crate::etag::Etag;
use crate::job::JobId;

/// All followed jobs.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    slots: Slab<Followed>,
    /// Only looked up: the order of its entries is that of chance.
    by_id: HashTable<Number>,
    hasher: DefaultHashBuilder,
    /// Beside the jobs, since few APIs have entity tags; that of a poll in flight is with the poll.
    etags: HashMap<Number, Etag>,
}

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn find(&self, id: &JobId) -> Option<Number> {
        let is_it = |number: &Number| self.get(*number).is_some_and(|job| job.id == *id);
        self.by_id.find(self.hasher.hash_one(id), is_it).copied()
    }

    pub(super) fn get(&self, number: Number) -> Option<&Followed> {
        self.slots.get(number.index())
    }

    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Followed> {
        self.slots.get_mut(number.index())
    }

    /// Adds a job whose id is not there. `None` when there are 2³² of them.
    pub(super) fn insert(&mut self, job: Followed) -> Option<Number> {
        let number = Number(u32::try_from(self.slots.vacant_key()).ok()?);
        let hash = self.hasher.hash_one(&job.id);
        self.slots.insert(job);
        let Self {
            slots,
            by_id,
            hasher,
            ..
        } = self;
        let rehash = |number: &Number| {
            slots
                .get(number.index())
                .map_or(0, |job| hasher.hash_one(&job.id))
        };
        by_id.insert_unique(hash, number, rehash);
        Some(number)
    }

    pub(super) fn remove(&mut self, number: Number) -> Option<Followed> {
        let job = self.slots.try_remove(number.index())?;
        self.etags.remove(&number);
        let hash = self.hasher.hash_one(&job.id);
        if let Ok(entry) = self.by_id.find_entry(hash, |other| *other == number) {
            entry.remove();
        }
        Some(job)
    }

    /// Takes the entity tag of the answer that was recorded last.
    pub(super) fn take_etag(&mut self, number: Number) -> Option<Etag> {
        self.etags.remove(&number)
    }

    /// Keeps an entity tag until the next poll.
    pub(super) fn keep_etag(&mut self, number: Number, etag: Etag) {
        self.etags.insert(number, etag);
    }

    /// Another URL, or an API with other settings, may have another answer with the same entity tag.
    pub(super) fn forget_etag(&mut self, number: Number) {
        self.etags.remove(&number);
        let state = self.get_mut(number).map(|job| &mut job.state);
        if let Some(State::Polling { keeps_etag, .. }) = state {
            *keeps_etag = false;
        }
    }

    /// Takes what was noted of the poll of a job while it was in flight.
    pub(super) fn take_followup(&mut self, number: Number) -> Followup {
        match self.get_mut(number).map(|job| &mut job.state) {
            Some(State::Polling {
                then,
                is_first,
                is_final,
                keeps_etag,
                ..
            }) => Followup {
                then: std::mem::replace(then, Then::Nothing),
                is_first: std::mem::take(is_first),
                is_final: *is_final,
                keeps_etag: *keeps_etag,
            },
            _ => Followup {
                then: Then::Nothing,
                is_first: false,
                is_final: false,
                keeps_etag: false,
            },
        }
    }

    /// The numbers of all, in a fixed order.
    pub(super) fn numbers(&self) -> Vec<Number> {
        let numbers = self.slots.iter().map(|(index, _)| u32::try_from(index));
        numbers.flatten().map(Number).collect()
    }
}

#[cfg(test)]
impl std::ops::Index<&JobId> for Jobs {
    type Output = Followed;

    fn index(&self, id: &JobId) -> &Followed {
        self.find(id).and_then(|number| self.get(number)).unwrap()
    }
}
