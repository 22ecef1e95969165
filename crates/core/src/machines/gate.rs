//! When no polls are started at all, and whether the upstream accepts our credentials: what each poll's end means for all the
//! others.

mod closure;

pub mod pauses;

mod throttle;

use std::time::Duration;

use crate::job::JobId;
use crate::time::{Monotonic, Now, UnixMillis};
pub use closure::{Closure, Credentials, GateReason, GateReasonKind, GateState, Ticket};
use closure::{extend, is_later};
use pauses::{REFUSED, grown};
use throttle::{Throttled, Throttling};

/// The upstream counts as down after this many polls in a row without an answer, or different jobs without a usable one.
const DOWN_AFTER: usize = 3;

/// What the end of one poll says about the upstream. A token is known by its generation: 0 for a fixed one, then counted up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The job was read.
    Good {
        /// With this token.
        generation: u64,
    },
    /// The API itself says that the job does not exist, or never will.
    Answered,
    /// The job's URL asked for fewer requests.
    Throttled {
        /// For how long it asked for none.
        retry_after: Option<Duration>,
    },
    /// The job's URL refused our credentials.
    Refused {
        /// The last token that was refused.
        generation: u64,
    },
    /// There was no token.
    NoToken {
        /// When the next one may be requested.
        retry_at: Monotonic,
        /// Whether the token endpoint refused us, and not for another reason.
        refused: bool,
    },
    /// 403 on a job, with a token with which no job was read.
    Forbidden {
        /// The token.
        generation: u64,
    },
    /// No answer of the job's URL, or 5xx: the upstream may be down.
    Trouble,
    /// An answer that is not the job; that may be the fault of this job alone.
    Unusable,
    /// No request was sent.
    Nothing,
}

/// The end of one poll.
#[derive(Debug, Clone, Copy)]
pub struct PollEnd<'a> {
    /// What its beginning returned.
    pub ticket: Ticket,
    /// The job.
    pub job: &'a JobId,
    /// What it says about the upstream.
    pub signal: Signal,
    /// What was wrong, in one line for people.
    pub detail: &'a str,
}

/// The gate.
#[derive(Debug)]
pub struct Gate {
    /// The longest pause that the upstream can ask for.
    most: Duration,
    last: u64,
    throttling: Throttling,
    unauthorized: Option<Closure>,
    refusals: u32,
    credentials: CredentialState,
    /// Polls in a row without an answer.
    troubles: usize,
    /// The first different jobs without a usable answer since the last good one.
    unusable: Vec<JobId>,
    /// What was wrong last.
    trouble: String,
}

#[derive(Debug)]
struct CredentialState {
    credentials: Credentials,
    mark: Ticket,
    /// Who refused them.
    by: Option<Refuser>,
}

#[derive(Debug, PartialEq, Eq)]
enum Refuser {
    /// Ended by the next token that is granted.
    TokenEndpoint,
    /// This job's URL, with a token of this generation.
    Job(JobId, u64),
}

impl Default for CredentialState {
    fn default() -> Self {
        Self {
            credentials: Credentials::Unknown,
            mark: Ticket(0),
            by: None,
        }
    }
}

/// What is wrong now, for the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Episodes {
    /// We are throttled.
    pub throttled: Option<Closure>,
    /// There is no token, or a job's URL refused the last one.
    pub unauthorized: Option<Closure>,
    /// Our credentials are refused, but polls go on; the text for people.
    pub forbidden: Option<String>,
    /// The upstream gives no usable answers; the last trouble.
    pub down: Option<String>,
}

impl Gate {
    /// An open gate. `most` is the longest pause that the upstream can ask for.
    #[must_use]
    pub fn new(most: Duration) -> Self {
        Self {
            most,
            last: 0,
            throttling: Throttling::default(),
            unauthorized: None,
            refusals: 0,
            credentials: CredentialState::default(),
            troubles: 0,
            unusable: Vec::new(),
            trouble: String::new(),
        }
    }

    /// Sets the longest pause that the upstream can ask for; a present one is cut to it.
    pub fn set_longest_pause(&mut self, most: Duration, now: Monotonic) {
        self.most = most;
        self.throttling.end_by(now.plus(most));
    }

    /// To be called when a poll is started.
    pub fn begin(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }

