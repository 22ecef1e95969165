//! Signals to a program on a terminal, and the end of its reader.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the reader of standard output has gone; otherwise that is noticed only at the next write.
pub(in crate::cli) fn output_is_closed() -> bool {
    let out = io::stdout();
    let mut polled = [PollFd::new(&out, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP;
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&at_once)).is_ok() && polled[0].revents().intersects(gone)
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Request {
    /// To end.
    Stop,
    /// The terminal has another size.
    Redraw,
    /// The shell wants the terminal.
    Suspend,
}

/// The signals of a terminal, and those that end a process, each with what it asks for.
pub(in crate::cli) struct Signals(Vec<(Signal, Request)>);

impl Signals {
    pub(in crate::cli) fn listen() -> io::Result<Self> {
        let signals = [
            (SignalKind::interrupt(), Request::Stop),
            (SignalKind::terminate(), Request::Stop),
            (SignalKind::hangup(), Request::Stop),
            (SignalKind::quit(), Request::Stop),
            (SignalKind::window_change(), Request::Redraw),
            (
                SignalKind::from_raw(Number::TSTP.as_raw()),
                Request::Suspend,
            ),
        ];
        let listen = |(kind, request)| Ok((signal(kind)?, request));
        signals
            .into_iter()
            .map(listen)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    pub(in crate::cli) async fn next(&mut self) -> Request {
        poll_fn(|context| {
            for (signal, request) in &mut self.0 {
                if signal.poll_recv(context).is_ready() {
                    return Poll::Ready(*request);
                }
            }
            Poll::Pending
        })
        .await
    }
}
