//! Settings and limits of the server.

use std::time::Duration;

use secrecy::SecretString;

use super::Listen;

/// The `[status]` section.
#[derive(Debug, Clone)]
pub struct StatusSettings {
    /// Where to listen; `None` turns the server off.
    pub listen: Option<Listen>,
    /// The token that requests must have, 16 to 1024 visible ASCII characters. Required when other machines can reach it.
    pub token: Option<SecretString>,
    /// Further tokens, each with a name and what it permits.
    pub tokens: Vec<NamedToken>,
    /// Whether the dashboard is served.
    pub dashboard: bool,
    /// Names of the server that are permitted in `Host` besides its address, in lower case, without ports.
    pub hosts: Vec<String>,
}

/// A `[status.tokens.NAME]` section.
#[derive(Debug, Clone)]
pub struct NamedToken {
    /// Its name, which is logged and shown with what was done with it.
    pub name: String,
    /// The token.
    pub token: SecretString,
    /// What it permits.
    pub permission: Permission,
}

/// What a token permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Permission {
    /// To read everything, and to change nothing.
    Read,
    /// Everything.
    Operate,
}

impl StatusSettings {
    /// Whether requests need a token.
    #[must_use]
    pub fn needs_token(&self) -> bool {
        self.token.is_some() || !self.tokens.is_empty()
    }
}

/// Limits on connections, memory and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once. Further ones wait, and those without a request in flight are closed for them.
    pub connections: usize,
    /// Bytes of answers that are prepared or sent at once.
    pub answers: usize,
    /// Time for the head of a request, from the connection or the previous answer on: it ends idle connections too.
    pub head: Duration,
    /// Time for its body.
    pub body: Duration,
    /// Time in which a peer must take some of an answer.
    pub write: Duration,
    /// Time in which a peer that is behind must take all of it.
    pub answer: Duration,
    /// Time for requests in flight at the end.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            answers: 64 << 20,
            head: Duration::from_secs(10),
            body: Duration::from_secs(10),
            write: Duration::from_secs(30),
            answer: Duration::from_secs(120),
            drain: Duration::from_secs(5),
        }
    }
}
