//! Tokens for the upstream: requested once for all who wait, renewed early, dropped when refused.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::authorization::Authorization;
use super::grant::{Grant, GrantRequest, TokenTrouble};
use super::http::Http;
use super::settings::{Auth, UpstreamError};
use super::target::Base;
use crate::clock::Jitter;
use crate::core::job::JobId;
use crate::core::machines::attribution::{Attribution, Reads};
use crate::core::machines::gate::pauses::{self, grown, lengthened};
use crate::core::time::millis;
use crate::core::user::UserId;
use crate::telemetry;

/// How long no token is requested after "too many token requests" (docs/api.md, fact 19).
const TOO_MANY_PAUSE: Duration = Duration::from_secs(300);

/// A token is renewed when less than a fifth of its life is left, and never earlier than this before its end.
const EARLIEST_RENEWAL: Duration = Duration::from_secs(300);

/// Most users whose token is kept; the one that was not used for longest is dropped first.
const MAX_USERS: usize = 256;

/// What authorizes a poll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// `None` with `auth = "none"`.
    pub(super) header: Option<Authorization>,
    /// Which token this is: 0 for a fixed one, then counted up.
    pub(super) generation: u64,
}

/// Why there is no token, and when one will be requested again.
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
    reads: Mutex<Reads>,
}

enum Source {
    /// Always the same: a key of any kind, or none.
    Fixed(Token),
    Granted(Box<Granted>),
}

/// Tokens that the token endpoint grants: the server's own, and those of users where these have some.
struct Granted {
    request: GrantRequest,
    jitter: Jitter,
    /// The last refusal that concerns our address and not one kind of token.
    pause: Mutex<Option<TokenError>>,
    server: Arc<Slot>,
    /// Ordered by use, the last used at the end.
    users: Mutex<Vec<(UserId, Arc<Slot>)>>,
}

/// One kind of token: the server's, or one user's.
struct Slot {
    /// The form it is requested with.
    form: String,
    cache: Mutex<Cache>,
    /// Held while one is requested; all others wait for it, or use the present token.
    flight: tokio::sync::Mutex<()>,
}

/// The present token and how the last requests went; decisions without I/O.
#[derive(Debug, Default)]
struct Cache {
    current: Option<Current>,
    generation: u64,
    failures: u32,
    /// Whether it was logged that the present token cannot be renewed.
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

/// What to do when a token is needed.
#[derive(Debug, PartialEq, Eq)]
enum Advice {
    /// Use this one.
    Use(Token),
    /// Use this one, but it is time to request the next.
    Renew(Token),
    /// There is none: request one.
    Request,
    /// There is none, and it is too early to request one again.
    Wait(TokenError),
}

impl Tokens {
    pub(super) fn new(auth: &Auth, base: &Base, jitter: Jitter) -> Result<Self, UpstreamError> {
        let (api, key) = (base.root(), UpstreamError::Key);
        let source = match auth {
            Auth::None => Source::fixed(None),
            Auth::Bearer { token } => {
                let header = Authorization::new("Bearer", token.expose_secret(), api);
                Source::fixed(Some(header.ok_or(key)?))
            }
            Auth::Basic { login } => {
                let header = Authorization::basic(login.expose_secret(), api);
                Source::fixed(Some(header.ok_or(key)?))
            }
            Auth::Header { header, key: value } => {
                let header = Authorization::header(header, value.expose_secret(), api);
                Source::fixed(Some(header.ok_or(key)?))
            }
            Auth::Basiq {
                api_key,
                api_version,
                scope,
            } => {
                let request = GrantRequest::basiq(api_key, api_version, scope, base)?;
                Source::Granted(Box::new(Granted::new(request, jitter)))
            }
            Auth::OAuth2(client) => {
                let request = GrantRequest::client_credentials(client, base)?;
                Source::Granted(Box::new(Granted::new(request, jitter)))
            }
        };
        let reads = match &source {
            Source::Fixed(_) => Reads::with_fixed_token(),
            Source::Granted(_) => Reads::default(),
        };
        Ok(Self {
            source,
            reads: Mutex::new(reads),
        })
    }

    /// Whether tokens are requested at `upstream.token_url`, and not from the API itself.
    pub(super) fn are_from_elsewhere(&self) -> bool {
        matches!(&self.source, Source::Granted(granted) if granted.request.is_elsewhere())
    }

    /// A token that is valid as far as is known, for a user or for the server itself; a fixed one is the same for all.
    /// While it is being renewed, or cannot be, the present one is returned as long as it is valid.
    ///
    /// If the future is dropped, the next caller requests the token.
    pub(super) async fn get(
        &self,
        user: Option<&UserId>,
        http: &Http,
    ) -> Result<Token, TokenError> {
        match &self.source {
            Source::Fixed(token) => Ok(token.clone()),
            Source::Granted(granted) => granted.slot(user).get(granted, http).await,
        }
    }

    /// What was read with the server's tokens.
    pub(super) fn reads(&self) -> MutexGuard<'_, Reads> {
        self.reads.lock()
    }

    /// A job was refused with the server's `token`, which is dropped if the refusal is attributed to it.
    pub(super) fn refused(&self, token: &Token, job: &JobId) -> Attribution {
        let mut reads = self.reads.lock();
        let attribution = reads.refused(token.generation, job);
        if let (Attribution::Token, Source::Granted(granted)) = (attribution, &self.source) {
            granted.server.cache.lock().invalidate(token.generation);
        }
        attribution
    }

