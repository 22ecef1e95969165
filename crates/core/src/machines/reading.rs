//! What an answer to a poll means, or that there is none: for the job, and through the [gate](super::gate) for all others.

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use http::HeaderMap;
use http::header::{LOCATION, RETRY_AFTER};

use super::attribution::{Attribution, Reads};
use super::gate::Signal;
use crate::backoff::parse_retry_after;
use crate::dialect::{Answer, Dialect, ErrorWords, Reading, UnusableAnswer};
use crate::etag::Etag;
use crate::job::JobId;
use crate::poll::{MAX_TEXT, PollOutcome, Trouble, TroubleClass};
use crate::snapshot::Snapshot;
use crate::text::one_line;
use crate::time::{Monotonic, UnixMillis};

/// The status of an answer to a conditional request: the job is as it was.
const NOT_MODIFIED: u16 = 304;

/// A poll that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// What it means for the job.
    pub outcome: PollOutcome,
    /// What it says about the upstream.
    pub signal: Signal,
    /// What was wrong, in one line for people; empty if nothing was.
    pub detail: String,
    /// How long the answer asks to wait before this job is polled again.
    pub retry_after: Option<Duration>,
    /// Whether a success had nothing at the configured pointer to the status.
    pub is_unmatched: bool,
    /// The entity tag of a good answer, unless that was a 304.
    pub etag: Option<Etag>,
}

/// An answer that is no success, as its dialect reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub reading: Reading,
    /// The API's own words.
    pub error: ErrorWords,
    /// The same with the status, for people. Neither cut nor cleared of secrets at first; whoever sent the request does
    /// both, with [`one_line`] if there was no secret in it.
    pub detail: String,
}

/// The tokens of one request: a fresh one is tried once, if the API refuses the first and another one may help.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenTries {
    /// The token that was refused first, and what that was attributed to.
    first: Option<(u64, Attribution)>,
}

/// A poll whose answer is to be read.
#[derive(Debug, Clone, Copy)]
pub struct Polled<'a> {
    /// What the API speaks.
    pub dialect: &'a dyn Dialect,
    /// The job that is followed.
    pub job: &'a JobId,
    /// The id that the answer must have; `None` for a job with its own `url`.
    pub expected: Option<&'a JobId>,
    /// The hash of the body that was recorded last.
    pub known: Option<u64>,
    /// Whether the request asked with an entity tag.
    pub is_conditional: bool,
    /// The token of the request that was answered: 0 for a fixed one, then counted up.
    pub generation: u64,
    /// The tokens that were refused before.
    pub tries: TokenTries,
}

impl Meaning {
    /// The job's URL may not be requested.
    #[must_use]
    pub fn no_target(detail: String) -> Self {
        let rejected = PollOutcome::Rejected { detail };
        Self::of(rejected, Signal::Nothing, String::new())
    }

    /// There is no token, because the token endpoint `refused` us or for another reason, so nothing was sent to the job's
    /// URL. None is requested before `retry_at`.
    #[must_use]
    pub fn no_token(error: &str, retry_at: Monotonic, refused: bool) -> Self {
        let detail = one_line(error);
        let line = detail.clone();
        let outcome = match refused {
            true => PollOutcome::CredentialsRefused { detail },
            false => PollOutcome::NotSent { detail },
        };
        Self::of(outcome, Signal::NoToken { retry_at, refused }, line)
    }

    /// We lack what a connection needs, so nothing was sent.
    #[must_use]
    pub fn not_sent(detail: String) -> Self {
        let not_sent = PollOutcome::NotSent { detail };
        Self::of(not_sent, Signal::Nothing, String::new())
    }

    /// No answer, or a 2xx that is not the job: only without an answer may the upstream be down.
    #[must_use]
    pub fn trouble(trouble: Trouble) -> Self {
        let signal = match trouble.class {
            TroubleClass::TooLarge | TroubleClass::Unusable | TroubleClass::Foreign => {
                Signal::Unusable
            }
            _ => Signal::Trouble,
        };
        let detail = trouble.detail.clone();
        Self::of(PollOutcome::Trouble(trouble), signal, detail)
    }

    /// Whether the job was read.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self.signal, Signal::Good { .. })
    }

    /// To be called when the poll of `job` is over: remembers that it was read, and with which token.
    pub fn note(&self, job: &JobId, reads: &mut Reads) {
        if let Signal::Good { generation } = self.signal {
            reads.read(generation, job);
        }
    }

    fn of(outcome: PollOutcome, signal: Signal, detail: String) -> Self {
        Self {
            outcome,
            signal,
            detail,
            retry_after: None,
            is_unmatched: false,
            etag: None,
        }
    }
}

