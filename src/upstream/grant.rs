//! One request for a token, and what its answer means: at the API's own token endpoint, or at one of OAuth 2.0.

use std::fmt;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::api_error::{MAX_ERROR_BODY, presentable};
use super::authorization::Authorization;
use super::http::{Answer, Http, Limits, NoAnswer};
use super::oauth_error::OAuthError;
use super::request::Request;
use super::settings::{OAuthClient, UpstreamError};
use super::target::Base;
use crate::core::dialect::ErrorWords;
use crate::core::machines::reading::Refusal;
use crate::core::poll::{Trouble, TroubleClass};
use crate::core::text::text_of;
use crate::core::user::UserId;

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

/// Why there is no token (docs/api.md, fact 19; RFC 6749, 5.2).
#[derive(Debug, Clone, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TokenTrouble {
    /// The token endpoint refuses the key, the account or the settings: 401, or a 400, 403 or 404 that the API itself wrote
    /// (a bad key is a 404), or 400 or 403 with a word of OAuth 2.0 that says so.
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
    /// For the origin of `base_url`.
    pub(super) header: Authorization,
    pub(super) life: Duration,
}

/// A request for tokens, but for the form, which may be that of one user.
pub(super) struct GrantRequest {
    url: Url,
    headers: HeaderMap,
    /// For the origin of `url` alone.
    authorization: Authorization,
    /// The form of the token that polls are sent with.
    form: String,
    endpoint: Endpoint,
    /// What the tokens are for.
    api: Url,
}

/// By whose rules a token endpoint grants and refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    /// The API's own (docs/api.md, facts 16 and 19), which has tokens for users, too.
    Basiq,
    /// RFC 6749, 4.4 and 5: one token for all.
    OAuth2,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    token_type: Value,
    #[serde(default)]
    expires_in: Value,
}

impl GrantRequest {
    /// A request to the API's own token endpoint.
    pub(super) fn basiq(
        api_key: &SecretString,
        version: &str,
        scope: &str,
        base: &Base,
    ) -> Result<Self, UpstreamError> {
        let url = base.token_url();
        let authorization = Authorization::new("Basic", api_key.expose_secret(), &url);
        let mut headers = form_headers();
        let version = HeaderValue::try_from(version).map_err(|_| UpstreamError::Version)?;
        headers.insert(VERSION_HEADER, version);
        Ok(Self {
            url,
            headers,
            authorization: authorization.ok_or(UpstreamError::Key)?,
            form: form(&[("scope", scope)]),
            endpoint: Endpoint::Basiq,
            api: base.root().clone(),
        })
    }

    /// A client credentials grant (RFC 6749, 4.4).
    pub(super) fn client_credentials(
        client: &OAuthClient,
        base: &Base,
    ) -> Result<Self, UpstreamError> {
        let url = client.token_url.clone();
        let secret = client.client_secret.expose_secret();
        let authorization = Authorization::client(&client.client_id, secret, &url);
        let mut fields = vec![("grant_type", "client_credentials")];
        fields.extend(client.scope.as_deref().map(|scope| ("scope", scope)));
        Ok(Self {
            url,
            headers: form_headers(),
            authorization: authorization.ok_or(UpstreamError::Key)?,
            form: form(&fields),
            endpoint: Endpoint::OAuth2,
            api: base.root().clone(),
        })
    }

    /// The form of the token that polls are sent with.
    pub(super) fn form(&self) -> String {
        self.form.clone()
    }

    /// The form of a user's own token; `None` where one token is for all.
    pub(super) fn form_of(&self, user: &UserId) -> Option<String> {
        let fields = [("scope", "CLIENT_ACCESS"), ("userId", user.as_str())];
        (self.endpoint == Endpoint::Basiq).then(|| form(&fields))
    }

    /// Whether tokens are requested elsewhere than below `base_url`.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.endpoint == Endpoint::OAuth2
    }

    /// Requests a token once, with this form, as soon as a connection can be opened.
    pub(super) async fn send(&self, http: &Http, form: &str) -> Result<Grant, TokenTrouble> {
        let request = || self.request(form);
        let sent = http.send_when_possible(request, Some(&self.authorization), ANSWER, None);
        match sent.await {
            Ok(mut answer) => match answer.refusal.take() {
                None => self.granted(&answer.body),
                Some(refusal) => Err(match self.endpoint {
                    Endpoint::Basiq => meaning(&answer, refusal),
                    Endpoint::OAuth2 => self.oauth_meaning(&answer, refusal),
                }),
            },
            Err(NoAnswer::Unread(trouble) | NoAnswer::Trouble(trouble)) => {
                Err(TokenTrouble::Unavailable(trouble))
            }
            Err(NoAnswer::Short(shortage)) => Err(TokenTrouble::Unavailable(Trouble {
                class: TroubleClass::Connect,
                detail: shortage.to_string(),
            })),
        }
    }

    fn request(&self, form: &str) -> Request {
        let mut request = Request::post(self.url.clone(), form.to_owned());
        request.headers = self.headers.clone();
        request
    }

    /// Says nothing of the body, for it may hold a token.
    fn granted(&self, body: &[u8]) -> Result<Grant, TokenTrouble> {
        let answer: TokenAnswer = serde_json::from_str(&text_of(body))
            .map_err(|_| unusable("the answer is not a JSON object with an access_token"))?;
        let other = |kind: &str| !kind.eq_ignore_ascii_case("bearer");
        if self.endpoint == Endpoint::OAuth2 && answer.token_type.as_str().is_some_and(other) {
            return Err(unusable("the token_type is not Bearer, the only one known"));
        }
        let header = Authorization::new("Bearer", &answer.access_token, &self.api)
            .ok_or_else(|| unusable("the access_token is empty or cannot stand in a header"))?;
        Ok(Grant {
            header,
            life: life(&answer.expires_in),
        })
    }

    fn oauth_meaning(&self, answer: &Answer, refusal: Refusal) -> TokenTrouble {
        let error = OAuthError::read(&answer.body);
        let detail = error.as_ref().map_or_else(
            || refusal.detail.clone(),
            |error| presentable(&error.line(answer.status), Some(&self.authorization)),
        );
        let refuses = error.as_ref().is_some_and(OAuthError::refuses);
        match answer.status {
            _ if refusal.throttles() => TokenTrouble::Throttled {
                detail,
                retry_after: answer.retry_after,
            },
            401 => TokenTrouble::Refused { detail },
            400 | 403 if refuses => TokenTrouble::Refused { detail },
            _ if error.is_some() => TokenTrouble::Unavailable(Trouble {
                class: TroubleClass::Status,
                detail,
            }),
            _ => TokenTrouble::Unavailable(refusal.into_trouble(answer.status)),
        }
    }
}

