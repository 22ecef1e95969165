//! Jobs: their rows, how they are listed and shown.

use jobtrackd_core::delivery::Attempt;
use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::job::{Failure, FailureKind, JobId, JobState};
use jobtrackd_core::observe::Tracked;
use jobtrackd_core::retention::Stage;
use jobtrackd_core::rows::JobRow;
use jobtrackd_core::snapshot::{ApiError, StepClass};
use jobtrackd_core::time::UnixMillis;
use jobtrackd_core::transition::RecordedChallenge;
use jobtrackd_core::user::UserId;

use super::deliveries::DeliveryRow;
use super::error::Result;
use super::events::EventRow;

/// A job to insert. The schema says what is allowed.
#[derive(Debug, Clone, Default)]
pub struct NewJob {
    /// Its id.
    pub id: String,
    /// Where to poll.
    pub url: Option<String>,
    /// A JSON object.
    pub metadata: Option<String>,
    /// The one webhook that gets its events.
    pub webhook: Option<String>,
    /// Higher is polled first.
    pub priority: i64,
    /// Unix milliseconds.
    pub deadline_at: Option<UnixMillis>,
    /// Unix milliseconds.
    pub not_before: Option<UnixMillis>,
}

/// The result of inserting a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// It was inserted.
    New,
    /// There is a job with this id; its row is unchanged.
    Exists,
    /// The schema refused it, for this reason.
    Refused(String),
}

/// Which jobs are listed: those that match every condition.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those inserted then or later.
    pub since: Option<UnixMillis>,
    /// Only those inserted then or earlier.
    pub until: Option<UnixMillis>,
    /// Only those that ended then or later. With this or `ended_until` the list goes by the time of the end.
    pub ended_since: Option<UnixMillis>,
    /// Only those that ended then or earlier.
    pub ended_until: Option<UnixMillis>,
    /// Only those whose events go to this webhook alone, or that have an event for it.
    pub webhook: Option<String>,
    /// Only those with this text in id, metadata, last error or failure; ASCII letters in either case.
    pub text: Option<String>,
    /// Only those that failed in this way.
    pub failure: Option<FailureKind>,
    /// Most jobs that a search reads, 100,000 unless it says otherwise.
    pub searched: Option<u32>,
    /// Only those behind this one in the list's order: the place of the last one shown.
    pub after: Option<(UnixMillis, JobId)>,
    /// At most this many; fewer where they would come to more than 4 MiB.
    pub limit: u32,
}

impl JobFilter {
    /// Whether jobs have to be read one by one, since no index helps.
    #[must_use]
    pub fn is_search(&self) -> bool {
        let other_index = self.state.is_some() || self.since.is_some() || self.until.is_some();
        self.webhook.is_some()
            || self.text.is_some()
            || self.failure.is_some()
            || (self.is_of_ended() && other_index)
    }

    /// Whether the list has ended jobs alone, the latest ended first.
    #[must_use]
    pub fn is_of_ended(&self) -> bool {
        self.ended_since.is_some() || self.ended_until.is_some()
    }

    /// The place of a job in the list's order.
    #[must_use]
    pub fn place(&self, job: &JobSummary) -> (UnixMillis, JobId) {
        self.place_of(&job.row, job.finished_at)
    }

    pub(crate) fn place_of(
        &self,
        row: &JobRow,
        finished_at: Option<UnixMillis>,
    ) -> (UnixMillis, JobId) {
        let ended = finished_at.filter(|_| self.is_of_ended());
        (ended.unwrap_or(row.created_at), row.id.clone())
    }

    /// Between which times, both included, the places of the list are.
    pub(crate) fn times(&self) -> (Option<UnixMillis>, Option<UnixMillis>) {
        match self.is_of_ended() {
            true => (self.ended_since, self.ended_until),
            false => (self.since, self.until),
        }
    }
}

/// Jobs of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobPage {
    /// In the list's order.
    pub jobs: Vec<JobSummary>,
    /// Whether there are more.
    pub more: bool,
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSummary {
    /// The row.
    pub row: JobRow,
    /// The enqueuer's metadata.
    pub metadata: Option<String>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// When it ended.
    pub finished_at: Option<UnixMillis>,
    /// Its steps in order of position.
    pub steps: Vec<StepRow>,
}

/// A step as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// Index in the API's array.
    pub position: u32,
    /// Its title.
    pub title: String,
    /// Which of several steps with this title it is, from 0.
    pub occurrence: u32,
    /// The API's word, or `missing`.
    pub status: String,
    /// What the status means.
    pub class: StepClass,
    /// The result's JSON.
    pub result: Option<String>,
    /// When it was first seen.
    pub first_seen_at: UnixMillis,
    /// When status or result last changed.
    pub updated_at: UnixMillis,
    /// The API's error, while the step is queued.
    pub error: Option<ApiError>,
    /// The challenge that was last seen in it.
    pub challenge: Option<RecordedChallenge>,
}

