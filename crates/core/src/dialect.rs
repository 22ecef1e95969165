//! Dialects of APIs: how a poll is requested and what an answer means.
//!
//! A dialect is one file below this one and one line in [`ALL`]. It reads an answer's status, headers and body into a
//! [`Reading`]. All that follows (transitions, events, commands, tables) depends on the [`Snapshot`] alone and is the
//! same for every API (docs/dialects.md).

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
    /// The body's text (docs/jobs.md, "How answers are read"); empty if there is none, or if it is too large or could not
    /// be read. A 2xx whose body the dialect [needs](Dialect::needs_body) and that could not be read never gets here.
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
    /// 400 in the API's own words: it does not accept this job.
    Rejected,
    /// The token is refused: another one may be accepted.
    TokenRefused,
    /// Our credentials may not read this job.
    Forbidden,
    /// The API asks for fewer requests.
    Throttled,
    /// A success that is not the job.
    Unusable(UnusableAnswer),
    /// The poll failed without a word on the job: the page of a proxy, a server error.
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
    /// JSON, but without anything at the configured pointer to the status.
    #[error("the answer has nothing at upstream.json.status ({0})")]
    NoStatus(Pointer),
    /// Another job than the requested one.
    #[error("the answer is another job")]
    OtherJob,
}

/// How an API answers polls.
pub trait Dialect: fmt::Debug + Send + Sync {
    /// Its name in `upstream.dialect`.
    fn name(&self) -> &'static str;

    /// Where a job whose row has no `url` is polled below `base_url`; `None` if it must be configured.
    fn job_path(&self) -> Option<&'static str>;

    /// The media type that polls accept.
    fn accept(&self) -> &'static str {
        "application/json"
    }

    /// Reads a success. With `expected`, the id by which the job was polled, an answer with another id is unusable.
    ///
    /// # Errors
    /// [`UnusableAnswer`] when it is not the job.
    fn job(
        &self,
        answer: &Answer<'_>,
        expected: Option<&JobId>,
    ) -> Result<Snapshot, UnusableAnswer>;

    /// The API's error in an answer that is no success.
    fn error(&self, answer: &Answer<'_>) -> ErrorWords;

    /// What an answer means that is no success, with its error.
    fn refusal(&self, answer: &Answer<'_>, error: &ErrorWords) -> Reading {
        by_status(answer, error)
    }

    /// Reads any answer.
    fn read(&self, answer: &Answer<'_>, expected: Option<&JobId>) -> Reading {
        match answer.is_success() {
            true => self.job(answer, expected).into(),
            false => self.refusal(answer, &self.error(answer)),
        }
    }

    /// The configured pointer to the status.
    fn status_pointer(&self) -> Option<&Pointer> {
        None
    }

    /// Whether a success cannot be read from the HTTP status alone.
    fn needs_body(&self) -> bool {
        true
    }

    /// Whether it is for APIs of any vendor, whose errors have no form in common.
    fn is_generic(&self) -> bool {
        false
    }

    /// Whether the `Retry-After` of a 2xx delays the next poll, as the API's documentation promises.
    fn heeds_retry_after(&self) -> bool {
        false
    }
}

/// The settings that a dialect depends on.
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

/// What an answer without the job means by its status, the same in every dialect. A 400, 404 or 410 is about the job
/// only in the API's own words (docs/jobs.md, "How a job ends").
fn by_status(answer: &Answer<'_>, error: &ErrorWords) -> Reading {
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

impl From<Result<Snapshot, UnusableAnswer>> for Reading {
    fn from(read: Result<Snapshot, UnusableAnswer>) -> Self {
        read.map_or_else(Self::Unusable, |snapshot| Self::Job(Box::new(snapshot)))
    }
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
