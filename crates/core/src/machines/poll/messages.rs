//! What one poll takes in, and what it has done for it.

use std::sync::Arc;
use std::time::Duration;

use crate::batch::Recordable;
use crate::cadence::{PollingPolicy, Progress};
use crate::etag::Etag;
use crate::event::Subscriptions;
use crate::job::{Failure, JobId};
use crate::machines::batching::Recorded;
use crate::observe::Tracked;
use crate::poll::Poll;
use crate::rows::JobRow;
use crate::time::UnixMillis;

/// A source of random numbers in 0..1.
pub type Random<'a> = &'a mut dyn FnMut() -> f64;

/// What a reload may change. A poll in flight keeps the settings with which it began.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `https://host[:port]` of the API, for its relative links.
    pub api_origin: String,
    /// Which webhooks get which events.
    pub subscriptions: Subscriptions,
    /// When to poll.
    pub policy: PollingPolicy,
    /// The longest delay that a `Retry-After` can cause.
    pub max_retry_after: Duration,
    /// Whether the `Retry-After` of a good answer delays the next poll of that job; decided by the dialect.
    pub heeds_retry_after: bool,
}

impl Settings {
    /// Upper bound of the delay before a job's next poll, `not_before` aside.
    #[must_use]
    pub fn longest_wait(&self, progress: &Progress) -> Duration {
        let longest = progress.longest_delay(&self.policy, self.max_retry_after);
        match self.heeds_retry_after {
            true => longest.max(self.max_retry_after),
            false => longest,
        }
    }
}

/// A job to be polled or ended.
#[derive(Debug, Clone)]
pub struct Task {
    /// The job.
    pub id: JobId,
    /// Where to poll, when not at the configured path.
    pub url: Option<Arc<str>>,
    /// The one webhook that gets its events; `None`: all that subscribe.
    pub webhook: Option<Arc<str>>,
    /// The outcomes of its polls so far.
    pub progress: Progress,
    /// The hash of the body that was recorded last.
    pub hash: Option<u64>,
    /// Its entity tag, if it had one and was requested at the same URL with the same settings.
    pub etag: Option<Etag>,
    /// Whether the answer has to be whole: somebody asked for the poll, or it is the one at the deadline.
    pub is_whole: bool,
    /// Whether nothing is recorded of it and it has no metadata, so that nothing need be read of it before its first answer.
    pub is_blank: bool,
    /// When the row was inserted; distinguishes two jobs of the same id.
    pub created_at: UnixMillis,
    /// When the job expires; polls after it have shorter delays.
    pub deadline: UnixMillis,
    /// How late it starts.
    pub lag: Duration,
    /// What is to be done.
    pub work: Work,
    /// The settings with which it began.
    pub settings: Arc<Settings>,
}

/// What is to be done with the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Poll the API.
    Poll,
    /// End the job without a poll.
    End(Failure),
}

/// What is to be done next; its result is the next [`Input`].
#[derive(Debug)]
pub enum Step {
    /// Read the job's row; then [`Input::Row`].
    ReadRow,
    /// Request the job; then [`Input::Polled`], [`Input::Cut`] or [`Input::UrlRefused`].
    Request,
    /// Read the job as it is recorded; then [`Input::Tracked`].
    ReadTracked,
    /// Record this; then [`Input::Recorded`].
    Record(Box<Recordable>),
    /// Nothing: the poll is over.
    Done(Box<Finished>),
}

/// The result of a step.
#[derive(Debug)]
pub enum Input {
    /// The job's row; `None` if there is none, the error if another program has damaged it.
    Row(Result<Option<JobRow>, String>),
    /// The request is over.
    Polled(Poll),
    /// The request was given up after this many requests were sent, because the job ends by our own decision.
    Cut(Failure, u32),
    /// The job's own URL may not be requested; why.
    UrlRefused(String),
    /// The job as it is recorded; the error if another program has damaged its rows.
    Tracked(Result<Option<Tracked>, String>),
    /// Whether the record was committed.
    Recorded(Recorded),
}

/// A poll that is over.
#[derive(Debug)]
pub struct Finished {
    /// The job.
    pub id: JobId,
    /// The outcomes of its polls so far.
    pub progress: Progress,
    /// The hash of the body that was recorded last.
    pub hash: Option<u64>,
    /// Its entity tag.
    pub etag: Option<Etag>,
    /// Whether the poll had a usable answer that is not stale.
    pub is_current: bool,
    /// Whether the progress is recorded, together with what the poll saw.
    pub is_recorded: bool,
    /// How long the job is not polled because of a `Retry-After`.
    pub pause: Duration,
    /// Whether it was [`Work::End`].
    pub ended: bool,
    /// Whether it was a poll with something to record.
    pub had_answer: bool,
    /// The job as it is recorded now, if it goes on, the poll has changed it, and it is small: for its next change.
    pub tracked: Option<Tracked>,
    /// What follows.
    pub next: Next,
    /// What an operator should know.
    pub reports: Vec<Report>,
}

/// What the poller does with the job after the poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Poll again after this long.
    After(Duration),
    /// Poll again as soon as the gate is open: the job was not the cause.
    WhenOpen,
    /// Stop following it: it has ended, or its row is gone.
    Forget,
    /// Read its row again, which has changed during the poll.
    Reread,
}

/// What an operator should know of a poll, beside its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The row of the job is gone.
    RowGone,
    /// What was seen cannot be recorded; how many polls in a row had failed before.
    CannotRecord {
        /// Why.
        error: String,
        /// 0: this is the first one.
        errors_before: u32,
    },
    /// The job has passed a bound, with this many transitions and events.
    Limited {
        /// Number of its last transition.
        transitions: u32,
        /// Sequence of its last event.
        events: u32,
    },
}