    /// Whether a poll may be started at `now`.
    #[must_use]
    pub fn state(&self, now: Monotonic) -> GateState {
        let in_force = self.closures().filter(|closure| now < closure.until);
        in_force
            .max_by_key(|closure| closure.until)
            .map_or(GateState::Open, Closure::state)
    }

    /// Whether the gate was closed, is open again at `now`, and no poll has been answered since. At most one poll should be
    /// in flight then, so that an upstream that still refuses gets one request, not one for each job.
    #[must_use]
    pub fn on_trial(&self, now: Monotonic) -> bool {
        let (closed, over): (Vec<_>, Vec<_>) =
            self.closures().partition(|closure| now < closure.until);
        closed.is_empty() && !over.is_empty()
    }

    /// The only job that was throttled, if any: the poll on trial should be of another, to see whether all are.
    #[must_use]
    pub fn suspect(&self) -> Option<&JobId> {
        self.throttling.alone()
    }

    /// Until when all polls wait because the upstream asked for it.
    #[must_use]
    pub fn pause(&self, now: Monotonic) -> Option<Monotonic> {
        self.throttling.pause(now)
    }

    /// Whether the upstream throttles us, as far as the latest answer says.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.throttling.closure().is_some()
    }

    /// Closes it until then, as the upstream asked earlier, but not for longer than it can ask: the clock may have been
    /// set back since.
    pub fn pause_until(&mut self, until: Monotonic, now: Monotonic) {
        let until = until.min(now.plus(self.most));
        self.throttling.pause_until(until, Ticket(self.last));
    }

    /// Opens it, unless our credentials are refused.
    pub fn resume(&mut self) {
        self.throttling.resume();
        self.unauthorized
            .take_if(|closure| closure.reason.kind == GateReasonKind::TokenUnavailable);
    }

    fn closures(&self) -> impl Iterator<Item = &Closure> {
        let throttled = self.throttling.closure().into_iter();
        throttled.chain(&self.unauthorized)
    }

    /// Whether the upstream accepts our credentials.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials.credentials
    }

    /// Whether the upstream gives no usable answers: none or 5xx to three polls in a row, or to three different jobs what is
    /// not the job, while no job was read.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.troubles >= DOWN_AFTER || self.unusable.len() >= DOWN_AFTER
    }

    /// What is wrong, for the log: what was not wrong before has begun, and what is no longer wrong has ended.
    #[must_use]
    pub fn episodes(&self) -> Episodes {
        let refused = match self.credentials() {
            Credentials::Refused { detail, .. } if self.unauthorized.is_none() => {
                Some(detail.clone())
            }
            _ => None,
        };
        Episodes {
            throttled: self.throttling.closure().cloned(),
            unauthorized: self.unauthorized.clone(),
            forbidden: refused,
            down: self.is_down().then(|| self.trouble.clone()),
        }
    }

    /// One sentence for everything that is wrong with the upstream now; empty when all is well. `for_people` writes a
    /// duration.
    #[must_use]
    pub fn degraded(&self, now: Monotonic, for_people: impl Fn(Duration) -> String) -> Vec<String> {
        let mut reasons = Vec::new();
        for Closure { until, reason, .. } in self.closures() {
            let (sentence, detail) = (reason.kind.sentence(), &reason.detail);
            if now < *until {
                let wait = for_people(until.since(now));
                let remedy = match self.throttling.pause(now) == Some(*until) {
                    true => " (jobtrackd resume ends that)",
                    false => "",
                };
                reasons.push(format!("{sentence}; no polls for {wait}{remedy}: {detail}"));
            } else if reason.kind == GateReasonKind::Throttled {
                reasons.push(format!(
                    "{sentence} and has answered no poll since: {detail}"
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
            let trouble = &self.trouble;
            reasons.push(format!("the upstream gives no usable answers: {trouble}"));
        }
        reasons
    }

    /// To be called when a poll is over. `random`, in 0..1, lengthens a pause.
    pub fn note(&mut self, poll: &PollEnd<'_>, now: Now, random: f64) {
        let PollEnd {
            ticket,
            job,
            signal,
            detail,
        } = *poll;
        if !matches!(signal, Signal::NoToken { .. } | Signal::Nothing) {
            self.token_was_granted(ticket);
            if !matches!(signal, Signal::Throttled { .. }) {
                self.throttling.answered(ticket, now.monotonic);
            }
            if !matches!(signal, Signal::Trouble | Signal::Unusable) {
                self.troubles = 0;
            }
        }
        match signal {
            Signal::Good { generation } => {
                self.unusable.clear();
                self.read(ticket, Some((job, generation)));
            }
            Signal::Answered => self.read(ticket, None),
            Signal::Throttled { retry_after } => {
                let poll = Throttled {
                    ticket,
                    job,
                    detail,
                    retry_after,
                    last: Ticket(self.last),
                    most: self.most,
                };
                self.throttling.throttled(&poll, now.monotonic, random);
            }
            Signal::Refused { generation } => {
                self.refuse(ticket, detail, now, random);
                let by = Refuser::Job(job.clone(), generation);
                self.distrust(detail, now.wall, by);
            }
            Signal::NoToken { retry_at, refused } => {
                let kind = match refused {
                    true => GateReasonKind::CredentialsRefused,
                    false => GateReasonKind::TokenUnavailable,
                };
                self.close_for_token(ticket, kind, detail, retry_at);
                if refused {
                    self.distrust(detail, now.wall, Refuser::TokenEndpoint);
                }
            }
            Signal::Forbidden { generation } => {
                let by = Refuser::Job(job.clone(), generation);
                self.distrust(detail, now.wall, by);
            }
            Signal::Trouble => {
                self.troubles = self.troubles.saturating_add(1);
                self.unusable(job, detail);
            }
            Signal::Unusable => self.unusable(job, detail),
            Signal::Nothing => {}
        }
    }

    fn unusable(&mut self, job: &JobId, detail: &str) {
        if self.unusable.len() < DOWN_AFTER && !self.unusable.contains(job) {
            self.unusable.push(job.clone());
        }
        detail.clone_into(&mut self.trouble);
    }

    /// Our credentials were accepted; `read`: for this job, with a token of this generation.
    fn read(&mut self, ticket: Ticket, read: Option<(&JobId, u64)>) {
        let state = &mut self.credentials;
        // One job refused and another read with the same token, in either order: the refused job is the reason.
        let of_one_job = match (&state.by, read) {
            (Some(Refuser::Job(refused, with)), Some((job, generation))) => {
                refused != job && *with == generation
            }
            _ => false,
        };
        if of_one_job || ticket > state.mark || state.credentials == Credentials::Unknown {
            state.credentials = Credentials::Accepted;
            state.by = None;
        }
        if of_one_job || is_later(ticket, self.unauthorized.as_ref()) {
            self.refusals = 0;
            self.unauthorized = None;
        }
    }

    fn refuse(&mut self, ticket: Ticket, detail: &str, now: Now, random: f64) {
        if is_later(ticket, self.unauthorized.as_ref()) {
            self.refusals = self.refusals.saturating_add(1);
        }
        let pause = grown(REFUSED, self.refusals, random);
        let kind = GateReasonKind::CredentialsRefused;
        self.close_for_token(ticket, kind, detail, now.monotonic.plus(pause));
    }

    fn close_for_token(
        &mut self,
        ticket: Ticket,
        kind: GateReasonKind,
        detail: &str,
        until: Monotonic,
    ) {
        let later = is_later(ticket, self.unauthorized.as_ref());
        let closure = Closure::new(kind, detail, until, Ticket(self.last));
        extend(&mut self.unauthorized, closure, later);
    }

    fn distrust(&mut self, detail: &str, wall: UnixMillis, by: Refuser) {
        let since = match self.credentials() {
            Credentials::Refused { since, .. } => *since,
            _ => wall,
        };
        self.credentials = CredentialState {
            credentials: Credentials::Refused {
                since,
                detail: detail.to_owned(),
            },
            mark: Ticket(self.last),
            by: Some(by),
        };
    }

    fn token_was_granted(&mut self, ticket: Ticket) {
        let state = &mut self.credentials;
        if state.by == Some(Refuser::TokenEndpoint) && ticket > state.mark {
            *state = CredentialState::default();
        }
    }
}

#[cfg(test)]
mod tests;