/// A recorded transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitionRow {
    /// 1, 2, 3 … per job.
    pub seq: u32,
    /// Index in the API's array.
    pub position: u32,
    /// The step's title.
    pub title: String,
    /// Which of several steps with this title it is, from 0.
    pub occurrence: u32,
    /// The status before.
    pub from: Option<String>,
    /// The status after.
    pub to: String,
    /// What it means.
    pub class: StepClass,
    /// The result after.
    pub result: Option<String>,
    /// When it was observed.
    pub observed_at: UnixMillis,
    /// The API's own time.
    pub remote_updated: Option<String>,
}

/// All that is recorded of one job except what can be large: bodies of events, results of transitions and answers of
/// attempts. [`Events`](crate::Events) and [`Timelines`](crate::Timelines) return those in pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDetail {
    /// The job and its steps.
    pub summary: JobSummary,
    /// The remote job as last seen, verbatim.
    pub resource: Option<String>,
    /// What was deleted of it at its age.
    pub pruned: Option<Stage>,
    /// In order, without their results.
    pub transitions: Vec<TransitionRow>,
    /// In order.
    pub events: Vec<EventRow>,
    /// In order of sequence, then webhook.
    pub deliveries: Vec<DeliveryRow>,
    /// In order of time, without their answers.
    pub attempts: Vec<Attempt>,
}

/// What is needed to answer a job's challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobChallenge {
    /// The job's state.
    pub state: JobState,
    /// The user whose token the answers are sent with, if known.
    pub user: Option<UserId>,
    /// The steps that wait for the user, in order of position.
    pub steps: Vec<StepRow>,
}

/// The remote job as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobResource {
    /// The tracker's state of it.
    pub state: JobState,
    /// The API's text, verbatim; `None` before the first good poll.
    pub resource: Option<String>,
}

/// Jobs one by one, for the tracker, the commands and the status server.
pub trait Jobs {
    /// A job as it was last recorded; `None` when its row is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn tracked(&self, id: &JobId) -> impl Future<Output = Result<Option<Tracked>>> + Send;

    /// Different jobs as they were last recorded, in the order of `ids`. Rows that another program has damaged are an error
    /// of their job alone.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn all_tracked(
        &self,
        ids: &[JobId],
    ) -> impl Future<Output = Result<Vec<Result<Option<Tracked>>>>> + Send;

    /// Different rows, in the order of `ids`; otherwise as [`Jobs::all_tracked`].
    ///
    /// # Errors
    /// When the database cannot be read.
    fn all_jobs(
        &self,
        ids: &[JobId],
    ) -> impl Future<Output = Result<Vec<Result<Option<JobRow>>>>> + Send;

    /// One row; `None` when it is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn job(&self, id: &JobId) -> impl Future<Output = Result<Option<JobRow>>> + Send;

    /// The remote job as last seen; `None` when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn resource(&self, id: &JobId) -> impl Future<Output = Result<Option<JobResource>>> + Send;

    /// One job as in a list.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn summary(&self, id: &JobId) -> impl Future<Output = Result<Option<JobSummary>>> + Send;

    /// What is needed to answer a job's challenge; `None` when there is no such job.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn challenge(&self, id: &JobId) -> impl Future<Output = Result<Option<JobChallenge>>> + Send;

    /// All that is recorded of one job except what can be large.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn detail(&self, id: &JobId) -> impl Future<Output = Result<Option<JobDetail>>> + Send;

    /// Inserts a job; `false` when there is one with this id.
    ///
    /// # Errors
    /// [`Refused`](crate::StoreError::Refused) with the reason when the row may not be inserted.
    fn enqueue(&self, job: &NewJob) -> impl Future<Output = Result<bool>> + Send;

    /// Inserts jobs in one transaction and returns the result for each, in order. A refused one does not affect the others.
    ///
    /// # Errors
    /// When the database cannot be written; none of them is inserted then.
    fn enqueue_all(&self, jobs: &[NewJob]) -> impl Future<Output = Result<Vec<Enqueued>>> + Send;

    /// Requests the end of a job's tracking; `None` when there is no such job, `Some(false)` when it has ended already.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn request_cancel(&self, id: &JobId) -> impl Future<Output = Result<Option<bool>>> + Send;

    /// Requests the end of the tracking of these jobs in one transaction; returns those of them that have not ended.
    ///
    /// # Errors
    /// When the database cannot be written; nothing is requested then.
    fn request_cancel_of_all(
        &self,
        ids: &[JobId],
    ) -> impl Future<Output = Result<Vec<JobId>>> + Send;

    /// Requests a poll of a job at once; `None` when there is no such job, `Some(false)` when it has ended already.
    ///
    /// # Errors
    /// When the database cannot be written.
    fn request_poll(&self, id: &JobId) -> impl Future<Output = Result<Option<bool>>> + Send;

    /// Names in `jobs.webhook` of unfinished jobs that are not in `known`, with the number of those jobs.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn unknown_webhooks(
        &self,
        known: &[WebhookName],
    ) -> impl Future<Output = Result<Vec<(String, u64)>>> + Send;
}
