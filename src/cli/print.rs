//! What several commands print: lines with a mark, dimmed lines, one answer for programs or people, notes.

use std::io::{self, Write as _};

use serde::Serialize;

use super::screen::{Screen, View};
use super::style::Tone;
use super::text;
use crate::clock::Clock;

impl View {
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
}

impl Screen {
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

/// Facts in lines, each after its name in a column of `width`, wrapped where necessary. `margin` begins every line.
pub(super) fn facts<N: AsRef<str>>(
    facts: &[(N, String, Tone)],
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
