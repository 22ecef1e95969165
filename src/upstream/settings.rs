//! What the upstream client needs to know.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::job_path::JobPath;
use super::key_header::KeyHeader;
use super::target::UnusableBase;
use crate::core::dialect::Dialect;

/// The `[upstream]` section, validated (docs/configuration.md, "Keys").
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Where the API is: https, or http on a loopback host or with `allow_http`; no userinfo, query or fragment.
    pub base_url: Url,
    /// What it speaks.
    pub dialect: Arc<dyn Dialect>,
    /// Where a job is polled below `base_url` when its row has no `url`.
    pub job_path: JobPath,
    /// How requests are authorized.
    pub auth: Auth,
    /// Limit for one request, its body included.
    pub timeout: Duration,
    /// Longest that a `Retry-After` can put anything off, at least a second; more is cut to it.
    pub max_retry_after: Duration,
    /// How many polls may be in flight at once, at least 1.
    pub max_in_flight: usize,
    /// Most requests per second; `None` for no limit of our own.
    pub requests_per_second: Option<std::num::NonZeroU32>,
}

/// How requests to the upstream are authorized.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `POST /token` with the API key, then the token it answers with.
    Basiq {
        /// Sent after `Authorization: Basic `.
        api_key: SecretString,
        /// The `basiq-version` header of the token request.
        api_version: String,
        /// The `scope` of the token.
        scope: String,
    },
    /// The key itself is the bearer token.
    Bearer {
        /// Sent after `Authorization: Bearer `.
        token: SecretString,
    },
    /// HTTP Basic.
    Basic {
        /// `user:password`, sent as base64 after `Authorization: Basic `.
        login: SecretString,
    },
    /// The key in a header of its own.
    Header {
        /// The header.
        header: KeyHeader,
        /// Its value, sent as it is.
        key: SecretString,
    },
    /// A token that an OAuth 2.0 token endpoint grants to a client (RFC 6749, 4.4).
    OAuth2(OAuthClient),
    /// Requests carry no secret at all.
    None,
}

/// A client of an OAuth 2.0 token endpoint.
#[derive(Debug, Clone)]
pub struct OAuthClient {
    /// The token endpoint, of whatever origin: https, or http on a loopback host or with `allow_http`; no userinfo or
    /// fragment.
    pub token_url: Url,
    /// The client's id.
    pub client_id: String,
    /// Its secret, sent with the id to the origin of `token_url` alone, by HTTP Basic.
    pub client_secret: SecretString,
    /// The `scope` of the token; `None` sends none.
    pub scope: Option<String>,
}

impl Auth {
    /// Whether requests are authorized in the same way and with the same secrets.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        match (self, other) {
            (
                Self::Basiq {
                    api_key,
                    api_version,
                    scope,
                },
                Self::Basiq {
                    api_key: key,
                    api_version: version,
                    scope: other,
                },
            ) => same(api_key, key) && api_version == version && scope == other,
            (Self::Bearer { token }, Self::Bearer { token: other }) => same(token, other),
            (Self::Basic { login }, Self::Basic { login: other }) => same(login, other),
            (
                Self::Header { header, key },
                Self::Header {
                    header: name,
                    key: other,
                },
            ) => header == name && same(key, other),
            (Self::OAuth2(client), Self::OAuth2(other)) => {
                client.token_url == other.token_url
                    && client.client_id == other.client_id
                    && client.scope == other.scope
                    && same(&client.client_secret, &other.client_secret)
            }
            (Self::None, Self::None) => true,
            _ => false,
        }
    }

    /// Where tokens are requested, when that is not a path of `base_url`.
    #[must_use]
    pub fn token_url(&self) -> Option<&Url> {
        match self {
            Self::OAuth2(client) => Some(&client.token_url),
            _ => None,
        }
    }
}

/// Why there is no client for these settings. No secret is ever part of it.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// `base_url` cannot be used.
    #[error(transparent)]
    Base(#[from] UnusableBase),
    /// The API key, token or client secret is empty or has characters that no header can hold, such as a line break.
    #[error(
        "the upstream API key is empty or has characters that a header cannot hold (a line break?)"
    )]
    Key,
    /// The API version has characters that no header can hold.
    #[error("upstream.api_version has characters that a header cannot hold")]
    Version,
    /// The HTTP client could not be set up, for instance without any root certificates.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
}
