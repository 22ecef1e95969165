//! Entries for systemd's journal, in its native protocol: every value with its length before it, so that no value can
//! begin another field or entry.

use std::collections::VecDeque;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem, thread};

use parking_lot::{Condvar, Mutex};
use serde_json::Value;
use tracing::Level;

use super::line::Line;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest name of a field, in bytes; journald drops longer ones.
const MAX_NAME: usize = 64;

/// Most entries that wait until journald takes them; further ones are lost, and counted.
const MOST_WAITING: usize = 1000;

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
    path: PathBuf,
    backlog: Mutex<Backlog>,
    /// Notified when no thread waits any more.
    rested: Condvar,
}

/// What journald has not taken yet.
#[derive(Debug, Default)]
struct Backlog {
    entries: VecDeque<Vec<u8>>,
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
            path: path.to_owned(),
            backlog: Mutex::default(),
            rested: Condvar::new(),
        })))
    }

    /// Sends the line, now or when journald takes it. Fails when it does not listen.
    pub(super) fn send(&self, line: &Line) -> io::Result<()> {
        let entry = entry(line);
        let mut backlog = self.0.backlog.lock();
        if !backlog.is_sending {
            match self.0.socket.send_to(&entry, &self.0.path) {
                Ok(_) if backlog.is_empty() => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => backlog.put(entry),
                Err(error) => return Err(error),
            }
            let connection = Arc::clone(&self.0);
            let thread = thread::Builder::new().name("journal".to_owned());
            let sending = thread.spawn(move || connection.send_backlog());
            backlog.is_sending = sending.is_ok();
        } else {
            backlog.put(entry);
        }
        Ok(())
    }

    /// Waits until journald has all lines, but not for long; whether it has.
    pub(super) fn flush(&self) -> bool {
        let mut backlog = self.0.backlog.lock();
        let is_sending = |backlog: &mut Backlog| backlog.is_sending;
        let waiting = self
            .0
            .rested
            .wait_while_for(&mut backlog, is_sending, PATIENCE);
        !waiting.timed_out() && backlog.is_empty()
    }
}

impl Connection {
    /// Sends what waits, as journald takes it. If it is gone, the rest waits for a line that it takes.
    fn send_backlog(&self) {
        let patient = UnixDatagram::unbound();
        loop {
            let next = self.backlog.lock().next();
            let Some(entry) = next else {
                break;
            };
            let sent = patient
                .as_ref()
                .is_ok_and(|socket| socket.send_to(&entry, &self.path).is_ok());
            if !sent {
                let mut backlog = self.backlog.lock();
                backlog.entries.push_front(entry);
                backlog.is_sending = false;
                break;
            }
        }
        self.rested.notify_all();
    }
}

impl Backlog {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost == 0
    }

    fn put(&mut self, entry: Vec<u8>) {
        if self.entries.len() < MOST_WAITING {
            self.entries.push_back(entry);
        } else {
            self.lost += 1;
        }
    }

    /// The next entry to be sent; without one the sending ends.
    fn next(&mut self) -> Option<Vec<u8>> {
        let next = self.entries.pop_front().or_else(|| self.loss());
        self.is_sending = next.is_some();
        next
    }

    fn loss(&mut self) -> Option<Vec<u8>> {
        let lost = mem::take(&mut self.lost);
        let message = format!("journald took no lines for a while; some are lost lost={lost}");
        let mut entry = begun(&message, Level::WARN, module_path!());
        put(&mut entry, "LOST", &lost.to_string());
        (lost > 0).then_some(entry)
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
