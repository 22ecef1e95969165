//! Tokens for the upstream: asked for once however many want one, renewed early, dropped when refused.

mod clients;
mod evidence;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::client::UpstreamError;
use super::grant::{Asking, Grant, TokenTrouble, authorization};
use super::http::Http;
use super::settings::Auth;
use crate::clock::Jitter;
use crate::core::backoff::{Backoff, lengthen};
use crate::core::job::JobId;
use crate::core::resource::UserId;
use crate::core::time::millis;
use crate::telemetry;
use clients::Clients;
pub(super) use evidence::Blame;
use evidence::Evidence;

/// Pauses after the token endpoint refused us (contract, section 9).
const REFUSED_BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(5),
    multiplier: 2.0,
    max: Duration::from_secs(300),
};

/// Pauses after the token endpoint gave no usable answer or throttled us without saying for how long.
const UNAVAILABLE_BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    ..REFUSED_BACKOFF
};

/// No token is asked for so long after "too many token requests" (contract, section 9).
const TOO_MANY_PAUSE: Duration = Duration::from_secs(300);

/// How much of a pause is added at random.
const JITTER: f64 = 0.1;

/// A token is renewed when less than a fifth of its life is left, and never earlier than this before its end.
const EARLIEST_RENEWAL: Duration = Duration::from_secs(300);

/// What goes into the `Authorization` header of a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// `None` with `auth = "none"`. Marked sensitive, so that no log shows it.
    pub(super) header: Option<HeaderValue>,
    /// Which token this is: 0 for a fixed one, then counted up.
    pub(super) generation: u64,
}

/// Why there is no token, and when one will be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{trouble}")]
pub struct TokenError {
    /// What the last request for a token brought.
    pub trouble: TokenTrouble,
    /// No request for a token is made before this.
    pub retry_at: Instant,
}

/// The tokens, and what was read with those that all jobs share.
pub(super) struct Tokens {
    source: Source,
    evidence: Mutex<Evidence>,
}

enum Source {
    /// The same for ever: a bearer key, or none at all.
    Fixed(Token),
    /// Asked for at the token endpoint.
    Asked(Box<Asked>),
}

struct Asked {
    endpoint: Endpoint,
    server: Arc<Kept>,
    clients: Clients,
}

/// The token endpoint, and what everybody who asks there has to respect.
struct Endpoint {
    asking: Asking,
    jitter: Jitter,
    /// The last refusal that was meant for our address and not for one kind of token.
    pause: Mutex<Option<TokenError>>,
}

/// One kind of token: the server's, or one user's.
struct Kept {
    /// The form it is asked for with.
    form: String,
    cache: Mutex<Cache>,
    /// Held by whoever is asking; everyone else waits here, or uses the token there is.
    flight: tokio::sync::Mutex<()>,
}

/// What is known of tokens; decisions without I/O.
#[derive(Debug, Default)]
struct Cache {
    current: Option<Current>,
    generation: u64,
    failures: u32,
    /// Whether it was said that the present token cannot be renewed.
    unrenewed: bool,
    /// The last error, until a token was granted.
    failed: Option<TokenError>,
}

#[derive(Debug)]
struct Current {
    token: Token,
    renew_at: Instant,
    expires_at: Instant,
}

/// What to do for somebody who wants a token.
#[derive(Debug, PartialEq, Eq)]
enum Advice {
    /// Use this one.
    Use(Token),
    /// Use this one, and it is time for somebody to ask for the next.
    Renew(Token),
    /// There is none: ask.
    Ask,
    /// There is none, and it is too early to ask again.
    Wait(TokenError),
}

impl Tokens {
    pub(super) fn new(auth: &Auth, jitter: Jitter) -> Result<Self, UpstreamError> {
        Ok(Self {
            source: Source::new(auth, jitter)?,
            evidence: Mutex::default(),
        })
    }

    /// A token that is good as far as we know, for a user or for the server itself; a fixed one is the same for all. While
    /// one is being renewed, or cannot be, a valid one is used.
    ///
    /// Dropping the future leaves nothing half done: the next in line asks.
    pub(super) async fn get(
        &self,
        user: Option<&UserId>,
        http: &Http,
    ) -> Result<Token, TokenError> {
        match &self.source {
            Source::Fixed(token) => Ok(token.clone()),
            Source::Asked(asked) => asked.kept(user).get(&asked.endpoint, http).await,
        }
    }

