//! Entries for systemd's journal, in its native protocol: every value with its length before it, so that no value can
//! begin another field or entry.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::Level;

use super::line::Line;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest name of a field, in bytes; journald drops longer ones.
const MAX_NAME: usize = 64;

/// The connection to journald.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// Fails when journald does not listen. The address is looked up for each entry, so journald may be restarted.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // An empty datagram is not an entry.
        socket.send_to(&[], path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }

    pub(super) fn send(&self, line: &Line) -> io::Result<()> {
        self.socket.send_to(&entry(line), &self.path).map(drop)
    }
}

/// `MESSAGE` repeats the fields: it is all that `journalctl` shows unless asked for more.
fn entry(line: &Line) -> Vec<u8> {
    let mut entry = Vec::new();
    put(&mut entry, "MESSAGE", &line.words());
    put(&mut entry, "PRIORITY", priority(line.level));
    put(&mut entry, "SYSLOG_IDENTIFIER", env!("CARGO_PKG_NAME"));
    put(&mut entry, "TARGET", &line.target);
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
