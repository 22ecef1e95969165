//! What is read from the database.

use std::time::Duration;

use jobtrackd_core::cadence::Progress;
use jobtrackd_core::delivery::DeliveryState;
use jobtrackd_core::health::Health;
use jobtrackd_core::job::{Failure, JobId, JobState};
use jobtrackd_core::retention::Stage;
use jobtrackd_core::time::UnixMillis;

/// A row of `jobs` as the tracker's loops need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Where to poll, when not at `/jobs/{id}`.
    pub url: Option<String>,
    /// The one webhook to tell; `None`: all that subscribe.
    pub webhook: Option<String>,
    /// Higher is polled first.
    pub priority: i64,
    /// When it expires, if the enqueuer said so.
    pub deadline_at: Option<UnixMillis>,
    /// No poll earlier.
    pub not_before: Option<UnixMillis>,
    /// Tracking shall end.
    pub cancel_requested: bool,
    /// Shall be polled now.
    pub poll_requested: bool,
    /// Its state.
    pub state: JobState,
    /// How polling it has gone so far, as last written down.
    pub progress: Progress,
    /// When it is to be polled next, as last written down.
    pub next_poll_at: Option<UnixMillis>,
    /// When the row was inserted.
    pub created_at: UnixMillis,
}

/// A job and the number under which it was read, to go on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobChange {
    /// The change's or the row's number.
    pub number: i64,
    /// The row; `None` when it is gone, or holds what cannot be read (which has been logged).
    pub job: Option<JobRow>,
}

/// A delivery that is due, with all an attempt needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueDelivery {
    /// The event, sent as `webhook-id`.
    pub event_id: String,
    /// Its job.
    pub job_id: JobId,
    /// Attempts made.
    pub attempts: u32,
    /// Entries of the retry schedule used up.
    pub retries_used: u32,
    /// The event's type, by name.
    pub kind: String,
    /// The exact bytes to send, unless they are more than 16 KiB.
    pub body: Option<Vec<u8>>,
    /// When the event happened.
    pub created_at: UnixMillis,
    /// When it expires.
    pub expires_at: Option<UnixMillis>,
    /// When it is due.
    pub due: UnixMillis,
    /// The rests that the webhook asked for at it so far, together.
    pub rested: Duration,
    /// Whether an earlier attempt failed.
    pub failed_before: bool,
    /// Whether an operator has asked for it again.
    pub is_replay: bool,
}

/// Deliveries that were read, and those that were found and hold what no version of this program writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueDeliveries {
    /// In the order that was asked for.
    pub deliveries: Vec<DueDelivery>,
    /// The event of each that cannot be read, and why; outsiders' text.
    pub unreadable: Vec<(String, String)>,
}

/// What is remembered of a webhook over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookHealth {
    /// Since when it is disabled, and why.
    pub disabled: Option<(UnixMillis, String)>,
    /// Until when it rests.
    pub paused_until: Option<UnixMillis>,
    /// Whether it is held or ramps up.
    pub health: Health,
    /// Rests of no length that it asked for in a row.
    pub rests: u32,
    /// The number of that health; later ones have higher numbers.
    pub revision: i64,
    /// How often an operator has had the health forgotten.
    pub generation: i64,
    /// How often an operator has asked the daemon to look again.
    pub asks: i64,
    /// Why the row cannot be read, if it cannot; all else is as if there were none.
    pub unreadable: Option<String>,
}

/// An event that has expired before it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredDelivery {
    /// The event.
    pub event_id: String,
    /// Its job.
    pub job_id: JobId,
}

/// A job to insert. The schema says what is allowed.
#[derive(Debug, Clone, Default)]
pub struct NewJob {
    /// Its id.
    pub id: String,
    /// Where to poll.
    pub url: Option<String>,
    /// A JSON object.
    pub metadata: Option<String>,
    /// The one webhook to tell.
    pub webhook: Option<String>,
    /// Higher is polled first.
    pub priority: i64,
    /// Unix milliseconds.
    pub deadline_at: Option<UnixMillis>,
    /// Unix milliseconds.
    pub not_before: Option<UnixMillis>,
}

/// What became of a job that was to be inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Enqueued {
    /// It was inserted.
    New,
    /// The id is there already; its row is as it was.
    Known,
    /// The schema refused it, for this reason.
    Refused(String),
}

