//! The users of the API that jobs belong to.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::job::is_segment;

/// The API's id of a user: 1 to 200 characters of `A-Za-z0-9._~-`, not only dots.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Reads `text` as a user's id; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_segment(text).then(|| Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as text, not copied.
    #[must_use]
    pub fn to_shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Most users of one job; further ones are left out.
pub const MOST_USERS: usize = 32;

/// Most connections of one user in one job; further ones are left out.
pub const MOST_CONNECTIONS: usize = 256;

/// A user that a job belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobUser {
    /// The user.
    pub user: UserId,
    /// The user's connections that the job's links lead to.
    pub connections: Vec<String>,
}
