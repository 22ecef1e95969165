//! Name lookup for webhooks that returns permitted addresses only, so that the address that was checked is the one that is
//! connected to.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::dns::Name;
use tower_service::Service;

use super::guard::{Verdict, judge};
use crate::core::text::printable;

/// Longest lookup of a name. It is below the limit for a new connection, so that a silent name server counts as a failed
/// lookup.
const LOOKUP_LIMIT: Duration = Duration::from_secs(4);

/// Longest name written to the log, in characters; names of hosts have at most 253.
const MAX_NAME: usize = 253;

/// Why a host has no address to connect to. No message holds an address: someone who may see attempts may not learn the
/// addresses in our network.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAddress {
    /// The lookup failed, or there is no such name.
    #[error("the name could not be looked up: {0}")]
    Lookup(#[source] io::Error),
    /// The lookup took longer than [`LOOKUP_LIMIT`].
    #[error("the name was not looked up within {} s", LOOKUP_LIMIT.as_secs())]
    TooSlow,
    /// The name exists and has no address.
    #[error("the name has no address")]
    Empty,
    /// Every address is forbidden; the most permissive verdict on one of them.
    #[error("{}", blocked_reason(*.0))]
    Blocked(Verdict),
}

fn blocked_reason(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed | Verdict::Private => {
            "the address is a loopback, private or reserved one; allow_private permits those"
        }
        Verdict::Never => {
            "the address is a link-local, metadata or multicast one; events are never sent to those"
        }
    }
}

/// The system's resolver with the address rules. It is called for names only; the sender checks an address in the URL itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct GuardedResolver {
    /// Whether private addresses are returned.
    pub(super) allow_private: bool,
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NoAddress;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, NoAddress>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAddress>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = lookup(name.as_str()).await?;
            let permitted = permitted(name.as_str(), found, allow_private)?;
            Ok(permitted.into_iter())
        })
    }
}

async fn lookup(name: &str) -> Result<Vec<SocketAddr>, NoAddress> {
    match tokio::time::timeout(LOOKUP_LIMIT, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(NoAddress::Lookup(error)),
        Err(_) => Err(NoAddress::TooSlow),
    }
}

/// Drops forbidden addresses; an error when none is left. A mixed answer is safe, since only what is left is connected to.
fn permitted(
    name: &str,
    mut found: Vec<SocketAddr>,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, NoAddress> {
    let Some(mildest) = found.iter().map(|address| judge(address.ip())).min() else {
        return Err(NoAddress::Empty);
    };
    let all = found.len();
    found.retain(|address| judge(address.ip()).permits(allow_private));
    if found.is_empty() {
        return Err(NoAddress::Blocked(mildest));
    }
    if found.len() < all {
        tracing::debug!(
            host = printable(name, MAX_NAME),
            addresses_dropped = all - found.len(),
            "a webhook's name has addresses that events may not be sent to; using the others"
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        let with_port = |ip: &&str| SocketAddr::new(ip.parse().unwrap(), 0);
        list.iter().map(with_port).collect()
    }

    fn kept(list: &[&str], allow_private: bool) -> Result<Vec<SocketAddr>, NoAddress> {
        permitted("hooks.example", addresses(list), allow_private)
    }

    #[test]
    fn forbidden_addresses_of_a_mixed_answer_are_dropped() {
        let mixed = ["127.0.0.1", "8.8.8.8", "::ffff:10.0.0.1", "fe80::1"];
        assert_eq!(kept(&mixed, false).unwrap(), addresses(&["8.8.8.8"]));
        let with_private = ["127.0.0.1", "8.8.8.8", "::ffff:10.0.0.1"];
        assert_eq!(kept(&mixed, true).unwrap(), addresses(&with_private));
    }

    #[test]
    fn nothing_left_is_blocked_and_nothing_found_is_a_failed_lookup() {
        let private = kept(&["169.254.169.254", "10.0.0.1"], false).unwrap_err();
        assert!(matches!(private, NoAddress::Blocked(Verdict::Private)));
        assert!(!private.to_string().contains("10.0.0.1"));
        let never = kept(&["169.254.169.254"], true).unwrap_err();
        assert!(matches!(never, NoAddress::Blocked(Verdict::Never)));
        assert!(matches!(kept(&[], true), Err(NoAddress::Empty)));
    }
}
