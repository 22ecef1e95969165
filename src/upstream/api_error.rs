//! Texts of the API and about it, made fit for people: cut, escaped, without secrets.

use reqwest::header::HeaderValue;

use crate::core::text::{cut, printable};

/// Longest text that [`presentable`] returns, in characters.
pub(super) const MAX_DETAIL: usize = 200;

/// Most of a body that is searched for an error, in bytes; a larger body has none.
pub(super) const MAX_ERROR_BODY: usize = 64 << 10;

/// One line for people: control characters escaped, at most [`MAX_DETAIL`] characters, and `***` for the secret in an
/// `Authorization` header that was sent.
pub(super) fn presentable(text: &str, authorization: Option<&HeaderValue>) -> String {
    let sent = authorization.and_then(|value| value.to_str().ok());
    let secret = sent.and_then(|value| value.split_once(' '));
    let escaped = match secret {
        Some((_, secret)) => printable(&text.replace(secret, "***"), MAX_DETAIL),
        None => printable(text, MAX_DETAIL),
    };
    cut(escaped, MAX_DETAIL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presentable_text_is_short_escaped_and_without_secrets() {
        let sent = HeaderValue::from_static("Bearer s3cret");
        assert_eq!(
            presentable("key s3cret\nand s3cret", Some(&sent)),
            "key ***\\nand ***"
        );
        let hostile = "\u{1b}".repeat(500);
        assert_eq!(presentable(&hostile, None).chars().count(), MAX_DETAIL);
        assert_eq!(
            presentable(&"ä".repeat(500), None).chars().count(),
            MAX_DETAIL
        );
    }
}
