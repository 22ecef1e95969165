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
    /// Names of the server that are permitted in `Host` besides its address, in lower case, without ports.
    pub hosts: Vec<String>,
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
