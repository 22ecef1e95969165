//! The client: one poll from a URL to its outcome.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Method, Request};
use url::Url;

use super::budget::Budget;
use super::gate::{Gate, Signal};
use super::grant::TokenTrouble;
use super::http::{Answer, Http, Limits, NoAnswer, Refusal};
use super::said::presentable;
use super::settings::UpstreamSettings;
use super::target::{RefusedUrl, UnusableBase};
use super::token::{Token, TokenError, Tokens};
use crate::clock::{Clock, Jitter};
use crate::core::job::JobId;
use crate::core::poll::{MAX_BODY, Poll, PollOutcome, Trouble, TroubleClass};

/// How much of an answer about a job is read.
const POLL: Limits = Limits::of_success(MAX_BODY);

/// The API we poll. Clones share everything.
#[derive(Clone)]
pub struct Upstream {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) http: Http,
    pub(super) tokens: Tokens,
    gate: Gate,
    pub(super) budget: Budget,
}

/// Why there is no client for these settings. No secret is ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// `base_url` cannot be used.
    #[error(transparent)]
    Base(#[from] UnusableBase),
    /// The API key or token is empty or has characters that no header can hold, such as a line break.
    #[error(
        "the upstream API key is empty or has characters that cannot stand in a header (a line break?)"
    )]
    Key,
    /// The API version has characters that no header can hold.
    #[error("upstream.api_version has characters that cannot stand in a header")]
    Version,
    /// The HTTP client could not be made, for instance without any root certificates.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}

/// A poll that is over, and what it says about the upstream.
struct Finished {
    outcome: PollOutcome,
    signal: Signal,
}

/// What one request to a job's URL brought.
enum Asked {
    Done(PollOutcome, Signal),
    /// 401, or 403 that says the token has expired.
    TokenRefused(String),
}

