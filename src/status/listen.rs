//! Where the server listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest path of a unix socket, in bytes (`sun_path` of Linux without its NUL).
const PATH_BYTES: usize = 107;

/// Prefix of the address of a unix socket.
const UNIX: &str = "unix:";

/// An address to listen on; written as it is configured: `127.0.0.1:8787`, `unix:/run/jobtrackd/status.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An IP address with a port.
    Tcp(SocketAddr),
    /// An absolute path of at most 107 bytes.
    Unix(PathBuf),
}

/// Why a text is not a [`Listen`]. Fragments that follow the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidListen {
    /// Neither `IP:port` nor `unix:`.
    #[error("is not an IP address with a port")]
    NoAddress,
    /// A path that depends on the working directory.
    #[error("does not name the socket with an absolute path")]
    Relative,
    /// A path that cannot be a socket's.
    #[error("is longer than the 107 bytes that a unix socket's path may have, or no path")]
    NoSocket,
}

impl Listen {
    /// The address of a TCP socket.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether only programs on this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.tcp()
            .is_none_or(|address| address.ip().to_canonical().is_loopback())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let Some(path) = text.strip_prefix(UNIX) else {
            let address = text.parse().map_err(|_| InvalidListen::NoAddress)?;
            return Ok(Self::Tcp(address));
        };
        if !path.starts_with('/') {
            return Err(InvalidListen::Relative);
        }
        if path.len() > PATH_BYTES || path.ends_with('/') || path.contains('\0') {
            return Err(InvalidListen::NoSocket);
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_alike_and_say_whether_they_are_local() {
        for (text, local) in [
            ("127.0.0.1:8787", true),
            ("127.8.9.1:1", true),
            ("[::1]:8787", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("unix:/run/jobtrackd/status.sock", true),
            ("0.0.0.0:8787", false),
            ("[::]:8787", false),
            ("10.0.0.1:8787", false),
        ] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(
                (listen.to_string().as_str(), listen.is_local()),
                (text, local)
            );
        }
    }

    #[test]
    fn each_unusable_address_has_its_own_error() {
        let long = format!("unix:/{}", "x".repeat(PATH_BYTES));
        for (text, expected) in [
            ("localhost:1", InvalidListen::NoAddress),
            ("/run/status.sock", InvalidListen::NoAddress),
            ("unix:status.sock", InvalidListen::Relative),
            ("unix:", InvalidListen::Relative),
            ("unix:/run/", InvalidListen::NoSocket),
            (long.as_str(), InvalidListen::NoSocket),
        ] {
            assert_eq!(text.parse::<Listen>(), Err(expected), "{text}");
        }
        assert!(long[..long.len() - 1].parse::<Listen>().is_ok());
    }
}