impl Refusal {
    /// Reads an answer that is no success.
    #[must_use]
    pub fn of(dialect: &dyn Dialect, answer: &Answer<'_>) -> Self {
        let error = dialect.error(answer);
        Self {
            reading: dialect.refusal(answer, &error),
            detail: line(answer, &error),
            error,
        }
    }

    /// Whether another token may be accepted.
    #[must_use]
    pub fn refuses_token(&self) -> bool {
        self.reading == Reading::TokenRefused
    }

    /// Whether it asks for fewer requests.
    #[must_use]
    pub fn throttles(&self) -> bool {
        self.reading == Reading::Throttled
    }

    /// The trouble that an answer with this status is when it means nothing more.
    #[must_use]
    pub fn into_trouble(self, status: u16) -> Trouble {
        Trouble {
            class: match status {
                300..400 => TroubleClass::Redirect,
                400 | 404 | 410 => TroubleClass::Foreign,
                _ => TroubleClass::Status,
            },
            detail: self.detail,
        }
    }
}

impl TokenTries {
    /// The API refused the token of this generation. Whether the request is to be sent once more, with a fresh token;
    /// `attribute` is called at the first refusal only.
    pub fn refused(&mut self, generation: u64, attribute: impl FnOnce() -> Attribution) -> bool {
        if self.first.is_some() {
            return false;
        }
        let attribution = attribute();
        self.first = Some((generation, attribution));
        attribution == Attribution::Token
    }
}

