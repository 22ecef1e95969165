//! One event: its values escaped and cut, so that none of them can forge a line or fill a disk.

use anstyle::{AnsiColor, Style};
use std::fmt::{self, Write as _};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::core::text::push_printable;
use crate::core::time::UnixMillis;

/// Longest text of one field, in characters before they are escaped.
const MAX_VALUE: usize = 2000;

/// All texts of an event together. Escaped and written twice, as a field and as part of the message, they fit into one
/// datagram to journald.
const MAX_LINE: usize = 8000;

/// Names that mean something in one of the formats, so no field may have them. Ours do not; a library's may.
const RESERVED: [&str; 12] = [
    "timestamp",
    "level",
    "target",
    "priority",
    "message",
    "message_id",
    "errno",
    "tid",
    "unit",
    "user_unit",
    "documentation",
    "invocation_id",
];

/// Prefix of names that belong to the journal.
const RESERVED_BEGINNINGS: [&str; 5] = ["_", "code_", "syslog_", "object_", "coredump_"];

/// An event, recorded.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) time: UnixMillis,
    pub(super) level: Level,
    /// The module that logged it.
    pub(super) target: String,
    pub(super) file: Option<&'static str>,
    pub(super) number: Option<u32>,
    pub(super) message: String,
    /// Numbers, booleans and texts.
    pub(super) fields: Vec<(String, Value)>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>, time: UnixMillis) -> Self {
        let metadata = event.metadata();
        let mut recorder = Recorder {
            line: Self {
                time,
                level: *metadata.level(),
                target: metadata.target().to_owned(),
                file: metadata.file(),
                number: metadata.line(),
                message: String::new(),
                fields: Vec::new(),
            },
            left: MAX_LINE,
        };
        event.record(&mut recorder);
        recorder.line
    }

    /// A line for people at a terminal: time, level, message and fields.
    pub(super) fn text(&self, colours: bool) -> String {
        let (time, level, words) = (self.time, self.level, self.words());
        if !colours {
            return format!("{time} {level:>5} {words}\n");
        }
        let colour = match level {
            Level::ERROR => AnsiColor::Red,
            Level::WARN => AnsiColor::Yellow,
            Level::INFO => AnsiColor::Green,
            _ => AnsiColor::Blue,
        };
        let (dim, colour) = (Style::new().dimmed(), colour.on_default());
        format!("{dim}{time}{dim:#} {colour}{level:>5}{colour:#} {words}\n")
    }

    /// A line for programs: one flat JSON object.
    pub(super) fn json(&self) -> String {
        // All values can be written as JSON.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// The message and all fields in one line for people.
    pub(super) fn words(&self) -> String {
        let mut words = String::new();
        let ours = self.target.starts_with(env!("CARGO_PKG_NAME"));
        if !ours {
            words.extend([&self.target, ": "]);
        }
        words.push_str(&self.message);
        for (name, value) in &self.fields {
            words.extend([" ", name, "="]);
            match value {
                Value::String(text) => push_quoted(&mut words, text),
                other => words.push_str(&other.to_string()),
            }
        }
        words
    }
}

/// `timestamp`, `level`, `message`, the event's fields, `target`.
impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &self.time.rfc3339())?;
        map.serialize_entry("level", self.level.as_str())?;
        map.serialize_entry("message", &self.message)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("target", &self.target)?;
        map.end()
    }
}

/// Quotes a value with spaces or quotes in it, or none at all.
fn push_quoted(words: &mut String, text: &str) {
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
    if !text.is_empty() && text.chars().all(plain) {
        words.push_str(text);
    } else {
        words.extend(["\"", &text.replace('"', "'"), "\""]);
    }
}

/// Records the values of an event.
struct Recorder {
    line: Line,
    left: usize,
}

impl Recorder {
    fn text(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let limit = self.left.min(MAX_VALUE);
        let mut cut = Cut {
            text: String::new(),
            left: Some(limit),
        };
        // It fails when the text is full: that is how a long value is cut.
        let _ = cut.write_fmt(value);
        self.left -= limit - cut.left.unwrap_or(0);
        match name {
            "message" => self.line.message = cut.text,
            // Libraries that use the log crate: these fields are its origin.
            "log.target" => self.line.target = cut.text,
            name if name.starts_with("log.") => {}
            name => self.push(name, Value::String(cut.text)),
        }
    }

    fn push(&mut self, name: &str, value: Value) {
        if !name.starts_with("log.") {
            self.line.fields.push((free(name), value));
        }
    }
}

fn free(name: &str) -> String {
    let taken = RESERVED.contains(&name)
        || RESERVED_BEGINNINGS
            .iter()
            .any(|beginning| name.starts_with(beginning));
    if taken {
        format!("field_{name}")
    } else {
        name.to_owned()
    }
}

impl Visit for Recorder {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field.name(), format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), value.into());
    }
}

/// A text that escapes what is written to it, with at most a number of characters.
struct Cut {
    text: String,
    /// How many more characters; 0 once something was cut off.
    left: Option<usize>,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let left = self.left.ok_or(fmt::Error)?;
            self.left = left.checked_sub(1);
            if self.left.is_none() {
                self.text.push('…');
                return Err(fmt::Error);
            }
            push_printable(&mut self.text, c);
        }
        Ok(())
    }
}
