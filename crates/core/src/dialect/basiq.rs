//! The API of Basiq: jobs with steps, challenges in results, errors in an envelope (docs/api.md).

mod links;

use hashbrown::HashMap;
use serde_json::Value;

use super::error::ErrorWords;
use super::raw::{self, RawObject, field, find_object, string_of, text_of};
use super::{Answer, Dialect, Reading, UnusableAnswer};
use crate::job::{Failure, FailureKind, JobId};
use crate::json::Verbatim;
use crate::snapshot::{ApiError, Challenge, MAX_STEPS, Snapshot, Step, StepClass, Verdict};
use crate::transition::MISSING;
use links::Links;

/// The error code of a pending step that the API has queued to try again later.
const QUEUED_CODE: &str = "temporary-unavailable-queued";

/// Reads Basiq's jobs.
#[derive(Debug, Clone, Copy)]
pub struct Basiq;

impl Dialect for Basiq {
    fn name(&self) -> &'static str {
        "basiq"
    }

    fn job_path(&self) -> Option<&'static str> {
        Some("/jobs/{id}")
    }

    fn job(
        &self,
        answer: &Answer<'_>,
        expected: Option<&JobId>,
    ) -> Result<Snapshot, UnusableAnswer> {
        Self::snapshot(answer.body, expected)
    }

    /// The first error of the envelope `{"data":[{"code","title","detail"}]}`. It is a verdict on the job if all
    /// objects of the list have a code (docs/api.md, fact 21) and it does not report an unknown route.
    fn error(&self, answer: &Answer<'_>) -> ErrorWords {
        #[derive(serde::Deserialize)]
        struct Envelope {
            data: Vec<Value>,
        }
        let Ok(Envelope { data }) = serde_json::from_str(answer.body) else {
            return ErrorWords::default();
        };
        let Some(error) = data.first() else {
            return ErrorWords::default();
        };
        let text = |key: &str| {
            let text = error.get(key).and_then(Value::as_str).map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let has_code = |error: &Value| error.get("code").is_some_and(Value::is_string);
        let of_route = |text: &str| text.to_ascii_lowercase().starts_with("route not found");
        let title = text("title").unwrap_or_default();
        let detail = text("detail").or(text("details")).unwrap_or_default();
        ErrorWords {
            is_verdict: data.iter().all(has_code) && !of_route(&title) && !of_route(&detail),
            code: text("code").unwrap_or_default(),
            title,
            detail,
        }
    }

    fn refusal(&self, answer: &Answer<'_>, error: &ErrorWords) -> Reading {
        match answer.status {
            // The API throttles with this as well as with 429 (docs/api.md, fact 24).
            403 if error.code == "too-many-requests" => Reading::Throttled,
            // An expired token is a 403, not a 401 (docs/api.md, fact 17).
            403 if is_expired(error) => Reading::TokenRefused,
            _ => super::by_status(answer, error),
        }
    }
}

/// Whether this 403 means that the token has expired.
fn is_expired(error: &ErrorWords) -> bool {
    let expired = |text: &str| text.to_ascii_lowercase().contains("expired");
    error.code == "access-denied" || expired(&error.title) || expired(&error.detail)
}

impl Basiq {
    /// What a status means, without the step's result.
    #[must_use]
    pub fn class_of(status: &str) -> StepClass {
        match status {
            "pending" => StepClass::Pending,
            "in-progress" => StepClass::Running,
            "success" => StepClass::Done,
            "skipped" => StepClass::Skipped,
            "failed" => StepClass::Failed,
            MISSING => StepClass::Missing,
            _ => StepClass::Unknown,
        }
    }