    /// Answers to a challenge of `job` were refused with the `token` of a user, or the server's. It is dropped, unless
    /// other jobs are read with it.
    pub(super) fn refused_for_user(
        &self,
        user: Option<&UserId>,
        token: &Token,
        job: &JobId,
    ) -> Attribution {
        let Source::Granted(granted) = &self.source else {
            return Attribution::Credentials;
        };
        let shared = user
            .and_then(|user| granted.request.form_of(user))
            .is_none();
        if shared && self.reads.lock().is_still_good(token.generation, job) {
            return Attribution::Job;
        }
        granted.slot(user).cache.lock().invalidate(token.generation);
        Attribution::Token
    }

    /// The job is no longer followed.
    pub(super) fn forget(&self, job: &JobId) {
        self.reads.lock().forget(job);
    }

    /// Ends the pauses that the token endpoint asked for.
    pub(super) fn resume(&self) {
        if let Source::Granted(granted) = &self.source {
            let is_pause = |error: &mut TokenError| error.trouble.is_pause();
            granted.pause.lock().take_if(is_pause);
            granted.server.cache.lock().failed.take_if(is_pause);
        }
    }
}

impl Source {
    fn fixed(header: Option<Authorization>) -> Self {
        Self::Fixed(Token {
            header,
            generation: 0,
        })
    }
}

impl Granted {
    fn new(request: GrantRequest, jitter: Jitter) -> Self {
        Self {
            jitter,
            pause: Mutex::default(),
            server: Arc::new(Slot::new(request.form())),
            users: Mutex::default(),
            request,
        }
    }

    /// The slot of the server's token, or of a user's.
    fn slot(&self, user: Option<&UserId>) -> Arc<Slot> {
        let own = user.and_then(|user| Some((user, self.request.form_of(user)?)));
        let Some((user, form)) = own else {
            return Arc::clone(&self.server);
        };
        let mut users = self.users.lock();
        let slot = match users.iter().position(|(known, _)| known == user) {
            Some(at) => users.remove(at).1,
            None => Arc::new(Slot::new(form)),
        };
        users.push((user.clone(), Arc::clone(&slot)));
        if users.len() > MAX_USERS {
            users.remove(0);
        }
        slot
    }

    /// Why no token may be requested at `now`.
    fn pause(&self, now: Instant) -> Option<TokenError> {
        let pause = self.pause.lock();
        pause.clone().filter(|error| now < error.retry_at)
    }
}

impl Slot {
    fn new(form: String) -> Self {
        Self {
            form,
            cache: Mutex::default(),
            flight: tokio::sync::Mutex::default(),
        }
    }

    fn advice(&self, granted: &Granted) -> Advice {
        let now = Instant::now();
        let advice = self.cache.lock().advice(now);
        match (advice, granted.pause(now)) {
            (Advice::Request, Some(error)) => Advice::Wait(error),
            (Advice::Renew(token), Some(_)) => Advice::Use(token),
            (advice, _) => advice,
        }
    }

    async fn get(&self, granted: &Granted, http: &Http) -> Result<Token, TokenError> {
        let _flight = match self.advice(granted) {
            Advice::Use(token) => return Ok(token),
            Advice::Wait(error) => return Err(error),
            Advice::Request => self.flight.lock().await,
            Advice::Renew(token) => match self.flight.try_lock() {
                Ok(flight) => flight,
                Err(_) => return Ok(token),
            },
        };
        // A request that was in flight may have brought a token or an error.
        match self.advice(granted) {
            Advice::Use(token) => Ok(token),
            Advice::Wait(error) => Err(error),
            // On the heap: it is rare, and every poll's future would have room for it.
            Advice::Request | Advice::Renew(_) => Box::pin(self.request(granted, http)).await,
        }
    }

    async fn request(&self, granted: &Granted, http: &Http) -> Result<Token, TokenError> {
        let sent_at = Instant::now();
        let answer = granted.request.send(http, &self.form).await;
        let result = answer.as_ref();
        telemetry::token_requested(result.map_or_else(TokenTrouble::as_str, |_| "granted"));
        let now = Instant::now();
        let mut cache = self.cache.lock();
        let error = match answer {
            Ok(grant) => {
                if std::mem::take(&mut cache.unrenewed) {
                    tracing::info!("the token was renewed");
                }
                return Ok(cache.granted(sent_at, grant));
            }
            Err(trouble) => cache.failed(now, trouble, granted.jitter.fraction()),
        };
        // Requests are limited per address, whatever token they are for.
        if matches!(
            error.trouble,
            TokenTrouble::TooMany { .. } | TokenTrouble::Throttled { .. }
        ) {
            *granted.pause.lock() = Some(error.clone());
        }
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
            (_, None) => Advice::Request,
        }
    }

    fn granted(&mut self, sent_at: Instant, grant: Grant) -> Token {
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
            renew_at: sent_at + (grant.life - early),
            expires_at: sent_at + grant.life,
        });
        token
    }

    /// `random` in 0..1 lengthens the pause.
    fn failed(&mut self, now: Instant, trouble: TokenTrouble, random: f64) -> TokenError {
        self.failures = self.failures.saturating_add(1);
        let grown = |backoff| grown(backoff, self.failures, random);
        let pause = match &trouble {
            TokenTrouble::Refused { .. } => grown(pauses::REFUSED),
            TokenTrouble::TooMany { .. } => lengthened(TOO_MANY_PAUSE, random),
            TokenTrouble::Throttled {
                retry_after: Some(wanted),
                ..
            } => (*wanted).max(pauses::THROTTLED.initial),
            TokenTrouble::Throttled { .. } | TokenTrouble::Unavailable(_) => {
                grown(pauses::THROTTLED)
            }
        };
        let error = TokenError {
            trouble,
            retry_at: now + pause,
        };
        self.failed = Some(error.clone());
        error
    }

    fn invalidate(&mut self, generation: u64) {
        self.current
            .take_if(|current| current.token.generation == generation);
    }
}

#[cfg(test)]
mod tests;