impl Upstream {
    /// A client for these settings. Nothing is sent yet. Call it inside a runtime.
    ///
    /// # Errors
    /// [`UpstreamError`] for settings no request can be made of.
    pub fn new(
        settings: &UpstreamSettings,
        clock: Clock,
        jitter: Jitter,
    ) -> Result<Self, UpstreamError> {
        let inner = Inner {
            http: Http::new(settings, clock.clone())?,
            tokens: Tokens::new(&settings.auth, jitter.clone())?,
            gate: Gate::new(clock, jitter),
            budget: Budget::new(settings.requests_per_second),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The URL a job is polled at: its own `url`, or `{base_url}/jobs/{id}`.
    ///
    /// # Errors
    /// [`RefusedUrl`] says why such a URL is never requested (the job then ends `failed`, kind `rejected`).
    pub fn target(&self, id: &JobId, url: Option<&str>) -> Result<Url, RefusedUrl> {
        self.inner.http.base.job_url(id, url)
    }

    /// Polls a URL of [`Upstream::target`] once; at most two requests, the second only after a refused token.
    ///
    /// It asks neither the gate nor, for the first request, the budget: whoever starts polls looks at both before
    /// choosing a job. A URL of another origin is `Rejected` without a request. The gate is told of the outcome here. Dropping the future cancels the poll, and leaves no trace.
    pub async fn poll(&self, url: &Url) -> Poll {
        let requests = AtomicU32::new(0);
        let outcome = self.poll_counted(url, &requests).await;
        Poll {
            outcome,
            requests: requests.into_inner(),
        }
    }

    /// The same, and counts each request when it is sent, so that those of a poll that is dropped are known too.
    pub async fn poll_counted(&self, url: &Url, requests: &AtomicU32) -> PollOutcome {
        let ticket = self.inner.gate.begin();
        let Finished { outcome, signal } = self.inner.poll(url, requests).await;
        self.inner.gate.note(ticket, &signal);
        outcome
    }

    /// Leaves the upstream alone for this long, as it asked for before this process began.
    pub fn rest(&self, left: Duration) {
        let ticket = self.inner.gate.begin();
        let signal = Signal::Throttled {
            detail: "it asked to be left alone before the start".to_owned(),
            retry_after: Some(left),
        };
        self.inner.gate.note(ticket, &signal);
    }

    /// When the upstream is left alone, and what is known of our credentials.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    /// How many requests per second are allowed.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    pub(super) fn http(&self) -> &Http {
        &self.inner.http
    }

    pub(super) async fn token(&self) -> Result<Token, TokenError> {
        self.inner.tokens.get(None, &self.inner.http).await
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("base", &self.inner.http.base)
            .field("gate", &self.inner.gate)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn poll(&self, url: &Url, requests: &AtomicU32) -> Finished {
        if !self.http.base.owns(url) {
            let (outcome, signal) = foreign();
            return Finished { outcome, signal };
        }
        let token = match self.tokens.get(None, &self.http).await {
            Ok(token) => token,
            Err(error) => return without_token(&error),
        };
        requests.fetch_add(1, Ordering::Relaxed);
        match self.get(url, &token).await {
            Asked::Done(outcome, signal) => Finished { outcome, signal },
            // On the heap: it is rare, and would make every poll's future twice as large.
            Asked::TokenRefused(refused) => {
                Box::pin(self.again(url, &token, refused, requests)).await
            }
        }
    }

    /// The second request, with a fresh token, after the first one was `refused`.
    async fn again(
        &self,
        url: &Url,
        token: &Token,
        refused: String,
        requests: &AtomicU32,
    ) -> Finished {
        if !self.tokens.invalidate(None, token) {
            return Finished::refused(refused);
        }
        let token = match self.tokens.get(None, &self.http).await {
            Ok(token) => token,
            Err(error) => return without_token(&error),
        };
        self.budget.take().await;
        requests.fetch_add(1, Ordering::Relaxed);
        match self.get(url, &token).await {
            Asked::Done(outcome, signal) => Finished { outcome, signal },
            Asked::TokenRefused(detail) => Finished::refused(detail),
        }
    }

    async fn get(&self, url: &Url, token: &Token) -> Asked {
        let authorization = token.header.as_ref();
        let request = Request::new(Method::GET, url.clone());
        let (outcome, signal) = match self.http.send(request, authorization, POLL).await {
            Ok(Answer::Success { status, body }) => answered(status, body, token.generation),
            Ok(Answer::Other(refusal)) => {
                let detail = refusal.detail(authorization);
                if refusal.is_of_token() {
                    return Asked::TokenRefused(detail);
                }
                meaning(refusal, detail, token)
            }
            Err(NoAnswer::Trouble(trouble)) => of_trouble(trouble),
            Err(NoAnswer::ForeignOrigin) => foreign(),
        };
        Asked::Done(outcome, signal)
    }
}

impl Finished {
    fn refused(detail: String) -> Self {
        Self {
            outcome: PollOutcome::CredentialsRefused {
                detail: detail.clone(),
            },
            signal: Signal::Refused {
                detail,
                retry_at: None,
            },
        }
    }
}

fn without_token(error: &TokenError) -> Finished {
    let detail = presentable(&error.to_string(), &[]);
    let refused = matches!(error.trouble, TokenTrouble::Refused { .. });
    let (outcome, signal) = if refused {
        (
            PollOutcome::CredentialsRefused {
                detail: detail.clone(),
            },
            Signal::Refused {
                detail,
                retry_at: Some(error.retry_at),
            },
        )
    } else {
        (
            PollOutcome::NotSent {
                detail: detail.clone(),
            },
            Signal::NotSent {
                detail,
                retry_at: error.retry_at,
            },
        )
    };
    Finished { outcome, signal }
}

fn answered(status: u16, body: Vec<u8>, generation: u64) -> (PollOutcome, Signal) {
    match String::from_utf8(body) {
        Ok(body) => (PollOutcome::Answered { body }, Signal::Good { generation }),
        Err(_) => of_trouble(Trouble {
            class: TroubleClass::Rubbish,
            detail: format!("HTTP {status}, but the body is not UTF-8"),
        }),
    }
}

/// What a status other than 2xx, 401 and "token expired" means for the job and for the upstream.
fn meaning(refusal: Refusal, detail: String, token: &Token) -> (PollOutcome, Signal) {
    let good = Signal::Good {
        generation: token.generation,
    };
    match (refusal.status, refusal.retry_after) {
        (status @ (404 | 410), _) => (PollOutcome::Gone { status }, good),
        (400, _) => (PollOutcome::Rejected { detail }, good),
        (status @ 429, retry_after) | (status @ 503, retry_after @ Some(_)) => (
            PollOutcome::Throttled {
                status,
                retry_after,
            },
            Signal::Throttled {
                detail,
                retry_after,
            },
        ),
        (403, _) => (
            PollOutcome::Forbidden {
                detail: detail.clone(),
            },
            Signal::Forbidden {
                detail,
                generation: token.generation,
            },
        ),
        _ => of_trouble(refusal.into_trouble(token.header.as_ref())),
    }
}

fn foreign() -> (PollOutcome, Signal) {
    let detail = RefusedUrl::OtherOrigin.to_string();
    (PollOutcome::Rejected { detail }, Signal::Nothing)
}

fn of_trouble(trouble: Trouble) -> (PollOutcome, Signal) {
    let signal = match trouble.class {
        TroubleClass::Rubbish | TroubleClass::TooLarge => Signal::Nothing,
        _ => Signal::Trouble {
            detail: trouble.detail.clone(),
        },
    };
    (PollOutcome::Trouble(trouble), signal)
}
