//! What the API says of an error, made fit for people: cut, escaped, without secrets.

use serde::Deserialize;
use serde_json::Value;

use super::authorization::Authorization;
use crate::core::text::printable;
use crate::core::text::text_of;

/// Longest error text that leaves this module, in characters.
pub(super) const MAX_DETAIL: usize = 200;

/// Most of a body that is searched for an error envelope, in bytes; a larger body has none.
pub(super) const MAX_ERROR_BODY: usize = 64 << 10;

/// The first error of the API's error envelope, `{"data":[{"code","title","detail"}]}`; empty texts where there is none.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) code: String,
    pub(super) title: String,
    pub(super) detail: String,
    /// Whether the whole of it is in the API's own words: a list of objects that all have a code (docs/api.md, fact
    /// 21).
    pub(super) by_the_api: bool,
}

#[derive(Deserialize)]
struct Envelope {
    data: Vec<Value>,
}

impl ApiError {
    /// Reads the body of an answer that is not a success. Anything else than an envelope says nothing.
    pub(super) fn read(body: &[u8]) -> Self {
        let Ok(envelope) = serde_json::from_str::<Envelope>(&text_of(body)) else {
            return Self::default();
        };
        let Some(error) = envelope.data.first() else {
            return Self::default();
        };
        let text = |key: &str| {
            let text = error.get(key).and_then(Value::as_str).map(str::trim);
            text.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let has_code = |error: &Value| error.get("code").is_some_and(Value::is_string);
        Self {
            code: text("code").unwrap_or_default(),
            title: text("title").unwrap_or_default(),
            detail: text("detail").or(text("details")).unwrap_or_default(),
            by_the_api: envelope.data.iter().all(has_code),
        }
    }

    /// Whether this 400, 403, 404 or 410 is the API's word on the job: not a proxy's page, and not about the route.
    pub(super) fn is_verdict(&self) -> bool {
        let of_route = |text: &str| text.to_ascii_lowercase().starts_with("route not found");
        self.by_the_api && !of_route(&self.title) && !of_route(&self.detail)
    }

    /// Whether this 403 means what others say with 429.
    pub(super) fn throttles(&self) -> bool {
        self.code == "too-many-requests"
    }

    /// Whether this 403 means that the token has run out (docs/api.md, fact 17: it is a 403, not a 401).
    pub(super) fn token_expired(&self) -> bool {
        let expired = |text: &str| text.to_ascii_lowercase().contains("expired");
        self.code == "access-denied" || expired(&self.title) || expired(&self.detail)
    }

    /// Whether this 403 of the token endpoint means "too many token requests" (docs/api.md, fact 19).
    pub(super) fn too_many_tokens(&self) -> bool {
        let invalid = |text: &str| {
            text.trim_end_matches('.')
                .eq_ignore_ascii_case("invalid request")
        };
        self.code == "request-not-valid" || invalid(&self.title) || invalid(&self.detail)
    }

    /// One line, `HTTP 403, code: title (detail)`, with what is there; not yet cut or cleared of secrets.
    pub(super) fn line(&self, status: u16) -> String {
        let mut line = format!("HTTP {status}");
        if !self.code.is_empty() {
            line.extend([", ", &self.code]);
        }
        if !self.title.is_empty() {
            let before = if self.code.is_empty() { ", " } else { ": " };
            line.extend([before, &self.title]);
        }
        if !self.detail.is_empty() && self.detail != self.title {
            line.extend([" (", &self.detail, ")"]);
        }
        line
    }
}

/// One line for people: control characters escaped, at most [`MAX_DETAIL`] characters, and `***` for what is secret in the
/// header that was sent.
pub(super) fn presentable(text: &str, authorization: Option<&Authorization>) -> String {
    let escaped = match authorization {
        Some(authorization) => printable(&authorization.cleared(text), MAX_DETAIL),
        None => printable(text, MAX_DETAIL),
    };
    match escaped.char_indices().nth(MAX_DETAIL) {
        None => escaped,
        Some(_) => escaped.chars().take(MAX_DETAIL - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str, title: &str, detail: &str) -> ApiError {
        ApiError {
            code: code.into(),
            title: title.into(),
            detail: detail.into(),
            by_the_api: !code.is_empty(),
        }
    }

    #[test]
    fn the_first_error_of_an_envelope_is_read_and_anything_else_says_nothing() {
        let body = br#"{"type":"list","correlationId":"x","data":[
            {"type":"error","code":"access-denied","title":"Token has expired","detail":null},{"code":"second"}]}"#;
        assert_eq!(
            ApiError::read(body),
            error("access-denied", "Token has expired", "")
        );
        for body in [
            "",
            "<html>502</html>",
            "[]",
            "{}",
            r#"{"data":[]}"#,
            r#"{"data":{}}"#,
            r#"{"data":[7]}"#,
            "\u{fffd}",
        ] {
            assert_eq!(
                ApiError::read(body.as_bytes()),
                ApiError::default(),
                "{body:?}"
            );
        }
        assert_eq!(ApiError::read(&[0xff, 0xfe]), ApiError::default());
        let loose = b"\xef\xbb\xbf{\"data\":[{\"code\":\"c\",\"title\":\"M\xfcller \\ud83d\"}]}";
        assert_eq!(
            ApiError::read(loose),
            error("c", "M\u{fffd}ller \u{fffd}", "")
        );
    }

