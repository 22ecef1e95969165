//! What a receiver answers to an event: the first line is a secret of ours, the rest the answer's body.

use jobtrackd::core::answer::{Answer, Cut, MAX_ANSWER};
use jobtrackd::core::redact::Redactor;

/// Secrets are at least so long; shorter ones are not searched for.
const SHORTEST: usize = 8;

pub(super) fn check(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (secret, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let secrets = Redactor::new([secret], []);
    for cut in [None, Some(Cut::TooSlow), Some(Cut::Broken)] {
        let Some(answer) = Answer::of(body, cut, &secrets) else {
            assert!(body.is_empty() && cut.is_none());
            continue;
        };
        assert!(answer.text.len() <= MAX_ANSWER);
        assert!(!answer.text.chars().any(char::is_control));
        assert!(cut.is_none() || answer.cut == cut);
        let is_plain = secret.len() >= SHORTEST && secret.iter().all(u8::is_ascii_alphanumeric);
        let text = String::from_utf8_lossy(secret);
        assert!(
            !is_plain || !answer.text.contains(&*text),
            "the secret is kept: {}",
            answer.text
        );
    }
    let hidden = secrets.hide(body, true);
    // Four bytes of a secret become three.
    assert!(hidden.len() <= body.len());
}
