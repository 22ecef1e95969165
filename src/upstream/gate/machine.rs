//! The gate's decisions: what each poll's end means for all the others. No I/O, no clock.

use std::time::Duration;

use tokio::time::Instant;

use super::closure::{
    Closure, Credentials, GateReasonKind, GateState, Moment, Ticket, extend, is_later,
};
use super::throttle::{Throttled, Throttling};
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::upstream::pauses::{REFUSED, grown};

/// The upstream counts as down after this many polls in a row without an answer, or different jobs without a usable one.
const DOWN_AFTER: usize = 3;

/// What the end of one poll says about the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::upstream) enum Signal {
    /// The job was read, with a token of this generation.
    Good { generation: u64 },
    /// The API itself says that the job does not exist, or never will.
    Answered,
    /// The job's URL asked for fewer requests.
    Throttled { retry_after: Option<Duration> },
    /// The job's URL refused our credentials, last with a token of this generation.
    Refused { generation: u64 },
    /// There was no token, because the token endpoint refused us or for another reason; the next one may be requested at
    /// `retry_at`.
    NoToken { retry_at: Instant, refused: bool },
    /// 403 on a job with a token of this generation, with which no job was read.
    Forbidden { generation: u64 },
    /// No answer of the job's URL, or 5xx: the upstream may be down.
    Trouble,
    /// An answer that is not the job; that may be the fault of this job alone.
    Unusable,
    /// No request was sent.
    Nothing,
}

/// The end of one poll.
#[derive(Debug, Clone, Copy)]
pub(in crate::upstream) struct PollEnd<'a> {
    pub(in crate::upstream) ticket: Ticket,
    pub(in crate::upstream) job: &'a JobId,
    pub(in crate::upstream) signal: Signal,
    /// What was wrong, in one line for people.
    pub(in crate::upstream) detail: &'a str,
}

#[derive(Debug)]
pub(super) struct Machine {
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
pub(super) struct Episodes {
    pub(super) throttled: Option<Closure>,
    pub(super) unauthorized: Option<Closure>,
    pub(super) forbidden: Option<String>,
    pub(super) down: Option<String>,
}

impl Machine {
    pub(super) fn new(most: Duration) -> Self {
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

    pub(super) fn begin(&mut self) -> Ticket {
        self.last += 1;
        Ticket(self.last)
    }

    pub(super) fn state(&self, now: Instant) -> GateState {
        let in_force = self.closures().filter(|closure| now < closure.until);
        in_force
            .max_by_key(|closure| closure.until)
            .map_or(GateState::Open, Closure::state)
    }

    pub(super) fn on_trial(&self, now: Instant) -> bool {
        let (closed, over): (Vec<_>, Vec<_>) =
            self.closures().partition(|closure| now < closure.until);
        closed.is_empty() && !over.is_empty()
    }

    pub(super) fn throttling(&self) -> &Throttling {
        &self.throttling
    }

    pub(super) fn pause_until(&mut self, until: Instant) {
        self.throttling.pause_until(until, Ticket(self.last));
    }

    pub(super) fn resume(&mut self) {
        self.throttling.resume();
        self.unauthorized
            .take_if(|closure| closure.reason.kind == GateReasonKind::TokenUnavailable);
    }

    fn closures(&self) -> impl Iterator<Item = &Closure> {
        let throttled = self.throttling.closure().into_iter();
        throttled.chain(&self.unauthorized)
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials.credentials
    }

    pub(super) fn is_down(&self) -> bool {
        self.troubles >= DOWN_AFTER || self.unusable.len() >= DOWN_AFTER
    }

    pub(super) fn episodes(&self) -> Episodes {
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

    pub(super) fn degraded(&self, now: Instant) -> Vec<String> {
        let mut reasons = Vec::new();
        for Closure { until, reason, .. } in self.closures() {
            let (sentence, detail) = (reason.kind.sentence(), &reason.detail);
            if now < *until {
                let wait = for_people(*until - now);
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

    pub(super) fn note(&mut self, poll: &PollEnd<'_>, moment: &Moment) {
        let PollEnd {
            ticket,
            job,
            signal,
            detail,
        } = *poll;
        if !matches!(signal, Signal::NoToken { .. } | Signal::Nothing) {
            self.token_was_granted(ticket);
            if !matches!(signal, Signal::Throttled { .. }) {
                self.throttling.answered(ticket, moment.now);
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
                };
                self.throttling.throttled(&poll, self.most, moment);
            }
            Signal::Refused { generation } => {
                self.refuse(ticket, detail, moment);
                let by = Refuser::Job(job.clone(), generation);
                self.distrust(detail, moment.time_of_day, by);
            }
            Signal::NoToken { retry_at, refused } => {
                let kind = match refused {
                    true => GateReasonKind::CredentialsRefused,
                    false => GateReasonKind::TokenUnavailable,
                };
                self.close_for_token(ticket, kind, detail, retry_at);
                if refused {
                    self.distrust(detail, moment.time_of_day, Refuser::TokenEndpoint);
                }
            }
            Signal::Forbidden { generation } => {
                let by = Refuser::Job(job.clone(), generation);
                self.distrust(detail, moment.time_of_day, by);
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

    fn refuse(&mut self, ticket: Ticket, detail: &str, moment: &Moment) {
        if is_later(ticket, self.unauthorized.as_ref()) {
            self.refusals = self.refusals.saturating_add(1);
        }
        let pause = grown(REFUSED, self.refusals, moment.random);
        let kind = GateReasonKind::CredentialsRefused;
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
        let closure = Closure::new(kind, detail, until, Ticket(self.last));
        extend(&mut self.unauthorized, closure, later);
    }

    fn distrust(&mut self, detail: &str, time_of_day: UnixMillis, by: Refuser) {
        let since = match self.credentials() {
            Credentials::Refused { since, .. } => *since,
            _ => time_of_day,
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

/// A duration for people, in whole seconds, rounded up.
fn for_people(duration: Duration) -> humantime::FormattedDuration {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    humantime::format_duration(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
