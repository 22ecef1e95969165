//! The errors of an OAuth 2.0 token endpoint (RFC 6749, 5.2).

use serde::Deserialize;
use serde_json::Value;

use crate::core::text::text_of;

/// Errors about the client, its secret, its rights or its scope: the same request would fail again.
const REFUSALS: [&str; 4] = [
    "invalid_client",
    "invalid_grant",
    "invalid_scope",
    "unauthorized_client",
];

/// `{"error", "error_description"}`
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct OAuthError {
    error: String,
    #[serde(default)]
    error_description: Value,
}

impl OAuthError {
    /// Reads the body of an answer that is not a success; `None` if it is not such an error.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let error: Self = serde_json::from_str(&text_of(body)).ok()?;
        Some(error).filter(|error| !error.error.trim().is_empty())
    }

    /// Whether our credentials or settings are refused.
    pub(super) fn refuses(&self) -> bool {
        REFUSALS.contains(&self.error.as_str())
    }

    /// One line, `HTTP 401, invalid_client (…)`; not yet cut or cleared of secrets.
    pub(super) fn line(&self, status: u16) -> String {
        let described = self.error_description.as_str().map(str::trim);
        match described.filter(|text| !text.is_empty()) {
            Some(text) => format!("HTTP {status}, {} ({text})", self.error),
            None => format!("HTTP {status}, {}", self.error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_with_a_named_error_says_something() {
        for body in [
            "",
            "<html>",
            "{}",
            r#"{"error":""}"#,
            r#"{"error":{"code":400}}"#,
            r#"{"data":[{"code":"x"}]}"#,
        ] {
            assert_eq!(OAuthError::read(body.as_bytes()), None, "{body}");
        }
        for (body, line, refuses) in [
            (
                r#"{"error":"invalid_client"}"#,
                "HTTP 401, invalid_client",
                true,
            ),
            (
                r#"{"error":"invalid_scope","error_description":" no such scope ","error_uri":"https://x"}"#,
                "HTTP 401, invalid_scope (no such scope)",
                true,
            ),
            (
                r#"{"error":"unsupported_grant_type","error_description":null}"#,
                "HTTP 401, unsupported_grant_type",
                false,
            ),
            (
                r#"{"error":"slow","error_description":7}"#,
                "HTTP 401, slow",
                false,
            ),
        ] {
            let error = OAuthError::read(body.as_bytes()).unwrap();
            assert_eq!((error.line(401).as_str(), error.refuses()), (line, refuses));
        }
    }
}
