//! The remote job as it was read: tolerant of every shape the API is known to send, and lossless.
//!
//! Objects are read key by key as raw text, so unknown fields, duplicate keys, huge numbers and odd types never get in
//! the way (docs/api.md, facts 1 to 12), and what is stored and sent on is the API's own text.

mod user;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use strum::{AsRefStr, Display, EnumString};
pub use user::{MOST_USERS, UserId, leads_to, user_of, users_of};

use super::job::JobId;
use super::json::{Verbatim, digest, same_value};
use super::time::UnixMillis;

/// Most steps of one job; an answer with more is refused as unusable.
pub const MAX_STEPS: usize = 10_000;

/// Deepest nesting of lists and objects in an answer; a deeper one is refused as unusable.
///
/// Common JSON libraries read at most a hundred levels, and an event adds more levels.
pub const MAX_DEPTH: usize = 96;

/// The remote job in one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The body, verbatim except for white space around it.
    pub body: String,
    /// The steps in the API's order.
    pub steps: Vec<Step>,
    /// `updated` (or `updatedDate`), verbatim.
    pub remote_updated: Option<String>,
}

/// One step of a snapshot. Identified by title, and by occurrence where a title comes twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The title, verbatim; empty if the API gave none.
    pub title: String,
    /// 0 for the first step with this title, 1 for the second …
    pub occurrence: u32,
    /// Index in the API's array, from 0.
    pub position: u32,
    /// The API's status.
    pub status: StepStatus,
    /// The result's JSON, verbatim; `None` for null or no key at all.
    pub result: Option<String>,
}

/// The *API's* status of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, AsRefStr, Display, EnumString)]
#[strum(serialize_all = "kebab-case")]
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
    /// Any other word, kept verbatim. The job is still followed.
    #[strum(default, transparent)]
    Other(String),
}

impl StepStatus {
    /// The status with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        word.parse()
            .unwrap_or_else(|_| Self::Other(word.to_owned()))
    }

    /// The word, verbatim.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.as_ref()
    }

    /// Whether the step needs nothing more: success or skipped (docs/jobs.md, "How a job ends").
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Success | Self::Skipped)
    }
}

/// An MFA challenge that a step's result holds. Its parts are the API's own JSON.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// `token`, `security-questions` …
    pub method: Box<RawValue>,
    /// Text for the user.
    pub description: Box<RawValue>,
    /// What the user has to enter, in order.
    pub input: Box<RawValue>,
    /// How long the user has to answer, in milliseconds since the challenge was first seen, if the API gives that.
    pub expiry_ms: Option<u64>,
    /// URL for the answers: relative or absolute, as the API wrote it.
    pub response: Option<String>,
}

/// The API's error of a step that failed or was delayed; null for what it does not give.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// `code`.
    pub code: Verbatim,
    /// `title`.
    pub title: Verbatim,
    /// `detail`, or `details` as some of the API's own models call it.
    pub detail: Verbatim,
}

/// Why an answer cannot be used as the job. It is still followed; the next answer may be better.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableAnswer {
    /// Not JSON, or nested deeper than [`MAX_DEPTH`].
    #[error("the answer is not JSON: {0}")]
    NotJson(String),
    /// JSON, but not a job.
    #[error("the answer is not a job: {0}")]
    NotAJob(&'static str),
    /// Another job than the requested one.
    #[error("the answer is another job")]
    OtherJob,
}

type RawObject<'a> = HashMap<String, &'a RawValue>;

