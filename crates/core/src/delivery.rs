//! Deliveries: one event on its way to one webhook.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use strum::{EnumIter, EnumString, IntoStaticStr};

use super::answer::{Answer, Cut};
use super::backoff::{Backoff, MAX_RETRY_AFTER, lengthen};
use super::planted::{self, Bug};
use super::time::{UnixMillis, millis};

/// Name of a webhook: the key of its `[webhooks.NAME]` section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct WebhookName(Arc<str>);

impl WebhookName {
    /// Takes a name unchecked: names in the configuration are checked there, and rows may name webhooks that do not exist.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as text, not copied.
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
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

/// The outcome of one attempt, decided by the status line alone (docs/events-and-receiving.md, "What an answer causes").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptResult {
    /// 2xx.
    Delivered {
        /// The status.
        status: u16,
    },
    /// 429 or 503 with `Retry-After`: the webhook as a whole is paused for that long.
    Throttled {
        /// 429 or 503.
        status: u16,
        /// How long, at most a day.
        retry_after: Duration,
    },
    /// 410: the webhook wants no more events.
    Gone,
    /// Any other status, 3xx included.
    Refused {
        /// The status.
        status: u16,
        /// One line for people: the target of a redirect, or the name of the status.
        detail: String,
        /// Whether the answer had not ended within the webhook's `timeout`; changes only the class of the error.
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

/// Why an attempt got no status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AttemptErrorClass {
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// The TLS handshake failed, for example because of an expired or self-signed certificate.
    Tls,
    /// No status line within the webhook's `timeout`.
    Timeout,
    /// The connection broke, or the answer was not HTTP.
    Http,
    /// Nothing may be sent to the address (private, loopback, link-local …).
    BlockedAddress,
}

impl AttemptErrorClass {
    /// The word stored, shown and counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What an answer requests in the header `webhook-delivery` (an open proposal to Standard Webhooks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString)]
#[strum(serialize_all = "kebab-case")]
pub enum Directive {
    /// `disable`: send nothing more to this webhook, as after a 410.
    Disable,
    /// `abort-message`: do not send this event again.
    AbortMessage,
}

/// Why an attempt was made (docs/tables.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// It was due by its schedule.
    Schedule,
    /// The webhook is held, and the attempt shows whether it accepts events again.
    Probe,
    /// An operator has requested a replay.
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

/// One attempt at a delivery, as recorded. Append-only.
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

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// Its result.
    pub result: AttemptResult,
    /// What the answer asks for with `webhook-delivery`.
    pub directive: Option<Directive>,
    /// The beginning of the answer's body.
    pub answer: Option<Answer>,
    /// When it began; its second is the `webhook-timestamp`.
    pub started_at: UnixMillis,
    /// How long it took, the answer's body included.
    pub duration: Duration,
}

impl AttemptReport {
    /// The attempt as it is recorded.
    #[must_use]
    pub fn attempt(
        &self,
        event_id: &str,
        webhook: &WebhookName,
        number: u32,
        trigger: Trigger,
    ) -> Attempt {
        let answer = self.answer.as_ref();
        Attempt {
            event_id: event_id.to_owned(),
            webhook: webhook.clone(),
            number,
            started_at: self.started_at,
            duration_ms: millis(self.duration),
            status: self.result.status(),
            error: self.result.error(),
            trigger,
            answer: answer.map(|answer| answer.text.clone()),
            answer_cut: answer.and_then(|answer| answer.cut),
        }
    }
}

/// Fraction of a delay by which a retry may come later; it never comes earlier (docs/configuration.md, "Keys").
const RETRY_JITTER: f64 = 0.15;

/// Pauses after `Retry-After` values of zero or in the past, while nothing succeeds: a pause uses up no entry of the
/// schedule, so without these a webhook would be sent to without pause and without end.
const EMPTY_PAUSES: Backoff = Backoff {
    initial: Duration::from_secs(1),
    multiplier: 2.0,
    max: Duration::from_secs(5 * 60),
};

/// Longest delays before the second, third … attempt at an event that expires, in seconds; the last one repeats. A shorter
/// entry of the webhook's `retry` is used instead.
const EXPIRING_DELAYS: [u64; 5] = [1, 2, 4, 8, 15];

/// Most retries with these delays, about a quarter of an hour; after them only the webhook's `retry` counts.
const EXPIRING_RETRIES: u32 = 60;

/// The last attempt is made this long before the expiry, so that the user can still answer.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// The state of a *delivery* (docs/tables.md).
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
    /// Given up: the last attempt of the schedule failed, the event has expired, or the webhook aborted it. Kept; left by a
    /// replay only.
    Exhausted,
    /// The webhook is disabled: by a 410, by its own directive or by an operator. Left when an operator enables the webhook.
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
    /// Sent again at this time; one entry of the schedule is used up.
    Retry(UnixMillis),
    /// Sent again at this time without using up an entry: the webhook requested a pause, or a probe came before the event
    /// was due.
    Again(UnixMillis),
    /// No entry is left.
    Exhausted,
    /// The event expires before another attempt could be made.
    Expired,
    /// The webhook does not want this event.
    Aborted,
    /// The webhook wants no more events: all its undelivered deliveries are disabled.
    Disabled,
}

