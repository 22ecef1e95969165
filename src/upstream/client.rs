//! The client: everything that the API is asked goes through it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use url::Url;

use super::answers::AnswerMemory;
use super::budget::Budget;
use super::gate::Gate;
use super::http::Http;
use super::poll::PollRequest;
use super::settings::UpstreamSettings;
use super::target::{RefusedUrl, UnusableBase};
use super::token::{Token, TokenError, Tokens};
use crate::clock::{Clock, Jitter};
use crate::core::job::JobId;
use crate::core::poll::Poll;
use crate::memory::Reservation;
use crate::sockets::Sockets;

/// The API we poll. Clones share everything.
#[derive(Clone)]
pub struct Upstream {
    pub(super) inner: Arc<Inner>,
    memory: AnswerMemory,
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
        Self::sharing(settings, clock, jitter, Sockets::default())
    }

    /// The same, which notes with others what connections are short of.
    ///
    /// # Errors
    /// As those of [`Upstream::new`].
    pub fn sharing(
        settings: &UpstreamSettings,
        clock: Clock,
        jitter: Jitter,
        sockets: Sockets,
    ) -> Result<Self, UpstreamError> {
        let inner = Inner {
            http: Http::new(settings, clock.clone(), sockets)?,
            tokens: Tokens::new(&settings.auth, jitter.clone())?,
            gate: Gate::new(clock, jitter, settings.max_retry_after),
            budget: Budget::new(settings.requests_per_second),
        };
        Ok(Self {
            inner: Arc::new(inner),
            memory: AnswerMemory::default(),
        })
    }

    /// The same client, with memory that it shares with others.
    #[must_use]
    pub fn within(self, memory: AnswerMemory) -> Self {
        Self { memory, ..self }
    }

    /// The URL a job is polled at: its own `url`, or `{base_url}/jobs/{id}`.
    ///
    /// # Errors
    /// [`RefusedUrl`] says why such a URL is never requested (the job then ends `failed`, kind `rejected`).
    pub fn target(&self, id: &JobId, url: Option<&str>) -> Result<Url, RefusedUrl> {
        self.inner.http.base.job_url(id, url)
    }

    /// Polls a job once; at most two requests, the second only after a refused token.
    ///
    /// It asks neither the gate nor, for the first request, the budget: whoever starts polls looks at both before
    /// choosing a job. A URL of another origin is `Rejected` without a request. The gate is told of the outcome here. Dropping the future cancels the poll, and leaves no trace.
    pub async fn poll(&self, request: &PollRequest<'_>) -> Poll {
        self.poll_counted(request, &AtomicU32::new(0)).await.0
    }

    /// The same, and counts each request when it is sent, so that those of a poll that is dropped are known too. A job that
    /// was read comes with the memory for all that follows from it, to be kept until it is recorded.
    pub async fn poll_counted(
        &self,
        request: &PollRequest<'_>,
        requests: &AtomicU32,
    ) -> (Poll, Option<Reservation>) {
        let ticket = self.inner.gate.begin();
        let finished = self.inner.poll(request, requests, &self.memory).await;
        self.inner.gate.note(ticket, request.job, &finished.signal);
        let poll = Poll {
            outcome: finished.outcome,
            retry_after: finished.retry_after,
            requests: requests.load(Ordering::Relaxed),
        };
        (poll, finished.memory)
    }

    /// A job is no longer followed: what was read of it proves nothing any longer for the others.
    pub fn forget(&self, job: &JobId) {
        self.inner.tokens.forget(job);
    }

    /// Leaves the upstream alone for this long, as it asked for earlier: before this process began, or another configuration.
    pub fn rest(&self, left: Duration) {
        self.inner.gate.rest(left.min(self.max_retry_after()));
    }

    /// Ends every pause that the upstream asked for, at once.
    pub fn resume(&self) {
        self.inner.tokens.resume();
        self.inner.gate.resume();
    }

    /// The longest that a `Retry-After` can put anything off.
    #[must_use]
    pub fn max_retry_after(&self) -> Duration {
        self.inner.http.max_retry_after
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
