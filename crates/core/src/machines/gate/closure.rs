//! What a closed gate is: why, until when, and which polls say nothing about the time after it closed.

use crate::time::{Monotonic, UnixMillis};

/// Whether polls may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateState {
    /// Yes.
    Open,
    /// Not before `until`; the gate then opens by itself, unless a poll or an operator moves that.
    Closed {
        /// When it opens.
        until: Monotonic,
        /// Why it is closed.
        reason: GateReason,
    },
}

/// Why no polls are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateReason {
    /// Which rule closed the gate.
    pub kind: GateReasonKind,
    /// One line for people: escaped, cut, without secrets.
    pub detail: String,
}

/// The rules that close the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum GateReasonKind {
    /// 429, or 503 with `Retry-After`, on a job's URL. Ends after a second, because it may concern only that job; if another
    /// job is then answered the same way, after the pause the upstream asked for, or one of our own of 1 s doubling to
    /// 5 min. A poll that was started later and is not throttled ends our own pause.
    Throttled,
    /// The token endpoint or a job's URL refused our credentials. Ends after 5 s doubling to 5 min.
    CredentialsRefused,
    /// There is no token. Ends when the next one may be requested.
    TokenUnavailable,
}

impl GateReasonKind {
    /// The word in logs, JSON and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The beginning of a sentence for people.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Throttled => "the upstream throttles us",
            Self::CredentialsRefused => "the upstream refuses our credentials",
            Self::TokenUnavailable => "there is no token",
        }
    }
}

/// Whether the upstream accepts our credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Not known yet, or the token endpoint has granted a token after it had refused one.
    Unknown,
    /// They were accepted last: a poll was answered.
    Accepted,
    /// They were refused last: by the token endpoint, by 401 with a fresh token too while no other job was read with
    /// either, or by 403 on a job while none was read with the same token. Ended by a poll that was started later and was
    /// answered, or by one that read another job with the same token.
    Refused {
        /// Since when.
        since: UnixMillis,
        /// One line for people: escaped, cut, without secrets.
        detail: String,
    },
}

/// The number of a poll in the order in which polls were started. An answer to a poll that was in flight when the gate
/// closed says nothing about the time after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// The gate is closed until `until`; the record stays until a later poll succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// Until when no polls are started.
    pub until: Monotonic,
    /// Why.
    pub reason: GateReason,
    /// The last ticket given out before it: polls up to it say nothing about the time after.
    pub(super) mark: Ticket,
    /// The end the upstream itself asked for, which no success brings nearer; else when the gate was closed.
    pub(super) earliest: Monotonic,
}

impl Closure {
    pub(super) fn new(kind: GateReasonKind, detail: &str, until: Monotonic, mark: Ticket) -> Self {
        let detail = detail.to_owned();
        Self {
            until,
            reason: GateReason { kind, detail },
            mark,
            earliest: until,
        }
    }

    pub(super) fn state(&self) -> GateState {
        GateState::Closed {
            until: self.until,
            reason: self.reason.clone(),
        }
    }
}

/// Whether the poll with `ticket` was started after the gate had been closed (or it was not closed at all).
pub(super) fn is_later(ticket: Ticket, closure: Option<&Closure>) -> bool {
    closure.is_none_or(|closure| ticket > closure.mark)
}

/// The latest end wins. Answers of one wave of polls are one closure, however many they are.
pub(super) fn extend(slot: &mut Option<Closure>, new: Closure, later: bool) {
    let Some(old) = slot else {
        *slot = Some(new);
        return;
    };
    if later {
        old.mark = new.mark;
    }
    old.earliest = old.earliest.max(new.earliest);
    if new.until > old.until {
        old.until = new.until;
        old.reason = new.reason;
    }
}
