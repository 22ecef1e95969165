//! The name of the header that an API key is sent in.

use http::header::{ACCEPT, HeaderName};

use crate::sockets::FRAMING;

/// Beginnings of names that concern proxies, or make an answer depend on an earlier one.
const RESERVED_BEGINNINGS: [&str; 2] = ["if-", "proxy-"];

/// The name of a header that the client does not set itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeader(HeaderName);

/// Why a key cannot be sent in a header of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyHeader {
    /// Not a valid name.
    #[error("not a valid header name")]
    Name,
    /// A name that only the client may set.
    #[error("this header is set by jobtrackd itself or must not be set")]
    Reserved,
}

impl KeyHeader {
    /// Reads a name as it is written in the configuration, in any case.
    ///
    /// # Errors
    /// [`InvalidKeyHeader`].
    pub fn parse(name: &str) -> Result<Self, InvalidKeyHeader> {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| InvalidKeyHeader::Name)?;
        let begins = |beginning: &&str| name.as_str().starts_with(*beginning);
        if FRAMING.contains(&name.as_str())
            || name == ACCEPT
            || RESERVED_BEGINNINGS.iter().any(begins)
        {
            return Err(InvalidKeyHeader::Reserved);
        }
        Ok(Self(name))
    }

    pub(super) fn name(&self) -> &HeaderName {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_sets_itself_is_refused_in_any_spelling() {
        let others = ["accept", "If-None-Match", "Proxy-Authorization"];
        for name in FRAMING.iter().chain(&others) {
            let refused = KeyHeader::parse(&name.to_uppercase());
            assert_eq!(refused, Err(InvalidKeyHeader::Reserved), "{name}");
        }
        for name in ["", "two words", "x:y", "naïve", "x\r\ny"] {
            assert_eq!(KeyHeader::parse(name), Err(InvalidKeyHeader::Name));
        }
        for name in ["X-API-Key", "authorization", "api-key"] {
            let header = KeyHeader::parse(name).unwrap();
            assert_eq!(header.name().as_str(), name.to_lowercase());
        }
    }
}
