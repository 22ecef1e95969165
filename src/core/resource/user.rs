//! Whose job it is, as far as the job says.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::{RawObject, Snapshot, objects_of, text_of};
use crate::core::job::is_segment;

/// The API's id of a user: 1 to 200 characters of `A-Za-z0-9._~-`, not only dots.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Takes `text` as a user's id; `None` when it breaks the rule.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_segment(text).then(|| Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The user of a job: `links.source` (`/users/{u}/connections/{c}`), or else the `url` of the first result that leads
/// below a user. Links may be relative or absolute.
#[must_use]
pub fn user_of(resource: &str) -> Option<UserId> {
    source_of(resource)
        .and_then(|link| user_in(&link))
        .or_else(|| user_of_results(resource))
}

fn source_of(resource: &str) -> Option<String> {
    let job: RawObject<'_> = serde_json::from_str(resource).ok()?;
    let links: &RawValue = job.get("links")?;
    let links: RawObject<'_> = serde_json::from_str(links.get()).ok()?;
    text_of(&links, "source")
}

fn user_of_results(resource: &str) -> Option<UserId> {
    let steps = Snapshot::parse(resource, None).ok()?.steps;
    let results = steps.iter().filter_map(|step| step.result.as_deref());
    results
        .flat_map(objects_of)
        .find_map(|object| user_in(object.get("url").and_then(Value::as_str)?))
}

fn user_in(link: &str) -> Option<UserId> {
    let path = match link.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => link.strip_prefix('/')?,
    };
    let rest = path.strip_prefix("users/")?;
    UserId::parse(rest.split(['/', '?', '#']).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(resource: &str) -> Option<String> {
        user_of(resource).map(|user| user.to_string())
    }

    #[test]
    fn the_user_is_the_one_of_the_source_or_else_of_the_first_result_below_a_user() {
        let result = r#""steps":[{"title":"a","status":"success","result":RESULT}]"#;
        for (job, user) in [
            (
                r#"{"links":{"source":"/users/ea3a81/connections/8fce3b"}}"#,
                Some("ea3a81"),
            ),
            (
                r#"{"links":{"source":"https://au-api.basiq.io/users/b5-40/connections/2"}}"#,
                Some("b5-40"),
            ),
            (r#"{"links":{"source":"/users/ea3a81"}}"#, Some("ea3a81")),
            (
                r#"{"links":{"source":"/users/ea3a81?x=1"}}"#,
                Some("ea3a81"),
            ),
            (r#"{"steps":[],"links":{"source":"/reports/7"}}"#, None),
            (r#"{"steps":[],"links":null}"#, None),
            (r#"{"steps":[],"links":{"source":7}}"#, None),
            (r#"{"steps":[]}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(found(job).as_deref(), user, "{job}");
        }
        for (given, user) in [
            (
                r#"{"type":"link","url":"/users/u1/accounts?filter=x"}"#,
                Some("u1"),
            ),
            (
                r#"[{"type":"link","url":"/users/u1/connections/c"}]"#,
                Some("u1"),
            ),
            (
                r#"[{"url":"/reports/9"},{"url":"/users/u2/x"}]"#,
                Some("u2"),
            ),
            (r#"{"url":null}"#, None),
            ("null", None),
        ] {
            let job = format!("{{{}}}", result.replace("RESULT", given));
            assert_eq!(found(&job).as_deref(), user, "{given}");
        }
        let both = format!(
            r#"{{{},"links":{{"source":"/users/first/connections/c"}}}}"#,
            result.replace("RESULT", r#"{"url":"/users/second/x"}"#)
        );
        assert_eq!(found(&both).as_deref(), Some("first"));
    }

    #[test]
    fn what_is_no_plain_segment_is_no_user() {
        let long = "u".repeat(201);
        for user in [
            "",
            ".",
            "..",
            "a%2fb",
            "a b",
            "ä",
            "a&scope=x",
            "a=b",
            &long,
        ] {
            let job = format!(r#"{{"links":{{"source":"/users/{user}/connections/c"}}}}"#);
            assert_eq!(found(&job), None, "{user}");
        }
        for link in [
            "users/u1/x",
            "//users/u1/x",
            "/user/u1",
            "/a/users/u1",
            "https://users/u1",
            "/users",
        ] {
            let job = format!(r#"{{"links":{{"source":"{link}"}}}}"#);
            assert_eq!(found(&job), None, "{link}");
        }
    }
}