fn form_headers() -> HeaderMap {
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    HeaderMap::from_iter([(CONTENT_TYPE, form)])
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish()
}

fn meaning(answer: &Answer, refusal: Refusal) -> TokenTrouble {
    let detail = refusal.detail.clone();
    match answer.status {
        403 if is_too_many(&refusal.error) => TokenTrouble::TooMany { detail },
        _ if refusal.throttles() => TokenTrouble::Throttled {
            detail,
            retry_after: answer.retry_after,
        },
        401 => TokenTrouble::Refused { detail },
        // A proxy's page, or a path that is not the API's, says nothing about the key.
        400 | 403 | 404 if refusal.error.is_verdict => TokenTrouble::Refused { detail },
        _ => TokenTrouble::Unavailable(refusal.into_trouble(answer.status)),
    }
}

/// Whether this 403 means "too many token requests" (docs/api.md, fact 19).
fn is_too_many(error: &ErrorWords) -> bool {
    let invalid = |text: &str| {
        text.trim_end_matches('.')
            .eq_ignore_ascii_case("invalid request")
    };
    error.code == "request-not-valid" || invalid(&error.title) || invalid(&error.detail)
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
    use std::sync::Arc;

    use super::*;
    use crate::clock::Clock;
    use crate::core::dialect::Basiq;
    use crate::core::time::UnixMillis;
    use crate::sockets::Sockets;
    use crate::upstream::{Auth, JobPath, UpstreamSettings};

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

    fn requests() -> [GrantRequest; 2] {
        let jobs = JobPath::parse("/jobs/{id}").unwrap();
        let base = Base::new(&Url::parse("https://api.example").unwrap(), &jobs).unwrap();
        let client = OAuthClient {
            token_url: Url::parse("https://login.example/token").unwrap(),
            client_id: "id".to_owned(),
            client_secret: "secret".into(),
            scope: None,
        };
        [
            GrantRequest::basiq(&"key".into(), "3.0", "SERVER_ACCESS", &base).unwrap(),
            GrantRequest::client_credentials(&client, &base).unwrap(),
        ]
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
            for request in requests() {
                let Err(trouble) = request.granted(body.as_bytes()) else {
                    panic!("{body} was taken for a token");
                };
                assert!(matches!(trouble, TokenTrouble::Unavailable(_)));
                assert!(!trouble.to_string().contains("canary"));
            }
        }
        let body = br#"{"access_token":"canary","token_type":"Bearer"}"#;
        for request in requests() {
            let header = request.granted(body).ok().map(|grant| grant.header);
            let expected = Authorization::new("Bearer", "canary", &request.api);
            assert!(header == expected);
            assert!(!format!("{header:?}").contains("canary"));
        }
    }

    #[tokio::test]
    async fn a_secret_is_sent_to_no_other_origin_than_the_one_it_is_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let elsewhere = format!("http://{}", listener.local_addr().unwrap());
        let elsewhere = Url::parse(&elsewhere).unwrap();
        let settings = UpstreamSettings {
            base_url: elsewhere.clone(),
            dialect: Arc::new(Basiq),
            job_path: JobPath::parse("/jobs/{id}").unwrap(),
            auth: Auth::None,
            timeout: Duration::from_secs(15),
            max_retry_after: Duration::from_secs(3600),
            max_in_flight: 1,
            requests_per_second: None,
        };
        let clock = Clock::driven(UnixMillis(0));
        let http = Http::new(&settings, clock, Sockets::default()).unwrap();
        for mut request in requests() {
            request.url = elsewhere.clone();
            let Err(TokenTrouble::Unavailable(trouble)) = request.send(&http, "").await else {
                panic!("it was sent");
            };
            assert_eq!(trouble.class, TroubleClass::Foreign);
        }
        assert!(listener.accept().is_err(), "nobody connected");
    }

    #[test]
    fn oauth_tokens_of_another_type_than_bearer_are_not_used() {
        let [_, request] = requests();
        for (kind, usable) in [
            (r#""bearer""#, true),
            (r#""BEARER""#, true),
            ("null", true),
            (r#""mac""#, false),
            (r#""DPoP""#, false),
        ] {
            let body = format!(r#"{{"access_token":"t","token_type":{kind}}}"#);
            assert_eq!(request.granted(body.as_bytes()).is_ok(), usable, "{kind}");
        }
    }
}
