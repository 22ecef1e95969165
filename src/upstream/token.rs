//! The token for the upstream: asked for once however many want it, renewed early, dropped when it is refused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::HeaderValue;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use super::client::UpstreamError;
use super::grant::{Asking, Grant, TokenTrouble, authorization};
use super::http::Http;
use super::settings::Auth;
use crate::clock::Jitter;
use crate::core::backoff::{Backoff, MAX_RETRY_AFTER, lengthen};
use crate::core::time::millis;
use crate::telemetry;

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

/// The source of tokens.
pub(super) enum Tokens {
    /// The same for ever: a bearer key, or none at all.
    Fixed(Token),
    /// Asked for at the token endpoint.
    Asked(Box<Asked>),
}

pub(super) struct Asked {
    asking: Asking,
    jitter: Jitter,
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
                asking: Asking::new(api_key, api_version, scope)?,
                jitter,
                cache: Mutex::default(),
                flight: tokio::sync::Mutex::default(),
            })),
        })
    }

    /// A token that is good as far as we know. While one is being renewed, or cannot be, a valid one is used.
    ///
    /// Dropping the future leaves nothing half done: the next in line asks.
    pub(super) async fn get(&self, http: &Http) -> Result<Token, TokenError> {
        match self {
            Self::Fixed(token) => Ok(token.clone()),
            Self::Asked(asked) => asked.get(http).await,
        }
    }

    /// Drops `refused` if it is still the current token. `false` when no other token can be had, ever.
    pub(super) fn invalidate(&self, refused: &Token) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Asked(asked) => {
                asked.cache().invalidate(refused.generation);
                true
            }
        }
    }
}

impl Asked {
    async fn get(&self, http: &Http) -> Result<Token, TokenError> {
        let advice = self.cache().advice(Instant::now());
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
        let advice = self.cache().advice(Instant::now());
        match advice {
            Advice::Use(token) => Ok(token),
            Advice::Wait(error) => Err(error),
            // On the heap: it is rare, and every poll's future would have room for it.
            Advice::Ask | Advice::Renew(_) => Box::pin(self.ask(http)).await,
        }
    }

    async fn ask(&self, http: &Http) -> Result<Token, TokenError> {
        let asked_at = Instant::now();
        let answer = self.asking.ask(http).await;
        telemetry::token_asked(
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
            Err(trouble) => cache.failed(now, trouble, self.jitter.fraction()),
        };
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
            } => {
                let asked = lengthen(*asked, JITTER, random).min(MAX_RETRY_AFTER);
                asked.max(UNAVAILABLE_BACKOFF.initial)
            }
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

    fn invalidate(&mut self, generation: u64) {
        self.current
            .take_if(|current| current.token.generation == generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::poll::{Trouble, TroubleClass};

    fn grant(life: u64) -> Grant {
        Grant {
            header: HeaderValue::from_static("Bearer x"),
            life: Duration::from_secs(life),
        }
    }

    fn refused() -> TokenTrouble {
        TokenTrouble::Refused {
            detail: "HTTP 404".into(),
        }
    }

    fn unavailable() -> TokenTrouble {
        TokenTrouble::Unavailable(Trouble {
            class: TroubleClass::Connect,
            detail: "refused".into(),
        })
    }

    fn pauses(trouble: impl Fn() -> TokenTrouble, random: f64) -> Vec<u128> {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let pause = |_| (cache.failed(now, trouble(), random).retry_at - now).as_millis();
        (0..10).map(pause).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_early_and_used_to_its_end() {
        for (life, renewed_after) in [(3600, 3300), (86_400, 86_100), (100, 80)] {
            let (mut cache, start) = (Cache::default(), Instant::now());
            assert_eq!(cache.advice(start), Advice::Ask);
            let token = cache.granted(start, grant(life));
            let at = |seconds| start + Duration::from_secs(seconds);
            assert_eq!(
                cache.advice(at(renewed_after - 1)),
                Advice::Use(token.clone())
            );
            assert_eq!(
                cache.advice(at(renewed_after)),
                Advice::Renew(token.clone())
            );
            cache.failed(at(renewed_after), unavailable(), 0.0);
            assert_eq!(cache.advice(at(renewed_after)), Advice::Use(token.clone()));
            assert_eq!(cache.advice(at(renewed_after + 1)), Advice::Renew(token));
            assert_eq!(cache.advice(at(life)), Advice::Ask);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_token_that_was_refused_is_dropped() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let first = cache.granted(now, grant(3600));
        let second = cache.granted(now, grant(3600));
        cache.invalidate(first.generation);
        assert_eq!(cache.advice(now), Advice::Use(second.clone()));
        cache.invalidate(second.generation);
        assert_eq!(cache.advice(now), Advice::Ask);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_five_minutes_and_jitter_only_lengthens_them() {
        let refusals = [
            5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000, 300_000,
        ];
        assert_eq!(pauses(refused, 0.0), refusals);
        assert_eq!(pauses(refused, 0.5)[..2], [5250, 10_500]);
        assert_eq!(pauses(refused, 0.99)[9], 300_000);
        assert_eq!(pauses(unavailable, 0.0)[..4], [1000, 2000, 4000, 8000]);
        let too_many = || TokenTrouble::TooMany {
            detail: String::new(),
        };
        assert_eq!(pauses(too_many, 0.0)[0], 300_000);
        let throttled = |seconds: Option<u64>| {
            pauses(
                || TokenTrouble::Throttled {
                    detail: String::new(),
                    retry_after: seconds.map(Duration::from_secs),
                },
                0.0,
            )[0]
        };
        assert_eq!(
            [throttled(None), throttled(Some(0)), throttled(Some(60))],
            [1000, 1000, 60_000]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn until_the_next_try_callers_get_the_last_error_and_a_grant_forgets_it() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let error = cache.failed(now, refused(), 0.0);
        assert_eq!(
            cache.advice(error.retry_at - Duration::from_millis(1)),
            Advice::Wait(error.clone())
        );
        assert_eq!(cache.advice(error.retry_at), Advice::Ask);
        cache.granted(now, grant(3600));
        assert_eq!(
            cache.failed(now, refused(), 0.0).retry_at,
            now + Duration::from_secs(5)
        );
    }
}
