//! The users of a job, as far as its links name them.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::RawObject;
use crate::job::is_segment;

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

/// The user of a job: from `links.source` (`/users/{u}/connections/{c}`), or else from the `url` of the first result that
/// is below a user. Links may be relative or absolute.
#[must_use]
pub fn user_of(resource: &str) -> Option<UserId> {
    links_of(resource).iter().find_map(|link| user_in(link))
}

/// Most users of one job; further ones are left out.
pub const MOST_USERS: usize = 32;

/// The users in `links.source` and in the `url` of each result, at most [`MOST_USERS`]: the path segments that follow a
/// segment `users`, anywhere in the path.
#[must_use]
pub fn users_of(resource: &str) -> Vec<UserId> {
    let mut users = Vec::new();
    for link in links_of(resource) {
        let segments = segments_of(&link);
        let pairs = segments.windows(2).filter(|pair| pair[0] == "users");
        for user in pairs.filter_map(|pair| UserId::parse(pair[1])) {
            if users.len() < MOST_USERS && !users.contains(&user) {
                users.push(user);
            }
        }
    }
    users
}

/// Whether one of these links is this connection of the user, or below it.
#[must_use]
pub fn leads_to(resource: &str, user: &str, connection: &str) -> bool {
    let wanted = ["users", user, "connections", connection];
    let links = links_of(resource);
    let mut paths = links.iter().map(|link| segments_of(link));
    paths.any(|segments| segments.windows(wanted.len()).any(|part| part == wanted))
}

/// `links.source` and the `url` of each result; a result is an object or a list of objects.
fn links_of(resource: &str) -> Vec<String> {
    let Ok(job) = serde_json::from_str::<RawObject<'_>>(resource) else {
        return Vec::new();
    };
    let source = job.get("links").and_then(|links| link_in(links, "source"));
    let steps = job.get("steps").map_or_else(Vec::new, |raw| items_of(raw));
    let results = steps.iter().filter_map(|step| {
        let step: RawObject<'_> = serde_json::from_str(step.get()).ok()?;
        step.get("result").copied()
    });
    let urls = results.flat_map(items_of);
    let urls = urls.filter_map(|object| link_in(object, "url"));
    source.into_iter().chain(urls).collect()
}

/// The text of a field, if `raw` is an object with that field.
fn link_in(raw: &RawValue, key: &str) -> Option<String> {
    let object: RawObject<'_> = serde_json::from_str(raw.get()).ok()?;
    serde_json::from_str(object.get(key)?.get()).ok()
}

/// The items of a list, or the value itself if it is not a list.
fn items_of(raw: &RawValue) -> Vec<&RawValue> {
    serde_json::from_str(raw.get()).unwrap_or_else(|_| vec![raw])
}

/// The segments of a link's path, without query and fragment.
fn segments_of(link: &str) -> Vec<&str> {
    let path = match link.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => link,
    };
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split('/').collect()
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
        let steps = r#""steps":[{"title":"a","status":"success","result":RESULT}]"#;
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
        for (result, user) in [
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
            let job = format!("{{{}}}", steps.replace("RESULT", result));
            assert_eq!(found(&job).as_deref(), user, "{result}");
        }
        let both = format!(
            r#"{{{},"links":{{"source":"/users/first/connections/c"}}}}"#,
            steps.replace("RESULT", r#"{"url":"/users/second/x"}"#)
        );
        assert_eq!(found(&both).as_deref(), Some("first"));
    }

    #[test]
    fn only_a_plain_path_segment_is_a_user() {
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

    #[test]
    fn a_job_has_every_user_in_its_source_and_its_results() {
        let source = r#"{"links":{"source":"https://api/users/u1/connections/c1"}}"#;
        let object = r#"{"steps":[{"result":null},{"result":{"url":"/users/u1/accounts?filter=x"}}],"links":null}"#;
        let list = r#"{"steps":[7,{"result":[{"type":"link","url":"/v3/users/u1/connections/c1/x"},"y"]}]}"#;
        for resource in [source, object, list] {
            let users = users_of(resource);
            assert_eq!(users, UserId::parse("u1").as_slice(), "{resource}");
            let connected = leads_to(resource, "u1", "c1");
            assert_eq!(connected, resource != object, "{resource}");
            assert!(!leads_to(resource, "u1", "c"), "{resource}");
        }
        for without_user in [
            r#"{"links":{"source":"/reports?of=/users/u1/x"}}"#,
            r#"{"links":{"source":"https://users/u1/x"}}"#,
            r#"{"links":{"source":{"x":"/users/u1/x"}}}"#,
            r#"{"links":{"source":"/users//x"},"id":"u1"}"#,
            r#"{"steps":[{"title":"/users/u1","result":{"code":"/users/u1"}}]}"#,
            r#"{"steps":[{"result":{"url":"/users"}}],"links":"/users/u1"}"#,
            "not json, /users/u1/x",
            "[]",
        ] {
            assert_eq!(users_of(without_user), [], "{without_user}");
        }
        let several = r#"{"links":{"source":"/users/u11/connections/u1"},"steps":[
            {"result":[{"url":"users/u2"},{"url":"/a/users/users/u3#/users/u4"},{"url":"/users/u11"}]}]}"#;
        let users: Vec<String> = users_of(several).iter().map(UserId::to_string).collect();
        assert_eq!(users, ["u11", "u2", "users", "u3"]);
    }

    #[test]
    fn of_very_many_users_of_a_job_the_first_count() {
        let urls: Vec<String> = (0..100)
            .map(|n| format!(r#"{{"url":"/users/u{n}"}}"#))
            .collect();
        let job = format!(r#"{{"steps":[{{"result":[{}]}}]}}"#, urls.join(","));
        let users = users_of(&job);
        assert_eq!(users.len(), MOST_USERS);
        assert_eq!(users.last(), UserId::parse("u31").as_ref());
    }
}
