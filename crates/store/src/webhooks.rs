//! What is remembered of a webhook.

use jobtrackd_core::delivery::WebhookName;
use jobtrackd_core::health::Health;
use jobtrackd_core::time::UnixMillis;

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

/// An attempt of `jobtrackd webhook test`, which belongs to no delivery.
#[derive(Debug, Clone)]
pub struct TestAttempt {
    /// What was sent as `webhook-id`; begins with `test_`.
    pub event_id: String,
    /// The webhook.
    pub webhook: WebhookName,
    /// When it began.
    pub started_at: UnixMillis,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The answer's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the answer's body, escaped.
    pub answer: Option<String>,
    /// Why that is not all of it.
    pub answer_cut: Option<&'static str>,
}
