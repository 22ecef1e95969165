//! What one poll brought: the remote is data, not an error.

use std::time::Duration;

/// One poll of one job, over and done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// What it brought.
    pub outcome: PollOutcome,
    /// How many requests went to the job's URL: 0 when there was no token to send, 2 after a refreshed token.
    pub requests: u32,
}

/// What a poll brought, decided by the answer's status code (API-FACTS, section 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollOutcome {
    /// 2xx with a body of UTF-8 within the limit. Whether it is a job is decided later.
    Answered {
        /// The body as it came.
        body: String,
    },
    /// 404 or 410: the job is not there (or not yet).
    Gone {
        /// 404 or 410.
        status: u16,
    },
    /// 400: the API will never accept this id.
    Rejected {
        /// What the API said of it, cut and escaped.
        detail: String,
    },
    /// 429, or 503 with `Retry-After`: the whole upstream is to be left alone for a while.
    Throttled {
        /// 429 or 503.
        status: u16,
        /// How long the upstream asked for, cut to a day; `None` for a 429 that did not say.
        retry_after: Option<Duration>,
    },
    /// Our credentials were refused, by the token endpoint or by the job's URL after a fresh token. No fault of the job.
    CredentialsRefused {
        /// What was said, without secrets.
        detail: String,
    },
    /// 403 on this job with a token that is good: a wrong scope or somebody else's job.
    Forbidden {
        /// What the API said, cut and escaped.
        detail: String,
    },
    /// No usable answer: network, time-out, 3xx, 5xx, a body too large or not text.
    Trouble(Trouble),
    /// The request was never made, because a token could not be had just now. No fault of the job.
    NotSent {
        /// Why, without secrets.
        detail: String,
    },
}

impl PollOutcome {
    /// The word shown.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Answered { .. } => "answered",
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

/// A poll that brought no usable answer; told apart for people and metrics only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The class of the error.
    pub class: TroubleClass,
    /// One line for people: escaped, cut, without secrets and without the URL's query.
    pub detail: String,
}

/// Classes of trouble with the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    /// An answer that is no job: not JSON, another id, a wrong type.
    Rubbish,
    /// A body above [`MAX_BODY`].
    TooLarge,
}

impl TroubleClass {
    /// The word shown and counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::Rubbish => "rubbish",
            Self::TooLarge => "too_large",
        }
    }
}

/// Largest body of a job that is read, in bytes (1 MiB); a larger one is refused.
pub const MAX_BODY: usize = 1 << 20;

/// Escapes control characters of a text from outside and cuts it to `limit` characters, so that it can stand in a log
/// line or a table cell.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == limit {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a character is invisible or turns the direction of writing, so that a text with it is not what it seems.
#[must_use]
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_escaped_and_cut() {
        assert_eq!(printable("a\n<0>b\u{1b}[31m", 100), "a\\n<0>b\\u{1b}[31m");
        assert_eq!(printable("abcdef", 3), "abc…");
        assert_eq!(printable("abc", 3), "abc");
    }
}
