//! What the poller takes in, and what is to be done for it.

use crate::batch::ScheduleUpdate;
use crate::job::{Failure, JobId};
use crate::machines::poll::{Finished, Settings, Task};
use crate::rows::JobRow;
use crate::time::{Monotonic, UnixMillis};

/// What has happened.
#[derive(Debug)]
pub enum Input {
    /// Rows that are new or have changed, and when their reading began.
    Rows(Vec<JobRow>, Monotonic),
    /// Rows in the table at start; the polls of overdue ones are spread over a short window.
    Backlog(Vec<JobRow>),
    /// The request of a poll is over, and what it found is being recorded; then [`Input::Finished`].
    Answered,
    /// A poll or an end is over.
    Finished(Box<Finished>),
    /// The answer to [`Effect::ReadRow`].
    Row(JobId, Option<JobRow>),
    /// The progress of [`Effect::RecordProgress`] was not accepted.
    ProgressRefused(Vec<ScheduleUpdate>),
    /// The pause of [`Effect::RecordPause`] was not accepted.
    PauseRefused,
    /// Outcomes can be recorded from now on, or cannot. While they cannot, no poll is started.
    Writable(bool),
    /// Settings of a reload.
    Settings(Settings, usize),
}

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Poll this job, or end it; then [`Input::Finished`].
    Start(Box<Task>),
    /// End the job for this reason instead of waiting for its request. If that is over already, nothing.
    Cut(JobId, Failure),
    /// Read the row of this job; then [`Input::Row`].
    ReadRow(JobId),
    /// The job is no longer followed.
    Forget(JobId),
    /// Record the progress of these jobs, at some time.
    RecordProgress(Vec<ScheduleUpdate>),
    /// Record until when the API at this origin is paused.
    RecordPause(String, UnixMillis),
    /// For the log and for metrics.
    Report(Report),
}

/// What is logged or counted of the schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The job is followed from now on.
    Followed(JobId),
    /// The job names a webhook that is not configured.
    UnknownWebhook {
        /// The job.
        id: JobId,
        /// The name, escaped and cut.
        webhook: String,
        /// Whether the name was not reported before.
        is_new: bool,
    },
    /// The gate was closed for this many more seconds.
    Paused(u64),
}
