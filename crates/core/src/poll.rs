//! The outcome of one poll. Whatever the API answers is data, not an error.

use std::time::Duration;

use strum::IntoStaticStr;

use super::etag::Etag;
use super::snapshot::Snapshot;

/// One finished poll of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// Its outcome.
    pub outcome: PollOutcome,
    /// The `Retry-After` of a 4xx or 5xx, at most `upstream.max_retry_after`: the job is not polled for that long.
    pub retry_after: Option<Duration>,
    /// Requests to the job's URL: 0 without a token, 2 after a refreshed token.
    pub requests: u32,
    /// The entity tag of a good answer, unless that was a 304.
    pub etag: Option<Etag>,
}

/// The outcome of a poll (docs/api.md, facts 17 to 25).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollOutcome {
    /// 2xx with the same bytes as were recorded last.
    Unchanged,
    /// 304: what was recorded last is what the API still has.
    NotModified,
    /// 2xx with the job.
    Snapshot {
        /// The job in the answer.
        snapshot: Box<Snapshot>,
        /// Hash of the body, to detect the same one next time.
        hash: u64,
    },
    /// 404 or 410 in the API's own words: the job is not there (or not yet).
    Gone {
        /// 404 or 410.
        status: u16,
    },
    /// 400 in the API's own words: it will never accept this id.
    Rejected {
        /// The API's error, cut and escaped.
        detail: String,
    },
    /// 429, 503 with `Retry-After`, or 403 with the code `too-many-requests`.
    Throttled {
        /// 403, 429 or 503.
        status: u16,
    },
    /// Our credentials were refused by the token endpoint, or by the job's URL after a new token. Not counted against the job.
    CredentialsRefused {
        /// The error, without secrets.
        detail: String,
    },
    /// 403 on this job (a wrong scope, or another user's job), or 401 with a token that was accepted for other jobs.
    Forbidden {
        /// 401 or 403.
        status: u16,
        /// The API's error, cut and escaped.
        detail: String,
    },
    /// No usable answer: network, time-out, 3xx, 5xx, a body that is too large or not the job.
    Trouble(Trouble),
    /// No request was made, because no token was available or no connection could be opened. Not counted against the job.
    NotSent {
        /// Why, without secrets.
        detail: String,
    },
}

impl PollOutcome {
    /// The label in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unchanged | Self::NotModified | Self::Snapshot { .. } => "answered",
            Self::Gone { .. } => "gone",
            Self::Rejected { .. } => "rejected",
            Self::Throttled { .. } => "throttled",
            Self::CredentialsRefused { .. } => "credentials_refused",
            Self::Forbidden { .. } => "forbidden",
            Self::Trouble(trouble) => trouble.class.as_str(),
            Self::NotSent { .. } => "not_sent",
        }
    }
}

/// A poll without a usable answer; its classes differ for people and metrics only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The class of the error.
    pub class: TroubleClass,
    /// One line for people: escaped, cut, without secrets and without the URL's query.
    pub detail: String,
}

/// Why a poll got no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TroubleClass {
    /// No connection: refused, unreachable, name not found, TLS handshake failed.
    Connect,
    /// The request did not end within `upstream.timeout`.
    Timeout,
    /// The connection broke in the middle of an answer.
    Broken,
    /// A redirect; never followed.
    Redirect,
    /// Any other status outside 2xx.
    Status,
    /// 400, 404 or 410 that is not from the API (a proxy's page), or that is about the route and not the job.
    Foreign,
    /// An answer that is not the job: not JSON, another id, a wrong type.
    Unusable,
    /// A body above [`MAX_BODY`], or a text above [`MAX_TEXT`].
    TooLarge,
}

impl TroubleClass {
    /// The word shown and counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Largest body of a job that is read, in bytes (1 MiB); a larger one is refused.
pub const MAX_BODY: usize = 1 << 20;

/// Most bytes of its text (2 MiB); in the text each byte that is not UTF-8 takes three.
pub const MAX_TEXT: usize = 2 << 20;
