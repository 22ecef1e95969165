//! Texts of the API and about it, made fit for people: cut, escaped, without secrets.

use super::authorization::Authorization;
use crate::core::text::one_line;

/// Most of a body that is searched for an error, in bytes; a larger body has none.
pub(super) const MAX_ERROR_BODY: usize = 64 << 10;

/// [`one_line`] for people, with `***` for what is secret in the header that was sent.
pub(super) fn presentable(text: &str, authorization: Option<&Authorization>) -> String {
    match authorization {
        Some(authorization) => one_line(&authorization.cleared(text)),
        None => one_line(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::text::MAX_DETAIL;

    #[test]
    fn a_presentable_text_is_short_escaped_and_without_secrets() {
        let to = url::Url::parse("https://api.example").unwrap();
        let sent = Authorization::new("Bearer", "s3cret", &to);
        assert_eq!(
            presentable("key s3cret\nand s3cret", sent.as_ref()),
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
