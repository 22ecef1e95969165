//! What the APIs speak: how a poll is requested and what an answer means.
//!
//! A dialect is one file below this one and one line in [`ALL`]. It reads an answer's status, headers and body into a
//! [`Reading`]; from a [`Snapshot`] on nobody reads the API's text again, so that all that follows (transitions, events,
//! commands, tables) is the same for every API (docs/dialects.md).

mod azure;
mod basiq;
mod error;
mod google_lro;
mod http_status;
mod json;
mod openai_batch;
mod operation;
mod raw;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::job::JobId;
use super::snapshot::Snapshot;

pub use basiq::Basiq;
pub use error::ErrorWords;
pub use json::{InvalidPointer, JsonSettings, Pointer};
pub use operation::STEP;
pub use raw::MAX_DEPTH;

/// An answer to a poll, read within its limits.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// How long its `Retry-After` asks to wait, within `upstream.max_retry_after`.
    pub retry_after: Option<Duration>,
    /// The body's text (docs/jobs.md, "How answers are read"); empty when there is none, or when that of another status than
    /// 2xx is too large or could not be read.
    pub body: &'a str,
}

impl Answer<'_> {
    /// 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first value of a header, if it is text.
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// The job.
    Job(Box<Snapshot>),
    /// 404 or 410 in the API's own words: not there yet, or no longer.
    Gone,
    /// The API's own word that it never has such a job.
    Rejected,
    /// The token is refused: another one may be accepted.
    TokenRefused,
    /// Our credentials may not read this job.
    Forbidden,
    /// The API asks for fewer requests.
    Throttled,
    /// A success that is not the job.
    Unusable(UnusableAnswer),
    /// Trouble of this poll: the page of a proxy, a server error.
    Trouble,
}

/// Why an answer cannot be used as the job. Tracking goes on; the next answer may be better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAnswer {
    /// Not JSON, or nested deeper than [`MAX_DEPTH`].
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// JSON, but not a job.
    #[error("the answer is not a job: {0}")]
    NotAJob(&'static str),
    /// JSON, but without anything at the pointer that says how the job is.
    #[error("the answer has nothing at upstream.json.status ({0})")]
    NoStatus(Pointer),
    /// Another job than the requested one.
    #[error("the answer is another job")]
    OtherJob,
}

/// What an API speaks.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// Its name in `upstream.dialect`.
    fn name(&self) -> &'static str;

    /// Where a job is polled when its row has no `url`, below `base_url`; `None`: the operator has to say.
    fn job_path(&self) -> Option<&'static str>;

    /// The media type that polls accept.
    fn accept(&self) -> &'static str {
        "application/json"
    }

    /// Reads an answer. With `expected`, the answer to a job polled by its id, one with another id is unusable.
    fn read(&self, answer: &Answer<'_>, expected: Option<&JobId>) -> Reading;

    /// What this API calls an error, in the body of an answer.
    fn error(&self, answer: &Answer<'_>) -> ErrorWords;

    /// Where the operator has said that the status stands.
    fn status_pointer(&self) -> Option<&Pointer> {
        None
    }

    /// Whether a success is read in the body, and not by its status alone.
    fn needs_body(&self) -> bool {
        true
    }

    /// Whether it stands for APIs of many makers, whose errors have no form in common.
    fn is_generic(&self) -> bool {
        false
    }

    /// Whether the `Retry-After` of a 2xx delays the next poll, as the API's documentation promises.
    fn heeds_retry_after(&self) -> bool {
        false
    }
}

/// What the operator has to say for a dialect, and what changes how it reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DialectSettings {
    /// Whether progress in numbers becomes transitions, one per 10 %.
    pub progress: bool,
    /// `[upstream.json]`.
    pub json: JsonSettings,
}

/// A dialect by its name.
pub struct Entry {
    /// The word in `upstream.dialect`.
    pub name: &'static str,
    make: fn(&DialectSettings) -> Arc<dyn Dialect>,
}

/// Every dialect; the first is the default.
pub const ALL: [Entry; 6] = [
    Entry {
        name: "basiq",
        make: |_| Arc::new(basiq::Basiq),
    },
    Entry {
        name: "http-status",
        make: |_| Arc::new(http_status::HttpStatus),
    },
    Entry {
        name: "azure",
        make: |settings| {
            Arc::new(azure::Azure {
                progress: settings.progress,
            })
        },
    },
    Entry {
        name: "google-lro",
        make: |settings| {
            Arc::new(google_lro::GoogleLro {
                progress: settings.progress,
            })
        },
    },
    Entry {
        name: "openai-batch",
        make: |settings| {
            Arc::new(openai_batch::OpenAiBatch {
                progress: settings.progress,
            })
        },
    },
    Entry {
        name: "json",
        make: |settings| Arc::new(json::Json::new(settings)),
    },
];

/// The dialect of this name.
#[must_use]
pub fn named(name: &str, settings: &DialectSettings) -> Option<Arc<dyn Dialect>> {
    let entry = ALL.iter().find(|entry| entry.name == name)?;
    Some((entry.make)(settings))
}

/// What an answer other than the job means, with the same statuses in every dialect: a 400, 404 or 410 is about the job
/// only in the API's own words (docs/jobs.md, "How a job ends").
fn refusal(answer: &Answer<'_>, error: &ErrorWords) -> Reading {
    match answer.status {
        404 | 410 if error.is_verdict => Reading::Gone,
        400 if error.is_verdict => Reading::Rejected,
        401 => Reading::TokenRefused,
        403 => Reading::Forbidden,
        429 => Reading::Throttled,
        503 if answer.retry_after.is_some() => Reading::Throttled,
        _ => Reading::Trouble,
    }
}

/// The job, if this is a success that describes it.
fn job(snapshot: Result<Snapshot, UnusableAnswer>) -> Reading {
    snapshot.map_or_else(Reading::Unusable, |snapshot| {
        Reading::Job(Box::new(snapshot))
    })
}

/// Whether a name such as `projects/7/operations/ID` is that of the job.
fn ends_in(name: &str, id: &JobId) -> bool {
    let last = name.rsplit('/').next().unwrap_or_default();
    same_id(last, id.as_str())
}

/// Whether two ids are the same; the case of a UUID is ignored.
fn same_id(a: &str, b: &str) -> bool {
    a == b || (is_uuid(a) && a.eq_ignore_ascii_case(b))
}

fn is_uuid(text: &str) -> bool {
    let right = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(right)
}

#[cfg(test)]
mod tests;
