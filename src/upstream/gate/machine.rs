//! The gate's decisions: what each poll's end means for all the others. No I/O, no clock.

use std::time::Duration;

use tokio::time::Instant;

use super::{Credentials, GateReason, GateReasonKind, GateState, Ticket, for_people};
use crate::core::backoff::{Backoff, MAX_RETRY_AFTER, lengthen};
use crate::core::time::UnixMillis;

/// Pauses after a 429 that does not say for how long.
const THROTTLED_BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    multiplier: 2.0,
    max: Duration::from_secs(300),
};

/// Pauses after a job's URL refused a fresh token.
const REFUSED_BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(5),
    ..THROTTLED_BACKOFF
};

/// How much of a pause is added at random, so that many daemons do not come back together.
const JITTER: f64 = 0.1;

/// So many polls in a row without a usable answer, and the upstream counts as down.
const DOWN_AFTER: u32 = 3;

/// What the end of one poll says about the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::upstream) enum Signal {
    /// The job's URL answered as it should: 2xx, 400, 404 or 410.
    Good { generation: u64 },
    /// 429, or 503 with `Retry-After`.
    Throttled {
        detail: String,
        retry_after: Option<Duration>,
    },
    /// The token endpoint (which has its own next try) or a job's URL (`None`) refused our credentials.
    Refused {
        detail: String,
        retry_at: Option<Instant>,
    },
    /// 403 on a job with a token of this generation.
    Forbidden { detail: String, generation: u64 },
    /// There was no token; the next one may be asked for at `retry_at`.
    NotSent { detail: String, retry_at: Instant },
    /// No usable answer of the job's URL: it may be down.
    Trouble { detail: String },
    /// The answer was no good, but that may be the job's fault, or nothing was asked.
    Nothing,
}

/// When a poll ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) time_of_day: UnixMillis,
    /// In 0..1.
    pub(super) random: f64,
}

#[derive(Debug, Default)]
pub(super) struct Machine {
    last: u64,
    throttled: Option<Closure>,
    throttles: u32,
    unauthorized: Option<Closure>,
    refusals: u32,
    credentials: Knowledge,
    proven_generation: Option<u64>,
    troubles: u32,
    trouble: String,
}

/// The gate is closed until `until`; the record stays until a later poll succeeds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closure {
    pub(super) until: Instant,
    pub(super) reason: GateReason,
    /// The last ticket given out before it: polls up to it say nothing about the time after.
    mark: Ticket,
    /// The end the upstream itself asked for, which no success brings nearer; else when the gate was closed.
    earliest: Instant,
}

#[derive(Debug)]
struct Knowledge {
    credentials: Credentials,
    mark: Ticket,
    /// Whether the refusal came from the token endpoint: a granted token then takes it back.
    by_token_endpoint: bool,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self {
            credentials: Credentials::Unknown,
            mark: Ticket(0),
            by_token_endpoint: false,
        }
    }
}

/// What is going on, for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Episodes {
    pub(super) throttled: Option<Closure>,
    pub(super) unauthorized: Option<Closure>,
    pub(super) forbidden: Option<String>,
    pub(super) down: Option<String>,
}

impl Machine {
    pub(super) fn begin(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }

    pub(super) fn state(&self, now: Instant) -> GateState {
        let closures = [&self.throttled, &self.unauthorized].into_iter().flatten();
        let in_force = closures.filter(|closure| now < closure.until);
        in_force
            .max_by_key(|closure| closure.until)
            .map_or(GateState::Open, Closure::state)
    }

    pub(super) fn on_trial(&self, now: Instant) -> bool {
        let closures = [&self.throttled, &self.unauthorized].into_iter().flatten();
        let (closed, over): (Vec<_>, Vec<_>) = closures.partition(|closure| now < closure.until);
        closed.is_empty() && !over.is_empty()
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials.credentials
    }

    pub(super) fn is_down(&self) -> bool {
        self.troubles >= DOWN_AFTER
    }

    pub(super) fn episodes(&self) -> Episodes {
        let refused = match self.credentials() {
            Credentials::Refused { detail, .. } if self.unauthorized.is_none() => {
                Some(detail.clone())
            }
            _ => None,
        };
        Episodes {
            throttled: self.throttled.clone(),
            unauthorized: self.unauthorized.clone(),
            forbidden: refused,
            down: self.is_down().then(|| self.trouble.clone()),
        }
    }

    pub(super) fn degraded(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        for closure in [&self.throttled, &self.unauthorized].into_iter().flatten() {
            if now < closure.until {
                let (wait, reason) = (for_people(closure.until - now), &closure.reason);
                reasons.push(format!(
                    "{}; no polls for {wait}: {}",
                    reason.kind.sentence(),
                    reason.detail
                ));
            }
        }
        let closed_for_it = self.unauthorized.as_ref().is_some_and(|closure| {
            now < closure.until && closure.reason.kind == GateReasonKind::CredentialsRefused
        });
        if let (Credentials::Refused { detail, .. }, false) = (self.credentials(), closed_for_it) {
            reasons.push(format!("the upstream refused our credentials: {detail}"));
        }
        if self.is_down() {
            reasons.push(format!(
                "the upstream gives no usable answers: {}",
                self.trouble
            ));
        }
        reasons
    }

