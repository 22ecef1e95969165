//! One request for a token, and what its answer means.

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use super::api_error::MAX_ERROR_BODY;
use super::http::{Answer, Http, Limits, NoAnswer};
use super::settings::UpstreamError;
use crate::core::poll::{Trouble, TroubleClass};
use crate::core::text::text_of;

/// How much of the token endpoint's answers is read: 64 KiB.
const ANSWER: Limits = Limits {
    success: 64 << 10,
    other: MAX_ERROR_BODY,
};

/// Life of a token whose `expires_in` is missing or unusable.
const DEFAULT_LIFE: Duration = Duration::from_secs(30 * 60);

/// Longest life of a token, whatever its `expires_in` says.
const MAX_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

const VERSION_HEADER: HeaderName = HeaderName::from_static("basiq-version");

/// Why there is no token (docs/api.md, fact 19).
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TokenTrouble {
    /// The token endpoint refuses the key, the account or the settings: 401, or a 400, 403 or 404 that the API itself wrote
    /// (a bad key is a 404).
    Refused {
        /// What the API said, cut, escaped and without secrets.
        detail: String,
    },
    /// 403 "Invalid request": too many token requests from this address. None is made for five minutes.
    TooMany {
        /// What the API said, cut, escaped and without secrets.
        detail: String,
    },
    /// 429, 503 with `Retry-After`, or 403 with the code `too-many-requests`.
    Throttled {
        /// What the API said, cut, escaped and without secrets.
        detail: String,
        /// The pause that the token endpoint asked for, within `upstream.max_retry_after`.
        retry_after: Option<Duration>,
    },
    /// No usable answer of the token endpoint.
    Unavailable(Trouble),
}

impl TokenTrouble {
    /// The label in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.into()
    }

    /// Whether the token endpoint asked for a pause.
    pub(super) fn is_pause(&self) -> bool {
        matches!(self, Self::Throttled { .. })
    }

    /// What the API said, or why there is no answer.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Refused { detail }
            | Self::TooMany { detail }
            | Self::Throttled { detail, .. } => detail,
            Self::Unavailable(trouble) => &trouble.detail,
        }
    }
}

impl fmt::Display for TokenTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Refused { .. } => "the token endpoint refuses our credentials",
            Self::TooMany { .. } => "the token endpoint has had too many requests",
            Self::Throttled { .. } => "the token endpoint throttles us",
            Self::Unavailable(_) => "the token endpoint gives no usable answer",
        };
        write!(f, "{what}: {}", self.detail())
    }
}

/// A token as it was granted.
pub(super) struct Grant {
    pub(super) header: HeaderValue,
    pub(super) life: Duration,
}

/// What all requests for a token share.
pub(super) struct GrantRequest {
    key: HeaderValue,
    version: HeaderValue,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    expires_in: Value,
}

impl GrantRequest {
    pub(super) fn new(api_key: &SecretString, version: &str) -> Result<Self, UpstreamError> {
        let version = HeaderValue::try_from(version).map_err(|_| UpstreamError::Version)?;
        Ok(Self {
            key: authorization("Basic", api_key.expose_secret()).ok_or(UpstreamError::Key)?,
            version,
        })
    }

    /// Requests a token once, with this form, as soon as a connection can be opened.
    pub(super) async fn send(&self, http: &Http, form: &str) -> Result<Grant, TokenTrouble> {
        let request = || self.request(http, form);
        let sent = http.send_when_possible(request, Some(&self.key), ANSWER, None);
        match sent.await {
            Ok(answer) if answer.is_success() => granted(&answer.body),
            Ok(answer) => Err(meaning(answer)),
            Err(NoAnswer::Trouble(trouble)) => Err(TokenTrouble::Unavailable(trouble)),
            Err(NoAnswer::Short(shortage)) => Err(TokenTrouble::Unavailable(Trouble {
                class: TroubleClass::Connect,
                detail: shortage.to_string(),
            })),
        }
    }

