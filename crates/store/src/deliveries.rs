//! Deliveries and attempts at them.

use std::time::Duration;

use jobtrackd_core::delivery::DeliveryState;
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

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

/// An event that has expired before it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredDelivery {
    /// The event.
    pub event_id: String,
    /// Its job.
    pub job_id: JobId,
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

/// Which deliveries are listed: those that everything given here is true of.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only those in this state.
    pub state: Option<DeliveryState>,
    /// Only those to this webhook.
    pub webhook: Option<String>,
    /// Only those of this job.
    pub job: Option<JobId>,
    /// Only those of events of this type.
    pub kind: Option<EventType>,
    /// Only those of events before this place.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// A delivery in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDelivery {
    /// Its event's place in the order of commits.
    pub cursor: i64,
    /// Its event's job.
    pub job_id: JobId,
    /// Its event's type, by name.
    pub kind: String,
    /// When its event happened.
    pub created_at: UnixMillis,
    /// Where it stands.
    pub delivery: DeliveryView,
}

/// A part of a list of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The newest events first.
    pub deliveries: Vec<ListedDelivery>,
    /// Why others that belong there cannot be read.
    pub unreadable: Vec<String>,
    /// The event that the search has come to; `None` when it has seen everything.
    pub stopped: Option<i64>,
}
