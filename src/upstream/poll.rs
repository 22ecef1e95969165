//! One poll: from a job's URL to what the answer means, for the job and for all others.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::header::LOCATION;
use reqwest::{Method, Request};
use url::Url;

use super::api_error::{MAX_ERROR_BODY, presentable};
use super::client::{Answered, Inner, Upstream};
use super::gate::{PollEnd, Signal};
use super::grant::TokenTrouble;
use super::http::{Answer, Limits, NoAnswer};
use super::target::RefusedUrl;
use super::token::{Attribution, Token, TokenError};
use crate::core::dialect::{Reading, UnusableAnswer};
use crate::core::job::JobId;
use crate::core::poll::{MAX_BODY, MAX_TEXT, Poll, PollOutcome, Trouble, TroubleClass};
use crate::core::snapshot::Snapshot;
use crate::core::text::text_of;
use crate::memory::Reservation;

/// What is polled.
#[derive(Debug, Clone, Copy)]
pub struct PollRequest<'a> {
    /// Where: a URL of [`Upstream::target`].
    pub url: &'a Url,
    /// The job that is followed there: an answer to this one alone says nothing of the others.
    pub job: &'a JobId,
    /// The id that the answer must have; `None` for a job with its own `url` (docs/jobs.md, "What is recorded").
    pub expected: Option<&'a JobId>,
    /// The hash of the body that was recorded last.
    pub known: Option<u64>,
}

/// A poll that is over, and what it says about the upstream.
struct Finished {
    outcome: PollOutcome,
    signal: Signal,
    /// What was wrong, in one line for people.
    detail: String,
    /// Of a 4xx or 5xx.
    retry_after: Option<Duration>,
    /// For what follows from a job that was read.
    memory: Option<Reservation>,
}

impl Upstream {
    /// Polls a job once; at most two requests, the second only after a refused token.
    ///
    /// It does not check the gate, nor the budget for the first request: the caller checks both before it chooses a job.
    /// A URL of another origin is `Rejected` without a request. The outcome is reported to the gate. Dropping the future
    /// cancels the poll and reports nothing.
    pub async fn poll(&self, request: &PollRequest<'_>) -> Poll {
        self.poll_counted(request, &AtomicU32::new(0)).await.0
    }

    /// The same, and counts each request when it is sent, so that those of a poll that is dropped count too. A job that
    /// was read comes with the memory for all that follows from it, to be kept until it is recorded.
    pub async fn poll_counted(
        &self,
        request: &PollRequest<'_>,
        requests: &AtomicU32,
    ) -> (Poll, Option<Reservation>) {
        let inner = &self.0;
        let ticket = inner.gate.begin();
        let finished = inner.poll(request, requests).await;
        let finished = finished.unwrap_or_else(|finished| finished);
        inner.gate.note(&PollEnd {
            ticket,
            job: request.job,
            signal: finished.signal,
            detail: &finished.detail,
        });
        let poll = Poll {
            outcome: finished.outcome,
            retry_after: finished.retry_after,
            requests: requests.load(Ordering::Relaxed),
        };
        (poll, finished.memory)
    }
}

impl Inner {
    /// The error is a poll that ended without an answer.
    async fn poll(
        &self,
        request: &PollRequest<'_>,
        requests: &AtomicU32,
    ) -> Result<Finished, Finished> {
        if !self.http.base.owns(request.url) {
            let detail = RefusedUrl::OtherOrigin.to_string();
            let rejected = PollOutcome::Rejected { detail };
            return Err(Finished::new(rejected, Signal::Nothing, String::new()));
        }
        let answered = self.send_with_token(
            None,
            |token| self.get(request, token, requests),
            |token| self.tokens.refused(token, request.job),
        );
        let mut answered = answered.await?;
        Ok(match answered.answer.meaning.take() {
            None => self.read(request, answered).await,
            Some(Reading::Job(snapshot)) => {
                let hash = hash_of(&answered.answer);
                self.job(request, answered, Some(*snapshot), hash)
            }
            Some(Reading::TokenRefused) => self.refused(request, answered),
            Some(meaning) => self.meaning(&meaning, answered),
        })
    }

    async fn get(
        &self,
        request: &PollRequest<'_>,
        token: Token,
        requests: &AtomicU32,
    ) -> Result<Answer, Finished> {
        // The caller has taken the first one from the budget.
        if requests.load(Ordering::Relaxed) > 0 {
            self.budget.take().await;
        }
        requests.fetch_add(1, Ordering::Relaxed);
        let get = Request::new(Method::GET, request.url.clone());
        let (authorization, memory) = (token.header.as_ref(), Some(&self.memory.reading));
        let limits = Limits {
            success: MAX_BODY,
            // The error of a job that failed may be its whole answer.
            other: match self.http.dialect.is_generic() {
                true => MAX_BODY,
                false => MAX_ERROR_BODY,
            },
        };
        match self.http.send(get, authorization, limits, memory).await {
            Ok(answer) => Ok(answer),
            Err(NoAnswer::Trouble(trouble)) => Err(Finished::trouble(trouble)),
            Err(NoAnswer::Short(shortage)) => {
                requests.fetch_sub(1, Ordering::Relaxed);
                // The caller may poll again at once.
                self.http.sockets.wait(shortage).await;
                let detail = shortage.to_string();
                let not_sent = PollOutcome::NotSent { detail };
                Err(Finished::new(not_sent, Signal::Nothing, String::new()))
            }
        }
    }

