//! The remote job as it was read: tolerant of every shape the API is known to send, and lossless.
//!
//! Objects are read key by key as raw text, so unknown fields, duplicate keys, huge numbers and odd types never get in
//! the way (API-FACTS, section 2), and what is stored and sent on is the API's own text.

mod user;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

pub use user::{MOST_USERS, UserId, leads_to, user_of, users_of};

use super::job::JobId;

/// Most steps of one job that are followed; an answer with more is refused as rubbish.
pub const MAX_STEPS: usize = 1000;

/// Most bytes that the events of one answer may come to (128 MiB): each challenge, each queued step and the end have one
/// that holds the whole body.
const MAX_TOLD: usize = 128 << 20;

/// Deepest nesting of lists and objects in an answer; a deeper one is refused as rubbish.
///
/// Common libraries of receivers read no more than a hundred levels, and an event adds its own.
pub const MAX_DEPTH: usize = 96;

/// One look at the remote job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The body, verbatim but for white space around it.
    pub body: String,
    /// The steps in the API's order.
    pub steps: Vec<Step>,
    /// `updated` (or `updatedDate`), verbatim.
    pub remote_updated: Option<String>,
}

/// One step of a snapshot. Identified by title, and by occurrence where a title comes twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The title, verbatim; empty where the API gave none.
    pub title: String,
    /// 0 for the first step with this title, 1 for the second …
    pub occurrence: u32,
    /// Index in the API's array, from 0.
    pub position: u32,
    /// What the remote says of it.
    pub status: StepStatus,
    /// The result's JSON, verbatim; `None` for null or no key at all.
    pub result: Option<String>,
}

/// What the *remote* says of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StepStatus {
    /// Waiting to be started. With a queued result: waiting to be tried again.
    Pending,
    /// Being processed; with a challenge in its result it waits for the user.
    InProgress,
    /// Done.
    Success,
    /// Failed, and the job with it.
    Failed,
    /// Was not needed; counts as done.
    Skipped,
    /// Any other word, kept verbatim. The job goes on.
    Other(String),
}

impl StepStatus {
    /// The status with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "pending" => Self::Pending,
            "in-progress" => Self::InProgress,
            "success" => Self::Success,
            "failed" => Self::Failed,
            "skipped" => Self::Skipped,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The word, verbatim.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in-progress",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Other(word) => word,
        }
    }

    /// Whether the step needs nothing more: success or skipped (contract, section 4).
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Success | Self::Skipped)
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An MFA challenge that a step's result holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Challenge {
    /// `token`, `security-questions` …, verbatim.
    pub method: Value,
    /// Text for the user.
    pub description: Value,
    /// What the user has to enter, in order.
    pub input: Value,
    /// Time the user has, in milliseconds from the first sight, where the API says so.
    pub expiry_ms: Option<u64>,
    /// Where the answers go: relative or absolute, as the API wrote it.
    pub response: Option<String>,
}

/// Why an answer is no job. Tracking goes on; the next answer may be better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rubbish {
    /// Not JSON, or nested deeper than [`MAX_DEPTH`].
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// JSON, but no job.
    #[error("the answer is no job: {0}")]
    NotAJob(&'static str),
    /// Another job than the one asked for.
    #[error("the answer is another job")]
    OtherJob,
}

type RawObject<'a> = HashMap<String, &'a RawValue>;

impl Snapshot {
    /// Reads a body. With `expected`, an answer with another id is refused (contract, section 9: without `url` in the
    /// row another id is rubbish).
    ///
    /// # Errors
    /// [`Rubbish`] when the body is no job, or another one.
    pub fn parse(body: &str, expected: Option<&JobId>) -> Result<Self, Rubbish> {
        let body = body.trim();
        if depth_of(body) > MAX_DEPTH {
            return Err(Rubbish::NotJson("it is nested too deeply".to_owned()));
        }
        let not_json = |error: serde_json::Error| Rubbish::NotJson(error.to_string());
        if !body.starts_with('{') {
            serde_json::from_str::<&RawValue>(body).map_err(not_json)?;
            return Err(Rubbish::NotAJob("it is not an object"));
        }
        let object: RawObject<'_> = serde_json::from_str(body).map_err(not_json)?;
        // A proxy's word that says nothing of a job must not make all its steps vanish.
        if !["type", "id", "steps"]
            .iter()
            .any(|key| object.contains_key(*key))
        {
            return Err(Rubbish::NotAJob("it has no type, id or steps"));
        }
        if text_of(&object, "type").is_some_and(|kind| kind != "job") {
            return Err(Rubbish::NotAJob("its type is not \"job\""));
        }
        if let (Some(expected), Some(id)) = (expected, text_of(&object, "id"))
            && !same_id(&id, expected.as_str())
        {
            return Err(Rubbish::OtherJob);
        }
        let steps = read_steps(&object)?;
        if tells_too_much(&steps, body) {
            return Err(Rubbish::NotAJob("its events would be too large"));
        }
        Ok(Self {
            body: body.to_owned(),
            steps,
            remote_updated: text_of(&object, "updated").or_else(|| text_of(&object, "updatedDate")),
        })
    }
}

/// Whether two ids are one: as they are, or but for the case of a UUID.
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

