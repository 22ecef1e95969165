//! An open challenge: the questions, until when, and where to answer.

use std::time::Duration;

use super::screen::{Fact, Tone, View};
use super::text;
use crate::mfa::IMPLAUSIBLE;
use crate::store::StepRow;

/// Most questions that are listed.
const MOST_INPUTS: usize = 20;

/// The facts of a step's challenge, each with its name; empty when it has none.
pub(super) fn facts(step: &StepRow, view: &View) -> Vec<Fact> {
    let Some(recorded) = &step.challenge else {
        return Vec::new();
    };
    let Ok(challenge) = recorded.challenge() else {
        return Vec::new();
    };
    let method = text::raw(&challenge.method).unwrap_or_else(|| "of no known method".to_owned());
    let mut facts = vec![("challenge", method, Tone::Warn)];
    // Some institutions repeat the method as the description.
    if let Some(description) = text::raw(&challenge.description)
        && challenge.description.get() != challenge.method.get()
    {
        facts.push(("", description, Tone::Plain));
    }
    let inputs = challenge.inputs().into_iter().take(MOST_INPUTS);
    let inputs: Vec<String> = inputs.filter_map(text::raw).collect();
    for (number, input) in (1..).zip(&inputs) {
        let name = if number == 1 { "asks for" } else { "" };
        let input = match inputs.len() {
            1 => input.clone(),
            _ => format!("{number}. {input}"),
        };
        facts.push((name, input, Tone::Plain));
    }
    if let Some(at) = recorded.expires_at {
        let when = text::moment(at);
        facts.push(match view.ahead(at) {
            Some(left) => ("expires", format!("{left}, {when}"), Tone::Plain),
            None => ("expired", format!("{}, {when}", view.ago(at)), Tone::Warn),
        });
    }
    let is_short = |millis: &u64| Duration::from_millis(*millis) < IMPLAUSIBLE;
    if let Some(millis) = challenge.expiry_ms.filter(is_short) {
        let seconds = text::brief(Duration::from_secs(millis));
        let remark =
            format!("expiryMs {millis} is implausibly short; the API may mean seconds, {seconds}");
        facts.push(("remark", remark, Tone::Warn));
    }
    let url = recorded
        .response_url
        .as_ref()
        .or(challenge.response.as_ref());
    if let Some(url) = url {
        let url = text::outside(url, text::TEXT_LIMIT);
        facts.push(("answer at", url, Tone::Plain));
    }
    facts
}
