//! One poll: from a job's URL to what its answer means, for the job and for all others.

use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Method, Request};
use url::Url;

use super::answers::AnswerMemory;
use super::client::Inner;
use super::gate::Signal;
use super::grant::TokenTrouble;
use super::http::{Answer, Limits, NoAnswer, Refusal, Success};
use super::said::presentable;
use super::target::RefusedUrl;
use super::token::{Blame, Token, TokenError};
use crate::core::job::JobId;
use crate::core::poll::{MAX_BODY, MAX_TEXT, PollOutcome, Trouble, TroubleClass};
use crate::core::resource::Snapshot;
use crate::core::text::text_of;
use crate::memory::Reservation;

/// How much of an answer about a job is read.
const POLL: Limits = Limits::of_success(MAX_BODY);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct PollRequest<'a> {
    /// Where: a URL of [`Upstream::target`](super::Upstream::target).
    pub url: &'a Url,
    /// The job that is followed there: what only this one is answered says nothing of the others.
    pub job: &'a JobId,
    /// The id that the answer must have; `None` for a job with a `url` of its own (contract, section 9).
    pub expected: Option<&'a JobId>,
    /// The hash of the body that was recorded last.
    pub known: Option<u64>,
}

/// A poll that is over, and what it says about the upstream.
pub(super) struct Finished {
    pub(super) outcome: PollOutcome,
    pub(super) signal: Signal,
    /// Of a 4xx or 5xx.
    pub(super) retry_after: Option<Duration>,
    /// For what follows from a job that was read.
    pub(super) memory: Option<Reservation>,
}

/// What one request to a job's URL brought.
enum Asked {
    Done(Finished),
    TokenRefused(TokenRefused),
}

/// 401, or 403 that says the token has expired.
struct TokenRefused {
    status: u16,
    detail: String,
    retry_after: Option<Duration>,
}

impl Inner {
    pub(super) async fn poll(
        &self,
        request: &PollRequest<'_>,
        requests: &AtomicU32,
        memory: &AnswerMemory,
    ) -> Finished {
        if !self.http.base.owns(request.url) {
            return foreign();
        }
        let token = match self.tokens.get(None, &self.http).await {
            Ok(token) => token,
            Err(error) => return without_token(&error),
        };
        let refused = match self.get(request, &token, requests, memory).await {
            Asked::Done(finished) => return finished,
            Asked::TokenRefused(refused) => refused,
        };
        match self.tokens.refused(&token, request.job) {
            Blame::Job => refused.of_the_job(),
            Blame::Credentials => refused.of_the_credentials(&token),
            // On the heap: it is rare, and would make every poll's future twice as large.
            Blame::Token => Box::pin(self.again(request, &token, requests, memory)).await,
        }
    }

    /// The second request, with a fresh token, after `refused` was.
    async fn again(
        &self,
        request: &PollRequest<'_>,
        refused: &Token,
        requests: &AtomicU32,
        memory: &AnswerMemory,
    ) -> Finished {
        let token = match self.tokens.get(None, &self.http).await {
            Ok(token) => token,
            Err(error) => return without_token(&error),
        };
        self.budget.take().await;
        match self.get(request, &token, requests, memory).await {
            Asked::Done(finished) => finished,
            Asked::TokenRefused(again) => {
                match self.tokens.refused_again(refused, &token, request.job) {
                    Blame::Job => again.of_the_job(),
                    Blame::Token | Blame::Credentials => again.of_the_credentials(&token),
                }
            }
        }
    }

    async fn get(
        &self,
        request: &PollRequest<'_>,
        token: &Token,
        requests: &AtomicU32,
        memory: &AnswerMemory,
    ) -> Asked {
        requests.fetch_add(1, Ordering::Relaxed);
        let authorization = token.header.as_ref();
        let get = Request::new(Method::GET, request.url.clone());
        let reading = Some(&memory.reading);
        Asked::Done(
            match self.http.send(get, authorization, POLL, reading).await {
                Ok(Answer::Success(success)) => {
                    self.answered(request, success, token, memory).await
                }
                Ok(Answer::Other(refusal)) => {
                    let detail = refusal.detail(authorization);
                    if refusal.is_of_token() {
                        return Asked::TokenRefused(TokenRefused {
                            status: refusal.status,
                            detail,
                            retry_after: refusal.retry_after,
                        });
                    }
                    self.meaning(refusal, detail, token)
                }
                Err(NoAnswer::Trouble(trouble)) => {
                    let answered = matches!(
                        trouble.class,
                        TroubleClass::TooLarge | TroubleClass::Unusable
                    );
                    of_trouble(trouble, !answered)
                }
                Err(NoAnswer::Short(shortage)) => {
                    requests.fetch_sub(1, Ordering::Relaxed);
                    // Whoever polls may ask again at once.
                    self.http.sockets.wait(shortage).await;
                    let detail = shortage.to_string();
                    Finished::new(PollOutcome::NotSent { detail }, Signal::Nothing)
                }
                Err(NoAnswer::ForeignOrigin) => foreign(),
            },
        )
    }

