//! Rows as the loops read them.

use std::time::Duration;

use super::cadence::Progress;
use super::event::EventType;
use super::health::Health;
use super::job::{JobId, JobState};
use super::time::UnixMillis;

/// A row of `jobs` as the tracker's loops need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Where to poll, when not at `/jobs/{id}`.
    pub url: Option<String>,
    /// The one webhook that gets its events; `None`: all that subscribe.
    pub webhook: Option<String>,
    /// Higher is polled first.
    pub priority: i64,
    /// When it expires, if the enqueuer set it.
    pub deadline_at: Option<UnixMillis>,
    /// No poll earlier.
    pub not_before: Option<UnixMillis>,
    /// Whether the enqueuer asks to end tracking.
    pub cancel_requested: bool,
    /// Whether the enqueuer asks for a poll now.
    pub poll_requested: bool,
    /// Its state.
    pub state: JobState,
    /// The outcomes of its polls so far, as last recorded.
    pub progress: Progress,
    /// When it is due for its next poll, as last recorded.
    pub next_poll_at: Option<UnixMillis>,
    /// When the row was inserted.
    pub created_at: UnixMillis,
    /// Whether nothing is recorded of it and it has no metadata. What a first answer is compared with is known then.
    pub is_blank: bool,
}

/// A job and the number it was read by; the next read continues after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobChange {
    /// The change's or the row's number.
    pub number: i64,
    /// The row; `None` when it is gone, or cannot be read (which has been logged).
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
    /// The event's type.
    pub kind: EventType,
    /// The exact bytes to send, unless they are more than 4 KiB.
    pub body: Option<Vec<u8>>,
    /// When the event happened.
    pub created_at: UnixMillis,
    /// When it expires.
    pub expires_at: Option<UnixMillis>,
    /// When it is due.
    pub due: UnixMillis,
    /// The pauses that the webhook requested at it so far, together.
    pub paused: Duration,
    /// Whether an earlier attempt failed.
    pub failed_before: bool,
    /// Whether it is a replay.
    pub is_replay: bool,
}

/// Deliveries that were read, and those whose rows hold something that this program never writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueDeliveries {
    /// In the order of the query.
    pub deliveries: Vec<DueDelivery>,
    /// The event of each that cannot be read, and why; from outside.
    pub unreadable: Vec<(String, String)>,
}

/// What is recorded of a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookHealth {
    /// Since when it is disabled, and why.
    pub disabled: Option<(UnixMillis, String)>,
    /// Until when it is paused.
    pub paused_until: Option<UnixMillis>,
    /// Whether it is held or ramps up.
    pub health: Health,
    /// Pauses of zero length that it requested in a row.
    pub empty_pauses: u32,
    /// The number of this health; later ones have higher numbers.
    pub revision: i64,
    /// How often an operator has reset the health.
    pub generation: i64,
    /// How often an operator has requested that the daemon reads the row again.
    pub requests: i64,
    /// Why the row cannot be read, if it cannot; the other fields are then as if there were no row.
    pub unreadable: Option<String>,
}