impl Snapshot {
    /// Reads a body. With `expected`, an answer with another id is refused (docs/jobs.md, "What is recorded": without `url`
    /// in the row another id is unusable).
    ///
    /// # Errors
    /// [`UnusableAnswer`] when the body is not a job, or another one.
    pub fn parse(body: &str, expected: Option<&JobId>) -> Result<Self, UnusableAnswer> {
        let body = body.trim();
        if depth_of(body) > MAX_DEPTH {
            return Err(UnusableAnswer::NotJson(
                "it is nested too deeply".to_owned(),
            ));
        }
        let not_json = |error: serde_json::Error| UnusableAnswer::NotJson(error.to_string());
        if !body.starts_with('{') {
            serde_json::from_str::<&RawValue>(body).map_err(not_json)?;
            return Err(UnusableAnswer::NotAJob("it is not an object"));
        }
        let object: RawObject<'_> = serde_json::from_str(body).map_err(not_json)?;
        // The JSON of a proxy must not be read as a job without steps.
        if !["type", "id", "steps"]
            .iter()
            .any(|key| object.contains_key(*key))
        {
            return Err(UnusableAnswer::NotAJob("it has no type, id or steps"));
        }
        if text_of(&object, "type").is_some_and(|kind| kind != "job") {
            return Err(UnusableAnswer::NotAJob("its type is not \"job\""));
        }
        if let (Some(expected), Some(id)) = (expected, text_of(&object, "id"))
            && !same_id(&id, expected.as_str())
        {
            return Err(UnusableAnswer::OtherJob);
        }
        Ok(Self {
            body: body.to_owned(),
            steps: read_steps(&object)?,
            remote_updated: text_of(&object, "updated").or_else(|| text_of(&object, "updatedDate")),
        })
    }

    /// A hash that is equal for two answers that describe the job alike; times in challenges are ignored.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.remote_updated.hash(&mut hasher);
        for step in &self.steps {
            let result = step.result.as_deref();
            let identity = |challenge: Challenge| challenge.identity(challenge.response.as_deref());
            let challenge = challenge_of(result).map(identity);
            (&step.title, &step.status).hash(&mut hasher);
            challenge
                .as_deref()
                .or(result)
                .map(digest)
                .hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// The API's time of the last change of a recorded job.
#[must_use]
pub fn updated_of(resource: &str) -> Option<UnixMillis> {
    let job: RawObject<'_> = serde_json::from_str(resource).ok()?;
    let updated = text_of(&job, "updated").or_else(|| text_of(&job, "updatedDate"));
    UnixMillis::parse_rfc3339(&updated?)
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

/// Depth of the nesting of lists and objects in a text, JSON or not.
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

fn read_steps(object: &RawObject<'_>) -> Result<Vec<Step>, UnusableAnswer> {
    let Some(raw) = object.get("steps").filter(|raw| raw.get() != "null") else {
        return Ok(Vec::new());
    };
    let items: Vec<RawObject<'_>> = serde_json::from_str(raw.get())
        .map_err(|_| UnusableAnswer::NotAJob("its steps are not a list of objects"))?;
    if items.len() > MAX_STEPS {
        return Err(UnusableAnswer::NotAJob("it has more than 10,000 steps"));
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

/// A field as text: a string's content, any other value's JSON, `None` if it is null or absent.
fn text_of(object: &RawObject<'_>, key: &str) -> Option<String> {
    match object.get(key)?.get() {
        "null" => None,
        raw if raw.starts_with('"') => {
            let text: String = serde_json::from_str(raw).ok()?;
            // SQLite cuts a text at a NUL, and a step with a cut title would not be found again.
            Some(text.replace('\0', "\\u0000"))
        }
        raw => Some(raw.to_owned()),
    }
}

/// A field that is a JSON string.
fn string_of(object: &RawObject<'_>, key: &str) -> Option<String> {
    serde_json::from_str(object.get(key)?.get()).ok()
}

/// A field's JSON; null if it is absent.
fn field<'a>(object: &RawObject<'a>, key: &str) -> &'a RawValue {
    object.get(key).copied().unwrap_or(RawValue::NULL)
}

/// The first value that `pick` returns for the object that a result is, or for one in its list. Only one object at a time is
/// parsed in memory.
fn find_object<'a, T>(result: &'a str, pick: impl Fn(&RawObject<'a>) -> Option<T>) -> Option<T> {
    let pick = |text: &'a str| {
        let object = text.starts_with('{').then(|| serde_json::from_str(text));
        pick(&object?.ok()?)
    };
    if !result.starts_with('[') {
        return pick(result);
    }
    let items: Vec<&RawValue> = serde_json::from_str(result).ok()?;
    items.into_iter().find_map(|item| pick(item.get()))
}

/// The challenge that a result is or holds: its first object of type `mfa` (docs/api.md, fact 10).
#[must_use]
pub fn challenge_of(result: Option<&str>) -> Option<Challenge> {
    find_object(result?, |object| {
        let is_mfa = string_of(object, "type").as_deref() == Some("mfa");
        is_mfa.then(|| Challenge::read(object))
    })
}

/// The error that a result is or holds: its first object with a `code`, or failing that a `title` or a detail.
#[must_use]
pub fn error_of(result: Option<&str>) -> Option<ApiError> {
    let result = result?;
    let with = |keys: &'static [&'static str]| {
        find_object(result, move |object| {
            let has = |key: &&str| field(object, key).get() != "null";
            keys.iter().any(has).then(|| ApiError::read(object))
        })
    };
    with(&["code"]).or_else(|| with(&["title", "detail", "details"]))
}

/// The error code of a pending step that the API has queued to try again later.
pub const QUEUED_CODE: &str = "temporary-unavailable-queued";

/// Whether a step waits in the API's own retry queue.
#[must_use]
pub fn is_queued(status: &StepStatus, result: Option<&str>) -> bool {
    *status == StepStatus::Pending
        && error_of(result).is_some_and(|error| error.code.text().as_deref() == Some(QUEUED_CODE))
}

impl ApiError {
    fn read(object: &RawObject<'_>) -> Self {
        let value = |key| Verbatim::from(field(object, key));
        let detail = if field(object, "detail").get() == "null" {
            "details"
        } else {
            "detail"
        };
        Self {
            code: value("code"),
            title: value("title"),
            detail: value(detail),
        }
    }
}

impl Challenge {
    fn read(object: &RawObject<'_>) -> Self {
        let links = serde_json::from_str(field(object, "links").get()).unwrap_or_default();
        Self {
            method: field(object, "method").to_owned(),
            description: field(object, "description").to_owned(),
            input: field(object, "input").to_owned(),
            expiry_ms: expiry(field(object, "expiryMs").get()),
            response: string_of(&links, "response"),
        }
    }