impl Polled<'_> {
    /// Reads any answer to a request without a secret.
    #[must_use]
    pub fn read(&self, answer: &Answer<'_>, reads: &mut Reads) -> Meaning {
        let hash = hash_of(answer.status, answer.headers, answer.body.as_bytes());
        if answer.is_success() {
            let unchanged = self.unchanged(answer.status, answer.headers, hash, answer.retry_after);
            return unchanged.unwrap_or_else(|| self.success(answer, hash));
        }
        if self.is_not_modified(answer.status) {
            return self.not_modified(answer.retry_after);
        }
        let mut refusal = Refusal::of(self.dialect, answer);
        refusal.detail = one_line(&refusal.detail);
        self.refusal(refusal, answer.status, answer.retry_after, hash, reads)
    }

    /// A success with the same bytes as last time is a good answer, and need not be read.
    #[must_use]
    pub fn unchanged(
        &self,
        status: u16,
        headers: &HeaderMap,
        hash: u64,
        retry_after: Option<Duration>,
    ) -> Option<Meaning> {
        let is_known = self.known == Some(hash);
        is_known.then(|| Meaning {
            etag: Etag::of(status, headers),
            ..self.good(PollOutcome::Unchanged, retry_after)
        })
    }

    /// Whether this status says that the job is as it was. A 304 that nobody asked for says nothing.
    #[must_use]
    pub fn is_not_modified(&self, status: u16) -> bool {
        status == NOT_MODIFIED && self.is_conditional
    }

    /// The job is as it was when it was recorded last.
    #[must_use]
    pub fn not_modified(&self, retry_after: Option<Duration>) -> Meaning {
        self.good(PollOutcome::NotModified, retry_after)
    }

    /// Reads a success: only the job itself is a good answer.
    #[must_use]
    pub fn success(&self, answer: &Answer<'_>, hash: u64) -> Meaning {
        let unusable = |class, detail| Meaning::trouble(Trouble { class, detail });
        let is_too_large = answer.body.len() > MAX_TEXT;
        if is_too_large && self.dialect.needs_body() {
            let detail = format!("a text above {} KiB", MAX_TEXT >> 10);
            return unusable(TroubleClass::TooLarge, detail);
        }
        let body = if is_too_large { "" } else { answer.body };
        let error = match self.dialect.job(&Answer { body, ..*answer }, self.expected) {
            Ok(snapshot) => {
                return Meaning {
                    etag: Etag::of(answer.status, answer.headers),
                    ..self.job(snapshot, hash, answer.retry_after)
                };
            }
            Err(error) => error,
        };
        let detail = one_line(&format!("HTTP {}, but {error}", answer.status));
        Meaning {
            is_unmatched: matches!(error, UnusableAnswer::NoStatus(_)),
            ..unusable(TroubleClass::Unusable, detail)
        }
    }

    /// What an answer means that is no success, once its detail is fit for people.
    #[must_use]
    pub fn refusal(
        &self,
        refusal: Refusal,
        status: u16,
        retry_after: Option<Duration>,
        hash: u64,
        reads: &mut Reads,
    ) -> Meaning {
        let line = refusal.detail.clone();
        let detail = line.clone();
        let (outcome, signal) = match refusal.reading {
            Reading::Job(snapshot) => return self.job(*snapshot, hash, retry_after),
            Reading::TokenRefused => self.token_refused(status, detail, reads),
            Reading::Gone => (PollOutcome::Gone { status }, Signal::Answered),
            Reading::Rejected => (PollOutcome::Rejected { detail }, Signal::Answered),
            Reading::Throttled => {
                let throttled = Signal::Throttled { retry_after };
                (PollOutcome::Throttled { status }, throttled)
            }
            Reading::Forbidden => {
                let generation = self.generation;
                let signal = match reads.has_read(generation) {
                    true => Signal::Unusable,
                    false => Signal::Forbidden { generation },
                };
                (PollOutcome::Forbidden { status, detail }, signal)
            }
            Reading::Unusable(_) | Reading::Trouble => {
                let signal = match status {
                    500.. => Signal::Trouble,
                    _ => Signal::Unusable,
                };
                (PollOutcome::Trouble(refusal.into_trouble(status)), signal)
            }
        };
        Meaning {
            // A redirect asks for nothing, nor does a 304 that nobody asked for.
            retry_after: retry_after.filter(|_| status >= 400),
            ..Meaning::of(outcome, signal, line)
        }
    }

    /// 401, or 403 that says the token has expired.
    fn token_refused(
        &self,
        status: u16,
        detail: String,
        reads: &mut Reads,
    ) -> (PollOutcome, Signal) {
        let generation = self.generation;
        let attribution = match self.tries.first {
            Some((first, Attribution::Token)) => reads.refused_again(first, generation, self.job),
            Some((_, attribution)) => attribution,
            None => Attribution::Credentials,
        };
        match attribution {
            Attribution::Job => (PollOutcome::Forbidden { status, detail }, Signal::Unusable),
            Attribution::Token | Attribution::Credentials => {
                let refused = PollOutcome::CredentialsRefused { detail };
                (refused, Signal::Refused { generation })
            }
        }
    }

    /// The job, or that it is as it was.
    fn job(&self, snapshot: Snapshot, hash: u64, retry_after: Option<Duration>) -> Meaning {
        let outcome = match self.known == Some(hash) {
            true => PollOutcome::Unchanged,
            false => PollOutcome::Snapshot {
                snapshot: Box::new(snapshot),
                hash,
            },
        };
        self.good(outcome, retry_after)
    }

    fn good(&self, outcome: PollOutcome, retry_after: Option<Duration>) -> Meaning {
        let generation = self.generation;
        Meaning {
            retry_after,
            ..Meaning::of(outcome, Signal::Good { generation }, String::new())
        }
    }
}

/// The hash of all that a dialect reads; the same in every process.
#[must_use]
pub fn hash_of(status: u16, headers: &HeaderMap, body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u16(status);
    if let Some(location) = headers.get(LOCATION) {
        hasher.write(location.as_bytes());
    }
    hasher.write(body);
    hasher.finish()
}

/// What the `Retry-After` of a 4xx or 5xx, and of a 2xx or 304 where the dialect heeds it, asks for, at most `most`.
#[must_use]
pub fn retry_after(
    dialect: &dyn Dialect,
    status: u16,
    headers: &HeaderMap,
    now: UnixMillis,
    most: Duration,
) -> Option<Duration> {
    let waits = match status {
        400.. => true,
        200..300 | NOT_MODIFIED => dialect.heeds_retry_after(),
        _ => false,
    };
    let values = headers.get_all(RETRY_AFTER).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    waits
        .then(|| parse_retry_after(values, now, most))
        .flatten()
}

/// The status and the API's error, not yet cut or cleared of secrets.
fn line(answer: &Answer<'_>, error: &ErrorWords) -> String {
    let line = error.line(answer.status);
    match answer.status {
        300..400 => {
            let to = answer.headers.get(LOCATION).and_then(|to| to.to_str().ok());
            let to = to.and_then(|to| to.split(['?', '#']).next());
            let to = to.unwrap_or("nowhere");
            format!("HTTP {}, a redirect to {to}, not followed", answer.status)
        }
        400 | 404 | 410 if !error.is_verdict && error.code.is_empty() => {
            format!("{line}, not in the API's own words")
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests;
