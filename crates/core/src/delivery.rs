//! Deliveries: one event on its way to one webhook.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use strum::{EnumIter, EnumString, IntoStaticStr};

use super::answer::Cut;
use super::backoff::{Backoff, lengthen};
use super::time::UnixMillis;

/// Name of a webhook: the key of its `[webhooks.NAME]` section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
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

impl PartialEq<&str> for WebhookName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for WebhookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What one attempt brought, decided by the status line alone (docs/events-and-receiving.md, "What an answer causes").
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
        /// Whether the answer had not come to its end when the webhook's `timeout` was over. That changes the class of the
        /// error and nothing else.
        too_slow: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AttemptErrorClass {
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// TLS was not agreed: an expired, self-signed or foreign certificate among others.
    Tls,
    /// No status line within the webhook's `timeout`.
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
        self.into()
    }
}

/// What an answer asks for beyond its status, in the header `webhook-delivery` (an open proposal to Standard Webhooks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Wish {
    /// `disable`: nothing is to be sent to this webhook any more, as after a 410.
    Disable,
    /// `abort-message`: this event is not to be tried again.
    AbortMessage,
}

/// Why an attempt was made (docs/tables.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// Its time had come.
    Schedule,
    /// The webhook is held, and this one shows whether it takes events again.
    Probe,
    /// An operator has asked for a replay.
    Manual,
    /// `jobtrackd webhook test`.
    Test,
}

impl Trigger {
    /// The word stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// One attempt at a delivery, as it is recorded. Append-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The event; `test_…` for `jobtrackd webhook test`, which belongs to no delivery.
    pub event_id: String,
    /// The webhook.
    pub webhook: WebhookName,
    /// 1, 2, 3 … per event and webhook.
    pub number: u32,
    /// When it began.
    pub started_at: UnixMillis,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The answer's status.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// Why it was made.
    pub trigger: Trigger,
    /// The beginning of the answer's body, escaped.
    pub answer: Option<String>,
    /// Why that is not all of it.
    pub answer_cut: Option<Cut>,
}

impl Attempt {
    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> UnixMillis {
        self.started_at
            .plus(Duration::from_millis(self.duration_ms))
    }
}

/// Part of a delay by which a retry may come later; it never comes earlier (docs/configuration.md, "Keys").
const RETRY_JITTER: f64 = 0.15;

/// Rests of a webhook that asks for one of no length, or until a moment that has passed, while nothing succeeds: a rest
/// uses up no entry of the schedule, so without this it would be sent to without end or pause.
const EMPTY_RESTS: Backoff = Backoff {
    initial: Duration::from_secs(1),
    multiplier: 2.0,
    max: Duration::from_secs(5 * 60),
};

/// Longest delays before the second, third … attempt at an event that expires, in seconds; the last one is kept to. An
/// entry of the webhook's `retry` that is shorter goes first.
const FRESH_DELAYS: [u64; 5] = [1, 2, 4, 8, 15];

/// Most retries of that kind, about a quarter of an hour; behind them the webhook's `retry` goes on where it is.
const FRESH_RETRIES: u32 = 60;

/// The last attempt comes so long before the expiry, so that an answer still helps.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Where a *delivery* stands (docs/tables.md).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, EnumIter, Serialize,
)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub enum DeliveryState {
    /// Waiting for its next attempt, or for an earlier event of the same job. Left by an attempt.
    Pending,
    /// Answered with 2xx. Final.
    Delivered,
    /// Given up: the last attempt of the schedule failed, what it tells has expired, or the webhook wants it no more. Kept,
    /// and left by a replay only.
    Exhausted,
    /// The webhook is disabled: by a 410, by its own wish or by an operator. Left when an operator enables the webhook.
    Disabled,
}

impl DeliveryState {
    /// The word stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What follows from an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAttempt {
    /// The delivery is done.
    Delivered,
    /// Tried again at this moment; one entry of the schedule is used up.
    Retry(UnixMillis),
    /// Tried again at this moment, and no entry is used up: the webhook asked for a rest, or a probe came before the event's
    /// own time.
    Again(UnixMillis),
    /// No entry is left.
    Exhausted,
    /// What it tells expires before another attempt could be made.
    Expired,
    /// The webhook wants this event no more.
    Aborted,
    /// The webhook wants no more events: all its undelivered deliveries are disabled.
    Disabled,
}