/// The retries of a delivery so far, and what limits the next one.
#[derive(Debug, Clone, Copy)]
pub struct RetryContext<'a> {
    /// Entries of the schedule used up before.
    pub used: u32,
    /// The webhook's `retry`.
    pub schedule: &'a [Duration],
    /// When the event expires.
    pub expires_at: Option<UnixMillis>,
    /// When it was due by its own schedule; later than the attempt if that was an early probe.
    pub due: UnixMillis,
    /// Sum of the pauses that the webhook requested at this event so far.
    pub paused: Duration,
    /// Pauses of zero length that the webhook requested in a row.
    pub empty_pauses: u32,
}

/// What follows from an attempt: for the event, and for the webhook as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What follows for the event.
    pub after: AfterAttempt,
    /// How long the webhook is paused at its request.
    pub pause: Option<Duration>,
}

/// Decides what follows from an attempt that ended at `now`; `random` is in 0..1.
#[must_use]
pub fn after_attempt(
    result: &AttemptResult,
    directive: Option<Directive>,
    context: &RetryContext<'_>,
    now: UnixMillis,
    random: f64,
) -> Decision {
    let decided = |after| Decision { after, pause: None };
    match (result, directive) {
        (AttemptResult::Delivered { .. }, _) => decided(AfterAttempt::Delivered),
        (AttemptResult::Gone, _) | (_, Some(Directive::Disable)) => decided(AfterAttempt::Disabled),
        (_, Some(Directive::AbortMessage)) => decided(AfterAttempt::Aborted),
        (AttemptResult::Throttled { retry_after, .. }, None) => {
            let pause = match retry_after.is_zero() {
                true => EMPTY_PAUSES.delay(context.empty_pauses.saturating_add(1)),
                false => *retry_after,
            };
            Decision {
                after: after_pause(pause, context, now, random),
                pause: (!planted::is(Bug::RestIgnored)).then_some(pause),
            }
        }
        (AttemptResult::Refused { .. } | AttemptResult::Unreachable { .. }, None) => {
            decided(match context.due > now {
                true => AfterAttempt::Again(context.due.min(latest_due(context, now))),
                false => retried(context, now, random),
            })
        }
    }
}

/// Pauses use up no entry until their sum reaches the length of the whole schedule; from then on each does
/// (docs/events-and-receiving.md, "What an answer causes"), so that a webhook that pauses for ever is given up like one
/// that fails for ever.
fn after_pause(
    pause: Duration,
    context: &RetryContext<'_>,
    now: UnixMillis,
    random: f64,
) -> AfterAttempt {
    let until = now.plus(pause);
    if context.expires_at.is_some_and(|end| until >= end) {
        return AfterAttempt::Expired;
    }
    let whole: Duration = context.schedule.iter().sum();
    if context.paused < whole {
        return AfterAttempt::Again(until);
    }
    match retried(context, now, random) {
        AfterAttempt::Retry(at) => AfterAttempt::Retry(at.max(until)),
        end => end,
    }
}

/// The longest delay before a retry of this schedule.
#[must_use]
pub fn longest_retry(schedule: &[Duration]) -> Duration {
    let entry = schedule.iter().max().copied().unwrap_or_default();
    lengthen(entry, RETRY_JITTER, 1.0)
}

/// When the event is due at the latest. It was due later than this by a clock that has been put back since.
fn latest_due(context: &RetryContext<'_>, now: UnixMillis) -> UnixMillis {
    let retry = longest_retry(context.schedule);
    now.plus(match context.paused {
        Duration::ZERO => retry,
        _ => retry.max(MAX_RETRY_AFTER),
    })
}

fn retried(context: &RetryContext<'_>, now: UnixMillis, random: f64) -> AfterAttempt {
    let used = usize::try_from(context.used).unwrap_or(usize::MAX);
    let entry = context.schedule.get(used).copied();
    let at = |delay| match planted::is(Bug::RetryEarly) {
        true => now.plus(delay / 2),
        false => now.plus(lengthen(delay, RETRY_JITTER, random)),
    };
    let Some(end) = context.expires_at else {
        return entry.map_or(AfterAttempt::Exhausted, |delay| {
            AfterAttempt::Retry(at(delay))
        });
    };
    let expiring = (context.used < EXPIRING_RETRIES).then(|| {
        let [.., last] = EXPIRING_DELAYS;
        Duration::from_secs(EXPIRING_DELAYS.get(used).copied().unwrap_or(last))
    });
    let Some(delay) = entry.into_iter().chain(expiring).min() else {
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
    /// The answer's status, if there was one.
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

    /// The class of the error, one of a few words; `None` for a success.
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

    /// The error in one line, a class and a text; `None` for a success.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let class = self.class()?;
        let text = match self {
            Self::Delivered { .. } => return None,
            Self::Throttled {
                status,
                retry_after,
            } => format!("{status}, asks for a pause of {} s", retry_after.as_secs()),
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
