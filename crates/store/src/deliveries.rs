//! Deliveries and attempts at them.

use jobtrackd_core::delivery::{DeliveryState, WebhookName};
use jobtrackd_core::event::EventType;
use jobtrackd_core::job::JobId;
use jobtrackd_core::time::UnixMillis;

/// The delivery of one event to one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    /// The event's number in the order of commits.
    pub cursor: i64,
    /// The event.
    pub event_id: String,
    /// Its job.
    pub job_id: JobId,
    /// Its sequence in the job.
    pub sequence: u32,
    /// Its type.
    pub kind: EventType,
    /// When it happened.
    pub created_at: UnixMillis,
    /// The webhook.
    pub webhook: WebhookName,
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
    /// The webhook that did not get the event, so that this one does.
    pub fallback_for: Option<String>,
}

/// Which deliveries are listed: those that match every condition.
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
    /// Only those of events before this cursor.
    pub before: Option<i64>,
    /// At most this many.
    pub limit: u32,
}

/// A part of a list of deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// The newest events first.
    pub deliveries: Vec<DeliveryRow>,
    /// Why others that belong there cannot be read.
    pub unreadable: Vec<String>,
    /// The last event that was searched; `None` when all were.
    pub stopped: Option<i64>,
}