    /// A job was read with the server's `token`.
    pub(super) fn read(&self, token: &Token, job: &JobId) {
        self.evidence().read(token.generation, job);
    }

    /// Whether any job was read with the server's `token`.
    pub(super) fn has_read(&self, token: &Token) -> bool {
        self.evidence().has_read(token.generation)
    }

    /// A job was refused with the server's `token`, which is dropped if it is to blame.
    pub(super) fn refused(&self, token: &Token, job: &JobId) -> Blame {
        let blame = self.evidence().refused(token.generation, job);
        match (blame, &self.source) {
            (Blame::Token, Source::Fixed(_)) => {
                self.evidence().keep();
                Blame::Credentials
            }
            (Blame::Token, Source::Asked(asked)) => {
                asked.server.cache().invalidate(token.generation);
                Blame::Token
            }
            (blame, _) => blame,
        }
    }

    /// A job that was refused with `first` was refused with the fresh token `second` too.
    pub(super) fn refused_again(&self, first: &Token, second: &Token, job: &JobId) -> Blame {
        let (first, second) = (first.generation, second.generation);
        self.evidence().refused_again(first, second, job)
    }

    /// After answers to a challenge of `job` were refused with `token`: drops it, and answers whether another one may be
    /// had. Not one that other jobs are read with.
    pub(super) fn replaces(&self, user: Option<&UserId>, token: &Token, job: &JobId) -> bool {
        let Source::Asked(asked) = &self.source else {
            return false;
        };
        if user.is_none() && self.evidence().vouches(token.generation, job) {
            return false;
        }
        asked.kept(user).cache().invalidate(token.generation);
        true
    }

    /// The job is no longer followed.
    pub(super) fn forget(&self, job: &JobId) {
        self.evidence().forget(job);
    }

    /// Takes no notice any more of how long the token endpoint wants to be left alone.
    pub(super) fn resume(&self) {
        if let Source::Asked(asked) = &self.source {
            asked.endpoint.resume();
            asked.server.cache().resume();
        }
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    fn new(auth: &Auth, jitter: Jitter) -> Result<Self, UpstreamError> {
        let fixed = |header| {
            Self::Fixed(Token {
                header,
                generation: 0,
            })
        };
        Ok(match auth {
            Auth::None => fixed(None),
            Auth::Bearer { token } => fixed(Some(
                authorization("Bearer", token.expose_secret()).ok_or(UpstreamError::Key)?,
            )),
            Auth::Basiq {
                api_key,
                api_version,
                scope,
            } => Self::Asked(Box::new(Asked {
                endpoint: Endpoint {
                    asking: Asking::new(api_key, api_version)?,
                    jitter,
                    pause: Mutex::default(),
                },
                server: Arc::new(Kept::new(&[("scope", scope)])),
                clients: Clients::default(),
            })),
        })
    }
}

impl Asked {
    fn kept(&self, user: Option<&UserId>) -> Arc<Kept> {
        user.map_or_else(|| Arc::clone(&self.server), |user| self.clients.of(user))
    }
}

impl Endpoint {
    /// Why nobody may ask at `now`.
    fn pause(&self, now: Instant) -> Option<TokenError> {
        let pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.clone().filter(|error| now < error.retry_at)
    }

    fn resume(&self) {
        let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        pause.take_if(|error| error.trouble.is_pause());
    }

    /// Too many requests are too many from our address, whatever they asked for.
    fn note(&self, error: &TokenError) {
        if matches!(
            error.trouble,
            TokenTrouble::TooMany { .. } | TokenTrouble::Throttled { .. }
        ) {
            let mut pause = self.pause.lock().unwrap_or_else(PoisonError::into_inner);
            *pause = Some(error.clone());
        }
    }
}

impl Kept {
    fn new(fields: &[(&str, &str)]) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        Self {
            form: form.finish(),
            cache: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        }
    }

    fn advice(&self, endpoint: &Endpoint) -> Advice {
        let now = Instant::now();
        let advice = self.cache().advice(now);
        match (advice, endpoint.pause(now)) {
            (Advice::Ask, Some(error)) => Advice::Wait(error),
            (Advice::Renew(token), Some(_)) => Advice::Use(token),
            (advice, _) => advice,
        }
    }

