//! Connections: accepted until the stop, limited in number and time, and finished at the end.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::guard::Guard;
use super::listener::{Listener, Stream};
use super::write_limits::WriteLimits;
use super::{Limits, Parts, router};

/// Longest head of a request, in bytes; a longer one is answered with 431.
const HEAD_BYTES: usize = 16 << 10;

/// Most headers of a request; more are answered with 431.
const HEADERS: usize = 64;

/// Most that is read or written ahead on a connection, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Pause after a connection could not be accepted, for example without a free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// It is logged again only after this long without it: while descriptors are short it comes and goes.
const ACCEPT_QUIET: Duration = Duration::from_secs(60);

/// Serves until `stop`, then finishes the requests in flight, within [`Limits::drain`].
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: Listener,
    parts: Parts,
    access: Access,
    limits: Limits,
    stop: CancellationToken,
) -> io::Result<()> {
    let address = listener.address().clone();
    let clock = parts.clock.clone();
    let guard = Guard::new(access, address, limits, clock, stop.clone());
    serve_routes(listener, guard.around(router(parts)), limits, stop).await;
    Ok(())
}

pub(super) async fn serve_routes(
    listener: Listener,
    routes: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let (is_full, full) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut refused: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                let last = refused.replace(Instant::now());
                if last.is_none_or(|last| last.elapsed() >= ACCEPT_QUIET) {
                    tracing::warn!(%error, "the status server cannot accept connections; it is tried again");
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        let permit = tokio::select! {
            () = stop.cancelled() => break,
            permit = free_permit(&permits, &is_full) => permit,
        };
        let connection = Connection {
            stream,
            limits,
            stop: stop.clone(),
            full: full.clone(),
            permit,
        };
        connections.spawn(connection.serve(routes.clone()));
    }
    // No more connections are accepted, and a unix socket's file is removed.
    drop(listener);
    let finishing = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(limits.drain, finishing).await.is_err() {
        connections.shutdown().await;
    }
}

/// A permit for one more connection. While there is none, connections that have answered a request end after the present
/// one.
async fn free_permit(
    permits: &Arc<Semaphore>,
    is_full: &watch::Sender<bool>,
) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    is_full.send_replace(true);
    let permit = Arc::clone(permits).acquire_owned().await;
    is_full.send_replace(false);
    // The semaphore is never closed.
    permit.ok()
}

struct Connection {
    stream: Box<dyn Stream>,
    limits: Limits,
    stop: CancellationToken,
    /// Whether another connection waits for a permit.
    full: watch::Receiver<bool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    async fn serve(mut self, routes: Router) {
        let stream = TokioIo::new(WriteLimits::new(
            self.stream,
            self.limits.write,
            self.limits.answer,
        ));
        let mut protocol = http1::Builder::new();
        protocol
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_headers(HEADERS)
            .max_header_size(HEAD_BYTES)
            .max_buf_size(BUFFER_BYTES);
        // A connection that was just accepted is not idle: its first request may still arrive.
        let (routes, answered) = (TowerToHyperService::new(routes), &Notify::new());
        let service = service_fn(|request| {
            let answering = routes.call(request);
            async move {
                let answer = answering.await;
                answered.notify_one();
                answer
            }
        });
        let serving = protocol.serve_connection(stream, service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = async {
                tokio::select! {
                    () = self.stop.cancelled() => {}
                    () = async {
                        answered.notified().await;
                        // The sender lives as long as the server accepts connections.
                        let _ = self.full.wait_for(|full| *full).await;
                    } => {}
                }
            } => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            // A peer that went away, was too slow, or does not speak HTTP.
            tracing::debug!(%error, "a connection to the status server ended early");
        }
        drop(self.permit);
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection to the status server broke");
    }
}

/// Whether it is the peer that went away before it was accepted.
fn is_the_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}
