//! What this process is short of when it opens a connection: trouble of its own, and no failure of whoever it connects to.

use std::error::Error;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::core::recurring::{Recurring, Report};
pub use crate::core::shortage::Shortage;

/// Pause of a request for which no connection could be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// A shortage is over when no connection was short of anything for so long.
const QUIET: Duration = Duration::from_secs(10);

/// Most links of a chain of errors that are followed.
const MAX_CHAIN: usize = 16;

/// Why no connection was opened, if this process or this machine was short of something. A lookup of a name does not say what
/// it was short of, so the system is asked again.
#[must_use]
pub fn shortage_behind(error: &(dyn Error + 'static)) -> Option<Shortage> {
    let mut found = links(error)
        .filter_map(|link| link.downcast_ref::<io::Error>())
        .filter(|error| error.raw_os_error().is_some());
    let of = |error: &io::Error| {
        // Others have their numbers for reasons of the network.
        Shortage::of(error)
            .filter(|short| matches!(short, Shortage::Descriptors | Shortage::Memory))
    };
    match found.next() {
        Some(error) => of(error),
        None => UnixDatagram::unbound().err().and_then(|error| of(&error)),
    }
}

/// Whether connections can be opened, as all who open some have found. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Sockets(watch::Sender<Option<Shortage>>);

impl Sockets {
    /// To be called when no connection could be opened; returns when it may be tried again.
    pub async fn wait(&self, shortage: Shortage) {
        self.0.send_replace(Some(shortage));
        sleep(PAUSE).await;
    }

    /// What connections are short of just now. No request is to keep its connection then: others have none.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        *self.0.borrow()
    }

    /// Says when a shortage begins and notices when it is over, until it is dropped.
    pub async fn attend(self, clock: Clock) {
        let mut noted = self.0.subscribe();
        let mut told = Recurring::default();
        loop {
            let short = *noted.borrow_and_update();
            match told.note(short, clock.now()) {
                Some(Report::Begun(shortage)) => tracing::warn!(
                    error = %shortage,
                    "connections cannot be opened; polls and deliveries wait"
                ),
                Some(Report::Ended(_)) => tracing::info!("connections can be opened again"),
                None => {}
            }
            if short.is_none() {
                // The sender is here, so this cannot fail.
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
    std::iter::successors(Some(error), |link| cause(*link)).take(MAX_CHAIN)
}

/// The next link. An [`io::Error`] keeps the error it wraps from `source`, so that one is taken out of it.
fn cause<'a>(link: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
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
    fn what_we_are_short_of_is_told_from_what_others_refuse() {
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
        tokio::spawn(sockets.clone().attend(Clock::driven(UnixMillis(0))));
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
