//! Deliveries: one event on its way to one webhook.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Name of a webhook: the key of its `[webhooks.NAME]` section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookName(Arc<str>);

impl WebhookName {
    /// Takes a name as it is; names come from the configuration, which has checked them, or from rows, which may name
    /// webhooks that do not exist.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one attempt brought, decided by the status line alone (WEBHOOK-RULES, section 1, defect 5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    /// 2xx.
    Delivered {
        /// The status.
        status: u16,
    },
    /// 429 or 503 with `Retry-After`: the webhook as a whole is left alone for that long.
    Throttled {
        /// 429 or 503.
        status: u16,
        /// How long, cut to a day.
        retry_after: Duration,
    },
    /// 410: the webhook wants no more.
    Gone,
    /// Any other status, 3xx included.
    Refused {
        /// The status.
        status: u16,
        /// One line for people: where a redirect pointed, or the status' name.
        detail: String,
    },
    /// No status at all.
    Unreachable {
        /// The class of the error.
        class: AttemptErrorClass,
        /// One line for people: escaped, cut, without secrets and without the URL's query.
        detail: String,
    },
}

/// Why an attempt brought no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttemptErrorClass {
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// TLS was not agreed: an expired, self-signed or foreign certificate among others.
    Tls,
    /// No status within the webhook's `timeout`.
    Timeout,
    /// The connection broke, or what came was no HTTP.
    Http,
    /// The address may not be told (private, loopback, link-local …).
    BlockedAddress,
}

impl AttemptErrorClass {
    /// The word stored, shown and counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Http => "http",
            Self::BlockedAddress => "blocked_address",
        }
    }
}