/// How an event may be tried again.
#[derive(Debug, Clone, Copy)]
pub struct Retrying<'a> {
    /// Entries of the schedule used up before.
    pub used: u32,
    /// The webhook's `retry`.
    pub schedule: &'a [Duration],
    /// When the event expires.
    pub expires_at: Option<UnixMillis>,
    /// When it was due by its own schedule; later than the attempt for a probe that came before its time.
    pub due: UnixMillis,
    /// The rests that the webhook asked for at this event so far, together.
    pub rested: Duration,
    /// Rests of no length that the webhook asked for in a row.
    pub empty_rests: u32,
}

/// What follows from an attempt: for the event, and for the webhook as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of the event.
    pub after: AfterAttempt,
    /// How long nothing is sent to the webhook, because it asked for that.
    pub rest: Option<Duration>,
}

/// Decides what follows from an attempt that ended at `now`; `random` lies in 0..1.
#[must_use]
pub fn after_attempt(
    result: &AttemptResult,
    wish: Option<Wish>,
    retrying: &Retrying<'_>,
    now: UnixMillis,
    random: f64,
) -> Decision {
    let decided = |after| Decision { after, rest: None };
    match (result, wish) {
        (AttemptResult::Delivered { .. }, _) => decided(AfterAttempt::Delivered),
        (AttemptResult::Gone, _) | (_, Some(Wish::Disable)) => decided(AfterAttempt::Disabled),
        (_, Some(Wish::AbortMessage)) => decided(AfterAttempt::Aborted),
        (AttemptResult::Throttled { retry_after, .. }, None) => {
            let rest = match retry_after.is_zero() {
                true => EMPTY_RESTS.delay(retrying.empty_rests.saturating_add(1)),
                false => *retry_after,
            };
            Decision {
                after: rested(rest, retrying, now, random),
                rest: Some(rest),
            }
        }
        (AttemptResult::Refused { .. } | AttemptResult::Unreachable { .. }, None) => {
            decided(match retrying.due > now {
                true => AfterAttempt::Again(retrying.due),
                false => retried(retrying, now, random),
            })
        }
    }
}

/// Rests use up no entry while those before them are together shorter than the whole schedule; from then on each does
/// (docs/events-and-receiving.md, "What an answer causes"), so that a webhook that rests for ever is given up like one
/// that fails for ever.
fn rested(rest: Duration, retrying: &Retrying<'_>, now: UnixMillis, random: f64) -> AfterAttempt {
    let until = now.plus(rest);
    if retrying.expires_at.is_some_and(|end| until >= end) {
        return AfterAttempt::Expired;
    }
    let whole: Duration = retrying.schedule.iter().sum();
    if retrying.rested < whole {
        return AfterAttempt::Again(until);
    }
    match retried(retrying, now, random) {
        AfterAttempt::Retry(at) => AfterAttempt::Retry(at.max(until)),
        end => end,
    }
}

/// The longest time after which a delivery is tried again whose schedule has this longest entry.
#[must_use]
pub fn longest_retry(entry: Duration) -> Duration {
    lengthen(entry, RETRY_JITTER, 1.0)
}

fn retried(retrying: &Retrying<'_>, now: UnixMillis, random: f64) -> AfterAttempt {
    let used = usize::try_from(retrying.used).unwrap_or(usize::MAX);
    let entry = retrying.schedule.get(used).copied();
    let at = |delay| now.plus(lengthen(delay, RETRY_JITTER, random));
    let Some(end) = retrying.expires_at else {
        return entry.map_or(AfterAttempt::Exhausted, |delay| {
            AfterAttempt::Retry(at(delay))
        });
    };
    let fresh = (retrying.used < FRESH_RETRIES).then(|| {
        let [.., last] = FRESH_DELAYS;
        Duration::from_secs(FRESH_DELAYS.get(used).copied().unwrap_or(last))
    });
    let Some(delay) = entry.into_iter().chain(fresh).min() else {
        return AfterAttempt::Exhausted;
    };
    let last_chance = end.minus(LAST_MOMENT);
    let soonest = now.plus(LAST_MOMENT.min(delay));
    match at(delay).min(last_chance.max(soonest)) {
        at if at < end => AfterAttempt::Retry(at),
        _ => AfterAttempt::Expired,
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
            Self::Refused { too_slow: true, .. } => Some("too_slow"),
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
            Self::Refused { status, detail, .. } if (300..400).contains(status) => detail.clone(),
            Self::Refused {
                status,
                detail,
                too_slow: true,
            } => format!("{status} {detail}, and the answer did not end in time"),
            Self::Refused { status, detail, .. } => format!("{status} {detail}"),
            Self::Unreachable { detail, .. } => detail.clone(),
        };
        Some(format!("{class}: {text}"))
    }
}

#[cfg(test)]
mod tests;
