//! What is recorded of a webhook.

use jobtrackd_core::health::Health;
use jobtrackd_core::time::UnixMillis;

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
