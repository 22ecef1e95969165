//! A user's answers, in memory that is overwritten when they are dropped.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Most answers of one challenge.
pub const MOST_ANSWERS: usize = 20;

/// Longest answer, in bytes.
pub const LONGEST_ANSWER: usize = 4096;

/// A user's answers, one text per input.
pub struct Answers(Vec<Zeroizing<String>>);

/// Why answers are not valid. No answer is ever part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAnswers {
    /// The body does not have the right form.
    #[error("write a JSON object with one list of texts: {{\"mfa-response\":[\"1234\"]}}")]
    NotAnswers,
    /// More than [`MOST_ANSWERS`].
    #[error("a challenge takes at most {MOST_ANSWERS} answers")]
    TooMany,
    /// Nothing, or blanks only.
    #[error("answer {0} is empty")]
    Empty(usize),
    /// Above [`LONGEST_ANSWER`].
    #[error("answer {0} is longer than {LONGEST_ANSWER} bytes")]
    TooLong(usize),
}

/// The body, for the API and the status server alike.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<T> {
    #[serde(rename = "mfa-response")]
    answers: T,
}

impl Answers {
    /// Takes these texts, each for one input.
    ///
    /// # Errors
    /// [`InvalidAnswers`] says which one is not valid.
    pub fn new(answers: Vec<Zeroizing<String>>) -> Result<Self, InvalidAnswers> {
        if answers.len() > MOST_ANSWERS {
            return Err(InvalidAnswers::TooMany);
        }
        for (number, answer) in (1..).zip(&answers) {
            if answer.trim().is_empty() {
                return Err(InvalidAnswers::Empty(number));
            }
            if answer.len() > LONGEST_ANSWER {
                return Err(InvalidAnswers::TooLong(number));
            }
        }
        Ok(Self(answers))
    }

    /// Reads `{"mfa-response":[…]}`.
    ///
    /// # Errors
    /// [`InvalidAnswers`] when it is anything else, or an answer is not valid.
    pub fn from_json(body: &[u8]) -> Result<Self, InvalidAnswers> {
        // The parser's own error would repeat a part of the answers.
        let body: Body<_> = serde_json::from_slice(body).map_err(|_| InvalidAnswers::NotAnswers)?;
        Self::new(body.answers)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body for the API, in memory that never moves while it is written.
    pub(super) fn body(&self) -> Zeroizing<Vec<u8>> {
        // A byte takes at most six in JSON; each answer has two quotes and a comma.
        let texts: usize = self.0.iter().map(|answer| answer.len() * 6 + 3).sum();
        let mut body = Zeroizing::new(Vec::with_capacity(texts + 32));
        let answers = &self.0;
        // Writing texts to memory cannot fail.
        let written = serde_json::to_writer(&mut *body, &Body { answers });
        debug_assert!(written.is_ok() && body.len() <= texts + 32);
        body
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers(***)")
    }
}

/// How many answers a challenge takes, in words.
pub(super) fn count(number: usize) -> String {
    match number {
        0 => "no answer, or one to confirm".to_owned(),
        1 => "1 answer".to_owned(),
        more => format!("{more} answers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(texts: &[&str]) -> Result<Answers, InvalidAnswers> {
        let owned = texts.iter().map(|text| Zeroizing::new((*text).to_owned()));
        Answers::new(owned.collect())
    }

    #[test]
    fn the_body_is_what_the_api_takes_and_what_is_read_back() {
        let hostile = "\u{0}\"\\\u{1f}ä😀".repeat(100);
        for texts in [
            &[][..],
            &["1234"],
            &["Basiq", "AU00002"],
            &[&hostile, " x "],
        ] {
            let body = answers(texts).unwrap().body();
            let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(value, serde_json::json!({ "mfa-response": texts }));
            assert_eq!(Answers::from_json(&body).unwrap().body(), body);
        }
        let worst = "\u{1}".repeat(LONGEST_ANSWER);
        let body = answers(&vec![worst.as_str(); MOST_ANSWERS]).unwrap().body();
        assert_eq!(body.len(), 18 + MOST_ANSWERS * (LONGEST_ANSWER * 6 + 3));
    }

    #[test]
    fn only_texts_within_bounds_are_answers() {
        let (long, right) = ("x".repeat(LONGEST_ANSWER + 1), "x".repeat(LONGEST_ANSWER));
        assert!(answers(&[&right]).is_ok());
        assert_eq!(
            answers(&["a", &long]).unwrap_err(),
            InvalidAnswers::TooLong(2)
        );
        assert_eq!(answers(&["", "b"]).unwrap_err(), InvalidAnswers::Empty(1));
        assert_eq!(
            answers(&["a", " \t"]).unwrap_err(),
            InvalidAnswers::Empty(2)
        );
        assert!(answers(&["a"; MOST_ANSWERS]).is_ok());
        let many = answers(&["a"; MOST_ANSWERS + 1]);
        assert_eq!(many.unwrap_err(), InvalidAnswers::TooMany);
    }

    #[test]
    fn what_is_not_a_list_of_texts_is_refused_without_repeating_it() {
        for body in [
            "",
            "canary",
            "[\"canary\"]",
            "{}",
            "{\"mfa-response\":\"canary\"}",
            "{\"mfa-response\":[1234]}",
            "{\"mfa-response\":[null]}",
            "{\"mfa-response\":[[\"canary\"]]}",
            "{\"mfa-response\":[\"canary\"],\"canary\":1}",
            "{\"mfa-response\":[\"a\"],\"mfa-response\":[\"canary\"]}",
            "{\"mfa-response\":[\"canary\"]",
            "{\"mfa-response\":[\"canary\"]} canary",
        ] {
            let refused = Answers::from_json(body.as_bytes()).unwrap_err();
            assert_eq!(refused, InvalidAnswers::NotAnswers, "{body}");
        }
        let printed = format!("{:?}", answers(&["canary"]).unwrap());
        assert_eq!(printed, "Answers(***)");
    }
}