    pub(super) fn note(&mut self, ticket: Ticket, signal: &Signal, moment: &Moment) {
        if !matches!(
            signal,
            Signal::Refused { .. } | Signal::NotSent { .. } | Signal::Nothing
        ) {
            self.token_was_granted(ticket);
        }
        match signal {
            Signal::Good { generation } => self.good(ticket, *generation, moment.now),
            Signal::Throttled {
                detail,
                retry_after,
            } => self.throttle(ticket, detail, *retry_after, moment),
            Signal::Refused { detail, retry_at } => {
                self.refuse(ticket, detail, *retry_at, moment);
                self.distrust(detail, moment.time_of_day, retry_at.is_some());
            }
            Signal::Forbidden { detail, generation } => {
                if self.proven_generation != Some(*generation) {
                    self.distrust(detail, moment.time_of_day, false);
                }
                self.troubles = 0;
            }
            Signal::NotSent { detail, retry_at } => {
                let kind = GateReasonKind::TokenUnavailable;
                self.close_for_token(ticket, kind, detail, *retry_at);
            }
            Signal::Trouble { detail } => {
                self.troubles = self.troubles.saturating_add(1);
                detail.clone_into(&mut self.trouble);
            }
            Signal::Nothing => {}
        }
    }

    fn good(&mut self, ticket: Ticket, generation: u64, now: Instant) {
        self.troubles = 0;
        self.proven_generation = self.proven_generation.max(Some(generation));
        if is_later(ticket, self.throttled.as_ref()) {
            self.throttles = 0;
            self.throttled.take_if(|closure| closure.earliest <= now);
        }
        if is_later(ticket, self.unauthorized.as_ref()) {
            self.refusals = 0;
            self.unauthorized = None;
        }
        let known = &mut self.credentials;
        if ticket > known.mark || known.credentials == Credentials::Unknown {
            known.credentials = Credentials::Accepted;
        }
    }

    fn throttle(
        &mut self,
        ticket: Ticket,
        detail: &str,
        retry_after: Option<Duration>,
        moment: &Moment,
    ) {
        self.troubles = 0;
        let later = is_later(ticket, self.throttled.as_ref());
        if later {
            self.throttles = self.throttles.saturating_add(1);
        }
        let pause = match retry_after {
            Some(asked) => lengthen(asked.max(THROTTLED_BACKOFF.initial), JITTER, moment.random)
                .min(MAX_RETRY_AFTER),
            None => self.grown(THROTTLED_BACKOFF, self.throttles, moment.random),
        };
        let until = moment.now + pause;
        let closure = Closure {
            until,
            reason: GateReason {
                kind: GateReasonKind::Throttled,
                detail: detail.to_owned(),
            },
            mark: Ticket(self.last),
            earliest: if retry_after.is_some() {
                until
            } else {
                moment.now
            },
        };
        extend(&mut self.throttled, closure, later);
    }

    fn refuse(&mut self, ticket: Ticket, detail: &str, retry_at: Option<Instant>, moment: &Moment) {
        let kind = GateReasonKind::CredentialsRefused;
        if let Some(until) = retry_at {
            return self.close_for_token(ticket, kind, detail, until);
        }
        if is_later(ticket, self.unauthorized.as_ref()) {
            self.refusals = self.refusals.saturating_add(1);
        }
        let pause = self.grown(REFUSED_BACKOFF, self.refusals, moment.random);
        self.close_for_token(ticket, kind, detail, moment.now + pause);
    }

    fn close_for_token(
        &mut self,
        ticket: Ticket,
        kind: GateReasonKind,
        detail: &str,
        until: Instant,
    ) {
        let later = is_later(ticket, self.unauthorized.as_ref());
        let closure = Closure {
            until,
            reason: GateReason {
                kind,
                detail: detail.to_owned(),
            },
            mark: Ticket(self.last),
            earliest: until,
        };
        extend(&mut self.unauthorized, closure, later);
    }

    fn grown(&self, backoff: Backoff, failures: u32, random: f64) -> Duration {
        lengthen(backoff.delay(failures), JITTER, random).min(backoff.max)
    }

    fn distrust(&mut self, detail: &str, time_of_day: UnixMillis, by_token_endpoint: bool) {
        let since = match self.credentials() {
            Credentials::Refused { since, .. } => *since,
            _ => time_of_day,
        };
        self.credentials = Knowledge {
            credentials: Credentials::Refused {
                since,
                detail: detail.to_owned(),
            },
            mark: Ticket(self.last),
            by_token_endpoint,
        };
    }

    fn token_was_granted(&mut self, ticket: Ticket) {
        let known = &mut self.credentials;
        if known.by_token_endpoint && ticket > known.mark {
            *known = Knowledge::default();
        }
    }
}

impl Closure {
    fn state(&self) -> GateState {
        GateState::Closed {
            until: self.until,
            reason: self.reason.clone(),
        }
    }
}

/// Whether the poll with `ticket` was started after the gate had been closed (or it was not closed at all).
fn is_later(ticket: Ticket, closure: Option<&Closure>) -> bool {
    closure.is_none_or(|closure| ticket > closure.mark)
}

/// The latest end wins. Answers of one wave of polls are one closure, however many they are.
fn extend(slot: &mut Option<Closure>, new: Closure, later: bool) {
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

#[cfg(test)]
mod tests;
