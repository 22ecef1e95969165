//! Resources that this process may run out of, for files and for connections.

use std::io;

use rustix::io::Errno;

/// A resource that this process has run out of. It lasts until others free the resource or an operator raises the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Shortage {
    /// `EMFILE`, `ENFILE`: no file can be opened, and no connection.
    #[error("too few file descriptors")]
    Descriptors,
    /// `ENOMEM`, `ENOBUFS`.
    #[error("too little memory")]
    Memory,
    /// `EAGAIN` when a thread is made.
    #[error("too few threads")]
    Threads,
    /// `EDQUOT`.
    #[error("the disk quota is used up")]
    Quota,
    /// `EFBIG`: a file is as large as this process may make one (`RLIMIT_FSIZE`).
    #[error("the largest file size is reached (ulimit -f)")]
    FileSize,
}

impl Shortage {
    /// The shortage that made a system call fail, if its error is one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_io_error(error)? {
            Errno::MFILE | Errno::NFILE => Some(Self::Descriptors),
            Errno::NOMEM | Errno::NOBUFS => Some(Self::Memory),
            Errno::AGAIN => Some(Self::Threads),
            Errno::DQUOT => Some(Self::Quota),
            Errno::FBIG => Some(Self::FileSize),
            _ => None,
        }
    }
}