    /// Reads a 2xx: only the job itself, or what it was the last time, is a good answer.
    async fn answered(
        &self,
        request: &PollRequest<'_>,
        Success {
            status,
            body,
            memory: reading,
        }: Success,
        token: &Token,
        memory: &AnswerMemory,
    ) -> Finished {
        let hash = hash_of(&body);
        let mut held = None;
        let outcome = if request.known == Some(hash) {
            PollOutcome::Unchanged
        } else {
            held = Some(memory.for_what_follows(&body).await);
            drop(reading);
            let text = text_of(&body);
            if text.len() > MAX_TEXT {
                let detail = format!("a text above {} KiB", MAX_TEXT >> 10);
                let class = TroubleClass::TooLarge;
                return of_trouble(Trouble { class, detail }, false);
            }
            match Snapshot::parse(&text, request.expected) {
                Ok(snapshot) => PollOutcome::Snapshot {
                    snapshot: Box::new(snapshot),
                    hash,
                },
                Err(rubbish) => {
                    let detail = presentable(&format!("HTTP {status}, but {rubbish}"), &[]);
                    let class = TroubleClass::Unusable;
                    return of_trouble(Trouble { class, detail }, false);
                }
            }
        };
        self.tokens.read(token, request.job);
        let generation = token.generation;
        Finished {
            memory: held,
            ..Finished::new(outcome, Signal::Good { generation })
        }
    }

    /// What a status other than 2xx, 401 and "token expired" means for the job and for the upstream.
    fn meaning(&self, refusal: Refusal, detail: String, token: &Token) -> Finished {
        let (status, retry_after) = (refusal.status, refusal.retry_after);
        let verdict = refusal.said.is_verdict();
        let (outcome, signal) = match status {
            404 | 410 if verdict => (PollOutcome::Gone { status }, Signal::Answered),
            400 if verdict => (PollOutcome::Rejected { detail }, Signal::Answered),
            _ if refusal.throttles() => {
                let signal = Signal::Throttled {
                    detail,
                    retry_after,
                };
                (PollOutcome::Throttled { status }, signal)
            }
            403 => {
                let signal = if self.tokens.has_read(token) {
                    Signal::Unusable {
                        detail: detail.clone(),
                    }
                } else {
                    Signal::Forbidden {
                        detail: detail.clone(),
                        generation: token.generation,
                    }
                };
                (PollOutcome::Forbidden { status, detail }, signal)
            }
            _ => {
                let trouble = refusal.into_trouble(token.header.as_ref());
                return Finished {
                    retry_after,
                    ..of_trouble(trouble, status >= 500)
                };
            }
        };
        Finished {
            retry_after,
            ..Finished::new(outcome, signal)
        }
    }
}

impl TokenRefused {
    fn of_the_job(self) -> Finished {
        let (status, detail) = (self.status, self.detail);
        let signal = Signal::Unusable {
            detail: detail.clone(),
        };
        Finished {
            retry_after: self.retry_after,
            ..Finished::new(PollOutcome::Forbidden { status, detail }, signal)
        }
    }

    fn of_the_credentials(self, token: &Token) -> Finished {
        let detail = self.detail;
        let signal = Signal::Refused {
            detail: detail.clone(),
            generation: token.generation,
        };
        Finished {
            retry_after: self.retry_after,
            ..Finished::new(PollOutcome::CredentialsRefused { detail }, signal)
        }
    }
}

impl Finished {
    fn new(outcome: PollOutcome, signal: Signal) -> Self {
        Self {
            outcome,
            signal,
            retry_after: None,
            memory: None,
        }
    }
}

fn without_token(error: &TokenError) -> Finished {
    let detail = presentable(&error.to_string(), &[]);
    let refused = matches!(error.trouble, TokenTrouble::Refused { .. });
    let signal = Signal::NoToken {
        detail: detail.clone(),
        retry_at: error.retry_at,
        refused,
    };
    let outcome = if refused {
        PollOutcome::CredentialsRefused { detail }
    } else {
        PollOutcome::NotSent { detail }
    };
    Finished::new(outcome, signal)
}

fn foreign() -> Finished {
    let detail = RefusedUrl::OtherOrigin.to_string();
    Finished::new(PollOutcome::Rejected { detail }, Signal::Nothing)
}

/// `down`: it is of the kind that an upstream causes which is down.
fn of_trouble(trouble: Trouble, down: bool) -> Finished {
    let detail = trouble.detail.clone();
    let signal = if down {
        Signal::Trouble { detail }
    } else {
        Signal::Unusable { detail }
    };
    Finished::new(PollOutcome::Trouble(trouble), signal)
}

fn hash_of(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(body);
    hasher.finish()
}
