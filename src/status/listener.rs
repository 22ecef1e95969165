//! The listening socket: bound, accepted from, and its file removed at the end if it is a unix socket.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket, UnixStream};

use super::Listen;

/// Who may use a unix socket: its user and its group.
const SOCKET_MODE: u32 = 0o660;

/// Most bytes of an answer that the kernel keeps for a peer that does not read them. Without a limit it would be several MiB
/// for each.
const SEND_BUFFER_BYTES: u32 = 128 << 10;

/// Connections the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// A socket that is listened on. A unix socket's file is removed with it.
#[derive(Debug)]
pub struct Listener {
    address: Listen,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix {
        /// Dropped before the listener, so that no client finds a socket that does not answer.
        _file: SocketFile,
        listener: UnixListener,
    },
}

/// Either kind of connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    /// Listens. A unix socket's file has mode 0660 from the beginning; the file of a socket on which no program answers is
    /// replaced.
    ///
    /// # Errors
    /// When the address is taken or cannot be used.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = bind_tcp(*address)?;
                Ok(Self {
                    address: Listen::Tcp(listener.local_addr()?),
                    socket: Socket::Tcp(listener),
                })
            }
            Listen::Unix(path) => Ok(Self {
                address: listen.clone(),
                socket: bind_unix(path).await?,
            }),
        }
    }

    /// Where it listens, with the port the system chose for port 0.
    #[must_use]
    pub fn address(&self) -> &Listen {
        &self.address
    }

    pub(super) async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Socket::Unix { listener, .. } => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // An address is free again at once after a restart.
    socket.set_reuseaddr(true)?;
    // The connections have that of the listener.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn bind_unix(path: &Path) -> io::Result<Socket> {
    // So that two daemons that start at once do not take each other's new socket for an old one. The lock is on the folder
    // and ends with this handle.
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    folder.try_lock().map_err(|_| {
        io::Error::other("another program is opening a socket in this folder; start again")
    })?;
    remove_unused(path).await?;
    let socket = make_file(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(&fs::symlink_metadata(path)?),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    Ok(Socket::Unix {
        _file: file,
        listener: socket.listen(BACKLOG)?,
    })
}

/// Creates the file, at first with the mode that the umask leaves.
fn make_file(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    // A socket's file gets the mode of the socket: it is never open to more than these.
    fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    socket.bind(path)?;
    Ok(socket)
}

/// Removes a socket on which no program answers.
async fn remove_unused(path: &Path) -> io::Result<()> {
    let taken = |reason: &str| Err(io::Error::new(ErrorKind::AddrInUse, reason));
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return taken(
            "there is a file of this name that is not a socket; remove it, or choose another name",
        );
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) => taken("a running program answers on this socket; stop it, or choose another name"),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!(
                "there is a socket of this name, and whether a program answers on it cannot be checked: {error}"
            ),
        )),
    }
}

/// The file of a unix socket; removed when it is dropped, unless another file has replaced it.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            // The next start replaces it.
            tracing::debug!(%error, "the status server's socket cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_open_to_nobody_else_not_even_before_its_mode_is_set() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let _runs = runtime.enter();
        let _socket = make_file(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().mode() & 0o7777;
        assert_eq!(mode & !SOCKET_MODE, 0, "{mode:o}");
        assert_eq!(mode & 0o600, 0o600, "{mode:o}");
    }
}
