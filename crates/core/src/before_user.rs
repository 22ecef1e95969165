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