/// Which jobs are listed: those that everything given here is true of.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those inserted then or later.
    pub since: Option<UnixMillis>,
    /// Only those inserted then or earlier.
    pub until: Option<UnixMillis>,
    /// Only those that this webhook alone is told of, or that have an event for it.
    pub webhook: Option<String>,
    /// Only those with this text in id, metadata, last error or failure; ASCII letters in either case.
    pub text: Option<String>,
    /// Only those inserted before this one in the list's order: (created_at, id) of the last one shown.
    pub after: Option<(UnixMillis, JobId)>,
    /// At most this many; fewer where they would come to more than 4 MiB.
    pub limit: u32,
}

/// Jobs of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPage {
    /// In the list's order.
    pub jobs: Vec<JobSummary>,
    /// Whether there are more.
    pub more: bool,
}

impl JobFilter {
    /// Whether jobs have to be looked at one by one, since no index has what is asked for.
    #[must_use]
    pub fn is_search(&self) -> bool {
        self.webhook.is_some() || self.text.is_some()
    }
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
    pub steps: Vec<StepView>,
}

/// A step as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepView {
    /// Index in the API's array.
    pub position: u32,
    /// Its title.
    pub title: String,
    /// The API's word, or `missing`.
    pub status: String,
    /// The result's JSON.
    pub result: Option<String>,
    /// When it was first seen.
    pub first_seen_at: UnixMillis,
    /// When status or result last changed.
    pub updated_at: UnixMillis,
    /// When its challenge expires, counted from the first sight.
    pub expires_at: Option<UnixMillis>,
    /// Where the answers to its challenge go, absolute.
    pub response_url: Option<String>,
}

/// A recorded transition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitionView {
    /// 1, 2, 3 … per job.
    pub seq: u32,
    /// Index in the API's array.
    pub position: u32,
    /// The step's title.
    pub title: String,
    /// The status before.
    pub from: Option<String>,
    /// The status after.
    pub to: String,
    /// The result after.
    pub result: Option<String>,
    /// When it was observed.
    pub observed_at: UnixMillis,
    /// The API's own time.
    pub remote_updated: Option<String>,
}

/// A recorded event without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventView {
    /// Its id.
    pub id: String,
    /// 1, 2, 3 … per job.
    pub sequence: u32,
    /// Its type's name.
    pub kind: String,
    /// When it happened.
    pub created_at: UnixMillis,
}

/// Where telling one event to one webhook stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryView {
    /// The event.
    pub event_id: String,
    /// Its sequence in the job.
    pub sequence: u32,
    /// The webhook.
    pub webhook: String,
    /// Its state.
    pub state: DeliveryState,
    /// Attempts made.
    pub attempts: u32,
    /// When the next one is due.
    pub next_attempt_at: Option<UnixMillis>,
    /// When it was answered with 2xx.
    pub delivered_at: Option<UnixMillis>,
    /// The last answer's status.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When it was given up because it had expired.
    pub expired_at: Option<UnixMillis>,
    /// The webhook in whose place this one is told.
    pub fallback_for: Option<String>,
}

/// A recorded attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    /// The event.
    pub event_id: String,
    /// The webhook.
    pub webhook: String,
    /// 1, 2, 3 … per event and webhook.
    pub number: u32,
    /// When it began.
    pub started_at: UnixMillis,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The answer's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// Why it was made: `schedule`, `probe`, `manual` or `test`.
    pub trigger: String,
    /// The beginning of the answer's body, escaped.
    pub answer: Option<String>,
    /// Why that is not all of it: `too_large`, `too_slow` or `broken`.
    pub answer_cut: Option<String>,
}

/// What is known of one job, but for what may be large however short the job is: bodies of events, results of transitions
/// and answers of attempts. [`Store::events`](super::Store::events) and [`Store::timeline`](super::Store::timeline) have
/// those, in pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobDetail {
    /// The job and its steps.
    pub summary: JobSummary,
    /// The remote job as last seen, verbatim.
    pub resource: Option<String>,
    /// What was deleted of it at its age.
    pub pruned: Option<Stage>,
    /// In order, without their results.
    pub transitions: Vec<TransitionView>,
    /// In order.
    pub events: Vec<EventView>,
    /// In order of sequence, then webhook.
    pub deliveries: Vec<DeliveryView>,
    /// In order of time, without their answers.
    pub attempts: Vec<AttemptView>,
}

/// What answering a job's challenge needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The job's state.
    pub state: JobState,
    /// The remote job as last seen, verbatim.
    pub resource: Option<String>,
    /// The steps in progress, in order of position.
    pub steps: Vec<StepView>,
}
