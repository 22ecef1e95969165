//! The tokens that the token endpoint grants, what each permits, and which keys are accepted instead.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;

use super::api_error::ApiError;
use super::format::IdStyle;
use jobtrackd_core::time::UnixMillis;

/// The most tokens remembered; the oldest is forgotten first, and is then unknown rather than expired.
const MAX_TOKENS: usize = 10_000;

const CALL_WINDOW: Duration = Duration::from_secs(5 * 60);

/// How every token that is given out begins.
const TOKEN: &str = "sim.";

/// Headers in which APIs take a key.
const KEY_HEADERS: [&str; 4] = [
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
];

/// Which credentials a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Auth {
    /// Only a token.
    Token,
    /// A token, or a key as `Bearer`, as `Basic` or in a header of its own.
    Key,
    /// As `Key`; without any when the simulator has no key of its own.
    Open,
}

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// No `Authorization: Bearer …` at all.
    Missing,
    /// An unknown token.
    Unknown,
    /// A token past its life.
    Expired,
    /// `SERVER_ACCESS`.
    Server,
    /// `CLIENT_ACCESS` of this user.
    Client(String),
}

#[derive(Debug)]
struct Token {
    user: Option<String>,
    expires: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Tokens {
    rng: Rng,
    map: HashMap<String, Token>,
    order: VecDeque<String>,
    calls: VecDeque<UnixMillis>,
}

impl Access {
    /// Whether it may use what belongs to `user`.
    pub(super) fn allow(&self, user: &str) -> Result<(), ApiError> {
        match self {
            Self::Client(own) if own != user => Err(ApiError::FORBIDDEN),
            _ => self.check(),
        }
    }

    /// Whether the token is valid.
    pub(super) fn check(&self) -> Result<(), ApiError> {
        match self {
            Self::Missing => Err(ApiError::UNAUTHORIZED),
            Self::Unknown => Err(ApiError::UNKNOWN_TOKEN),
            Self::Expired => Err(ApiError::EXPIRED_TOKEN),
            Self::Server | Self::Client(_) => Ok(()),
        }
    }
}

impl Tokens {
    pub(super) fn new(rng: Rng) -> Self {
        Self {
            rng,
            map: HashMap::new(),
            order: VecDeque::new(),
            calls: VecDeque::new(),
        }
    }

    /// What a request with these headers may do, if `key` is the only key; any key is taken when there is none.
    pub(super) fn access(
        &self,
        auth: Auth,
        key: Option<&str>,
        headers: &HeaderMap,
        now: UnixMillis,
    ) -> Access {
        let bearer = credentials(headers, "bearer");
        if let Some(token) = bearer.and_then(|token| self.map.get(token)) {
            return match &token.user {
                _ if token.expires <= now && auth == Auth::Token => Access::Expired,
                _ if token.expires <= now => Access::Unknown,
                None => Access::Server,
                Some(user) => Access::Client(user.clone()),
            };
        }
        let presented = match auth {
            Auth::Token => bearer.map(str::to_owned),
            Auth::Key | Auth::Open => key_in(headers),
        };
        match (presented, key) {
            (None, None) if auth == Auth::Open => Access::Server,
            (None, _) => Access::Missing,
            (Some(_), _) if auth == Auth::Token => Access::Unknown,
            (Some(presented), Some(key)) if presented == key => Access::Server,
            (Some(presented), None) if !presented.starts_with(TOKEN) => Access::Server,
            (Some(_), _) => Access::Unknown,
        }
    }

    /// Every token is expired from now on.
    pub(super) fn expire(&mut self, now: UnixMillis) {
        for token in self.map.values_mut() {
            token.expires = token.expires.min(now);
        }
    }

    /// Every token is unknown from now on.
    pub(super) fn revoke(&mut self) {
        self.map.clear();
        self.order.clear();
    }

    /// Counts a call of `POST /token`; whether there were fewer than `limit` in the last five minutes.
    pub(super) fn allows_call(&mut self, now: UnixMillis, limit: usize) -> bool {
        let is_old = |call: &mut UnixMillis| now.since(*call) >= CALL_WINDOW;
        while self.calls.pop_front_if(is_old).is_some() {}
        let is_allowed = self.calls.len() < limit;
        if is_allowed {
            self.calls.push_back(now);
        }
        is_allowed
    }

    pub(super) fn issue(&mut self, user: Option<String>, expires: UnixMillis) -> String {
        let (long, short) = (
            IdStyle::Uuid.draw(&mut self.rng),
            IdStyle::ShortHex.draw(&mut self.rng),
        );
        let text = format!("{TOKEN}{long}.{short}");
        if self.order.len() >= MAX_TOKENS
            && let Some(oldest) = self.order.pop_front()
        {
            self.map.remove(&oldest);
        }
        self.order.push_back(text.clone());
        self.map.insert(text.clone(), Token { user, expires });
        text
    }
}

/// The key that a request carries, a `user:password` decoded.
pub(super) fn key_in(headers: &HeaderMap) -> Option<String> {
    let basic = credentials(headers, "basic").map(|text| {
        let decoded = STANDARD.decode(text).unwrap_or_default();
        String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
    });
    let own = || {
        KEY_HEADERS
            .iter()
            .find_map(|name| headers.get(*name)?.to_str().ok())
    };
    let plain = || credentials(headers, "bearer").or_else(own);
    basic.or_else(|| plain().map(str::to_owned))
}

/// The credentials in an `Authorization` header of this scheme.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (named, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    (named.eq_ignore_ascii_case(scheme) && !rest.is_empty()).then_some(rest)
}
