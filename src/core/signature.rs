//! Standard Webhooks 1.0 signatures: HMAC-SHA256 (`v1`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Shortest and longest decoded key in bytes (Standard Webhooks 1.0, symmetric keys).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Secrets printed in the specification's own tests. Anybody knows them, so no configuration may use them.
const PUBLIC_SECRETS: [&str; 2] = [
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
];

/// A key that signs. Its bytes are wiped when it is dropped and never shown.
#[derive(Clone)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

/// Why a text is not a signing secret. None of the messages holds the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Not base64 of the standard alphabet with padding.
    #[error(
        "the secret is not base64; it is written as whsec_ followed by standard base64 with padding"
    )]
    NotBase64,
    /// Decoded length outside 24..=64 bytes.
    #[error("the secret decodes to {0} bytes; Standard Webhooks wants 24 to 64")]
    Length(usize),
    /// One of the specification's test keys.
    #[error(
        "the secret is a published test key; make one with: echo whsec_$(head -c 32 /dev/urandom | base64)"
    )]
    Public,
}

impl SigningKey {
    /// Reads a secret, with or without its `whsec_` prefix; white space around it is ignored.
    ///
    /// # Errors
    /// [`InvalidSecret`] when it is not base64, has a wrong length or is a published test key.
    pub fn parse(secret: &str) -> Result<Self, InvalidSecret> {
        let text = secret.trim();
        let text = text.strip_prefix("whsec_").unwrap_or(text);
        if PUBLIC_SECRETS.contains(&text) {
            return Err(InvalidSecret::Public);
        }
        Self::decode(text)
    }

    fn decode(text: &str) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(
            STANDARD
                .decode(text)
                .map_err(|_| InvalidSecret::NotBase64)?,
        );
        if KEY_BYTES.contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(InvalidSecret::Length(bytes.len()))
        }
    }

    /// The signature of one request as it stands in `webhook-signature`: `v1,` and the base64 of the HMAC-SHA256 of
    /// `{id}.{timestamp}.{body}`. `timestamp` is in whole Unix seconds.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        // HMAC takes keys of any length, so this never takes the default.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The value of `webhook-signature`: one signature per key, one space between.
#[must_use]
pub fn signature_header(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures: Vec<String> = keys
        .iter()
        .map(|key| key.sign(id, timestamp, body))
        .collect();
    signatures.join(" ")
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixed values of the specification's own test suites.
    #[test]
    fn the_published_vectors_come_out() {
        let vectors = [
            (
                PUBLIC_SECRETS[0],
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ),
            (
                PUBLIC_SECRETS[1],
                "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
                1_649_367_553,
                r#"{"email":"test@example.com","username":"test_user"}"#,
                "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
            ),
        ];
        for (secret, id, timestamp, body, expected) in vectors {
            let key = SigningKey::decode(secret).unwrap();
            assert_eq!(key.sign(id, timestamp, body.as_bytes()), expected);
        }
    }

    #[test]
    fn several_keys_sign_with_one_space_between() {
        let keys = [
            SigningKey(vec![1; 24].into()),
            SigningKey(vec![2; 24].into()),
        ];
        let header = signature_header(&keys, "evt_1", 1, b"{}");
        assert_eq!(
            header,
            format!(
                "{} {}",
                keys[0].sign("evt_1", 1, b"{}"),
                keys[1].sign("evt_1", 1, b"{}")
            )
        );
    }

    #[test]
    fn weak_public_and_malformed_secrets_are_refused_without_repeating_them() {
        let encoded = |len: usize| STANDARD.encode(vec![9u8; len]);
        assert_eq!(
            SigningKey::parse(&encoded(23)).err(),
            Some(InvalidSecret::Length(23))
        );
        assert_eq!(
            SigningKey::parse(&encoded(65)).err(),
            Some(InvalidSecret::Length(65))
        );
        assert_eq!(
            SigningKey::parse("whsec_???").err(),
            Some(InvalidSecret::NotBase64)
        );
        assert_eq!(
            SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").err(),
            Some(InvalidSecret::Public)
        );
        let key = SigningKey::parse(&format!(" whsec_{}\n", encoded(24))).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey(***)");
    }
}
