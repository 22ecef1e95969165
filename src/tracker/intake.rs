//! Notices rows: those in the table at start, and those that other programs insert or change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::core::delivery::WebhookName;
use crate::core::job::JobId;
use crate::heartbeat::Heartbeat;
use crate::store::{
    Intake as _, JobChange, JobRow, Store, StoreError, Upstreams as _, Wakeups as _, Webhooks as _,
};
use crate::telemetry;
use crate::upstream::Upstream;
use crate::writer::wakeups::Wakeups;
use crate::writer::{Recorder, WriterGone};

/// How often commits of other programs are checked for. With one page to read, a row is noticed well within the 100 ms that
/// docs/enqueuing.md, "The row", promises.
pub const TICK: Duration = Duration::from_millis(40);

/// Rows read at once.
const PAGE: u32 = 500;

/// A message to the poller.
#[derive(Debug)]
pub enum Notice {
    /// Rows that are new or have changed.
    Rows(Vec<JobRow>),
    /// Rows in the table at start; the polls of overdue ones are spread over a short window.
    Backlog(Vec<JobRow>),
}

/// The loop that notices rows.
#[derive(Debug)]
pub struct Intake {
    /// Where rows are read.
    pub store: Store,
    /// Where noticed requests are recorded.
    pub recorder: Recorder,
    /// Where noticed rows are sent.
    pub poller: mpsc::Sender<Notice>,
    /// Notified when this process has inserted or changed a row itself, so that it is noticed at once.
    pub wakeup: Arc<Notify>,
    /// Wakes the dispatcher of a webhook when an operator has changed something.
    pub wakeups: Wakeups,
    /// The API client in use, to resume polling when an operator ends a pause that the API has requested.
    pub upstream: watch::Receiver<Upstream>,
    /// How often commits of other programs are checked for.
    pub tick: Duration,
    /// Shows whether the loop advances.
    pub heartbeat: Heartbeat,
}

/// Why intake has ended.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The database cannot be read.
    #[error("rows cannot be read")]
    Store(#[from] StoreError),
    /// The writer has ended.
    #[error(transparent)]
    WriterGone(#[from] WriterGone),
    /// The poller has ended.
    #[error("the poller has ended")]
    PollerGone,
}

impl Intake {
    /// Reads the backlog, sends its size to `adopted`, then notices changes until `stop`.
    ///
    /// # Errors
    /// [`IntakeError`] when it cannot continue; the process ends then.
    pub async fn run(
        self,
        adopted: oneshot::Sender<u64>,
        stop: CancellationToken,
    ) -> Result<(), IntakeError> {
        match self.notice_until(adopted, &stop).await {
            // At a stop the others may end first; rows that they did not get are read at the next start.
            Err(IntakeError::PollerGone | IntakeError::WriterGone(_)) if stop.is_cancelled() => {
                Ok(())
            }
            result => result,
        }
    }

    async fn notice_until(
        &self,
        adopted: oneshot::Sender<u64>,
        stop: &CancellationToken,
    ) -> Result<(), IntakeError> {
        // The watcher and the number come first, so that commits during the reading of the backlog are noticed too.
        let mut watcher = self.heartbeat.read(|| self.store.watcher()).await?;
        let mut newest = self.heartbeat.read(|| self.store.newest_change()).await?;
        let mut requests = self.operator_requests().await?;
        let mut resumes = self.resumes().await?;
        let jobs = self.adopt_backlog().await?;
        // Fails if the start was cancelled.
        let _ = adopted.send(jobs);
        loop {
            self.heartbeat.beat();
            match watcher.saw_commit().await {
                Ok(true) => {
                    newest = self.notice(newest).await?;
                    let before = std::mem::replace(&mut requests, self.operator_requests().await?);
                    self.wake_changed(&before, &requests);
                    let before = std::mem::replace(&mut resumes, self.resumes().await?);
                    if resumes != before {
                        tracing::info!(
                            "an operator has ended the pause that the API had asked for"
                        );
                        self.upstream.borrow().resume();
                    }
                }
                Ok(false) => {}
                // Checked again at the next tick.
                Err(error) if error.is_temporary() => {}
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = self.wakeup.notified() => {}
                () = tokio::time::sleep(self.tick) => {}
            }
        }
    }

    /// Number of operators' requests so far, per webhook.
    async fn operator_requests(&self) -> Result<BTreeMap<WebhookName, i64>, IntakeError> {
        let requests = self
            .heartbeat
            .read(|| self.store.webhook_requests())
            .await?;
        Ok(requests.into_iter().collect())
    }

    /// Number of pauses of the API that operators have ended so far.
    async fn resumes(&self) -> Result<i64, IntakeError> {
        Ok(self
            .heartbeat
            .read(|| self.store.upstream_resumes())
            .await?)
    }

    /// Wakes the dispatchers of webhooks with new requests: enabled, disabled, or events replayed.
    fn wake_changed(
        &self,
        before: &BTreeMap<WebhookName, i64>,
        requests: &BTreeMap<WebhookName, i64>,
    ) {
        for (name, count) in requests {
            if before.get(name).unwrap_or(&0) != count {
                self.wakeups.wake(name);
            }
        }
    }

    async fn adopt_backlog(&self) -> Result<u64, IntakeError> {
        let mut jobs = 0;
        // Another program may insert a row with a negative number.
        let mut after = i64::MIN;
        loop {
            let page = self
                .heartbeat
                .read(|| self.store.active_jobs(after, PAGE))
                .await?;
            let Some(last) = page.last() else {
                return Ok(jobs);
            };
            after = last.number;
            jobs += self.send(page, Notice::Backlog).await?;
        }
    }

    async fn notice(&self, mut newest: i64) -> Result<i64, IntakeError> {
        let before = newest;
        loop {
            let page = self
                .heartbeat
                .read(|| self.store.changes(newest, PAGE))
                .await?;
            let Some(last) = page.last() else {
                if newest > before {
                    let recording = self.recorder.changes_seen(newest);
                    self.heartbeat.during(recording).await?;
                }
                return Ok(newest);
            };
            newest = last.number;
            self.send(page, Notice::Rows).await?;
        }
    }

    /// Sends the rows to the poller, then has their `poll_requested` reset; returns their number.
    async fn send(
        &self,
        page: Vec<JobChange>,
        notice: fn(Vec<JobRow>) -> Notice,
    ) -> Result<u64, IntakeError> {
        let rows: Vec<JobRow> = page.into_iter().filter_map(|change| change.job).collect();
        let requested: Vec<JobId> = rows
            .iter()
            .filter(|row| row.poll_requested)
            .map(|row| row.id.clone())
            .collect();
        let count = rows.len() as u64;
        telemetry::noticed(count);
        if rows.is_empty() {
            return Ok(count);
        }
        let sending = self.poller.send(notice(rows));
        self.heartbeat
            .during(sending)
            .await
            .map_err(|_| IntakeError::PollerGone)?;
        if !requested.is_empty() {
            let recording = self.recorder.poll_requests_taken(requested);
            self.heartbeat.during(recording).await?;
        }
        Ok(count)
    }
}
