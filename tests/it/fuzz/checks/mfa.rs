//! The body of `POST /jobs/{id}/mfa`.

use jobtrackd::mfa::{Answers, LONGEST_ANSWER, MOST_ANSWERS};
use serde_json::Value;

use super::is_said;

/// A shorter text may be part of any message.
const SHORTEST: usize = 4;

pub(super) fn check(bytes: &[u8]) {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let given = value["mfa-response"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    match Answers::from_json(bytes) {
        Ok(answers) => {
            assert!(answers.len() <= MOST_ANSWERS);
            assert_eq!(answers.len(), given.len(), "one for each input");
        }
        Err(error) => {
            let message = format!("{error} {error:?}");
            let texts = given
                .iter()
                .filter_map(Value::as_str)
                .filter(|text| text.len() >= SHORTEST);
            for text in texts {
                let repeats = message.contains(text) && !text.trim().is_empty();
                assert!(
                    !repeats || is_said(text, &messages()),
                    "an answer is in the message: {message}"
                );
            }
        }
    }
}

/// Every message, without an answer that could be in it.
fn messages() -> Vec<String> {
    let long = format!(
        r#"{{"mfa-response":["{}"]}}"#,
        "x".repeat(LONGEST_ANSWER + 1)
    );
    let many = format!(
        r#"{{"mfa-response":[{}]}}"#,
        vec!["\"x\""; MOST_ANSWERS + 1].join(",")
    );
    let empty = [r#"{"mfa-response":[""]}"#, "7"];
    let bodies = empty.into_iter().chain([long.as_str(), many.as_str()]);
    let errors = bodies.filter_map(|body| Answers::from_json(body.as_bytes()).err());
    errors.map(|error| format!("{error} {error:?}")).collect()
}
