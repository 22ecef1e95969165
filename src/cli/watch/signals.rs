//! What reaches a watch from outside: signals, and a reader that goes away.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the reader of standard output has gone; with nothing to write it would not be noticed otherwise.
pub(in crate::cli) fn is_hung_up() -> bool {
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
pub(in crate::cli) enum Asked {
    /// An end.
    Stop,
    /// The terminal has another size.
    Redraw,
    /// The shell wants the terminal.
    Suspend,
}

/// What the terminal, and those who end processes, say.
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

    pub(in crate::cli) async fn next(&mut self) -> Asked {
        let [interrupt, terminate, hangup, quit] = &mut self.ends;
        tokio::select! {
            _ = interrupt.recv() => Asked::Stop,
            _ = terminate.recv() => Asked::Stop,
            _ = hangup.recv() => Asked::Stop,
            _ = quit.recv() => Asked::Stop,
            _ = self.resized.recv() => Asked::Redraw,
            _ = self.suspended.recv() => Asked::Suspend,
        }
    }
}
