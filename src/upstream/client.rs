//! The client: every request to the API goes through it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use super::answers::AnswerMemory;
use super::budget::Budget;
use super::gate::Gate;
use super::http::{Answer, Http};
use super::refused::RefusedUrl;
use super::settings::{UpstreamError, UpstreamSettings};
use super::token::{Token, TokenError, Tokens};
use crate::clock::{Clock, Jitter};
use crate::core::job::JobId;
use crate::core::machines::attribution::Attribution;
use crate::core::machines::reading::{Meaning, TokenTries};
use crate::core::machines::{budget, gate};
use crate::core::user::UserId;
use crate::sockets::Sockets;

/// The API we poll. Clones share everything; a client with the settings of a reload shares what [`Upstream::renewed`] says.
#[derive(Clone)]
pub struct Upstream(pub(super) Arc<Inner>);

pub(super) struct Inner {
    settings: UpstreamSettings,
    pub(super) http: Http,
    pub(super) tokens: Arc<Tokens>,
    pub(super) gate: Arc<Gate>,
    pub(super) budget: Arc<Budget>,
    pub(super) memory: AnswerMemory,
    pub(super) unmatched: Unmatched,
    jitter: Jitter,
}

/// Answers in a row in which the configured pointer to the status found nothing.
#[derive(Debug, Default)]
pub(super) struct Unmatched {
    answers: AtomicU32,
}

impl Unmatched {
    /// From this number on it is reported.
    const MOST: u32 = 10;

    pub(super) fn note(&self, poll: &Meaning) {
        if poll.is_unmatched {
            let more = |answers: u32| Some(answers.saturating_add(1));
            let _ = self
                .answers
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        } else if poll.is_good() && self.answers.load(Ordering::Relaxed) > 0 {
            self.answers.store(0, Ordering::Relaxed);
        }
    }
}

/// The last answer to a request that was sent with a token.
pub(super) struct Answered {
    pub(super) answer: Answer,
    /// The token it was sent with.
    pub(super) token: Token,
    /// The tokens that were refused before.
    pub(super) tries: TokenTries,
}

impl Upstream {
    /// A client for these settings. Nothing is sent yet. Call it inside a runtime.
    ///
    /// `sockets` are what connections lack, `memory` is for answers.
    ///
    /// # Errors
    /// [`UpstreamError`] for settings from which no request can be made.
    pub fn new(
        settings: &UpstreamSettings,
        clock: Clock,
        jitter: Jitter,
        sockets: Sockets,
        memory: AnswerMemory,
    ) -> Result<Self, UpstreamError> {
        let http = Http::new(settings, clock.clone(), sockets)?;
        let tokens = Tokens::new(&settings.auth, &http.base, jitter.clone())?;
        let gate = Gate::new(clock.clone(), jitter.clone(), settings.max_retry_after);
        Ok(Self(Arc::new(Inner {
            settings: settings.clone(),
            http,
            tokens: Arc::new(tokens),
            gate: Arc::new(gate),
            budget: Arc::new(Budget::new(clock, settings.requests_per_second)),
            memory,
            unmatched: Unmatched::default(),
            jitter,
        })))
    }

    /// The client with the settings of a reload, for [`Upstream::take_over`] to put into force. It goes on with the budget
    /// and the memory of this one; while `base_url` and the secrets stay, with its tokens, and with what its polls have
    /// shown of the API (the gate), too.
    ///
    /// # Errors
    /// As [`Upstream::new`].
    pub fn renewed(&self, settings: &UpstreamSettings) -> Result<Self, UpstreamError> {
        let before = &*self.0;
        let Http { clock, sockets, .. } = &before.http;
        let http = Http::new(settings, clock.clone(), sockets.clone())?;
        let jitter = before.jitter.clone();
        let is_same = settings.base_url == before.settings.base_url
            && settings.auth.is_same(&before.settings.auth);
        let (tokens, gate) = if is_same {
            (Arc::clone(&before.tokens), Arc::clone(&before.gate))
        } else {
            let tokens = Tokens::new(&settings.auth, &http.base, jitter.clone())?;
            let gate = Gate::new(clock.clone(), jitter.clone(), settings.max_retry_after);
            (Arc::new(tokens), Arc::new(gate))
        };
        Ok(Self(Arc::new(Inner {
            settings: settings.clone(),
            http,
            tokens,
            gate,
            budget: Arc::clone(&before.budget),
            memory: before.memory.clone(),
            unmatched: Unmatched::default(),
            jitter,
        })))
    }

