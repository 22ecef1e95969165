//! A webhook's signing secret: refused without being repeated, or a key whose signatures the official library accepts.

use http::{HeaderMap, HeaderValue};
use jobtrackd::core::signature::{SigningKey, signature_header};
use standardwebhooks::Webhook;

use super::is_said;

const ID: &str = "evt_1";
const BODY: &[u8] = br#"{"type":"job.completed"}"#;
/// A shorter text may be part of any message.
const SHORTEST: usize = 8;

pub(super) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let key = match SigningKey::parse(&text) {
        Ok(key) => key,
        Err(error) => {
            let (message, text) = (format!("{error} {error:?}"), text.trim());
            let repeats = text.len() >= SHORTEST && message.contains(text);
            assert!(
                !repeats || is_said(text, &messages()),
                "the secret is in the message: {message}"
            );
            return;
        }
    };
    let keys = [key];
    let now = now();
    let signature = signature_header(&keys, ID, now, BODY);
    let [key] = &keys;
    let (version, code) = signature.split_once(',').expect("a version and a code");
    assert!(!code.is_empty());
    match key {
        SigningKey::Pair(_) => assert_eq!(version, "v1a"),
        SigningKey::Shared(_) => {
            assert_eq!(version, "v1");
            let secret = text.trim();
            let theirs = Webhook::new(secret).expect("the same secret");
            theirs
                .verify(BODY, &headers(now, &signature))
                .expect("our signature is valid");
            let other = signature_header(&keys, ID, now, b"{}");
            theirs
                .verify(BODY, &headers(now, &other))
                .expect_err("of other bytes it is not");
        }
    }
}

/// Every message, without a secret that could be in it.
fn messages() -> Vec<String> {
    let refused = ["?", "AAAA", "whsk_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
    let errors = refused
        .iter()
        .filter_map(|text| SigningKey::parse(text).err());
    errors.map(|error| format!("{error} {error:?}")).collect()
}

fn headers(now: i64, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static(ID));
    headers.insert("webhook-timestamp", HeaderValue::from(now));
    headers.insert(
        "webhook-signature",
        HeaderValue::try_from(signature).expect("it is text"),
    );
    headers
}

/// The library compares with its own clock.
fn now() -> i64 {
    jobtrackd::clock::Clock::system().now().0.div_euclid(1000)
}
