//! Connections that can misbehave below HTTP: drip, and break off in the middle of a body.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How the next answer of a connection is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    /// `bytes` at a time, with a pause after each.
    Drip {
        bytes: usize,
        every: Duration,
    },
    /// A TCP reset once this many bytes of the body are out.
    Cut {
        left: usize,
        head: usize,
    },
}

/// A handler's hold on the connection its request came by.
#[derive(Debug, Clone)]
pub(super) struct WireHandle(Arc<Mutex<Manner>>);

impl WireHandle {
    pub(super) fn set(&self, manner: Manner) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    fn get(&self) -> Manner {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connected<IncomingStream<'_, WireListener>> for WireHandle {
    fn connect_info(stream: IncomingStream<'_, WireListener>) -> Self {
        stream.io().manner.clone()
    }
}

/// A TCP listener whose connections are [`Wire`]s and end with the simulator.
#[derive(Debug)]
pub(super) struct WireListener {
    pub(super) inner: TcpListener,
    pub(super) stop: CancellationToken,
}

impl Listener for WireListener {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.inner.accept().await {
                // Without it only small answers are slower.
                let _ = stream.set_nodelay(true);
                let wire = Wire {
                    stream,
                    manner: WireHandle(Arc::new(Mutex::new(Manner::Plain))),
                    pause: None,
                    stopped: Box::pin(self.stop.clone().cancelled_owned()),
                };
                return (wire, address);
            }
            // Out of file descriptors, as a rule: waiting is all that helps.
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    manner: WireHandle,
    pause: Option<Pin<Box<Sleep>>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Wire {
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
        let drop = data.get(..bytes.max(1)).unwrap_or(data);
        let written = ready!(self.write_some(context, drop))?;
        self.pause = Some(Box::pin(sleep(every)));
        Poll::Ready(Ok(written))
    }

    fn cut(
        &mut self,
        context: &mut Context<'_>,
        data: &[u8],
        left: usize,
        head: usize,
    ) -> Poll<io::Result<usize>> {
        let (header, body) = split_head(data, head);
        let allowed = header.len() + body.len().min(left);
        let Some(part) = data.get(..allowed).filter(|part| !part.is_empty()) else {
            self.stream.set_zero_linger()?;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let written = ready!(self.write_some(context, part))?;
        let (header, body) = split_head(data.get(..written).unwrap_or(data), head);
        self.manner.set(Manner::Cut {
            left: left - body.len(),
            head: matched(head, header),
        });
        Poll::Ready(Ok(written))
    }
}

const BLANK_LINE: &[u8; 4] = b"\r\n\r\n";

/// How much of the blank line is seen after `bytes`, when `seen` of it was seen before.
fn matched(seen: usize, bytes: &[u8]) -> usize {
    bytes.iter().fold(seen, |seen, byte| {
        if seen == BLANK_LINE.len() || BLANK_LINE.get(seen) == Some(byte) {
            (seen + 1).min(BLANK_LINE.len())
        } else {
            usize::from(*byte == b'\r')
        }
    })
}

fn split_head(data: &[u8], seen: usize) -> (&[u8], &[u8]) {
    let mut seen = seen;
    for (index, byte) in data.iter().enumerate() {
        if seen == BLANK_LINE.len() {
            return data.split_at(index);
        }
        seen = matched(seen, &[*byte]);
    }
    (data, &[])
}

impl AsyncRead for Wire {
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

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.manner.get() {
            Manner::Plain => self.write_some(context, data),
            _ if self.stopped.as_mut().poll(context).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            Manner::Drip { bytes, every } => self.drip(context, data, bytes, every),
            Manner::Cut { left, head } => self.cut(context, data, left, head),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