    /// Puts the limits of these settings into force. A pause that the API has asked `before` for stays, whatever settings it
    /// is polled with.
    pub fn take_over(&self, before: &Self) {
        let (now, then) = (&*self.0, &*before.0);
        now.budget.set_rate(now.settings.requests_per_second);
        if Arc::ptr_eq(&now.gate, &then.gate) {
            now.gate.set_longest_pause(now.settings.max_retry_after);
        } else if now.settings.base_url.origin() == then.settings.base_url.origin() {
            let at = Instant::now();
            if let Some(until) = then.gate.pause(at) {
                self.pause_for(until.saturating_duration_since(at));
            }
        }
    }

    /// The URL a job is polled at: its own `url`, or `upstream.job_path` below `base_url`.
    ///
    /// # Errors
    /// [`RefusedUrl`] says why such a URL is never requested (the job then ends `failed`, kind `rejected`).
    pub fn target(&self, id: &JobId, url: Option<&str>) -> Result<Url, RefusedUrl> {
        self.0.http.base.job_url(id, url)
    }

    /// Forgets a job that is no longer followed: its polls no longer count as evidence for or against a token.
    pub fn forget(&self, job: &JobId) {
        self.0.tokens.forget(job);
    }

    /// Starts no polls for this long, but `max_retry_after` at most: what is left of a pause that the upstream asked for
    /// before this process or this configuration began.
    pub fn pause_for(&self, left: Duration) {
        self.0.gate.pause_for(left);
    }

    /// Ends every pause that the upstream asked for, at once.
    pub fn resume(&self) {
        self.0.tokens.resume();
        self.0.gate.resume();
    }

    /// Whether the `Retry-After` of a good answer delays the next poll of that job.
    #[must_use]
    pub fn heeds_retry_after(&self) -> bool {
        self.0.http.dialect.heeds_retry_after()
    }

    /// The longest delay that a `Retry-After` can cause.
    #[must_use]
    pub fn max_retry_after(&self) -> Duration {
        self.0.http.max_retry_after
    }

    /// When no polls are started, and whether the upstream accepts our credentials.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// What is wrong with `[upstream.json]`, if at least the latest ten answers had nothing at `status`.
    #[must_use]
    pub fn unmatched(&self) -> Option<String> {
        let answers = self.0.unmatched.answers.load(Ordering::Relaxed);
        let pointer = self.0.http.dialect.status_pointer()?;
        (answers >= Unmatched::MOST).then(|| {
            format!(
                "the latest {answers} answers had nothing at upstream.json.status ({pointer}); see what is read with: \
                 jobtrackd check --job ID"
            )
        })
    }

    /// How many requests per second are allowed.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.0.budget
    }

    /// Decides by the gate and the budget, which nothing else changes meanwhile.
    pub fn with_limits<T>(&self, decide: impl FnOnce(&gate::Gate, &mut budget::Budget) -> T) -> T {
        let Inner { gate, budget, .. } = &*self.0;
        gate.read(|gate| budget.with(|budget| decide(gate, budget)))
    }
}

impl Inner {
    /// Sends a request with the token of `user`, or the server's own; once more with a fresh token if the API refuses the
    /// first and `attribute` says that another one may help.
    pub(super) async fn send_with_token<E, Sent>(
        &self,
        user: Option<&UserId>,
        send: impl Fn(Token) -> Sent,
        attribute: impl Fn(&Token) -> Attribution,
    ) -> Result<Answered, E>
    where
        E: From<TokenError>,
        Sent: Future<Output = Result<Answer, E>>,
    {
        let mut tries = TokenTries::default();
        loop {
            let token = self.tokens.get(user, &self.http).await?;
            let answer = send(token.clone()).await?;
            if answer.refuses_token() && tries.refused(token.generation, || attribute(&token)) {
                continue;
            }
            return Ok(Answered {
                answer,
                token,
                tries,
            });
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("base", &self.0.http.base)
            .field("gate", &self.0.gate)
            .finish_non_exhaustive()
    }
}