    /// Reads a job. With `expected`, a job with another id is refused (docs/jobs.md, "What is recorded": without
    /// `url` in the row another id is unusable).
    ///
    /// # Errors
    /// [`UnusableAnswer`] when the body is not a job, or another one.
    pub fn snapshot(body: &str, expected: Option<&JobId>) -> Result<Snapshot, UnusableAnswer> {
        let object = raw::object(body)?;
        // The JSON of a proxy must not be read as a job without steps.
        if !["type", "id", "steps"]
            .iter()
            .any(|key| object.get(key).is_some())
        {
            return Err(UnusableAnswer::NotAJob("it has no type, id or steps"));
        }
        if text_of(&object, "type").is_some_and(|kind| kind != "job") {
            return Err(UnusableAnswer::NotAJob("its type is not \"job\""));
        }
        if let (Some(expected), Some(id)) = (expected, text_of(&object, "id"))
            && !super::same_id(&id, expected.as_str())
        {
            return Err(UnusableAnswer::OtherJob);
        }
        let steps = steps(&object)?;
        let links = Links::of(&object, &steps);
        Ok(Snapshot {
            body: Some(body.trim().to_owned()),
            verdict: verdict(&steps),
            steps,
            remote_updated: text_of(&object, "updated").or_else(|| text_of(&object, "updatedDate")),
            user: links.user(),
            users: links.users(),
        })
    }
}

/// How a job ends (docs/jobs.md, "How a job ends"): any step failed, or at least one step and all of them done.
fn verdict(steps: &[Step]) -> Verdict {
    if let Some(step) = steps.iter().find(|step| step.class == StepClass::Failed) {
        let error = step.error.clone().unwrap_or_default();
        return Verdict::Failed(Failure {
            kind: FailureKind::Step,
            step: Some(step.title.clone()),
            code: error.code,
            title: error.title,
            detail: error.detail,
        });
    }
    match !steps.is_empty() && steps.iter().all(|step| step.class.is_done()) {
        true => Verdict::Success,
        false => Verdict::Running,
    }
}

fn steps(object: &RawObject<'_>) -> Result<Vec<Step>, UnusableAnswer> {
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
        steps.push(step(title, *count, position, item));
        *count += 1;
    }
    Ok(steps)
}

fn step(title: String, occurrence: u32, position: u32, item: &RawObject<'_>) -> Step {
    let status = text_of(item, "status").unwrap_or_default();
    let result = item
        .get("result")
        .map(|raw| raw.get())
        .filter(|text| *text != "null");
    let challenge = result.and_then(challenge_of);
    let class = match Basiq::class_of(&status) {
        // This word is recorded for steps that vanish; in an answer it is an unknown word of the API.
        StepClass::Missing => StepClass::Unknown,
        class => class,
    };
    let error = match class {
        StepClass::Pending | StepClass::Failed => result.and_then(error_of),
        _ => None,
    };
    let is_queued = |error: &ApiError| error.code.text().as_deref() == Some(QUEUED_CODE);
    let class = match class {
        StepClass::Pending if error.as_ref().is_some_and(is_queued) => StepClass::Queued,
        StepClass::Running if challenge.is_some() => StepClass::Waiting,
        class => class,
    };
    Step {
        title,
        occurrence,
        position,
        status,
        class,
        result: result.map(str::to_owned),
        challenge,
        error: error.filter(|_| class != StepClass::Pending),
    }
}

/// The challenge that a result is or holds: its first object of type `mfa` (docs/api.md, fact 10).
fn challenge_of(result: &str) -> Option<Challenge> {
    find_object(result, |object| {
        let is_mfa = string_of(object, "type").as_deref() == Some("mfa");
        is_mfa.then(|| challenge(object))
    })
}

fn challenge(object: &RawObject<'_>) -> Challenge {
    let links = serde_json::from_str(field(object, "links").get()).unwrap_or_default();
    Challenge {
        method: field(object, "method").to_owned(),
        description: field(object, "description").to_owned(),
        input: field(object, "input").to_owned(),
        expiry_ms: expiry(field(object, "expiryMs").get()),
        response: string_of(&links, "response"),
    }
}

/// The error that a result is or holds: its first object with a `code`, or failing that a `title` or a detail.
fn error_of(result: &str) -> Option<ApiError> {
    let with = |keys: &'static [&'static str]| {
        find_object(result, move |object| {
            let has = |key: &&str| field(object, key).get() != "null";
            keys.iter().any(has).then(|| error(object))
        })
    };
    with(&["code"]).or_else(|| with(&["title", "detail", "details"]))
}

/// Some models of the API have `details` instead of `detail`.
fn error(object: &RawObject<'_>) -> ApiError {
    let value = |key| Verbatim::from(field(object, key));
    let detail = match field(object, "detail").get() {
        "null" => "details",
        _ => "detail",
    };
    ApiError {
        code: value("code"),
        title: value("title"),
        detail: value(detail),
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

#[cfg(test)]
mod tests;
