//! Notices rows: those in the table at start, and those that other programs insert or change.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::looks::{Looking, Looks};
use crate::clock::Clock;
pub use crate::core::machines::intake::Notice;
use crate::core::machines::intake::{self, Answer, Effect, PAGE, Query};
use crate::core::time::Monotonic;
use crate::heartbeat::Heartbeat;
use crate::store::{Intake as _, Store, StoreError, Upstreams as _, Webhooks as _};
use crate::telemetry;
use crate::upstream::Upstream;
use crate::writer::wakeups::Wakeups;
use crate::writer::{Recorder, WriterGone};

/// A notice, and when the reading of its rows began.
pub type Noticed = (Notice, Monotonic);

/// The loop that notices rows.
#[derive(Debug)]
pub struct Intake {
    /// Where rows are read.
    pub store: Store,
    /// Where noticed requests are recorded.
    pub recorder: Recorder,
    /// When rows are read.
    pub clock: Clock,
    /// Where noticed rows are sent, and when their reading began.
    pub poller: mpsc::Sender<Noticed>,
    /// Notified when this process has inserted or changed a row itself, so that it is noticed at once.
    pub wakeup: Arc<Notify>,
    /// Wakes the dispatcher of a webhook when an operator has changed something.
    pub wakeups: Wakeups,
    /// The API client in use, to resume polling when an operator ends a pause that the API has requested.
    pub upstream: watch::Receiver<Upstream>,
    /// How often it is looked for commits of other programs.
    pub looking: Looking,
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
        let (mut intake, mut looks) = (intake::Intake::default(), None);
        let mut adopted = Some(adopted);
        let mut read_at = self.clock.monotonic();
        loop {
            match intake.step() {
                Effect::Query(query) => {
                    read_at = self.clock.monotonic();
                    intake.answer(self.read(query, &mut looks).await?);
                }
                Effect::Send(notice) => {
                    telemetry::noticed(notice.rows().len() as u64);
                    let sending = self.poller.send((notice, read_at));
                    let sent = self.heartbeat.during(sending).await;
                    sent.map_err(|_| IntakeError::PollerGone)?;
                }
                Effect::PollRequestsTaken(jobs, seen) => {
                    let recording = self.recorder.poll_requests_taken(jobs, seen);
                    self.heartbeat.during(recording).await?;
                }
                Effect::ChangesSeen(newest) => {
                    let recording = self.recorder.changes_seen(newest);
                    self.heartbeat.during(recording).await?;
                }
                Effect::Adopted(jobs) => {
                    // Fails if the start was cancelled.
                    let _ = adopted.take().map(|adopted| adopted.send(jobs));
                }
                Effect::Wake(webhook) => self.wakeups.wake(&webhook),
                Effect::Resume => {
                    tracing::info!("an operator has ended the pause that the API had asked for");
                    self.upstream.borrow().resume();
                }
                Effect::Wait => tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = self.wakeup.notified() => {}
                    () = next(&mut looks) => {}
                },
            }
        }
    }

    async fn read(&self, query: Query, looks: &mut Option<Looks>) -> Result<Answer, IntakeError> {
        let (store, heartbeat) = (&self.store, &self.heartbeat);
        Ok(match query {
            Query::Watch => {
                let watcher = heartbeat.read(|| store.watcher()).await?;
                *looks = Some(Looks::new(self.looking, watcher));
                Answer::Watching
            }
            Query::NewestChange => Answer::Number(heartbeat.read(|| store.newest_change()).await?),
            Query::WebhookRequests => {
                let requests = heartbeat.read(|| store.webhook_requests()).await?;
                Answer::Requests(requests.into_iter().collect())
            }
            Query::UpstreamResumes => {
                Answer::Number(heartbeat.read(|| store.upstream_resumes()).await?)
            }
            Query::ActiveJobs(after) => {
                Answer::Page(heartbeat.read(|| store.active_jobs(after, PAGE)).await?)
            }
            Query::Changes(after) => {
                Answer::Page(heartbeat.read(|| store.changes(after, PAGE)).await?)
            }
            Query::SawCommit => {
                heartbeat.beat();
                Answer::Committed(match looks {
                    Some(looks) => looks.saw_commit().await?,
                    None => false,
                })
            }
        })
    }
}

/// Returns when it is time for the next look; never before it is watched for commits.
async fn next(looks: &mut Option<Looks>) {
    match looks {
        Some(looks) => looks.next().await,
        None => pending().await,
    }
}
