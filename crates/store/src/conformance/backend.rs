//! The stores that the suite runs against.

use jobtrackd_clock::Clock;
use tempfile::TempDir;

use crate::{
    Attempts, Backlogs, Checks, Commits, Counting, Deliveries, Events, Expiry, Intake, Jobs, Lists,
    Outsider, Replays, Retention, Timelines, Upstreams, Users, Watching, Webhooks, memory, sqlite,
};

/// Every verb that the suite runs.
pub trait Verbs:
    Attempts
    + Backlogs
    + Checks
    + Commits
    + Counting
    + Deliveries
    + Events
    + Expiry
    + Intake
    + Jobs
    + Lists
    + Replays
    + Retention
    + Timelines
    + Upstreams
    + Users
    + Watching
    + Webhooks
{
}

impl<T> Verbs for T where
    T: Attempts
        + Backlogs
        + Checks
        + Commits
        + Counting
        + Deliveries
        + Events
        + Expiry
        + Intake
        + Jobs
        + Lists
        + Replays
        + Retention
        + Timelines
        + Upstreams
        + Users
        + Watching
        + Webhooks
{
}

/// A kind of store, and another program that shares its database.
pub trait Backend: Sized {
    /// The store.
    type Store: Verbs;
    /// The other program.
    type Outsider: Outsider;

    /// An empty store.
    fn fresh(clock: Clock) -> impl Future<Output = Self>;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// The other program.
    fn outsider(&mut self) -> &mut Self::Outsider;
}

/// A file in a folder of its own.
#[derive(Debug)]
pub struct Sqlite {
    store: sqlite::Store,
    outsider: sqlite::Outsider,
    _folder: TempDir,
}

impl Backend for Sqlite {
    type Store = sqlite::Store;
    type Outsider = sqlite::Outsider;

    async fn fresh(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobs.db");
        let store = sqlite::Store::create_or_migrate(file.as_path(), clock).await;
        Self {
            store: store.unwrap(),
            outsider: sqlite::Outsider::open(&file).await.unwrap(),
            _folder: folder,
        }
    }

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn outsider(&mut self) -> &mut Self::Outsider {
        &mut self.outsider
    }
}

/// The store in memory.
#[derive(Debug)]
pub struct InMemory {
    store: memory::Store,
    outsider: memory::Store,
}

impl Backend for InMemory {
    type Store = memory::Store;
    type Outsider = memory::Store;

    async fn fresh(clock: Clock) -> Self {
        let store = memory::Store::new(move || clock.now());
        Self {
            outsider: store.clone(),
            store,
        }
    }

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn outsider(&mut self) -> &mut Self::Outsider {
        &mut self.outsider
    }
}
