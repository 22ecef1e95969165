//! The answer of a webhook as it is stored and shown: escaped, bounded, without our secrets.

use serde::Serialize;
use strum::{EnumString, IntoStaticStr};

use super::redact::Redactor;
use super::text::push_printable;

/// Longest answer that is kept, in bytes, before and after escaping: 16 KiB (docs/events-and-receiving.md, "What is
/// kept of an answer").
pub const MAX_ANSWER: usize = 16 << 10;

/// The beginning of an answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The text, at most [`MAX_ANSWER`] bytes: control and invisible characters and bytes that are not UTF-8 are escaped.
    pub text: String,
    /// Why the rest of it is missing.
    pub cut: Option<Cut>,
}

/// Why an answer was not kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EnumString, IntoStaticStr, Serialize)]
#[serde(into = "&'static str")]
#[strum(serialize_all = "snake_case")]
pub enum Cut {
    /// It is longer than [`MAX_ANSWER`].
    TooLarge,
    /// It had not ended when the webhook's `timeout` was over.
    TooSlow,
    /// The connection broke.
    Broken,
}

impl Cut {
    /// The word stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Answer {
    /// An answer from the first bytes of a body, without `secrets`, since many receivers echo the request; `None` if the
    /// body is empty and whole.
    #[must_use]
    pub fn of(body: &[u8], cut: Option<Cut>, secrets: &Redactor) -> Option<Self> {
        if body.is_empty() && cut.is_none() {
            return None;
        }
        let end = body.len().min(MAX_ANSWER);
        let whole = end == body.len() && cut.is_none();
        let kept = secrets.hide(body.get(..end).unwrap_or(body), whole);
        let (text, fits) = escaped(&kept);
        let too_large = (!fits || end < body.len()).then_some(Cut::TooLarge);
        Some(Self {
            text,
            cut: cut.or(too_large),
        })
    }
}

/// The text, and whether all of it fits.
fn escaped(bytes: &[u8]) -> (String, bool) {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let before = out.len();
            push_printable(&mut out, c);
            if out.len() > MAX_ANSWER {
                out.truncate(before);
                return (out, false);
            }
        }
        for byte in chunk.invalid() {
            if out.len() + 4 > MAX_ANSWER {
                return (out, false);
            }
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    (out, true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(body: &[u8], secrets: &[&[u8]]) -> Answer {
        Answer::of(body, None, &redactor(secrets)).unwrap()
    }

    fn redactor(secrets: &[&[u8]]) -> Redactor {
        Redactor::new(secrets.iter().copied(), [])
    }

    #[test]
    fn what_could_forge_a_line_or_a_terminal_is_escaped() {
        let answer = of(b"ok\n<0>forged\x1b[31m \xff\xfe \xe2\x80\xae", &[]);
        assert_eq!(answer.text, r"ok\n<0>forged\u{1b}[31m \xff\xfe \u{202e}");
        assert_eq!(answer.cut, None);
        assert_eq!(
            Answer::of(b"", None, &redactor(&[])),
            None,
            "nothing to keep"
        );
        let silent = Answer::of(b"", Some(Cut::TooSlow), &redactor(&[])).unwrap();
        assert_eq!(silent.cut, Some(Cut::TooSlow));
    }

    #[test]
    fn secrets_are_not_kept_not_even_the_beginning_of_one_where_the_answer_was_cut() {
        let secrets: [&[u8]; 3] = [b"canary-token", b"canary", b"abc"];
        let echoed = of(b"x canary-token y canary z abc", &secrets);
        assert_eq!(
            echoed.text, "x *** y *** z abc",
            "a secret of three bytes is too short to hide"
        );
        let mut long = vec![b'x'; MAX_ANSWER - 6];
        long.extend_from_slice(b"canary-token");
        let cut = of(&long, &secrets[..1]);
        assert!(cut.text.ends_with("x") && cut.text.len() == MAX_ANSWER - 6);
        assert_eq!(cut.cut, Some(Cut::TooLarge));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_kept_in_bounds_and_printable(
            body in prop::collection::vec(any::<u8>(), 0..40_000),
            secret in prop::collection::vec(any::<u8>(), 4..9),
            at in any::<prop::sample::Index>(),
        ) {
            let mut body = body;
            let at = at.index(body.len() + 1);
            body.splice(at..at, secret.iter().copied());
            let answer = of(&body, &[&secret]);
            prop_assert!(answer.text.len() <= MAX_ANSWER);
            prop_assert!(!answer.text.chars().any(char::is_control));
            let plain = secret.iter().all(u8::is_ascii_graphic);
            let secret = String::from_utf8_lossy(&secret);
            prop_assert!(!plain || !answer.text.contains(&*secret) || secret.contains("***"));
        }
    }
}
