//! Notices that a program writes to the log, before it has committed.

use std::io;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// A watch on the log. The kernel reports writes of every process on this machine, those of this one too.
#[derive(Debug)]
pub(super) struct LogWrites(Receiver);

impl LogWrites {
    pub(super) fn watch(log: &Path) -> io::Result<Self> {
        let descriptor = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&descriptor, log, WatchFlags::MODIFY)?;
        // It is read like a pipe.
        Receiver::from_owned_fd_unchecked(descriptor).map(Self)
    }

    /// Returns when there was a write since the last call.
    pub(super) async fn next(&self) -> io::Result<()> {
        // Each report has 16 bytes, and equal ones that follow each other are one.
        let mut reports = [0; 1024];
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut reports) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read.map(|_| ()),
            }
        }
    }
}
