//! The store as a whole: transactions, reads, and the faults that a caller wants.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use jobtrackd_core::time::UnixMillis;

use super::tables::Tables;
use crate::{Result, StoreError};

/// Jobs, steps, transitions, events and deliveries in memory. Clones share them; what was committed outlasts whoever
/// committed it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    now: Box<dyn Fn() -> UnixMillis + Send + Sync>,
}

#[derive(Default)]
struct State {
    tables: Tables,
    /// Transactions that changed something.
    commits: u64,
    failing_writes: VecDeque<(Fault, StoreError)>,
    failing_reads: VecDeque<StoreError>,
}

/// When a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Before it: nothing is recorded.
    BeforeCommit,
    /// After it: everything is recorded, and the caller does not learn of it.
    AfterCommit,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// An empty store that reads the time of day from `now`.
    #[must_use]
    pub fn new(now: impl Fn() -> UnixMillis + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                now: Box::new(now),
            }),
        }
    }

    /// Makes the next transaction fail that no earlier call lets fail, whatever it does.
    pub fn fail_next_write(&self, fault: Fault, error: StoreError) {
        let mut state = self.shared.state.lock();
        state.failing_writes.push_back((fault, error));
    }

    /// Makes the next read fail that no earlier call lets fail.
    pub fn fail_next_read(&self, error: StoreError) {
        self.shared.state.lock().failing_reads.push_back(error);
    }

    /// Takes back the faults that have not happened yet.
    pub fn heal(&self) {
        let mut state = self.shared.state.lock();
        state.failing_writes.clear();
        state.failing_reads.clear();
    }

    /// How many transactions changed something so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.shared.state.lock().commits
    }

    /// Runs `work` in one transaction at this time of day.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&mut Tables, UnixMillis) -> Result<T>,
    ) -> Result<T> {
        let now = (self.shared.now)();
        let mut state = self.shared.state.lock();
        let fault = state.failing_writes.pop_front();
        if let Some((Fault::BeforeCommit, error)) = fault {
            return Err(error);
        }
        let (result, changed) = state.tables.transaction(|tables| work(tables, now));
        state.commits += u64::from(changed);
        match fault {
            Some((_, error)) => result.and(Err(error)),
            None => result,
        }
    }

    /// The same for another program: it meets no faults.
    pub(super) fn write_from_outside<T>(
        &self,
        work: impl FnOnce(&mut Tables) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.shared.state.lock();
        let (result, changed) = state.tables.transaction(work);
        state.commits += u64::from(changed);
        result
    }

    pub(super) fn read<T>(&self, work: impl FnOnce(&Tables) -> Result<T>) -> Result<T> {
        let mut state = self.shared.state.lock();
        match state.failing_reads.pop_front() {
            Some(error) => Err(error),
            None => work(&state.tables),
        }
    }

    pub(super) fn now(&self) -> UnixMillis {
        (self.shared.now)()
    }
}