/// Whether the events that hold the whole job, one per challenge and queued step and one for the end, could be more than
/// [`MAX_TOLD`] together.
fn tells_too_much(steps: &[Step], body: &str) -> bool {
    let too_many = |events: usize| events.saturating_mul(body.len()) > MAX_TOLD;
    // Most answers are far from the limit; only the others are looked at step by step.
    too_many(steps.len() + 1) && {
        let tells = |step: &&Step| {
            let result = step.result.as_deref();
            mfa_object(result).is_some() || is_queued(&step.status, result)
        };
        too_many(steps.iter().filter(tells).count() + 1)
    }
}

/// How deep the text's lists and objects are nested, whatever else it is.
fn depth_of(text: &str) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn read_steps(object: &RawObject<'_>) -> Result<Vec<Step>, Rubbish> {
    let Some(raw) = object.get("steps").filter(|raw| raw.get() != "null") else {
        return Ok(Vec::new());
    };
    let items: Vec<RawObject<'_>> = serde_json::from_str(raw.get())
        .map_err(|_| Rubbish::NotAJob("its steps are not a list of objects"))?;
    if items.len() > MAX_STEPS {
        return Err(Rubbish::NotAJob("it has more than 1000 steps"));
    }
    let mut seen: HashMap<String, u32> = HashMap::new();
    let mut steps = Vec::with_capacity(items.len());
    for (position, item) in (0u32..).zip(&items) {
        let title = text_of(item, "title").unwrap_or_default();
        let count = seen.entry(title.clone()).or_insert(0);
        steps.push(Step {
            title,
            occurrence: *count,
            position,
            status: StepStatus::from_word(&text_of(item, "status").unwrap_or_default()),
            result: item
                .get("result")
                .map(|raw| raw.get())
                .filter(|text| *text != "null")
                .map(str::to_owned),
        });
        *count += 1;
    }
    Ok(steps)
}

/// A field as text: a string's content, any other value's JSON, `None` for null or nothing.
fn text_of(object: &RawObject<'_>, key: &str) -> Option<String> {
    let raw = object.get(key)?.get();
    match serde_json::from_str::<Value>(raw).ok()? {
        Value::Null => None,
        // SQLite cuts a text at a NUL, and a cut title would never be found again.
        Value::String(text) => Some(text.replace('\0', "\\u0000")),
        _ => Some(raw.to_owned()),
    }
}

/// The mfa object that a result is or holds (contract, section 5).
#[must_use]
pub fn mfa_object(result: Option<&str>) -> Option<Value> {
    objects_of(result?)
        .into_iter()
        .find(|object| object.get("type").and_then(Value::as_str) == Some("mfa"))
}

/// The error object that a result is or holds: the first object with a `code`, or failing that a `title` or a detail.
#[must_use]
pub fn error_object(result: Option<&str>) -> Option<Value> {
    let mut objects = objects_of(result?);
    let with = |object: &Value, keys: &[&str]| {
        keys.iter()
            .any(|key| object.get(*key).is_some_and(|v| !v.is_null()))
    };
    let index = objects
        .iter()
        .position(|object| with(object, &["code"]))
        .or_else(|| {
            objects
                .iter()
                .position(|object| with(object, &["title", "detail", "details"]))
        })?;
    Some(objects.swap_remove(index))
}

/// The code of a pending step that the API has queued for a later try.
pub const QUEUED_CODE: &str = "temporary-unavailable-queued";

/// Whether a step waits in the API's own retry queue.
#[must_use]
pub fn is_queued(status: &StepStatus, result: Option<&str>) -> bool {
    *status == StepStatus::Pending
        && error_object(result)
            .is_some_and(|error| error.get("code").and_then(Value::as_str) == Some(QUEUED_CODE))
}

/// An error object's text: `detail`, or `details` as some of the API's own models call it.
#[must_use]
pub fn detail_of(error: &Value) -> Value {
    let field = |key: &str| error.get(key).filter(|value| !value.is_null());
    field("detail")
        .or_else(|| field("details"))
        .cloned()
        .unwrap_or(Value::Null)
}

impl Challenge {
    /// Reads an mfa object.
    #[must_use]
    pub fn read(mfa: &Value) -> Self {
        let field = |key: &str| mfa.get(key).cloned().unwrap_or(Value::Null);
        let response = mfa
            .get("links")
            .and_then(|links| links.get("response"))
            .and_then(Value::as_str);
        Self {
            method: field("method"),
            description: field("description"),
            input: field("input"),
            expiry_ms: mfa.get("expiryMs").and_then(expiry),
            response: response.map(str::to_owned),
        }
    }

    /// What the user has to enter, in order; nothing where the API asks for nothing.
    #[must_use]
    pub fn inputs(&self) -> &[Value] {
        match &self.input {
            Value::Array(items) => items,
            Value::Null => &[],
            one => std::slice::from_ref(one),
        }
    }
}

/// Any number above zero, or a text with one, rounded up to whole milliseconds; all else is as if not given.
fn expiry(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "above zero, and a number that is too large becomes the largest"
    )]
    let whole = |millis: f64| millis.ceil() as u64;
    number
        .filter(|millis| millis.is_finite() && *millis > 0.0)
        .map(whole)
}

fn objects_of(result: &str) -> Vec<Value> {
    match serde_json::from_str(result) {
        Ok(Value::Array(items)) => items.into_iter().filter(Value::is_object).collect(),
        Ok(object @ Value::Object(_)) => vec![object],
        _ => Vec::new(),
    }
}

/// Whether two results are the same JSON value; the order of keys is no difference (contract, section 9).
#[must_use]
pub fn same_result(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if a != b => {
            let parse = |text| serde_json::from_str::<Value>(text).ok();
            parse(a).is_some_and(|value| Some(value) == parse(b))
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests;