    #[test]
    fn only_the_api_s_own_words_on_the_job_are_a_verdict() {
        for (body, verdict) in [
            (r#"{"data":[{"code":"resource-not-found"}]}"#, true),
            (r#"{"data":[{"code":"a"},{"code":"b","title":"t"}]}"#, true),
            (r#"{"data":[{"code":"a"},{"title":"t"}]}"#, false),
            (r#"{"data":[{"code":null}]}"#, false),
            (r#"{"data":[{"code":"a"},7]}"#, false),
            (r#"{"data":[{"title":"Not found"}]}"#, false),
            (r#"{"data":[]}"#, false),
            (r#"{"code":"resource-not-found"}"#, false),
            (r#"{"message":"no Route matched"}"#, false),
            ("<html>404</html>", false),
            ("", false),
            (
                r#"{"data":[{"code":"resource-not-found","title":"Route not found for this API version."}]}"#,
                false,
            ),
            (
                r#"{"data":[{"code":"resource-not-found","title":"t","detail":"route not found"}]}"#,
                false,
            ),
        ] {
            assert_eq!(
                ApiError::read(body.as_bytes()).is_verdict(),
                verdict,
                "{body}"
            );
        }
    }

    #[test]
    fn expired_tokens_and_too_many_tokens_are_distinguished_from_other_403s() {
        assert!(error("access-denied", "", "").token_expired());
        assert!(error("", "Token has expired", "").token_expired());
        assert!(error("x", "", "the token EXPIRED").token_expired());
        assert!(
            !error(
                "forbidden-access",
                "Forbidden Access",
                "Access to this resource is forbidden."
            )
            .token_expired()
        );
        assert!(error("request-not-valid", "", "").too_many_tokens());
        assert!(error("", "Invalid request.", "").too_many_tokens());
        assert!(!error("access-denied", "Your account has been disabled", "").too_many_tokens());
    }

    #[test]
    fn a_line_holds_what_there_is() {
        assert_eq!(ApiError::default().line(502), "HTTP 502");
        assert_eq!(error("c", "t", "d").line(400), "HTTP 400, c: t (d)");
        assert_eq!(error("", "t", "t").line(400), "HTTP 400, t");
        assert_eq!(error("c", "", "").line(400), "HTTP 400, c");
        assert_eq!(error("", "", "d").line(400), "HTTP 400 (d)");
    }

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
