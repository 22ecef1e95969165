//! Any other JSON: the pointer to the status and the words that end a job are configured (docs/dialects.md, "json").

use std::fmt;
use std::str::FromStr;

use serde_json::value::RawValue;

use super::error::{self, ErrorWords};
use super::operation::{End, Operation, progress};
use super::{Answer, Dialect, DialectSettings, UnusableAnswer, raw};
use crate::job::JobId;
use crate::json::Verbatim;
use crate::snapshot::{ApiError, Snapshot};

/// A JSON pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    segments: Vec<String>,
}

/// Why a text is not a JSON pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPointer {
    /// It does not begin with `/`.
    #[error("a JSON pointer begins with / (\"/job/status\")")]
    NoSlash,
    /// A `~` without 0 or 1 after it.
    #[error("in a JSON pointer ~ is written ~0, and / in a key ~1")]
    Tilde,
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        let rest = match text.strip_prefix('/') {
            Some(rest) => rest,
            None if text.is_empty() => {
                return Ok(Self {
                    text: String::new(),
                    segments: Vec::new(),
                });
            }
            None => return Err(InvalidPointer::NoSlash),
        };
        let segments = rest.split('/').map(unescaped).collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }
}

fn unescaped(segment: &str) -> Result<String, InvalidPointer> {
    let mut parts = segment.split('~');
    let mut key = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.split_at_checked(1) {
            Some(("0", rest)) => ('~', rest),
            Some(("1", rest)) => ('/', rest),
            _ => return Err(InvalidPointer::Tilde),
        };
        key.push(escaped);
        key.push_str(rest);
    }
    Ok(key)
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Pointer {
    /// The value it points to.
    pub(super) fn find<'a>(&self, mut value: &'a RawValue) -> Option<&'a RawValue> {
        for segment in &self.segments {
            value = match value.get().as_bytes().first()? {
                b'[' => {
                    let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                    let is_index = segment == "0" || !segment.starts_with(['0', '+']);
                    items
                        .get(segment.parse::<usize>().ok().filter(|_| is_index)?)
                        .copied()?
                }
                _ => raw::fields(value.get())?.get(segment)?,
            };
        }
        Some(value)
    }
}

/// `[upstream.json]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonSettings {
    /// Where the word for the job's status is.
    pub status: Option<Pointer>,
    /// The words of a job that has succeeded.
    pub success: Vec<String>,
    /// The words of a job that has failed.
    pub failure: Vec<String>,
    /// Where the code of an error is.
    pub error_code: Option<Pointer>,
    /// Where its title is.
    pub error_title: Option<Pointer>,
    /// Where its detail is.
    pub error_detail: Option<Pointer>,
    /// Where the progress in percent is.
    pub progress: Option<Pointer>,
    /// Where the time of the last change is.
    pub updated: Option<Pointer>,
}

/// Reads answers as `[upstream.json]` describes them.
#[derive(Debug)]
pub(super) struct Json {
    settings: JsonSettings,
    status: Pointer,
    progress: bool,
}

impl Json {
    pub(super) fn new(settings: &DialectSettings) -> Self {
        let json = settings.json.clone();
        Self {
            status: json.status.clone().unwrap_or_else(|| Pointer {
                text: "/status".to_owned(),
                segments: vec!["status".to_owned()],
            }),
            settings: json,
            progress: settings.progress,
        }
    }

    /// The parts of an error that the pointers find.
    fn found(&self, whole: &RawValue) -> ApiError {
        let find = |pointer: &Option<Pointer>| {
            let found = pointer.as_ref().and_then(|pointer| pointer.find(whole));
            found.map(Verbatim::from).unwrap_or_default()
        };
        ApiError {
            code: find(&self.settings.error_code),
            title: find(&self.settings.error_title),
            detail: find(&self.settings.error_detail),
        }
    }
}

impl Dialect for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn job_path(&self) -> Option<&'static str> {
        None
    }

    fn status_pointer(&self) -> Option<&Pointer> {
        Some(&self.status)
    }

    fn is_generic(&self) -> bool {
        true
    }

    fn job(&self, answer: &Answer<'_>, _: Option<&JobId>) -> Result<Snapshot, UnusableAnswer> {
        let body = answer.body;
        let whole = raw::checked(body)?;
        let settings = &self.settings;
        let status = self.status.find(whole);
        let status = status.ok_or_else(|| UnusableAnswer::NoStatus(self.status.clone()))?;
        let status = raw::text(status).unwrap_or_else(|| "null".to_owned());
        let find = |pointer: &Option<Pointer>| pointer.as_ref()?.find(whole);
        let (end, result) = if settings.success.contains(&status) {
            (End::Success, None)
        } else if settings.failure.contains(&status) {
            (End::Failed(self.found(whole)), None)
        } else {
            let percent = find(&settings.progress).filter(|_| self.progress);
            (End::Running, progress(percent))
        };
        let updated = find(&settings.updated).and_then(raw::text);
        let operation = Operation {
            body: Some(body),
            status,
            end,
            result,
            updated,
        };
        Ok(operation.snapshot())
    }

    /// What the pointers find, if there is a code, or else an error of one of the usual forms.
    fn error(&self, answer: &Answer<'_>) -> ErrorWords {
        let found = raw::checked(answer.body)
            .ok()
            .map(|whole| self.found(whole));
        // Gateways send a message alone, too.
        let found = found.filter(|found| found.code != Verbatim::default());
        ErrorWords::of(found.or_else(|| error::any(answer)).as_ref())
    }
}
