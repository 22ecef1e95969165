//! Retention: deletes what has reached its age in small transactions with pauses between, so that the other loops can write.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::clock::Clock;
use crate::core::clock_jumps::SETTLING;
use crate::core::retention::{BatchSize, Retention, Stage};
use crate::core::time::UnixMillis;
use crate::heartbeat::Heartbeat;
use crate::store::{Prune, Pruned, Retention as _, Store, StoreError};
use crate::telemetry;
use crate::writer::Writable;
use strum::IntoEnumIterator;

/// Pause before the first pass, since the other loops are busy at start.
const FIRST: Duration = Duration::from_secs(60);

/// Pause between the end of one pass and the next.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Shortest pause after a transaction; a pause is at least twice as long as the transaction.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// The loop of retention.
#[derive(Debug)]
pub struct Pruner {
    /// The database.
    pub store: Store,
    /// Whether the database can be written; otherwise nothing is deleted.
    pub writable: watch::Receiver<Writable>,
    /// The ages; a reload may change them.
    pub retention: watch::Receiver<Retention>,
    /// The time of day.
    pub clock: Clock,
    /// Shows whether the loop advances.
    pub heartbeat: Heartbeat,
}

/// Numbers of what one pass has deleted.
#[derive(Debug, Default)]
struct Deleted {
    jobs: u64,
    rows: u64,
}

impl Pruner {
    /// Makes passes until `stop`.
    ///
    /// # Errors
    /// When the database cannot be used any more; the process ends then.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StoreError> {
        let mut pause = FIRST;
        loop {
            if !self.sleep(pause, &stop).await {
                return Ok(());
            }
            pause = EVERY;
            // Right after a jump the clock may be wrong, and a deletion cannot be undone.
            if !self.clock.stability().is_settled {
                pause = SETTLING;
                continue;
            }
            match self.pass(&stop).await {
                Ok(Deleted { rows: 0, .. }) => debug!("nothing has reached its age"),
                Ok(Deleted { jobs, rows }) => {
                    info!(jobs, rows, "what had reached its age was deleted");
                }
                // Another program holds the lock; the next pass is soon enough.
                Err(error) if error.is_temporary() => debug!(%error, "nothing could be deleted"),
                Err(error) => return Err(error),
            }
        }
    }

    async fn pass(&mut self, stop: &CancellationToken) -> Result<Deleted, StoreError> {
        let mut deleted = Deleted::default();
        let mut size = BatchSize::default();
        for stage in Stage::iter() {
            let now = self.clock.now();
            let retention = *self.retention.borrow();
            let Some(before) = retention.before(stage, now) else {
                continue;
            };
            if stage == Stage::Attempts && !self.tests(before, &mut size, stop).await? {
                return Ok(deleted);
            }
            if !self
                .stage(stage, before, &mut size, &mut deleted, stop)
                .await?
            {
                return Ok(deleted);
            }
        }
        Ok(deleted)
    }

    /// Runs one stage on all jobs that are old enough; `false` at a stop.
    async fn stage(
        &mut self,
        stage: Stage,
        before: UnixMillis,
        size: &mut BatchSize,
        deleted: &mut Deleted,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        let mut after = None;
        loop {
            let store = &self.store;
            let (found, stopped) = self
                .heartbeat
                .read(|| store.prunable(stage, before, after))
                .await?;
            let mut jobs = found.as_slice();
            while !jobs.is_empty() {
                let prune = Prune {
                    stage,
                    before,
                    jobs,
                    rows: size.rows(),
                };
                let pruned = self.store.prune(prune).await?;
                jobs = jobs.get(pruned.jobs..).unwrap_or_default();
                telemetry::pruned(stage, pruned.jobs as u64, pruned.took);
                deleted.rows += pruned.rows;
                if stage == Stage::Jobs {
                    deleted.jobs += pruned.jobs as u64;
                }
                if !self.pause(pruned, size, stop).await {
                    return Ok(false);
                }
            }
            if stopped.is_none() {
                return Ok(true);
            }
            after = stopped;
        }
    }

    /// Deletes the attempts of tests; `false` at a stop.
    async fn tests(
        &mut self,
        before: UnixMillis,
        size: &mut BatchSize,
        stop: &CancellationToken,
    ) -> Result<bool, StoreError> {
        loop {
            let rows = size.rows();
            let pruned = self.store.prune_tests(before, rows).await?;
            if pruned.rows < u64::from(rows) {
                return Ok(true);
            }
            if !self.pause(pruned, size, stop).await {
                return Ok(false);
            }
        }
    }

    /// Pauses after a transaction, and while the database cannot be written; `false` at a stop.
    async fn pause(
        &mut self,
        pruned: Pruned,
        size: &mut BatchSize,
        stop: &CancellationToken,
    ) -> bool {
        *size = size.after(pruned.took);
        let pause = (pruned.took * 2).max(SHORTEST_PAUSE);
        if !self.sleep(pause, stop).await {
            return false;
        }
        while *self.writable.borrow_and_update() != Writable::Yes {
            tokio::select! {
                () = self.heartbeat.requested() => {}
                () = stop.cancelled() => return false,
                changed = self.writable.changed() => if changed.is_err() { return false },
            }
        }
        true
    }

    /// Sleeps, and beats when requested; `false` at a stop.
    async fn sleep(&self, pause: Duration, stop: &CancellationToken) -> bool {
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = self.heartbeat.requested() => {}
                () = stop.cancelled() => return false,
                () = &mut over => return true,
            }
        }
    }
}
