//! Deliveries: one event on its way to one webhook.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::backoff::lengthen;
use super::time::UnixMillis;

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

/// Part of a delay by which a retry may come later; it never comes earlier (WEBHOOK-RULES, section 6).
const RETRY_JITTER: f64 = 0.15;

/// Shortest rest of a webhook that wants one: it may ask for none, or for a moment that has passed, and a rest uses up no
/// entry of the schedule, so without this it would be sent to without end or pause.
const SHORTEST_REST: Duration = Duration::from_secs(1);

/// Where a *delivery* stands (contract, section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Waiting for its next attempt, or for an earlier event of the same job. Left by an attempt.
    Pending,
    /// Answered with 2xx. Final.
    Delivered,
    /// The last attempt of the schedule failed. Kept, and left by a replay only.
    Exhausted,
    /// The webhook answered 410. Left when an operator enables the webhook.
    Disabled,
}

impl DeliveryState {
    /// The word stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Exhausted => "exhausted",
            Self::Disabled => "disabled",
        }
    }

    /// The state with this word, if it is one.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Delivered,
            Self::Exhausted,
            Self::Disabled,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAttempt {
    /// The delivery is done.
    Delivered,
    /// Tried again at this moment; one entry of the schedule is used up.
    Retry(UnixMillis),
    /// The webhook as a whole rests until this moment; no entry is used up.
    Rest(UnixMillis),
    /// No entry is left.
    Exhausted,
    /// The webhook wants no more: all its undelivered deliveries are disabled.
    Disabled,
}

/// Decides what follows from an attempt that ended at `now`. `retries_used` entries of `schedule` were used before;
/// `random` lies in 0..1.
#[must_use]
pub fn after_attempt(
    result: &AttemptResult,
    retries_used: u32,
    schedule: &[Duration],
    now: UnixMillis,
    random: f64,
) -> AfterAttempt {
    match result {
        AttemptResult::Delivered { .. } => AfterAttempt::Delivered,
        AttemptResult::Gone => AfterAttempt::Disabled,
        AttemptResult::Throttled { retry_after, .. } => {
            AfterAttempt::Rest(now.plus((*retry_after).max(SHORTEST_REST)))
        }
        AttemptResult::Refused { .. } | AttemptResult::Unreachable { .. } => {
            let entry = usize::try_from(retries_used)
                .ok()
                .and_then(|used| schedule.get(used));
            match entry {
                Some(delay) => {
                    AfterAttempt::Retry(now.plus(lengthen(*delay, RETRY_JITTER, random)))
                }
                None => AfterAttempt::Exhausted,
            }
        }
    }
}

impl AttemptResult {
    /// The answer's status, when there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Delivered { status }
            | Self::Throttled { status, .. }
            | Self::Refused { status, .. } => Some(*status),
            Self::Gone => Some(410),
            Self::Unreachable { .. } => None,
        }
    }

    /// The class of what went wrong, one of a few words; `None` for a success.
    #[must_use]
    pub fn class(&self) -> Option<&'static str> {
        match self {
            Self::Delivered { .. } => None,
            Self::Throttled { .. } => Some("throttled"),
            Self::Gone => Some("gone"),
            Self::Refused { status, .. } if (300..400).contains(status) => Some("redirect"),
            Self::Refused { .. } => Some("status"),
            Self::Unreachable { class, .. } => Some(class.as_str()),
        }
    }

    /// What went wrong in one line, `None` for a success: a class and a text.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let class = self.class()?;
        let text = match self {
            Self::Delivered { .. } => return None,
            Self::Throttled {
                status,
                retry_after,
            } => format!("{status}, wants {} s of rest", retry_after.as_secs()),
            Self::Gone => "410, the webhook wants no more events".to_owned(),
            Self::Refused { status, detail } if (300..400).contains(status) => detail.clone(),
            Self::Refused { status, detail } => format!("{status} {detail}"),
            Self::Unreachable { detail, .. } => detail.clone(),
        };
        Some(format!("{class}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn refused() -> AttemptResult {
        AttemptResult::Refused {
            status: 500,
            detail: "Internal Server Error".to_owned(),
        }
    }

    #[test]
    fn one_attempt_follows_per_entry_and_then_the_delivery_is_exhausted() {
        let schedule = [Duration::from_secs(5), Duration::from_secs(30)];
        let after = |used, random| after_attempt(&refused(), used, &schedule, NOW, random);
        assert_eq!(after(0, 0.0), AfterAttempt::Retry(UnixMillis(1_005_000)));
        assert_eq!(after(1, 0.0), AfterAttempt::Retry(UnixMillis(1_030_000)));
        assert_eq!(after(1, 1.0), AfterAttempt::Retry(UnixMillis(1_034_500)));
        assert_eq!(after(2, 0.0), AfterAttempt::Exhausted);
        assert_eq!(
            after_attempt(&refused(), 0, &[], NOW, 0.0),
            AfterAttempt::Exhausted
        );
    }

    #[test]
    fn a_rest_costs_no_entry_and_is_never_shortened() {
        let throttled = AttemptResult::Throttled {
            status: 429,
            retry_after: Duration::from_secs(120),
        };
        assert_eq!(
            after_attempt(&throttled, 9, &[], NOW, 0.0),
            AfterAttempt::Rest(UnixMillis(1_120_000))
        );
        let at_once = AttemptResult::Throttled {
            status: 503,
            retry_after: Duration::ZERO,
        };
        assert_eq!(
            after_attempt(&at_once, 0, &[], NOW, 0.0),
            AfterAttempt::Rest(UnixMillis(1_001_000))
        );
    }

    #[test]
    fn success_and_410_are_decided_by_the_status_alone() {
        let delivered = AttemptResult::Delivered { status: 204 };
        assert_eq!(
            after_attempt(&delivered, 99, &[], NOW, 0.0),
            AfterAttempt::Delivered
        );
        assert_eq!(
            after_attempt(&AttemptResult::Gone, 0, &[], NOW, 0.0),
            AfterAttempt::Disabled
        );
        assert_eq!(AttemptResult::Gone.status(), Some(410));
        assert_eq!(delivered.error(), None);
    }
}
