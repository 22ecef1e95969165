//! The errors of APIs, in the bodies of their answers.

use serde_json::value::RawValue;

use super::Answer;
use super::raw::{RawObject, fields, present, text};
use crate::json::Verbatim;
use crate::snapshot::ApiError;

/// An error in an API's own words, for people; empty texts where it gives none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorWords {
    /// The API's code.
    pub code: String,
    /// Its title or message.
    pub title: String,
    /// Its explanation.
    pub detail: String,
    /// Whether a 400, 404 or 410 with it is the API's verdict on the job: not the page of a proxy, nor about an unknown
    /// route.
    pub is_verdict: bool,
}

impl ErrorWords {
    /// One line, `HTTP 403, code: title (detail)`, with what is there; neither cut nor cleared of secrets.
    #[must_use]
    pub fn line(&self, status: u16) -> String {
        let mut line = format!("HTTP {status}");
        let words = match (self.code.as_str(), self.title.as_str()) {
            ("", "") => String::new(),
            ("", one) | (one, "") => format!(", {one}"),
            (code, title) => format!(", {code}: {title}"),
        };
        line.push_str(&words);
        if !self.detail.is_empty() && self.detail != self.title {
            line.push_str(&format!(" ({})", self.detail));
        }
        line
    }

    /// The texts of an error that was read as JSON values, which is a verdict; nothing if there is none.
    pub(super) fn of(found: Option<&ApiError>) -> Self {
        let Some(error) = found else {
            return Self::default();
        };
        let words = |value: &Verbatim| text(value.raw()).unwrap_or_default().trim().to_owned();
        Self {
            code: words(&error.code),
            title: words(&error.title),
            detail: words(&error.detail),
            is_verdict: true,
        }
    }
}

/// The first of these fields that is not null.
fn first(object: &RawObject<'_>, keys: &[&str]) -> Verbatim {
    let found = keys.iter().find_map(|key| present(object, key));
    found.map(Verbatim::from).unwrap_or_default()
}

/// An error object: `code`, `title` or `message`, and `detail`, `details` or `error_description`.
pub(super) fn of_object(object: &RawObject<'_>) -> ApiError {
    ApiError {
        code: first(object, &["code"]),
        title: first(object, &["title", "message"]),
        detail: first(object, &["detail", "details", "error_description"]),
    }
}

/// The value of `error` in a body, `{"error":{"code","message"}}`; `None` unless it is an object with one of the two.
pub(super) fn nested(body: &str) -> Option<ApiError> {
    let body = fields(body)?;
    let error = fields(present(&body, "error")?.get())?;
    let has = |key| present(&error, key).is_some();
    (has("code") || has("message")).then(|| of_object(&error))
}

/// An error of an unknown API: a problem document (RFC 9457), `{"error": …}`, `{"errors":[…]}`, or an object with a
/// `code`. Anything else, such as the `{"message": …}` of a gateway, is not the API's verdict on a job.
pub(super) fn any(answer: &Answer<'_>) -> Option<ApiError> {
    let kind = answer.header("content-type").unwrap_or_default();
    let is_problem = kind
        .to_ascii_lowercase()
        .starts_with("application/problem+json");
    if let Some(error) = nested(answer.body) {
        return Some(error);
    }
    let object = fields(answer.body)?;
    let of_list = |raw: &RawValue| {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
        Some(of_object(&fields(items.first()?.get())?))
    };
    if let Some(error) = present(&object, "errors").and_then(of_list) {
        return Some(error);
    }
    if let Some(word) = present(&object, "error").filter(|raw| raw.get() != "false") {
        // `{"error":"not_found","error_description":"…"}`
        let error = of_object(&object);
        return Some(ApiError {
            code: Verbatim::from(word),
            ..error
        });
    }
    let has = |key| present(&object, key).is_some();
    let is_error = is_problem || has("code") || (has("type") && has("title"));
    is_error.then(|| ApiError {
        code: first(&object, &["code", "type"]),
        ..of_object(&object)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_what_there_is() {
        let error = |code: &str, title: &str, detail: &str| ErrorWords {
            code: code.into(),
            title: title.into(),
            detail: detail.into(),
            is_verdict: true,
        };
        assert_eq!(ErrorWords::default().line(502), "HTTP 502");
        assert_eq!(error("c", "t", "d").line(400), "HTTP 400, c: t (d)");
        assert_eq!(error("", "t", "t").line(400), "HTTP 400, t");
        assert_eq!(error("c", "", "").line(400), "HTTP 400, c");
        assert_eq!(error("", "", "d").line(400), "HTTP 400 (d)");
    }

    #[test]
    fn errors_of_no_known_kind_are_found_and_the_pages_of_gateways_are_not() {
        for (body, is_problem, line) in [
            (
                r#"{"error":{"code":"OperationNotFound","message":"gone"}}"#,
                false,
                Some("HTTP 404, OperationNotFound: gone"),
            ),
            (
                r#"{"error":"not_found","error_description":"no such job"}"#,
                false,
                Some("HTTP 404, not_found (no such job)"),
            ),
            (
                r#"{"errors":[{"code":7,"title":"t","detail":"d"}]}"#,
                false,
                Some("HTTP 404, 7: t (d)"),
            ),
            (
                r#"{"code":"x","message":"m"}"#,
                false,
                Some("HTTP 404, x: m"),
            ),
            (
                r#"{"type":"https://e/x","title":"t","status":404}"#,
                false,
                Some("HTTP 404, https://e/x: t"),
            ),
            (
                r#"{"title":"t","detail":"d"}"#,
                true,
                Some("HTTP 404, t (d)"),
            ),
            (
                r#"{"message":"no Route matched with those values"}"#,
                false,
                None,
            ),
            (r#"{"error":null}"#, false, None),
            (r#"{"error":false}"#, false, None),
            ("<html>404</html>", true, None),
            ("[]", true, None),
            ("", true, None),
        ] {
            let kind = match is_problem {
                true => "Application/Problem+JSON; charset=utf-8",
                false => "application/json",
            };
            let mut headers = http::HeaderMap::new();
            headers.insert("content-type", kind.parse().unwrap());
            let answer = Answer {
                status: 404,
                headers: &headers,
                retry_after: None,
                body,
            };
            let found = any(&answer).map(|error| ErrorWords::of(Some(&error)).line(404));
            assert_eq!(found.as_deref(), line, "{body}");
        }
    }
}
