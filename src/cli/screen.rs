//! Where and how commands write: standard output, which may be a terminal, a file, or a pipe that closes early; colours,
//! for terminals only; and what several commands print.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use anstyle::AnsiColor;
use anyhow::Context as _;
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use super::text;
use crate::clock::Clock;
use crate::core::time::UnixMillis;
pub(super) use crate::words::Tone;

/// Width in columns when standard output is not a terminal.
const PLAIN_WIDTH: usize = 100;

/// The widest layout, in columns; the rest of a wider terminal stays empty.
const MAX_WIDTH: usize = 140;

/// The narrowest layout, in columns; in a narrower terminal lines are broken by it.
const MIN_WIDTH: usize = 40;

/// The colour of a tone.
fn ansi(tone: Tone) -> anstyle::Style {
    match tone {
        Tone::Plain => anstyle::Style::new(),
        Tone::Strong => anstyle::Style::new().bold(),
        Tone::Dim => AnsiColor::BrightBlack.on_default(),
        Tone::Good => AnsiColor::Green.on_default(),
        Tone::Busy => AnsiColor::Cyan.on_default(),
        Tone::Warn => AnsiColor::Yellow.on_default(),
        Tone::Bad => AnsiColor::Red.on_default(),
    }
}

/// Whether this is a terminal that understands control sequences.
pub(super) fn understands(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    /// Escape sequences may be written.
    pub(super) colour: bool,
}

impl Style {
    /// Colours for a terminal that supports them, unless `NO_COLOR` is set and not empty.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: !refused && understands(stream),
        }
    }

    /// The text in its tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        if self.colour && tone != Tone::Plain && !text.trim().is_empty() {
            let ansi = ansi(tone);
            format!("{ansi}{text}{ansi:#}")
        } else {
            text.to_owned()
        }
    }
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

    /// `✓ text`: what was done.
    pub(super) fn done(&self, text: &str) -> String {
        self.marked(Tone::Good, "✓", text)
    }

    /// A mark in its tone, and a text.
    pub(super) fn marked(&self, tone: Tone, mark: &str, text: &str) -> String {
        format!("{} {text}", self.paint(tone, mark))
    }

    /// A text that is less important.
    pub(super) fn dim(&self, text: &str) -> String {
        self.paint(Tone::Dim, text)
    }

    /// How long ago something was: `4m 12s ago`.
    pub(super) fn ago(&self, at: UnixMillis) -> String {
        text::ago(self.now.since(at))
    }

    /// In how much time something is due, unless it is already: `in 12s`.
    pub(super) fn ahead(&self, at: impl Into<Option<UnixMillis>>) -> Option<String> {
        let at = at.into().filter(|at| *at > self.now)?;
        Some(format!("in {}", text::brief(at.since(self.now))))
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

    /// Writes the record for programs, or these lines for people.
    pub(super) fn answer(
        &mut self,
        json: bool,
        record: &impl Serialize,
        lines: impl FnOnce(&View) -> Vec<String>,
    ) -> anyhow::Result<()> {
        if json {
            return self.json(record);
        }
        for line in lines(&self.view) {
            self.line(&line);
        }
        Ok(())
    }

    /// Writes a note to standard error, after the output so far; standard output stays as programs expect it.
    pub(super) fn note(&mut self, text: &str) {
        self.flush();
        note(&format!("note: {text}"));
    }
}

/// Columns and rows of a terminal; `None` for everything else, and for a terminal that does not know its size.
pub(super) fn size_of(terminal: impl AsFd) -> Option<(u16, u16)> {
    let size = tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// Writes one text to standard output, for a command that does nothing else.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut screen = Screen::new(Clock::system().now());
    screen.text(text);
    screen.finish()
}

/// Writes a line to standard error.
pub(super) fn note(text: &str) {
    // Without a standard error there is nowhere to report that.
    let _ = writeln!(io::stderr(), "{text}");
}

/// A name, a text, and its tone.
pub(super) type Fact<N = &'static str> = (N, String, Tone);

/// Facts in lines, each after its name in a column of `width`, wrapped where necessary. `margin` begins every line.
pub(super) fn facts<N: AsRef<str>>(
    facts: &[Fact<N>],
    margin: &str,
    width: usize,
    view: &View,
) -> String {
    let room = view.width.saturating_sub(text::columns(margin) + width);
    let mut out = String::new();
    for (name, fact, tone) in facts {
        let mut name = text::pad(name.as_ref(), width);
        for line in text::wrap(fact, room) {
            let (margin, before) = (view.dim(margin), view.dim(&name));
            let line = format!("{margin}{before}{}", view.paint(*tone, &line));
            out.push_str(line.trim_end());
            out.push('\n');
            name = " ".repeat(width);
        }
    }
    out
}
