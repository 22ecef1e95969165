//! The users of a job, as far as its links name them.

use serde_json::value::RawValue;

use super::super::raw::{RawObject, items_of};
use crate::snapshot::Step;
use crate::user::{JobUser, MOST_CONNECTIONS, MOST_USERS, UserId};

/// `links.source` and the `url` of each result; a result is an object or a list of objects.
pub(super) struct Links(Vec<String>);

impl Links {
    pub(super) fn of(job: &RawObject<'_>, steps: &[Step]) -> Self {
        let source = job.get("links").and_then(|links| link_in(links, "source"));
        let results = steps
            .iter()
            .filter_map(|step| serde_json::from_str::<&RawValue>(step.result.as_deref()?).ok());
        let urls = results
            .flat_map(items_of)
            .filter_map(|object| link_in(object, "url"));
        Self(source.into_iter().chain(urls).collect())
    }

    /// Whose token the answers to a challenge are sent with: the user of the first link that is below one. Links may be
    /// relative or absolute.
    pub(super) fn user(&self) -> Option<UserId> {
        self.0.iter().find_map(|link| user_in(link))
    }

    /// The users in all links, at most [`MOST_USERS`]: the path segments that follow a segment `users`, anywhere in the
    /// path; with each the connections that follow it.
    pub(super) fn users(&self) -> Vec<JobUser> {
        let mut users: Vec<JobUser> = Vec::new();
        for link in &self.0 {
            let segments = segments_of(link);
            for (at, _) in segments
                .iter()
                .enumerate()
                .filter(|(_, segment)| **segment == "users")
            {
                let Some(user) = segments.get(at + 1).and_then(|user| UserId::parse(user)) else {
                    continue;
                };
                let connection = match segments.get(at + 2..at + 4) {
                    Some([word, connection]) if *word == "connections" => {
                        Some((*connection).to_owned())
                    }
                    _ => None,
                };
                if let Some(known) = users.iter_mut().find(|known| known.user == user) {
                    known.connections.extend(connection);
                } else if users.len() < MOST_USERS {
                    let connections = connection.into_iter().collect();
                    users.push(JobUser { user, connections });
                }
            }
        }
        for user in &mut users {
            user.connections.sort_unstable();
            user.connections.dedup();
            user.connections.truncate(MOST_CONNECTIONS);
        }
        users
    }
}

/// The text of a field, if `raw` is an object with that field.
fn link_in(raw: &RawValue, key: &str) -> Option<String> {
    let object: RawObject<'_> = serde_json::from_str(raw.get()).ok()?;
    serde_json::from_str(object.get(key)?.get()).ok()
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

    fn links(resource: &str) -> Links {
        let job: RawObject<'_> = serde_json::from_str(resource).unwrap();
        let steps = super::super::steps(&job).unwrap();
        Links::of(&job, &steps)
    }

    fn found(resource: &str) -> Option<String> {
        links(resource).user().map(|user| user.to_string())
    }

    fn users_of(resource: &str) -> Vec<UserId> {
        links(resource)
            .users()
            .into_iter()
            .map(|user| user.user)
            .collect()
    }

    fn leads_to(resource: &str, user: &str, connection: &str) -> bool {
        let users = links(resource).users();
        let mut users = users.iter().filter(|found| found.user.as_str() == user);
        users.any(|found| found.connections.iter().any(|found| found == connection))
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
        let list = r#"{"steps":[{},{"result":[{"type":"link","url":"/v3/users/u1/connections/c1/x"},"y"]}]}"#;
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
