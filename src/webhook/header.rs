//! Headers that the operator adds to every request to a webhook.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::sockets::FRAMING;

/// Longest value, in bytes (docs/configuration.md, "Keys").
const MAX_VALUE: usize = 4096;

/// The name of the delivery's trace, which only jobtrackd sets.
const TRACE: &str = "traceparent";

/// Prefixes of names that only jobtrackd sets or that concern proxies.
const RESERVED_BEGINNINGS: [&str; 2] = ["proxy-", "webhook-"];

/// One header. Its value is a secret and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomHeader {
    name: HeaderName,
    value: HeaderValue,
}

/// Why a header cannot be sent. None of the messages holds the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// Not a name that HTTP knows.
    #[error("not a valid header name")]
    Name,
    /// A name that only the sender sets.
    #[error("this header is set by jobtrackd itself or must not be set")]
    Reserved,
    /// Line breaks or other control characters.
    #[error("the value holds control characters, or others than ASCII")]
    Value,
    /// Longer than 4096 bytes.
    #[error("the value is longer than {MAX_VALUE} bytes")]
    TooLong,
}

impl CustomHeader {
    /// Reads a header as it is written in the configuration.
    ///
    /// # Errors
    /// [`InvalidHeader`].
    pub fn parse(name: &str, value: &str) -> Result<Self, InvalidHeader> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidHeader::Name)?;
        let begins = |beginning: &&str| name.as_str().starts_with(*beginning);
        if FRAMING.contains(&name.as_str())
            || name == TRACE
            || RESERVED_BEGINNINGS.iter().any(begins)
        {
            return Err(InvalidHeader::Reserved);
        }
        if value.len() > MAX_VALUE {
            return Err(InvalidHeader::TooLong);
        }
        // The library would let bytes above ASCII through, which receivers read in different ways.
        if !value.is_ascii() {
            return Err(InvalidHeader::Value);
        }
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| InvalidHeader::Value)?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }

    /// Its name, in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub(super) fn value(&self) -> &[u8] {
        self.value.as_bytes()
    }

    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        headers.append(self.name.clone(), self.value.clone());
    }
}

impl fmt::Debug for CustomHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ***", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_a_request_or_speaks_for_the_sender_is_refused_in_any_spelling() {
        let others = [
            TRACE,
            "Proxy-Authorization",
            "WEBHOOK-ID",
            "webhook-anything",
        ];
        for name in FRAMING.iter().chain(&others) {
            let refused = CustomHeader::parse(&name.to_uppercase(), "x");
            assert_eq!(refused, Err(InvalidHeader::Reserved), "{name}");
        }
        for name in ["", "two words", "x:y", "naïve", "x\r\ny"] {
            assert_eq!(CustomHeader::parse(name, "x"), Err(InvalidHeader::Name));
        }
    }

    #[test]
    fn values_are_one_line_of_bounded_length_and_are_not_printed() {
        for value in ["a\r\nhost: evil", "a\0b", "\u{7f}", "naïve", "\u{a0}x"] {
            assert_eq!(
                CustomHeader::parse("x-key", value),
                Err(InvalidHeader::Value)
            );
        }
        let long = "x".repeat(MAX_VALUE + 1);
        assert_eq!(
            CustomHeader::parse("x-key", &long),
            Err(InvalidHeader::TooLong)
        );
        let header = CustomHeader::parse("X-Key", " canary ").unwrap();
        assert_eq!(format!("{header:?}"), "x-key: ***");
        let mut headers = HeaderMap::new();
        header.add_to(&mut headers);
        assert_eq!(headers["x-key"], "canary");
        assert!(!format!("{headers:?}").contains("canary"));
    }
}