    async fn get(&self, endpoint: &Endpoint, http: &Http) -> Result<Token, TokenError> {
        let advice = self.advice(endpoint);
        let _flight = match advice {
            Advice::Use(token) => return Ok(token),
            Advice::Wait(error) => return Err(error),
            Advice::Ask => self.flight.lock().await,
            Advice::Renew(token) => match self.flight.try_lock() {
                Ok(flight) => flight,
                Err(_) => return Ok(token),
            },
        };
        // Whoever held the flight before may have settled it.
        match self.advice(endpoint) {
            Advice::Use(token) => Ok(token),
            Advice::Wait(error) => Err(error),
            // On the heap: it is rare, and every poll's future would have room for it.
            Advice::Ask | Advice::Renew(_) => Box::pin(self.ask(endpoint, http)).await,
        }
    }

    async fn ask(&self, endpoint: &Endpoint, http: &Http) -> Result<Token, TokenError> {
        let asked_at = Instant::now();
        let answer = endpoint.asking.ask(http, &self.form).await;
        telemetry::token_requested(
            answer
                .as_ref()
                .map_or_else(TokenTrouble::as_str, |_| "granted"),
        );
        let now = Instant::now();
        let mut cache = self.cache();
        let error = match answer {
            Ok(grant) => {
                if std::mem::take(&mut cache.unrenewed) {
                    tracing::info!("the token was renewed");
                }
                return Ok(cache.granted(asked_at, grant));
            }
            Err(trouble) => cache.failed(now, trouble, endpoint.jitter.fraction()),
        };
        endpoint.note(&error);
        let Advice::Use(token) = cache.advice(now) else {
            return Err(error);
        };
        if !std::mem::replace(&mut cache.unrenewed, true) {
            tracing::warn!(
                error = %error,
                retry_in_ms = millis(error.retry_at.saturating_duration_since(now)),
                "the token cannot be renewed; the present one is used while it lasts"
            );
        }
        Ok(token)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn advice(&self, now: Instant) -> Advice {
        let failed = self.failed.as_ref().filter(|error| now < error.retry_at);
        match (&self.current, failed) {
            (Some(current), failed) if now < current.expires_at => {
                if now < current.renew_at || failed.is_some() {
                    Advice::Use(current.token.clone())
                } else {
                    Advice::Renew(current.token.clone())
                }
            }
            (_, Some(error)) => Advice::Wait(error.clone()),
            (_, None) => Advice::Ask,
        }
    }

    fn granted(&mut self, asked_at: Instant, grant: Grant) -> Token {
        self.generation += 1;
        self.failures = 0;
        self.failed = None;
        let token = Token {
            header: Some(grant.header),
            generation: self.generation,
        };
        let early = (grant.life / 5).min(EARLIEST_RENEWAL);
        self.current = Some(Current {
            token: token.clone(),
            renew_at: asked_at + (grant.life - early),
            expires_at: asked_at + grant.life,
        });
        token
    }

    /// `random` in 0..1 lengthens the pause.
    fn failed(&mut self, now: Instant, trouble: TokenTrouble, random: f64) -> TokenError {
        self.failures = self.failures.saturating_add(1);
        let grown = |backoff: Backoff| {
            lengthen(backoff.delay(self.failures), JITTER, random).min(backoff.max)
        };
        let pause = match &trouble {
            TokenTrouble::Refused { .. } => grown(REFUSED_BACKOFF),
            TokenTrouble::TooMany { .. } => lengthen(TOO_MANY_PAUSE, JITTER, random),
            TokenTrouble::Throttled {
                retry_after: Some(asked),
                ..
            } => (*asked).max(UNAVAILABLE_BACKOFF.initial),
            TokenTrouble::Throttled {
                retry_after: None, ..
            }
            | TokenTrouble::Unavailable(_) => grown(UNAVAILABLE_BACKOFF),
        };
        let error = TokenError {
            trouble,
            retry_at: now + pause,
        };
        self.failed = Some(error.clone());
        error
    }

    fn resume(&mut self) {
        self.failed.take_if(|error| error.trouble.is_pause());
    }

    fn invalidate(&mut self, generation: u64) {
        self.current
            .take_if(|current| current.token.generation == generation);
    }
}

#[cfg(test)]
mod tests;
