//! Connections that can misbehave below HTTP: write slowly, or break in the middle of a body.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How the next answer of a connection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Plain,
    /// `bytes` at a time, with a pause after each.
    Drip {
        bytes: usize,
        every: Duration,
    },
    /// A TCP reset once this many bytes of the body are written.
    Cut {
        left: usize,
        in_body: bool,
    },
}

/// A handler's access to the connection of its request.
#[derive(Debug, Clone)]
pub(super) struct PaceHandle(Arc<Mutex<Pace>>);

impl PaceHandle {
    pub(super) fn set(&self, pace: Pace) {
        *self.0.lock() = pace;
    }

    fn get(&self) -> Pace {
        *self.0.lock()
    }
}

impl Connected<IncomingStream<'_, Acceptor>> for PaceHandle {
    fn connect_info(stream: IncomingStream<'_, Acceptor>) -> Self {
        stream.io().pace.clone()
    }
}

/// A TCP listener whose connections are [`Socket`]s and end with the simulator.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) inner: TcpListener,
    pub(super) stop: CancellationToken,
}

impl Listener for Acceptor {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.inner).await;
        // If this fails, only small answers are slower.
        let _ = stream.set_nodelay(true);
        let socket = Socket {
            stream,
            pace: PaceHandle(Arc::new(Mutex::new(Pace::Plain))),
            pause: None,
            stopped: Box::pin(self.stop.clone().cancelled_owned()),
        };
        (socket, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Listener::local_addr(&self.inner)
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    pace: PaceHandle,
    pause: Option<Pin<Box<Sleep>>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    fn write_some(&mut self, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn drip(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
        bytes: usize,
        every: Duration,
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let part = data.get(..bytes.max(1)).unwrap_or(data);
        let written = ready!(self.write_some(context, part))?;
        self.pause = Some(Box::pin(sleep(every)));
        Poll::Ready(Ok(written))
    }

    /// `left` bytes may still be written; the server hands over the head of an answer in one piece, and it does not count.
    fn cut(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
        left: usize,
        in_body: bool,
    ) -> Poll<io::Result<usize>> {
        let head_end = || data.windows(4).position(|four| four == b"\r\n\r\n");
        let head = if in_body {
            0
        } else {
            head_end().map_or(data.len(), |at| at + 4)
        };
        let allowed = head.saturating_add(left).min(data.len());
        let Some(part) = data.get(..allowed).filter(|part| !part.is_empty()) else {
            self.stream.set_zero_linger()?;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let written = ready!(self.write_some(context, part))?;
        self.pace.set(Pace::Cut {
            left: left - written.saturating_sub(head),
            in_body: in_body || written >= head,
        });
        Poll::Ready(Ok(written))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stopped.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.pace.get() {
            Pace::Plain => self.write_some(context, data),
            _ if self.stopped.as_mut().poll(context).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            Pace::Drip { bytes, every } => self.drip(context, data, bytes, every),
            Pace::Cut { left, in_body } => self.cut(context, data, left, in_body),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
