//! What is remembered of a webhook.

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
    /// How often an operator has asked the daemon to read the row again.
    pub asks: i64,
    /// Why the row cannot be read, if it cannot; all else is as if there were none.
    pub unreadable: Option<String>,
}
