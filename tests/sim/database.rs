//! The tables: in memory, or one seed in fifty a real SQLite file, through the same verbs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures_util::FutureExt as _;
use jobtrackd_clock::Clock;
use jobtrackd_core::batch::{Batch, Committed, Undelivered};
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::JobId;
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::rows::{DueDeliveries, JobChange, JobRow, WebhookHealth};
use jobtrackd_core::time::UnixMillis;
use jobtrackd_store::sqlite;
use jobtrackd_store::{
    Backlogs, Commits, Deliveries, DeliveryFilter, DeliveryRow, EventFilter, Events, Expiry,
    Intake, JobDetail, JobUpdate, Jobs, NewJob, Outsider, Page, Prune, RecordedEvent, ReplayFilter,
    Replays, Resumed, Retention, StoreError, Unwanted, Upstreams, Webhooks, memory,
};
use tokio::runtime::Runtime;

use crate::time::EPOCH;

type Result<T> = std::result::Result<T, StoreError>;

/// The tables.
pub(crate) struct Database {
    store: Store,
    /// What the clock of the store shows.
    wall: Arc<AtomicI64>,
}

enum Store {
    Memory(memory::Store),
    File(Box<File>),
}

struct File {
    runtime: Runtime,
    clock: Clock,
    /// `None` while the process is down.
    store: Option<sqlite::Store>,
    outsider: sqlite::Outsider,
    folder: tempfile::TempDir,
}

/// Does the same with either store.
macro_rules! with {
    ($database:expr, $store:ident => $work:expr) => {
        match &$database.store {
            Store::Memory($store) => ready($work),
            Store::File(file) => match &file.store {
                Some($store) => file.runtime.block_on(async {
                    file.show($database.wall.load(Ordering::Relaxed));
                    $work.await
                }),
                None => Err(StoreError::Busy),
            },
        }
    };
}

/// The store in memory never waits.
fn ready<F: Future>(future: F) -> F::Output {
    future
        .now_or_never()
        .expect("a future of the store in memory is ready at once")
}

impl File {
    async fn open() -> Result<(Clock, sqlite::Store, sqlite::Outsider, tempfile::TempDir)> {
        let folder = tempfile::tempdir().map_err(|error| StoreError::Other(error.to_string()))?;
        let clock = Clock::driven(UnixMillis(EPOCH));
        let path = folder.path().join("jobs.db");
        let store = sqlite::Store::create_or_migrate(path.as_path(), clock.clone()).await?;
        let outsider = sqlite::Outsider::open(&path).await?;
        Ok((clock, store, outsider, folder))
    }

    /// Sets the clock of the store, whatever time has passed for it.
    fn show(&self, wall: i64) {
        self.clock.set_ahead(wall - self.clock.now().0);
    }
}

impl Database {
    pub(crate) fn new(is_on_disk: bool) -> Result<Self> {
        let wall = Arc::new(AtomicI64::new(EPOCH));
        let shown = Arc::clone(&wall);
        let store = if is_on_disk {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .map_err(|error| StoreError::Other(error.to_string()))?;
            let (clock, store, outsider, folder) = runtime.block_on(File::open())?;
            Store::File(Box::new(File {
                runtime,
                clock,
                store: Some(store),
                outsider,
                folder,
            }))
        } else {
            Store::Memory(memory::Store::new(move || {
                UnixMillis(shown.load(Ordering::Relaxed))
            }))
        };
        Ok(Self { store, wall })
    }

    /// Sets the wall clock of the host.
    pub(crate) fn set_wall(&self, wall: i64) {
        self.wall.store(wall, Ordering::Relaxed);
    }

