//! An open challenge: what the user has to answer, until when, and where.

use std::time::Duration;

use serde_json::Value;

use super::screen::View;
use super::style::Tone;
use super::text;
use crate::core::event::EventType;
use crate::core::resource::{Challenge, mfa_object};
use crate::core::time::UnixMillis;
use crate::store::{JobDetail, StepView};

/// An expiry below this is hardly meant as it is written: some of the API's own examples hold seconds.
const IMPLAUSIBLE: Duration = Duration::from_secs(10);

/// Most questions that are listed.
const MOST_INPUTS: usize = 20;

/// What was told of a challenge when it was first seen.
struct Told {
    expires_at: Option<UnixMillis>,
    response_url: Option<String>,
}

/// The facts of a step's challenge, each with its name; nothing when it has none.
pub(super) fn facts(
    step: &StepView,
    detail: &JobDetail,
    view: &View,
) -> Vec<(&'static str, String, Tone)> {
    let Some(mfa) = mfa_object(step.result.as_deref()) else {
        return Vec::new();
    };
    let challenge = Challenge::read(&mfa);
    let told = told(step, detail);
    let method = text::value(&challenge.method).unwrap_or_else(|| "of no known method".to_owned());
    let mut facts = vec![("challenge", method, Tone::Warn)];
    // Some institutions repeat the method as the description.
    if let Some(description) = text::value(&challenge.description)
        && challenge.description != challenge.method
    {
        facts.push(("", description, Tone::Plain));
    }
    let inputs = inputs(&challenge.input);
    for (index, input) in inputs.iter().enumerate() {
        let name = if index == 0 { "asks for" } else { "" };
        let input = if inputs.len() > 1 {
            format!("{}. {input}", index + 1)
        } else {
            input.clone()
        };
        facts.push((name, input, Tone::Plain));
    }
    let expiry = challenge.expiry_ms.map(Duration::from_millis);
    let expires_at = told
        .as_ref()
        .and_then(|told| told.expires_at)
        .or_else(|| Some(step.updated_at.plus(expiry?)));
    if let Some(at) = expires_at {
        facts.push(expires(at, view));
    }
    if let Some(expiry) = expiry.filter(|expiry| *expiry < IMPLAUSIBLE) {
        let millis = expiry.as_millis();
        let seconds = u64::try_from(millis).unwrap_or_default();
        let remark = format!(
            "expiryMs {millis} is implausibly short; the API may mean seconds, {}",
            text::brief(Duration::from_secs(seconds))
        );
        facts.push(("remark", remark, Tone::Warn));
    }
    let url = told.and_then(|told| told.response_url);
    if let Some(url) = url.or(challenge.response) {
        let url = text::outside(&url, text::TEXT_LIMIT);
        facts.push(("answer at", url, Tone::Plain));
    }
    facts
}

fn expires(at: UnixMillis, view: &View) -> (&'static str, String, Tone) {
    let when = text::moment(at);
    if at > view.now {
        let left = text::brief(at.since(view.now));
        ("expires", format!("in {left}, {when}"), Tone::Plain)
    } else {
        let ago = text::ago(view.now.since(at));
        ("expired", format!("{ago}, {when}"), Tone::Warn)
    }
}

fn inputs(input: &Value) -> Vec<String> {
    match input {
        Value::Array(items) => items
            .iter()
            .filter_map(text::value)
            .take(MOST_INPUTS)
            .collect(),
        one => text::value(one).into_iter().collect(),
    }
}

/// What `job.action_required` said of this step last; the event holds the absolute address and the time of expiry.
fn told(step: &StepView, detail: &JobDetail) -> Option<Told> {
    let kind = EventType::ActionRequired.as_str();
    let events = detail
        .events
        .iter()
        .rev()
        .filter(|event| event.kind == kind);
    for event in events {
        let body: Value = serde_json::from_str(&event.body).ok()?;
        let challenge = body.get("data")?.get("challenge")?;
        if challenge.get("step").and_then(Value::as_str) != Some(step.title.as_str()) {
            continue;
        }
        let field = |key: &str| challenge.get(key).and_then(Value::as_str);
        return Some(Told {
            expires_at: field("expires_at")
                .and_then(|at| at.parse::<jiff::Timestamp>().ok())
                .map(UnixMillis::from),
            response_url: field("response_url").map(str::to_owned),
        });
    }
    None
}
