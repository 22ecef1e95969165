//! The signature of a Standard Webhooks 1.0 request, checked independently of the code that signs.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use jobtrackd_core::time::UnixMillis;

/// How far a request's timestamp may be from our clock, in seconds: five minutes.
const TOLERANCE: u64 = 5 * 60;

/// Why a signature is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Without one of the three headers it cannot be checked.
    #[error("the header {0} is missing or not text")]
    Header(&'static str),
    /// Not a number of seconds, or too far from now.
    #[error("webhook-timestamp is not within five minutes of now")]
    Timestamp,
    /// None of its `v1` signatures is made with our key over this id, this time and these bytes.
    #[error("no signature fits")]
    Mismatch,
}

/// The key in a secret; `None` when it is not base64.
pub(super) fn key_of(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.trim_start_matches("whsec_")).ok()
}

pub(super) fn header_of<'a>(
    headers: &'a HeaderMap,
    name: &'static str,
) -> Result<&'a str, SignatureError> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.ok_or(SignatureError::Header(name))
}

/// Whether one of the request's signatures is made with this secret over its id, its time and its body.
pub(super) fn verify(
    secret: &str,
    headers: &HeaderMap,
    body: &[u8],
    now: UnixMillis,
) -> Result<(), SignatureError> {
    let id = header_of(headers, "webhook-id")?;
    let timestamp = header_of(headers, "webhook-timestamp")?;
    let signatures = header_of(headers, "webhook-signature")?;
    let seconds: i64 = timestamp.parse().map_err(|_| SignatureError::Timestamp)?;
    if seconds.abs_diff(now.0.div_euclid(1000)) > TOLERANCE {
        return Err(SignatureError::Timestamp);
    }
    let key = key_of(secret).ok_or(SignatureError::Mismatch)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| SignatureError::Mismatch)?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    let fits = |signature: &str| {
        let code = signature.strip_prefix("v1,");
        let code = code.and_then(|text| STANDARD.decode(text).ok());
        code.is_some_and(|code| mac.clone().verify_slice(&code).is_ok())
    };
    if signatures.split(' ').any(fits) {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
    const NOW: UnixMillis = UnixMillis(1_795_359_845_000);
    const SECONDS: i64 = 1_795_359_845;

    fn signed(id: &str, seconds: i64, body: &[u8]) -> String {
        let key = key_of(SECRET).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    fn headers(id: &[u8], timestamp: &[u8], signature: &[u8]) -> HeaderMap {
        let values = [
            ("webhook-id", id),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature),
        ];
        let values = values.map(|(name, value)| Some((name, HeaderValue::from_bytes(value).ok()?)));
        let mut headers = HeaderMap::new();
        for (name, value) in values.into_iter().flatten() {
            headers.insert(name, value);
        }
        headers
    }

    proptest! {
        #[test]
        fn any_headers_are_refused_without_the_key(
            id in proptest::collection::vec(any::<u8>(), 0..40),
            timestamp in prop_oneof![Just(SECONDS.to_string()), "[0-9+-]{0,25}", ".{0,20}"],
            signature in prop_oneof!["(v1,[A-Za-z0-9+/=]{0,50} ?){0,6}", ".{0,60}"],
            secret in prop_oneof![Just(SECRET.to_owned()), ".{0,40}"],
        ) {
            let headers = headers(&id, timestamp.as_bytes(), signature.as_bytes());
            let verified = verify(&secret, &headers, b"{}", NOW);
            prop_assert!(verified.is_err());
        }

        #[test]
        fn a_valid_signature_counts_among_others_and_for_these_bytes_and_this_time_only(
            id in "[a-z0-9_]{1,40}",
            body in proptest::collection::vec(any::<u8>(), 0..200),
            others in proptest::collection::vec("(v1|v1a|v2),[A-Za-z0-9+/=]{0,50}", 0..4),
            at in any::<prop::sample::Index>(),
            off in -400..400_i64,
        ) {
            let seconds = SECONDS + off;
            let mut signatures = others;
            signatures.insert(at.index(signatures.len() + 1), signed(&id, seconds, &body));
            let headers = headers(id.as_bytes(), seconds.to_string().as_bytes(), signatures.join(" ").as_bytes());
            let expected = if off.unsigned_abs() <= TOLERANCE { Ok(()) } else { Err(SignatureError::Timestamp) };
            prop_assert_eq!(verify(SECRET, &headers, &body, NOW), expected);
            let mut other = body;
            other.push(b'x');
            prop_assert!(verify(SECRET, &headers, &other, NOW).is_err());
        }
    }
}
