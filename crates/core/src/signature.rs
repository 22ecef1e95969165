//! Standard Webhooks 1.0 signatures: HMAC-SHA256 (`v1`) and ed25519 (`v1a`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{Ed25519KeyPair, KeyPair};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Shortest and longest decoded key in bytes (Standard Webhooks 1.0, symmetric keys).
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Secrets printed in the specification's own tests; they are public, so a configuration with one is refused.
const PUBLIC_SECRETS: [&str; 3] = [
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
];

/// Bytes of the seed of an ed25519 key, and of its public half.
const HALF: usize = 32;

/// A key that signs. Its bytes are wiped when it is dropped and never shown.
#[derive(Clone)]
pub enum SigningKey {
    /// A secret that the receiver has too: `whsec_`, signs as `v1`.
    Shared(Secret),
    /// The secret half of a key pair: `whsk_`, signs as `v1a`. 32 bytes of seed.
    Pair(Secret),
}

/// Bytes that are wiped when they are dropped and never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is not a signing secret. None of the messages holds the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Not base64 of the standard alphabet with padding.
    #[error(
        "the secret is not base64; it is written as whsec_ followed by standard base64 with padding"
    )]
    NotBase64,
    /// Decoded length outside 24..=64 bytes.
    #[error("the secret decodes to {0} bytes; Standard Webhooks requires 24 to 64")]
    Length(usize),
    /// A `whsk_` key that is not an ed25519 key.
    #[error(
        "the key is not an ed25519 key; it is written as whsk_ followed by standard base64 of the seed (32 bytes) or of seed \
         and public key (64 bytes)"
    )]
    NoPair,
    /// One of the specification's test keys.
    #[error(
        "the secret is a published test key; make one with: echo whsec_$(head -c 32 /dev/urandom | base64)"
    )]
    Public,
}

impl SigningKey {
    /// Reads a secret (`whsec_`, which may be left out) or the secret half of a key pair (`whsk_`); white space around it
    /// is ignored.
    ///
    /// # Errors
    /// [`InvalidSecret`] when it is not base64, has a wrong length or is a published test key.
    pub fn parse(secret: &str) -> Result<Self, InvalidSecret> {
        let text = secret.trim();
        let (text, pair) = match text.strip_prefix("whsk_") {
            Some(pair) => (pair, true),
            None => (text.strip_prefix("whsec_").unwrap_or(text), false),
        };
        if PUBLIC_SECRETS.contains(&text) {
            return Err(InvalidSecret::Public);
        }
        if pair {
            Self::pair(text)
        } else {
            Self::shared(text)
        }
    }

    fn shared(text: &str) -> Result<Self, InvalidSecret> {
        let secret = Secret::decode(text)?;
        if KEY_BYTES.contains(&secret.0.len()) {
            Ok(Self::Shared(secret))
        } else {
            Err(InvalidSecret::Length(secret.0.len()))
        }
    }

    fn pair(text: &str) -> Result<Self, InvalidSecret> {
        let mut secret = Secret::decode(text)?;
        let made = match secret.0.split_at_checked(HALF) {
            Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
            Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
            None => return Err(InvalidSecret::NoPair),
        };
        made.map_err(|_| InvalidSecret::NoPair)?;
        secret.0.truncate(HALF);
        Ok(Self::Pair(secret))
    }

    /// The signature of one request for the header `webhook-signature`: the version, a comma, and the base64 of the signature
    /// of `{id}.{timestamp}.{body}`. `timestamp` is in whole Unix seconds.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        match self {
            Self::Shared(secret) => {
                let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&secret.0) else {
                    unreachable!("HMAC takes keys of any length")
                };
                mac.update(head.as_bytes());
                mac.update(body);
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            }
            Self::Pair(seed) => {
                let signed = [head.as_bytes(), body].concat();
                format!("v1a,{}", STANDARD.encode(seed.key_pair().sign(&signed)))
            }
        }
    }

    /// The texts that must not be stored or shown: its bytes, and their base64 as configured.
    #[must_use]
    pub fn secrets(&self) -> [Zeroizing<Vec<u8>>; 2] {
        let (Self::Shared(secret) | Self::Pair(secret)) = self;
        [
            secret.0.clone(),
            Zeroizing::new(STANDARD.encode(&*secret.0).into_bytes()),
        ]
    }

    /// The public key with which a receiver verifies: `whpk_` and its base64. `None` for a shared secret, which the receiver
    /// needs itself.
    #[must_use]
    pub fn public(&self) -> Option<String> {
        match self {
            Self::Shared(_) => None,
            Self::Pair(seed) => {
                let pair = seed.key_pair();
                Some(format!("whpk_{}", STANDARD.encode(pair.public_key())))
            }
        }
    }
}

impl Secret {
    fn decode(text: &str) -> Result<Self, InvalidSecret> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| InvalidSecret::NotBase64)?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Made for each signature, since ring does not wipe its copy.
    fn key_pair(&self) -> Ed25519KeyPair {
        match Ed25519KeyPair::from_seed_unchecked(&self.0) {
            Ok(pair) => pair,
            Err(_) => unreachable!("the seed was checked when it was read"),
        }
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

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
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
            let key = SigningKey::shared(secret).unwrap();
            assert_eq!(key.sign(id, timestamp, body.as_bytes()), expected);
        }
    }

    #[test]
    fn several_keys_sign_with_one_space_between() {
        let keys = [
            SigningKey::shared(&STANDARD.encode([1; 24])).unwrap(),
            SigningKey::pair(&STANDARD.encode([2; 32])).unwrap(),
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

    /// The fixed value of Svix's own test.
    #[test]
    fn a_key_pair_signs_as_published() {
        let key = SigningKey::pair(PUBLIC_SECRETS[2]).unwrap();
        let signed = key.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signed,
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
        let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
        assert_eq!(key.public().as_deref(), Some(public));
    }

    #[test]
    fn key_pairs_that_do_not_fit_are_refused() {
        let foreign = [[7; 32], [8; 32]].concat();
        for bytes in [&[1; 31][..], &[1; 33], &foreign, &[]] {
            let text = format!("whsk_{}", STANDARD.encode(bytes));
            assert_eq!(SigningKey::parse(&text).err(), Some(InvalidSecret::NoPair));
        }
        let public = format!("whsk_{}", PUBLIC_SECRETS[2]);
        assert_eq!(
            SigningKey::parse(&public).err(),
            Some(InvalidSecret::Public)
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