    fn request(&self, http: &Http, form: &str) -> Request {
        let mut request = Request::new(Method::POST, http.base.token_url());
        let headers = request.headers_mut();
        headers.insert(VERSION_HEADER, self.version.clone());
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        *request.body_mut() = Some(form.to_owned().into());
        request
    }
}

fn meaning(answer: Answer) -> TokenTrouble {
    let detail = answer.detail.clone();
    match answer.status {
        403 if answer.error.too_many_tokens() => TokenTrouble::TooMany { detail },
        _ if answer.throttles() => TokenTrouble::Throttled {
            detail,
            retry_after: answer.retry_after,
        },
        401 => TokenTrouble::Refused { detail },
        // A proxy's page, or a path that is not the API's, says nothing about the key.
        400 | 403 | 404 if answer.error.is_verdict() => TokenTrouble::Refused { detail },
        _ => TokenTrouble::Unavailable(answer.into_trouble()),
    }
}

/// An `Authorization` header that no log shows; `None` when `secret` has characters that a header cannot hold.
pub(super) fn authorization(scheme: &str, secret: &str) -> Option<HeaderValue> {
    if secret.is_empty() {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("{scheme} {secret}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The error quotes nothing of the body, which may hold a token.
fn granted(body: &[u8]) -> Result<Grant, TokenTrouble> {
    let answer: TokenAnswer = serde_json::from_str(&text_of(body))
        .map_err(|_| unusable("the answer is not a JSON object with an access_token"))?;
    let header = authorization("Bearer", &answer.access_token).ok_or_else(|| {
        unusable("the access_token is empty or has characters that a header cannot hold")
    })?;
    Ok(Grant {
        header,
        life: life(&answer.expires_in),
    })
}

/// A number of seconds of at least 1, or the same as a text.
fn life(expires_in: &Value) -> Duration {
    let seconds = match expires_in {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match seconds {
        Some(seconds) if seconds >= MAX_LIFE.as_secs_f64() => MAX_LIFE,
        Some(seconds) if seconds >= 1.0 => {
            Duration::try_from_secs_f64(seconds).unwrap_or(DEFAULT_LIFE)
        }
        _ => DEFAULT_LIFE,
    }
}

fn unusable(detail: &str) -> TokenTrouble {
    TokenTrouble::Unavailable(Trouble {
        class: TroubleClass::Unusable,
        detail: detail.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_token_is_what_it_says_within_reason() {
        for (expires_in, seconds) in [
            ("3600", 3600.0),
            ("\"600\"", 600.0),
            ("1.5", 1.5),
            ("86401", 86_400.0),
            ("1e300", 86_400.0),
            ("0", 1800.0),
            ("0.2", 1800.0),
            ("-5", 1800.0),
            ("null", 1800.0),
            ("true", 1800.0),
            ("\"soon\"", 1800.0),
            ("\"NaN\"", 1800.0),
            ("[]", 1800.0),
        ] {
            let value = serde_json::from_str(expires_in).unwrap();
            assert_eq!(
                life(&value),
                Duration::from_secs_f64(seconds),
                "{expires_in}"
            );
        }
        assert_eq!(life(&Value::Null), DEFAULT_LIFE);
    }

    #[test]
    fn an_answer_without_a_usable_token_is_unusable_and_its_text_is_not_repeated() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"access_token":7}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":"canary\nx"}"#,
            r#"{"access_token":"canary"#,
        ] {
            let Err(trouble) = granted(body.as_bytes()) else {
                panic!("{body} was taken for a token");
            };
            assert!(matches!(trouble, TokenTrouble::Unavailable(_)));
            assert!(!trouble.to_string().contains("canary"));
        }
        let grant = granted(br#"{"access_token":"canary","token_type":"Bearer"}"#);
        let header = grant.ok().map(|grant| grant.header).unwrap();
        assert_eq!(header, "Bearer canary");
        assert!(!format!("{header:?}").contains("canary"));
    }
}
