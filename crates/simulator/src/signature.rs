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
