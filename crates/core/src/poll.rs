//! What one poll brought: the remote is data, not an error.

use std::time::Duration;

use strum::IntoStaticStr;

use super::resource::Snapshot;

/// One poll of one job, over and done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// What it brought.
    pub outcome: PollOutcome,
    /// How long the job is to be left alone by the answer's `Retry-After`, within `upstream.max_retry_after`; only with a
    /// 4xx or 5xx.
    pub retry_after: Option<Duration>,
    /// How many requests went to the job's URL: 0 when there was no token to send, 2 after a refreshed token.
    pub requests: u32,
}

/// What a poll brought (docs/api.md, facts 17 to 25).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollOutcome {
    /// 2xx with the very bytes that were recorded last.
    Unchanged,
    /// 2xx with the job.
    Snapshot {
        /// The job as it was read.
        snapshot: Box<Snapshot>,
        /// Of the body, to know it again.
        hash: u64,
    },
    /// 404 or 410 in the API's own words: the job is not there (or not yet).
    Gone {
        /// 404 or 410.
        status: u16,
    },
    /// 400 in the API's own words: it will never accept this id.
    Rejected {
        /// What the API said of it, cut and escaped.
        detail: String,
    },
    /// 429, 503 with `Retry-After`, or 403 with the code `too-many-requests`.
    Throttled {
        /// 403, 429 or 503.
        status: u16,
    },
    /// Our credentials were refused, by the token endpoint or by the job's URL after a fresh token. No fault of the job.
    CredentialsRefused {
        /// What was said, without secrets.
        detail: String,
    },
    /// 403 on this job (a wrong scope, or somebody else's job), or 401 with a token that other jobs were read with.
    Forbidden {
        /// 401 or 403.
        status: u16,
        /// What the API said, cut and escaped.
        detail: String,
    },
    /// No usable answer: network, time-out, 3xx, 5xx, a body that is too large or not the job.
    Trouble(Trouble),
    /// The request was never made, because a token could not be had, or no connection could be opened, just now. No fault of
    /// the job.
    NotSent {
        /// Why, without secrets.
        detail: String,
    },
}

impl PollOutcome {
    /// The word counted.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unchanged | Self::Snapshot { .. } => "answered",
            Self::Gone { .. } => "gone",
            Self::Rejected { .. } => "rejected",
            Self::Throttled { .. } => "throttled",
            Self::CredentialsRefused { .. } => "credentials_refused",
            Self::Forbidden { .. } => "forbidden",
            Self::Trouble(Trouble {
                class: TroubleClass::Rubbish,
                ..
            }) => "unusable",
            Self::Trouble(trouble) => trouble.class.as_str(),
            Self::NotSent { .. } => "not_sent",
        }
    }
}

/// A poll that brought no usable answer; told apart for people and metrics only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The class of the error.
    pub class: TroubleClass,
    /// One line for people: escaped, cut, without secrets and without the URL's query.
    pub detail: String,
}

/// Classes of trouble with the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TroubleClass {
    /// No connection: refused, unreachable, name not found, TLS not agreed.
    Connect,
    /// The request did not end within `upstream.timeout`.
    Timeout,
    /// The connection broke in the middle of an answer.
    Broken,
    /// A redirect; never followed.
    Redirect,
    /// Any other status that is no success.
    Status,
    /// 400, 404 or 410 without the API's own words (a proxy's page), or in words about the route and not the job.
    Foreign,
    /// An answer that is not the job: not JSON, another id, a wrong type.
    Rubbish,
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

/// Most bytes of its text (2 MiB), in which each byte that is not UTF-8 takes three.
pub const MAX_TEXT: usize = 2 << 20;