    /// The process that had it open has died, and another one opens it.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        let Store::File(file) = &mut self.store else {
            return Ok(());
        };
        let path = file.folder.path().join("jobs.db");
        let (clock, before) = (file.clock.clone(), file.store.take());
        file.store = Some(file.runtime.block_on(async {
            if let Some(before) = before {
                before.close().await;
            }
            sqlite::Store::open(path.as_path(), clock).await
        })?);
        Ok(())
    }

    pub(crate) fn active_jobs(&self, after: i64, limit: u32) -> Result<Vec<JobChange>> {
        with!(self, store => store.active_jobs(after, limit))
    }

    pub(crate) fn changes(&self, after: i64, limit: u32) -> Result<Vec<JobChange>> {
        with!(self, store => store.changes(after, limit))
    }

    pub(crate) fn newest_change(&self) -> Result<i64> {
        with!(self, store => store.newest_change())
    }

    pub(crate) fn job(&self, id: &JobId) -> Result<Option<JobRow>> {
        with!(self, store => store.job(id))
    }

    pub(crate) fn tracked(&self, id: &JobId) -> Result<Option<Tracked>> {
        with!(self, store => store.tracked(id))
    }

    pub(crate) fn detail(&self, id: &JobId) -> Result<Option<JobDetail>> {
        with!(self, store => store.detail(id))
    }

    pub(crate) fn commit(&self, batch: &Batch) -> Result<Committed> {
        with!(self, store => store.commit(batch))
    }

    pub(crate) fn due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        except: &[String],
        limit: u32,
    ) -> Result<DueDeliveries> {
        with!(self, store => store.deliveries_due(webhook, now, except, limit))
    }

    pub(crate) fn expiring_due(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries> {
        with!(self, store => store.expiring_deliveries_due(webhook, now, limit))
    }

    pub(crate) fn to_probe(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<DueDeliveries> {
        with!(self, store => store.deliveries_to_probe(webhook, now, limit))
    }

    pub(crate) fn body_to_send(
        &self,
        webhook: &WebhookName,
        event: &str,
    ) -> Result<Option<Vec<u8>>> {
        with!(self, store => store.body_to_send(webhook, event))
    }

    pub(crate) fn next_delivery(
        &self,
        webhook: &WebhookName,
        after: UnixMillis,
    ) -> Result<Option<UnixMillis>> {
        with!(self, store => store.next_delivery(webhook, after))
    }

    pub(crate) fn expired(
        &self,
        webhook: &WebhookName,
        now: UnixMillis,
        limit: u32,
    ) -> Result<Vec<Undelivered>> {
        with!(self, store => store.expired_deliveries(webhook, now, limit))
    }

    pub(crate) fn next_expiry(
        &self,
        webhook: &WebhookName,
        after: UnixMillis,
    ) -> Result<Option<UnixMillis>> {
        with!(self, store => store.next_expiry(webhook, after))
    }

    pub(crate) fn health(&self, webhook: &WebhookName) -> Result<WebhookHealth> {
        with!(self, store => store.webhook_health(webhook))
    }

    pub(crate) fn clamp(&self, webhook: &WebhookName, longest: std::time::Duration) -> Result<u64> {
        with!(self, store => store.clamp_waits(webhook, longest))
    }

    pub(crate) fn requests(&self) -> Result<Vec<(WebhookName, i64)>> {
        with!(self, store => store.webhook_requests())
    }

    pub(crate) fn resumes(&self) -> Result<i64> {
        with!(self, store => store.upstream_resumes())
    }

    pub(crate) fn pause(&self, origin: &str) -> Result<Option<UnixMillis>> {
        with!(self, store => store.upstream_pause(origin))
    }

    pub(crate) fn resume(&self) -> Result<Resumed> {
        with!(self, store => store.resume_upstreams())
    }

    pub(crate) fn enable(&self, webhook: &WebhookName) -> Result<Page> {
        with!(self, store => store.enable_webhook(webhook))
    }

    pub(crate) fn disable(&self, webhook: &WebhookName) -> Result<Page> {
        with!(self, store => store.disable_webhook(webhook, "an operator"))
    }

    pub(crate) fn give_up(&self, unwanted: &Unwanted) -> Result<Page> {
        with!(self, store => store.give_up(unwanted))
    }

    /// Replays all that the filter finds.
    pub(crate) fn replay(&self, filter: &ReplayFilter) -> Result<u64> {
        with!(self, store => async {
            let mut replay = store.begin_replay(filter).await?;
            loop {
                let page = store.replayable(filter, replay.reached).await?;
                let deliveries = replay.deliveries + page.deliveries.len() as u64;
                match store.replay(&replay, &page).await? {
                    Some(next) if !page.is_last => replay = next,
                    _ => return Ok(deliveries),
                }
            }
        }.boxed_local())
    }

    /// Deletes what ended before this time.
    pub(crate) fn prune(&self, stage: Stage, before: UnixMillis) -> Result<u64> {
        with!(self, store => async {
            let (mut rows, mut after) = (0, None);
            loop {
                let (found, stopped) = store.prunable(stage, before, after).await?;
                let mut jobs = found.as_slice();
                while !jobs.is_empty() {
                    let pruned = store.prune(Prune { stage, before, jobs, rows: 1000 }).await?;
                    jobs = jobs.get(pruned.jobs..).unwrap_or_default();
                    rows += pruned.rows;
                }
                if stopped.is_none() {
                    return Ok(rows);
                }
                after = stopped;
            }
        }.boxed_local())
    }

    /// Every event after this cursor, in the order of commits.
    pub(crate) fn events(&self, after: i64) -> Result<Vec<RecordedEvent>> {
        let filter = EventFilter {
            after,
            limit: 100_000,
            bytes: u32::MAX,
            ..EventFilter::default()
        };
        with!(self, store => async { Ok(store.events(&filter).await?.events) }.boxed_local())
    }

    /// Every delivery, the newest first.
    pub(crate) fn deliveries(&self, filter: DeliveryFilter) -> Result<Vec<DeliveryRow>> {
        let filter = DeliveryFilter {
            limit: 100_000,
            ..filter
        };
        with!(self, store => async {
            Ok(store.list_deliveries(&filter).await?.deliveries)
        }.boxed_local())
    }

    /// What an outside program inserts; `false` when the id is there already.
    pub(crate) fn insert(&mut self, job: &NewJob, at: UnixMillis) -> Result<bool> {
        match &mut self.store {
            Store::Memory(store) => ready(store.insert(job, at)),
            Store::File(file) => file.runtime.block_on(file.outsider.insert(job, at)),
        }
    }

    pub(crate) fn update(&mut self, id: &JobId, update: &JobUpdate) -> Result<bool> {
        match &mut self.store {
            Store::Memory(store) => ready(store.update(id, update)),
            Store::File(file) => file.runtime.block_on(file.outsider.update(id, update)),
        }
    }

    pub(crate) fn delete(&mut self, id: &JobId) -> Result<bool> {
        match &mut self.store {
            Store::Memory(store) => ready(store.delete(id)),
            Store::File(file) => file.runtime.block_on(file.outsider.delete(id)),
        }
    }
}
