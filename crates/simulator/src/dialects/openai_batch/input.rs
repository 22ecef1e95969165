//! The input file of a batch: its requests, and the files of answers that follow from them.

use std::collections::HashSet;

use serde_json::{Value, json};

/// The most requests in one file.
pub(super) const MAX_REQUESTS: u64 = 50_000;

/// Complaints about one file.
const MAX_ERRORS: usize = 100;

/// One request of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    custom_id: String,
    /// Names a model, without which the request fails alone.
    model: Option<String>,
}

impl Line {
    /// Of a batch nobody uploaded a file for.
    pub(super) fn numbered(number: u64, is_good: bool) -> Self {
        Self {
            custom_id: format!("request-{number}"),
            model: is_good.then(|| "any-model".to_owned()),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.model.is_some()
    }

    /// The line of the output file or, for one that failed, of the error file.
    pub(super) fn answer(&self) -> String {
        let (status, body) = match &self.model {
            Some(model) => {
                let choice = json!({
                    "index": 0, "finish_reason": "stop",
                    "message": {"role": "assistant", "content": "An answer of the simulator."},
                });
                let body = json!({
                    "id": format!("chatcmpl-{}", self.custom_id), "object": "chat.completion",
                    "model": model, "choices": [choice],
                });
                (200, body)
            }
            None => {
                let error = json!({
                    "message": "The body of this request names no model.", "type": "invalid_request_error",
                    "param": null, "code": null,
                });
                (400, json!({"error": error}))
            }
        };
        let answer = json!({
            "id": format!("batch_req_{}", self.custom_id), "custom_id": self.custom_id,
            "response": {"status_code": status, "request_id": format!("req_{}", self.custom_id), "body": body},
            "error": null,
        });
        format!("{answer}\n")
    }
}

/// The requests in a file for this endpoint, or what makes the whole batch fail, as the batch shows it.
pub(super) fn read(bytes: &[u8], endpoint: &str) -> Result<Vec<Line>, Vec<Value>> {
    let text = String::from_utf8_lossy(bytes);
    let rows = text.lines().zip(1_u64..);
    let rows = rows.filter(|(row, _)| !row.trim().is_empty());
    let (mut lines, mut errors, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for (row, number) in rows {
        match line(row, endpoint, &mut seen) {
            Ok(line) => lines.push(line),
            Err(complaint) => errors.push(complaint.about(Some(number))),
        }
    }
    if lines.is_empty() && errors.is_empty() {
        let empty = Complaint("empty_file", "The input file has no requests.", None);
        errors.push(empty.about(None));
    }
    if lines.len() as u64 > MAX_REQUESTS {
        let long = Complaint(
            "too_many_tasks",
            "The input file has too many requests.",
            None,
        );
        errors.push(long.about(None));
    }
    errors.truncate(MAX_ERRORS);
    if errors.is_empty() {
        Ok(lines)
    } else {
        Err(errors)
    }
}

/// Code, message and parameter.
struct Complaint(&'static str, &'static str, Option<&'static str>);

impl Complaint {
    fn about(self, line: Option<u64>) -> Value {
        json!({"code": self.0, "message": self.1, "param": self.2, "line": line})
    }
}

fn line(row: &str, endpoint: &str, seen: &mut HashSet<String>) -> Result<Line, Complaint> {
    let not_json = Complaint("invalid_json_line", "This line is not a JSON object.", None);
    let row: Value = serde_json::from_str(row).unwrap_or_default();
    let row = row.as_object().ok_or(not_json)?;
    let text = |key: &'static str| {
        let missing = "A required parameter is missing.";
        let missing = Complaint("missing_required_parameter", missing, Some(key));
        row.get(key).and_then(Value::as_str).ok_or(missing)
    };
    let (custom_id, method, url) = (text("custom_id")?, text("method")?, text("url")?);
    if method != "POST" {
        let message = "The method of a request is POST.";
        return Err(Complaint("invalid_method", message, Some("method")));
    }
    if url != endpoint {
        let message = "The url of a request is the endpoint of the batch.";
        return Err(Complaint("invalid_url", message, Some("url")));
    }
    if !seen.insert(custom_id.to_owned()) {
        let message = "The custom_id of a request is its own.";
        return Err(Complaint("duplicate_custom_id", message, Some("custom_id")));
    }
    let model = row.get("body").and_then(|body| body["model"].as_str());
    Ok(Line {
        custom_id: custom_id.to_owned(),
        model: model.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_good_or_every_bad_line_is_named() {
        let good = r#"{"custom_id":"a","method":"POST","url":"/v1/x","body":{"model":"m"}}"#;
        let bare = r#"{"custom_id":"b","method":"POST","url":"/v1/x","body":{}}"#;
        let lines = read(format!("{good}\n\n{bare}\n").as_bytes(), "/v1/x").unwrap();
        assert_eq!(
            lines.iter().map(Line::is_good).collect::<Vec<_>>(),
            [true, false]
        );
        assert!(lines[1].answer().contains(r#""status_code":400"#));

        let bad = [
            good,
            "{",
            good,
            r#"{"custom_id":"c","method":"POST"}"#,
            r#"{"custom_id":"d","method":"GET","url":"/v1/x"}"#,
            r#"{"custom_id":"e","method":"POST","url":"/v1/y"}"#,
        ];
        let errors = read(bad.join("\n").as_bytes(), "/v1/x").unwrap_err();
        let read_back: Vec<_> = errors
            .iter()
            .map(|error| {
                (
                    error["code"].as_str().unwrap(),
                    error["line"].as_u64().unwrap(),
                )
            })
            .collect();
        let expected = [
            ("invalid_json_line", 2),
            ("duplicate_custom_id", 3),
            ("missing_required_parameter", 4),
            ("invalid_method", 5),
            ("invalid_url", 6),
        ];
        assert_eq!(read_back, expected);
        assert_eq!(read(b"\n", "/v1/x").unwrap_err()[0]["code"], "empty_file");
    }
}