    /// 401, or 403 that says the token has expired.
    fn refused(&self, request: &PollRequest<'_>, answered: Answered) -> Finished {
        let (answer, token) = (answered.answer, answered.token);
        let (status, detail) = (answer.status, answer.detail);
        let attribution = match answered.refused {
            Some((first, Attribution::Token)) => {
                self.tokens.refused_again(&first, &token, request.job)
            }
            Some((_, attribution)) => attribution,
            None => Attribution::Credentials,
        };
        let line = detail.clone();
        let (outcome, signal) = match attribution {
            Attribution::Job => (PollOutcome::Forbidden { status, detail }, Signal::Unusable),
            Attribution::Token | Attribution::Credentials => {
                let generation = token.generation;
                let refused = PollOutcome::CredentialsRefused { detail };
                (refused, Signal::Refused { generation })
            }
        };
        Finished {
            retry_after: answer.retry_after,
            ..Finished::new(outcome, signal, line)
        }
    }

    /// Reads a 2xx: only the job itself, or the same body as last time, is a good answer.
    async fn read(&self, request: &PollRequest<'_>, mut answered: Answered) -> Finished {
        let answer = &mut answered.answer;
        let hash = hash_of(answer);
        if request.known == Some(hash) {
            return self.job(request, answered, None, hash);
        }
        let memory = self.memory.for_what_follows(&answer.body).await;
        drop(answer.memory.take());
        let mut text = text_of(&answer.body);
        let unusable = |class, detail| Finished::trouble(Trouble { class, detail });
        if text.len() > MAX_TEXT && !self.http.dialect.needs_body() {
            text = Cow::Borrowed("");
        }
        if text.len() > MAX_TEXT {
            let detail = format!("a text above {} KiB", MAX_TEXT >> 10);
            return unusable(TroubleClass::TooLarge, detail);
        }
        let read = answer.as_read(&text);
        let error = match self.http.dialect.job(&read, request.expected) {
            Ok(snapshot) => {
                let finished = self.job(request, answered, Some(snapshot), hash);
                return Finished {
                    memory: Some(memory),
                    ..finished
                };
            }
            Err(error) => error,
        };
        if matches!(error, UnusableAnswer::NoStatus(_)) {
            self.unmatched.note(false);
        }
        let detail = format!("HTTP {}, but {error}", answer.status);
        unusable(TroubleClass::Unusable, presentable(&detail, None))
    }

    /// The job, or that it is as it was: a good answer.
    fn job(
        &self,
        request: &PollRequest<'_>,
        Answered { answer, token, .. }: Answered,
        snapshot: Option<Snapshot>,
        hash: u64,
    ) -> Finished {
        self.tokens.read(&token, request.job);
        self.unmatched.note(true);
        let generation = token.generation;
        let outcome = match snapshot {
            Some(snapshot) if request.known != Some(hash) => PollOutcome::Snapshot {
                snapshot: Box::new(snapshot),
                hash,
            },
            _ => PollOutcome::Unchanged,
        };
        Finished {
            retry_after: answer.retry_after,
            ..Finished::new(outcome, Signal::Good { generation }, String::new())
        }
    }

    /// What an answer means for the job and for the upstream that is neither the job nor about the token.
    fn meaning(&self, meaning: &Reading, Answered { answer, token, .. }: Answered) -> Finished {
        let (status, retry_after) = (answer.status, answer.retry_after);
        let line = answer.detail.clone();
        let detail = line.clone();
        let (outcome, signal) = match meaning {
            Reading::Gone => (PollOutcome::Gone { status }, Signal::Answered),
            Reading::Rejected => (PollOutcome::Rejected { detail }, Signal::Answered),
            Reading::Throttled => {
                let throttled = Signal::Throttled { retry_after };
                (PollOutcome::Throttled { status }, throttled)
            }
            Reading::Forbidden => {
                let generation = token.generation;
                let signal = match self.tokens.has_read(&token) {
                    true => Signal::Unusable,
                    false => Signal::Forbidden { generation },
                };
                (PollOutcome::Forbidden { status, detail }, signal)
            }
            _ => {
                let signal = match status {
                    500.. => Signal::Trouble,
                    _ => Signal::Unusable,
                };
                (PollOutcome::Trouble(answer.into_trouble()), signal)
            }
        };
        Finished {
            retry_after,
            ..Finished::new(outcome, signal, line)
        }
    }
}

impl Finished {
    fn new(outcome: PollOutcome, signal: Signal, detail: String) -> Self {
        Self {
            outcome,
            signal,
            detail,
            retry_after: None,
            memory: None,
        }
    }

    /// No answer, or a 2xx that is not the job: only without an answer may the upstream be down.
    fn trouble(trouble: Trouble) -> Self {
        let signal = match trouble.class {
            TroubleClass::TooLarge | TroubleClass::Unusable | TroubleClass::Foreign => {
                Signal::Unusable
            }
            _ => Signal::Trouble,
        };
        let detail = trouble.detail.clone();
        Self::new(PollOutcome::Trouble(trouble), signal, detail)
    }
}

impl From<TokenError> for Finished {
    /// No token, so that nothing was sent to the job's URL.
    fn from(error: TokenError) -> Self {
        let detail = presentable(&error.to_string(), None);
        let line = detail.clone();
        let refused = matches!(error.trouble, TokenTrouble::Refused { .. });
        let retry_at = error.retry_at;
        let outcome = match refused {
            true => PollOutcome::CredentialsRefused { detail },
            false => PollOutcome::NotSent { detail },
        };
        Self::new(outcome, Signal::NoToken { retry_at, refused }, line)
    }
}

/// Of all that a dialect reads.
fn hash_of(answer: &Answer) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u16(answer.status);
    if let Some(location) = answer.headers.get(LOCATION) {
        hasher.write(location.as_bytes());
    }
    hasher.write(&answer.body);
    hasher.finish()
}
