//! Tokens: `POST /token`, and what a request's token allows.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fastrand::Rng;
use serde_json::json;
use url::form_urlencoded;

use super::dress::IdStyle;
use super::envelope::{ApiError, json_text};
use super::jobs::invent_id;
use super::shared::Shared;
use jobtrackd_core::time::UnixMillis;

/// The most tokens remembered; the oldest is forgotten first, and is then unknown rather than expired.
const MAX_TOKENS: usize = 10_000;

const CALL_WINDOW: Duration = Duration::from_secs(5 * 60);

/// What a request may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Access {
    /// No `Authorization: Bearer …` at all.
    Missing,
    /// A token nobody gave out.
    Unknown,
    /// A token whose life is over.
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
    /// Whether it may touch what belongs to `user`.
    pub(super) fn allow(&self, user: &str) -> Result<(), ApiError> {
        match self {
            Self::Client(own) if own != user => Err(ApiError::FORBIDDEN),
            _ => self.check(),
        }
    }

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

    pub(super) fn access(&self, headers: &HeaderMap, now: UnixMillis) -> Access {
        let Some(token) = credentials(headers, "bearer") else {
            return Access::Missing;
        };
        match self.map.get(token) {
            None => Access::Unknown,
            Some(token) if token.expires <= now => Access::Expired,
            Some(Token { user: None, .. }) => Access::Server,
            Some(Token {
                user: Some(user), ..
            }) => Access::Client(user.clone()),
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

    fn too_many_calls(&mut self, now: UnixMillis, limit: usize) -> bool {
        while self
            .calls
            .front()
            .is_some_and(|call| now.since(*call) >= CALL_WINDOW)
        {
            self.calls.pop_front();
        }
        if self.calls.len() >= limit {
            return true;
        }
        self.calls.push_back(now);
        false
    }

    fn issue(&mut self, user: Option<String>, expires: UnixMillis) -> String {
        let text = format!(
            "sim.{}.{}",
            invent_id(&mut self.rng, IdStyle::Uuid),
            invent_id(&mut self.rng, IdStyle::ShortHex)
        );
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

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (given, rest) = value.split_once(' ')?;
    given
        .eq_ignore_ascii_case(scheme)
        .then(|| rest.trim())
        .filter(|rest| !rest.is_empty())
}

fn version(headers: &HeaderMap) -> Result<&str, ApiError> {
    let version = headers
        .get("basiq-version")
        .and_then(|value| value.to_str().ok())
        .ok_or(ApiError::missing(
            "basiq-version",
            "Basiq-version must be specified in HTTP request header",
        ))?;
    match version {
        "1.0" | "2.0" | "2.1" | "3.0" => Ok(version),
        "0.9" => Err(ApiError::invalid(
            "basiq-version",
            "Version 0.9 is no longer supported. Use a later one.",
        )),
        _ => Err(ApiError::invalid(
            "basiq-version",
            "The basiq-version is not one of 1.0, 2.0, 2.1 and 3.0.",
        )),
    }
}

/// The user whose token is asked for; `None`: the server's own.
fn scope(version: &str, headers: &HeaderMap, body: &[u8]) -> Result<Option<String>, ApiError> {
    let form = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !form && version == "3.0" {
        return Err(ApiError {
            code: "unsupported-content-type",
            ..ApiError::invalid(
                "content-type",
                "Content type is not supported. Use application/x-www-form-urlencoded.",
            )
        });
    }
    let field = |name: &str| {
        form_urlencoded::parse(body)
            .find(|(key, _)| form && key == name)
            .map(|(_, value)| value.into_owned())
    };
    match field("scope").as_deref() {
        Some("SERVER_ACCESS") => Ok(None),
        Some("CLIENT_ACCESS") => {
            let user = field("userId").filter(|user| !user.is_empty());
            let missing = ApiError::missing("userId", "CLIENT_ACCESS needs a userId.");
            user.map(Some).ok_or(missing)
        }
        Some(_) => Err(ApiError::invalid(
            "scope",
            "The scope is SERVER_ACCESS or CLIENT_ACCESS.",
        )),
        None if version == "3.0" => Err(ApiError::missing("scope", "Scope is required.")),
        None => Ok(None),
    }
}

/// `POST /token`.
pub(super) async fn token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    if !headers.contains_key(header::AUTHORIZATION) {
        let detail = "Authorization header parameter is required";
        return Err(ApiError::missing("authorization", detail));
    }
    let key = credentials(&headers, "basic").ok_or(ApiError::token(
        StatusCode::BAD_REQUEST,
        "invalid-authorization-request",
        "Invalid authorization header",
    ))?;
    let version = version(&headers)?;
    let settings = shared.settings();
    let now = shared.now();
    let mut world = shared.world();
    if world
        .tokens
        .too_many_calls(now, settings.token_calls_per_5_minutes)
    {
        return Err(ApiError::token(
            StatusCode::FORBIDDEN,
            "request-not-valid",
            "Invalid request",
        ));
    }
    if settings
        .api_key
        .as_ref()
        .is_some_and(|expected| expected != key)
    {
        return Err(ApiError::token(
            StatusCode::NOT_FOUND,
            "resource-not-found",
            "Unable to authenticate. Please, check your API key",
        ));
    }
    let user = scope(version, &headers, &body)?;
    let token = world.tokens.issue(user, now.plus(settings.token_life));
    world.log.totals.tokens += 1;
    let body = json!({
        "access_token": token, "token_type": "Bearer",
        "expires_in": settings.token_life.as_secs(),
    });
    Ok(json_text(StatusCode::OK, body.to_string()).into_response())
}
