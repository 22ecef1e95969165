//! The body of `POST /jobs/{id}/mfa`.

use jobtrackd::mfa::{Answers, MOST_ANSWERS};
use serde_json::Value;

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
                let is_word = message.contains(text) && !text.trim().is_empty();
                assert!(
                    !is_word || is_of_ours(text),
                    "an answer is in the message: {message}"
                );
            }
        }
    }
}

/// Whether a text is in the messages themselves.
fn is_of_ours(text: &str) -> bool {
    let empty = [r#"{"mfa-response":[""]}"#, r#"{"mfa-response":7}"#].map(str::as_bytes);
    let long = format!(r#"{{"mfa-response":["{}"]}}"#, "x".repeat(5000));
    let many = format!(r#"{{"mfa-response":[{}]}}"#, vec!["\"x\""; 30].join(","));
    let bodies = empty.into_iter().chain([long.as_bytes(), many.as_bytes()]);
    bodies
        .filter_map(|body| Answers::from_json(body).err())
        .any(|error| format!("{error} {error:?}").contains(text))
}
