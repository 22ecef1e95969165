//! Signals to a program on a terminal, and the end of its reader.

use std::io;

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

/// The signals of a terminal, and those that end a process.
pub(in crate::cli) struct Signals {
    ends: [Signal; 4],
    resized: Signal,
    suspended: Signal,
}

impl Signals {
    pub(in crate::cli) fn listen() -> io::Result<Self> {
        Ok(Self {
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::quit())?,
            ],
            resized: signal(SignalKind::window_change())?,
            suspended: signal(SignalKind::from_raw(Number::TSTP.as_raw()))?,
        })
    }

    pub(in crate::cli) async fn next(&mut self) -> Request {
        let [interrupt, terminate, hangup, quit] = &mut self.ends;
        tokio::select! {
            _ = interrupt.recv() => Request::Stop,
            _ = terminate.recv() => Request::Stop,
            _ = hangup.recv() => Request::Stop,
            _ = quit.recv() => Request::Stop,
            _ = self.resized.recv() => Request::Redraw,
            _ = self.suspended.recv() => Request::Suspend,
        }
    }
}
