//! The store as a whole: transactions and reads.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use jobtrackd_core::time::UnixMillis;

use super::tables::Tables;
use crate::Result;

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
        let now = self.now();
        self.write_from_outside(|tables| work(tables, now))
    }

    /// The same for another program, which brings its own times.
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
        work(&self.shared.state.lock().tables)
    }

    pub(super) fn now(&self) -> UnixMillis {
        (self.shared.now)()
    }
}
