//! Messages to the service manager (`sd_notify(3)`). Without one nothing is sent anywhere.
//!
//! Nothing waits for it: its socket takes ten messages by default (`net.unix.max_dgram_qlen`), and a manager that is busy for
//! longer must not stop polls. What it does not take is sent with the next message, or by [`ServiceManager::resend`].

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sd_notify::NotifyState;
use tracing::warn;

/// How much more time a start or a reload is given each time it needs it; see [`ServiceManager::needs_more_time`].
pub const MORE_TIME: Duration = Duration::from_secs(30);

/// What is to be sent to the socket of `NOTIFY_SOCKET`. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    outbox: Arc<Mutex<Outbox>>,
}

#[derive(Debug, Default)]
struct Outbox {
    /// The status line that was the last one to be sent.
    line: String,
    /// In order, one of a kind.
    waiting: VecDeque<String>,
}

impl ServiceManager {
    /// The daemon follows jobs, after a start or a reload.
    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
    }

    /// A reload has begun; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            // systemd finds out by the time whether this answers its latest request (Type=notify-reload).
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(_) => self.send(&[NotifyState::Reloading]),
        }
    }

    /// The daemon is stopping.
    pub fn stopping(&self) {
        self.send(&[NotifyState::Stopping]);
    }

    /// The line of `systemctl status`. The same line again is not sent again.
    pub fn status(&self, line: String) {
        let mut outbox = self.outbox.lock();
        if outbox.line != line {
            outbox.put(&[NotifyState::Status(&line)]);
            outbox.line = line;
        }
        outbox.send();
    }

    /// All loops advance.
    pub fn alive(&self) {
        let mut outbox = self.outbox.lock();
        outbox.put(&[NotifyState::Watchdog]);
        outbox.send();
        // Later it may be no longer true.
        outbox.forget(&NotifyState::Watchdog.to_string());
    }

    /// Sends what the manager has not taken yet.
    pub fn resend(&self) {
        self.outbox.lock().send();
    }

    /// The start, the reload or the stop takes longer: it gets [`MORE_TIME`] from now.
    pub fn needs_more_time(&self) {
        let micros = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
        self.send(&[NotifyState::ExtendTimeoutUsec(micros)]);
    }

    /// Within which time [`ServiceManager::alive`] has to be called again (`WatchdogSec=`); `None`: there is no watchdog.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|every| !every.is_zero())
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        let mut outbox = self.outbox.lock();
        outbox.put(states);
        outbox.send();
    }
}

impl Outbox {
    /// The newest of a kind says what is true now.
    fn put(&mut self, states: &[NotifyState<'_>]) {
        let lines = states.iter().map(|state| format!("{state}\n"));
        let message: String = lines.collect();
        self.forget(&message);
        self.waiting.push_back(message);
    }

    /// Removes what waits of the kind of this message.
    fn forget(&mut self, message: &str) {
        self.waiting.retain(|other| kind(other) != kind(message));
    }

    fn send(&mut self) {
        while let Some(message) = self.waiting.front() {
            match notify(message) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => warn!(%error, "the service manager could not be notified"),
                Ok(()) => {}
            }
            self.waiting.pop_front();
        }
    }
}

/// The name of its first variable.
fn kind(message: &str) -> Option<&str> {
    message.split('=').next()
}

/// Sends a message, unless the socket is full. A name that begins with `@` is one of the abstract namespace (`sd_notify(3)`).
fn notify(message: &str) -> io::Result<()> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address).map(drop)
}
