//! Outgoing connections: what all HTTP clients have in common, why a request failed, and what this process lacks when it
//! cannot open a connection, which is not a failure of the peer.

pub mod connector;

use std::error::Error;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use hyper_util::client::legacy;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::core::recurring::{Recurring, Report};
pub use crate::core::shortage::Shortage;

/// The `User-Agent` of requests.
pub const USER_AGENT: &str = concat!("jobtrackd/", env!("CARGO_PKG_VERSION"));

/// Names of headers that define how a request or its answer is read, or who sends it: only the clients set these.
pub const FRAMING: [&str; 15] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Longest time to open a connection: name, TCP and TLS together.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long the connections of one client are used: a busy one would never look up the address of its host again.
pub const LONGEST_LIFE: Duration = Duration::from_secs(5 * 60);

/// Pause of a request for which no connection could be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// A shortage is over when no connection lacked anything for this long.
const QUIET: Duration = Duration::from_secs(10);

/// Most links of a chain of errors that are followed.
const MAX_CHAIN: usize = 16;

/// Whether the peer gave no sign of life for too long.
#[must_use]
pub fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    links(error).any(|link| {
        let silent = link.downcast_ref::<io::Error>();
        let is_silent = silent.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        is_silent || link.downcast_ref().is_some_and(hyper::Error::is_timeout)
    })
}

/// Whether the peer says by HTTP/2 that it has not read the request and will not: it closes the connection, or has too many
/// requests (RFC 9113, 8.7).
#[must_use]
pub fn is_unread(error: &(dyn Error + 'static)) -> bool {
    let mut links = links(error);
    let found = links.find_map(|link| link.downcast_ref::<h2::Error>());
    found.is_some_and(|error| {
        let closes = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let refuses = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (closes || refuses)
    })
}

/// The innermost of the errors behind a failed request: the shortest useful text. The outermost one names the URL unless
/// that was taken out, and a URL can hold secrets.
pub fn cause(error: &(dyn Error + 'static)) -> String {
    links(error)
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Whether connections can be opened, as reported by all clients. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Sockets(watch::Sender<Option<Shortage>>);

impl Sockets {
    /// To be called when no connection could be opened; returns when it may be tried again.
    pub async fn wait(&self, shortage: Shortage) {
        self.0.send_replace(Some(shortage));
        sleep(PAUSE).await;
    }

    /// What connections lack now. Requests should close their connections then, so that others can be opened.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        *self.0.borrow()
    }

    /// Logs when a shortage begins and when it is over, until it is dropped.
    pub async fn watch(self, clock: Clock) {
        let mut noted = self.0.subscribe();
        let mut logged = Recurring::default();
        loop {
            let short = *noted.borrow_and_update();
            match logged.note(short, clock.now()) {
                Some(Report::Begun(shortage)) => tracing::warn!(
                    error = %shortage,
                    "connections cannot be opened; polls and deliveries wait"
                ),
                Some(Report::Ended(_)) => tracing::info!("connections can be opened again"),
                None => {}
            }
            if short.is_none() {
                // `self` holds the sender, so this cannot fail.
                let _ = noted.changed().await;
            } else if timeout(QUIET, noted.changed()).await.is_err() {
                self.0.send_replace(None);
            }
        }
    }
}

/// The error and its causes, outermost first.
pub fn links<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |link| next_link(*link)).take(MAX_CHAIN)
}

/// Why no connection was opened, if this process or this machine was short of something.
#[must_use]
pub fn shortage_of(error: &legacy::Error) -> Option<Shortage> {
    match error.is_connect() {
        true => shortage_behind(error),
        false => None,
    }
}

/// What an error that no connection could be opened shows of a shortage. A failed lookup of a name does not say what it
/// lacked, so that is tried out.
fn shortage_behind(error: &(dyn Error + 'static)) -> Option<Shortage> {
    let mut found = links(error)
        .filter_map(|link| link.downcast_ref::<io::Error>())
        .filter(|error| error.raw_os_error().is_some());
    let of = |error: &io::Error| {
        // Other systems use these numbers for errors of the network.
        Shortage::of(error)
            .filter(|short| matches!(short, Shortage::Descriptors | Shortage::Memory))
    };
    match found.next() {
        Some(error) => of(error),
        None => UnixDatagram::unbound().err().and_then(|error| of(&error)),
    }
}

/// The next link. An [`io::Error`] keeps the error it wraps from `source`, so that one is taken out of it.
fn next_link<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    let wrapped = link
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    match wrapped {
        Some(inner) => Some(inner),
        None => link.source(),
    }
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use tokio::time::Instant;

    use super::*;
    use crate::core::time::UnixMillis;

    #[test]
    fn what_we_are_short_of_is_distinguished_from_what_others_refuse() {
        for (errno, expected) in [
            (Errno::MFILE, Some(Shortage::Descriptors)),
            (Errno::NFILE, Some(Shortage::Descriptors)),
            (Errno::NOMEM, Some(Shortage::Memory)),
            (Errno::NOBUFS, Some(Shortage::Memory)),
            (Errno::AGAIN, None),
            (Errno::CONNREFUSED, None),
            (Errno::NETUNREACH, None),
        ] {
            let wrapped = io::Error::other(io::Error::from(errno));
            assert_eq!(shortage_behind(&wrapped), expected, "{errno:?}");
        }
        let lookup = io::Error::other("failed to look up the name");
        assert_eq!(shortage_behind(&lookup), None, "there are enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shortage_lasts_until_no_connection_was_short_for_a_while() {
        let sockets = Sockets::default();
        tokio::spawn(sockets.clone().watch(Clock::driven(UnixMillis(0))));
        assert_eq!(sockets.shortage(), None);
        let began = Instant::now();
        for _ in 0..20 {
            sockets.wait(Shortage::Memory).await;
            assert_eq!(sockets.shortage(), Some(Shortage::Memory));
        }
        assert_eq!(began.elapsed(), PAUSE * 20);
        sleep(QUIET - PAUSE - Duration::from_millis(1)).await;
        assert_eq!(sockets.shortage(), Some(Shortage::Memory));
        sleep(Duration::from_millis(3)).await;
        assert_eq!(sockets.shortage(), None);

        sockets.wait(Shortage::Descriptors).await;
        assert_eq!(sockets.shortage(), Some(Shortage::Descriptors));
    }
}