    /// What identifies it, as a JSON object: without times (docs/jobs.md, "What is recorded"). `link` is its
    /// response link, which the API writes with or without its origin.
    #[must_use]
    pub fn identity(&self, link: Option<&str>) -> String {
        format!(
            r#"{{"method":{},"description":{},"input":{},"response":{}}}"#,
            self.method,
            self.description,
            self.input,
            Value::from(link)
        )
    }

    /// What the user has to enter, in order; empty if the API wants no input.
    #[must_use]
    pub fn inputs(&self) -> Vec<&RawValue> {
        match self.input.get() {
            "null" => Vec::new(),
            list if list.starts_with('[') => serde_json::from_str(list).unwrap_or_default(),
            _ => vec![&self.input],
        }
    }
}

/// Any number above zero, or a text with one, rounded up to whole milliseconds; anything else is ignored.
fn expiry(json: &str) -> Option<u64> {
    let text: Option<String> = serde_json::from_str(json).ok();
    let number: f64 = text.as_deref().unwrap_or(json).trim().parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "above zero, and a number that is too large becomes the largest"
    )]
    let whole = |millis: f64| millis.ceil() as u64;
    (number.is_finite() && number > 0.0).then(|| whole(number))
}

/// Whether two results are the same JSON value (docs/jobs.md, "What is recorded").
#[must_use]
pub fn same_result(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same_value(a, b),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests;
