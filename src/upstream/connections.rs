//! Which connections a request uses: over TLS HTTP/2 where the API offers it, else HTTP/1.1.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::sockets::CONNECT_LIMIT;
use crate::sockets::connector::{Connector, Protocols};
use crate::tls::{self, Roots};

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Most header lines of an answer with HTTP/1.1, …
const MAX_HEADERS: usize = 100;

/// … and most bytes of all of them with HTTP/2, where each counts 32 more than it has (RFC 9113, 6.5.2).
const MAX_HEADER_LIST: u32 = 32 << 10;

/// Requests at once over one connection of HTTP/2. Servers should allow no fewer (RFC 9113, 6.5.2); over one that allows fewer
/// the others wait, within their time.
const AT_ONCE: usize = 100;

/// How much of an answer is taken before it is read: at first that of HTTP/2 itself.
const WINDOW: u32 = 64 << 10;

/// The same for all answers of a connection together: enough for each, so that one that waits for memory holds up no other.
const WINDOW_OF_ALL: u32 = WINDOW * 128;

/// After how long without a sign of life a connection of HTTP/2 with requests in flight is asked for one, and after how long
/// without an answer it is given up. So requests on a dead one do not wait out `upstream.timeout` one after the other.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// Sends requests, and keeps their connections for the next ones. It follows no redirect, knows no proxy, and sends a request
/// twice only if a connection was closed before it took the first.
pub(super) type Client = legacy::Client<Connector, Full<Bytes>>;

/// The connections to one API. Clones share them; they last as long as a clone, or a request on them.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    kind: Kind,
    first: Client,
    /// A client each, since all requests of one client share a connection of HTTP/2.
    slots: Vec<Slot>,
}

#[derive(Default)]
struct Slot {
    /// Made when it is needed.
    client: OnceLock<Client>,
    in_flight: AtomicUsize,
}

/// What clients are made from.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Whether requests have the scheme http …
    pub(super) http: bool,
    /// … or https, or some the one and some the other.
    pub(super) https: bool,
    /// `upstream.timeout`.
    pub(super) timeout: Duration,
    /// `upstream.max_in_flight`.
    pub(super) at_once: usize,
}

/// Room for one request, until this is dropped.
pub(super) struct Taken {
    connections: Connections,
    slot: usize,
}

impl Connections {
    /// Opens none yet.
    ///
    /// # Errors
    /// When no client can be made, for instance without any root certificates.
    pub(super) fn new(kind: Kind) -> Result<Self, rustls::Error> {
        // HTTP/1.1 alone has a connection for each request anyway.
        let others = if kind.https {
            kind.at_once / AT_ONCE
        } else {
            0
        };
        Ok(Self(Arc::new(Shared {
            kind,
            first: kind.client()?,
            slots: (0..=others).map(|_| Slot::default()).collect(),
        })))
    }

    /// Takes room on the first connection that has some, else on the last one.
    pub(super) fn take(self) -> Taken {
        let slots = &self.0.slots;
        let last = slots.len() - 1;
        let has_room = |slot: &Slot| {
            let has_room = slot.in_flight.fetch_add(1, Ordering::Relaxed) < AT_ONCE;
            if !has_room {
                slot.in_flight.fetch_sub(1, Ordering::Relaxed);
            }
            has_room
        };
        let slot = slots[..last].iter().position(has_room).unwrap_or_else(|| {
            slots[last].in_flight.fetch_add(1, Ordering::Relaxed);
            last
        });
        Taken {
            connections: self,
            slot,
        }
    }
}

impl Taken {
    pub(super) fn client(&self) -> &Client {
        let Shared { kind, first, slots } = &*self.connections.0;
        slots[self.slot].client.get_or_init(|| {
            let own = (self.slot > 0).then(|| kind.client().ok()).flatten();
            own.unwrap_or_else(|| first.clone())
        })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let slot = &self.connections.0.slots[self.slot];
        slot.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Kind {
    fn client(self) -> Result<Client, rustls::Error> {
        let idle = match self.https {
            true => self.at_once.min(AT_ONCE),
            false => self.at_once,
        };
        let mut pool = legacy::Client::builder(TokioExecutor::new());
        pool.timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(idle)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_LIST)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW_OF_ALL)
            .http2_keep_alive_interval(SIGN_OF_LIFE)
            .http2_keep_alive_timeout(SIGN_OF_LIFE);
        // Plain http needs no CA certificates, so a machine without any will do for a first try.
        let roots = match self.https {
            true => Roots::System(&[]),
            false => Roots::None,
        };
        let tls = tls::client_config(roots)?.with_no_client_auth();
        let protocols = Protocols {
            plain: self.http,
            http2: self.https,
        };
        let limit = CONNECT_LIMIT.min(self.timeout);
        Ok(pool.build(Connector::new(GaiResolver::new(), tls, protocols, limit)))
    }
}
