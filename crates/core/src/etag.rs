//! Entity tags: with the one of the answer that was recorded last, a poll asks whether there is a newer one.

use http::HeaderMap;
use http::header::ETAG;

use super::planted::{self, Bug};

/// Longest entity tag that is kept, in bytes.
pub const MAX_ETAG: usize = 256;

/// An entity tag (RFC 9110, 8.8.3), weak or strong, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(Box<str>);

impl Etag {
    /// The tag of an answer, if the API may be asked with it.
    ///
    /// Only that of a 200, since a 304 stands for a 200: where the status is the job's state, a 304 to the tag of a 202 would
    /// not say which of the two it is. Only one that distinguishes something: neither `*` nor `""`.
    #[must_use]
    pub fn of(status: u16, headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(ETAG).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        if status != 200 && !planted::is(Bug::EtagOfAnyStatus) {
            return None;
        }
        let text = value.to_str().ok().filter(|text| text.len() <= MAX_ETAG)?;
        let quoted = text.strip_prefix("W/").unwrap_or(text);
        let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let is_valid = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
        let is_tag = !opaque.is_empty() && opaque.bytes().all(is_valid);
        is_tag.then(|| Self(text.into()))
    }

    /// As it is sent back.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(status: u16, values: &[&[u8]]) -> Option<Etag> {
        let value = |value: &&[u8]| (ETAG, HeaderValue::from_bytes(value).unwrap());
        Etag::of(status, &values.iter().map(value).collect())
    }

    #[test]
    fn a_tag_is_kept_as_it_was_sent() {
        let longest = format!("\"{}\"", "x".repeat(MAX_ETAG - 2));
        for text in ["\"a\"", "W/\"33-a\"", "\"!#\\~\"", &longest] {
            let kept = of(200, &[text.as_bytes()]);
            assert_eq!(kept.as_ref().map(Etag::as_str), Some(text));
        }
    }

    #[test]
    fn what_is_no_tag_or_distinguishes_nothing_or_is_too_long_is_not_kept() {
        let longer = format!("\"{}\"", "x".repeat(MAX_ETAG - 1));
        for text in [
            "",
            "*",
            "a",
            "\"",
            "\"a",
            "a\"",
            "\"\"",
            "W/\"\"",
            "w/\"a\"",
            "W/a",
            "\"a\", \"b\"",
            "\"a b\"",
            "\"\u{e9}\"",
            &longer,
        ] {
            assert_eq!(of(200, &[text.as_bytes()]), None, "{text}");
        }
        assert_eq!(of(200, &[b"\"\xff\""]), None);
        assert_eq!(of(200, &[b"\"a\"", b"\"b\""]), None, "which of them?");
        assert_eq!(of(200, &[]), None);
    }

    #[test]
    fn only_the_tag_of_a_200_is_kept() {
        for status in [201, 202, 204, 303, 304, 404] {
            assert_eq!(of(status, &[b"\"a\""]), None, "{status}");
        }
    }
}
