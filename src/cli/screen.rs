//! Where commands write: standard output, which may be a terminal, a file, or a pipe that closes early.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use anyhow::Context as _;
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use super::style::{Style, Tone};
use crate::core::time::UnixMillis;

/// Width in columns when standard output is not a terminal.
const PLAIN_WIDTH: usize = 100;

/// The widest layout, in columns; the rest of a wider terminal stays empty.
const MAX_WIDTH: usize = 140;

/// The narrowest layout, in columns; in a narrower terminal lines are broken by it.
const MIN_WIDTH: usize = 40;

/// Columns and rows of a terminal; `None` for everything else, and for a terminal that does not know its size.
pub(super) fn size_of(terminal: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// Colours, width and time of what is printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    /// Colours.
    pub(super) style: Style,
    /// Columns to fill.
    pub(super) width: usize,
    /// The time of day that ages are counted from.
    pub(super) now: UnixMillis,
}

impl View {
    /// The text in its tone.
    pub(super) fn paint(&self, tone: Tone, text: &str) -> String {
        self.style.paint(tone, text)
    }
}

/// Standard output or standard error. If the reader of a pipe has gone, nothing more is written; that is not an error.
pub(super) struct Screen {
    out: BufWriter<Box<dyn Write>>,
    failed: Option<io::Error>,
    /// Colours, width and time of what is printed.
    pub(super) view: View,
}

impl Screen {
    /// Standard output, at this time of day.
    pub(super) fn new(now: UnixMillis) -> Self {
        Self::on(io::stdout(), now)
    }

    /// Standard error, at this time of day.
    pub(super) fn stderr(now: UnixMillis) -> Self {
        Self::on(io::stderr(), now)
    }

    fn on(out: impl Write + AsFd + IsTerminal + 'static, now: UnixMillis) -> Self {
        let style = Style::of(&out);
        let width = size_of(&out).map_or(PLAIN_WIDTH, |(columns, _)| columns.into());
        let width = width.clamp(MIN_WIDTH, MAX_WIDTH);
        Self {
            out: BufWriter::new(Box::new(out)),
            failed: None,
            view: View { style, width, now },
        }
    }

    /// Writes text that ends with its own line breaks.
    pub(super) fn text(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.out.write_all(text.as_bytes()).err();
        }
    }

    /// Writes one line.
    pub(super) fn line(&mut self, text: &str) {
        self.text(text);
        self.text("\n");
    }

    /// Writes a record as JSON on one line.
    pub(super) fn json(&mut self, record: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string(record).context("the record cannot be written as JSON")?;
        self.piece(&text);
        self.text("\n");
        Ok(())
    }

    /// Writes a part of a line of JSON.
    pub(super) fn piece(&mut self, json: &str) {
        // A line break in JSON is between tokens, where a blank means the same.
        self.text(&json.replace(['\n', '\r'], " "));
    }

    /// Whether nothing more can be written.
    pub(super) fn is_closed(&self) -> bool {
        self.failed.is_some()
    }

    /// Flushes what was written so far.
    pub(super) fn flush(&mut self) {
        if self.failed.is_none() {
            self.failed = self.out.flush().err();
        }
    }

    /// Flushes the rest.
    ///
    /// # Errors
    /// When something could not be written, unless the reader went away.
    pub(super) fn finish(&mut self) -> anyhow::Result<()> {
        self.flush();
        match self.failed.take() {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context("standard output could not be written")
            }
            _ => Ok(()),
        }
    }
}
