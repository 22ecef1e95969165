//! Entries for systemd's journal, in its native protocol: every value with its length before it, so that no value can
//! begin another field or entry.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem, thread};

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;
use serde_json::Value;
use tracing::Level;

use super::line::Line;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest name of a field, in bytes; journald drops longer ones.
const MAX_NAME: usize = 64;

/// Most entries that wait until journald takes them, and most bytes of them (4 MiB); further ones are lost, and counted.
const MOST_WAITING: usize = 1000;
const MOST_BYTES: usize = 4 << 20;

/// How long the end of the process waits for journald, at most.
const PATIENCE: Duration = Duration::from_secs(1);

/// The connection to journald. Nothing but a thread of its own waits for it: its socket takes few entries at a time
/// (`net.unix.max_dgram_qlen`), and a journald that is busy or stopped must not stop polls. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Journal(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    /// Does not block.
    socket: UnixDatagram,
    /// Blocks, and is used by the thread alone.
    patient: UnixDatagram,
    path: PathBuf,
    backlog: Mutex<Backlog>,
    /// Notified when no thread waits any more.
    rested: Condvar,
}

/// What journald has not taken yet.
#[derive(Debug, Default)]
struct Backlog {
    entries: VecDeque<Vec<u8>>,
    /// Of these entries.
    bytes: usize,
    lost: u64,
    /// Whether a thread waits until journald takes them.
    is_sending: bool,
}

impl Journal {
    /// Fails when journald does not listen. The address is looked up for each entry, so journald may be restarted.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        // An empty datagram is not an entry.
        match socket.send_to(&[], path) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
        Ok(Self(Arc::new(Connection {
            socket,
            patient: UnixDatagram::unbound()?,
            path: path.to_owned(),
            backlog: Mutex::default(),
            rested: Condvar::new(),
        })))
    }

    /// Sends the line, now or when journald takes it and those before it. Fails when it does not listen and nothing waits.
    pub(super) fn send(&self, line: &Line) -> io::Result<()> {
        let mut entry = entry(line);
        let mut backlog = self.0.backlog.lock();
        if !backlog.is_sending && backlog.is_empty() {
            match self.0.socket.send_to(&entry, &self.0.path) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return sent.map(drop),
            }
        }
        // The journal has the time at which it takes an entry.
        put(&mut entry, "LOGGED_AT", &line.time.to_string());
        backlog.put(entry);
        self.0.start_sending(&mut backlog);
        Ok(())
    }

    /// Waits until journald has all lines, but not for long; whether it has.
    pub(super) fn flush(&self) -> bool {
        let mut backlog = self.0.backlog.lock();
        if !backlog.is_empty() {
            self.0.start_sending(&mut backlog);
        }
        let is_sending = |backlog: &mut Backlog| backlog.is_sending;
        let waiting = self
            .0
            .rested
            .wait_while_for(&mut backlog, is_sending, PATIENCE);
        !waiting.timed_out() && backlog.is_empty()
    }
}

impl Connection {
    /// Starts the thread, unless it runs. A thread that cannot be started now is started with the next line.
    fn start_sending(self: &Arc<Self>, backlog: &mut Backlog) {
        if !backlog.is_sending {
            let connection = Arc::clone(self);
            let thread = thread::Builder::new().name("journal".to_owned());
            let sending = thread.spawn(move || connection.send_backlog());
            backlog.is_sending = sending.is_ok();
        }
    }

    /// Sends what waits, as journald takes it. If it is gone, the rest waits for the next line.
    fn send_backlog(&self) {
        loop {
            let next = self.backlog.lock().next();
            let Some(entry) = next else {
                break;
            };
            let Err(error) = self.patient.send_to(&entry, &self.path) else {
                continue;
            };
            let mut backlog = self.backlog.lock();
            if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) {
                backlog.lost += 1;
                continue;
            }
            backlog.return_next(entry);
            break;
        }
        self.rested.notify_all();
    }
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost == 0
    }

    fn put(&mut self, entry: Vec<u8>) {
        if self.entries.len() >= MOST_WAITING || self.bytes + entry.len() > MOST_BYTES {
            self.lost += 1;
            return;
        }
        if let Some(loss) = self.loss() {
            self.bytes += loss.len();
            self.entries.push_back(loss);
        }
        self.bytes += entry.len();
        self.entries.push_back(entry);
    }

    /// The next entry to be sent; without one the sending ends.
    fn next(&mut self) -> Option<Vec<u8>> {
        let next = self.entries.pop_front();
        self.bytes -= next.as_ref().map_or(0, Vec::len);
        let next = next.or_else(|| self.loss());
        self.is_sending = next.is_some();
        next
    }

    /// The sending ends before this entry.
    fn return_next(&mut self, entry: Vec<u8>) {
        self.bytes += entry.len();
        self.entries.push_front(entry);
        self.is_sending = false;
    }

    /// How many were lost since it was said last.
    fn loss(&mut self) -> Option<Vec<u8>> {
        if self.lost == 0 {
            return None;
        }
        let lost = mem::take(&mut self.lost);
        let message = format!("journald took no lines for a while; some are lost lost={lost}");
        let mut entry = begun(&message, Level::WARN, module_path!());
        put(&mut entry, "LOST", &lost.to_string());
        Some(entry)
    }
}

/// `MESSAGE` repeats the fields: it is all that `journalctl` shows unless asked for more.
fn entry(line: &Line) -> Vec<u8> {
    let mut entry = begun(&line.words(), line.level, &line.target);
    if let Some(file) = line.file {
        put(&mut entry, "CODE_FILE", file);
    }
    if let Some(number) = line.number {
        put(&mut entry, "CODE_LINE", &number.to_string());
    }
    for (name, value) in &line.fields {
        match value {
            Value::String(text) => put(&mut entry, &field(name), text),
            other => put(&mut entry, &field(name), &other.to_string()),
        }
    }
    entry
}

fn begun(message: &str, level: Level, target: &str) -> Vec<u8> {
    let mut entry = Vec::new();
    put(&mut entry, "MESSAGE", message);
    put(&mut entry, "PRIORITY", priority(level));
    put(&mut entry, "SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
    put(&mut entry, "TARGET", target);
    entry
}

fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// syslog's numbers.
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// A name as the journal takes it: capital letters, digits and `_`, a letter first.
fn field(name: &str) -> String {
    let legal = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(legal).take(MAX_NAME).collect();
    if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        name
    } else {
        format!("FIELD_{name}").chars().take(MAX_NAME).collect()
    }
}
