//! Colours, for terminals only.

use std::io::IsTerminal;

use anstyle::AnsiColor;
use comfy_table::Color;

/// What a piece of text means; the colour follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// The terminal's own colour.
    Plain,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
    /// Done.
    Good,
    /// Under way.
    Busy,
    /// Needs attention.
    Warn,
    /// Failed.
    Bad,
}

impl Tone {
    /// The colour of a cell in a table.
    pub(super) fn color(self) -> Color {
        match self {
            Self::Plain | Self::Strong => Color::Reset,
            Self::Dim => Color::DarkGrey,
            Self::Good => Color::DarkGreen,
            Self::Busy => Color::DarkCyan,
            Self::Warn => Color::DarkYellow,
            Self::Bad => Color::DarkRed,
        }
    }

    fn ansi(self) -> anstyle::Style {
        match self {
            Self::Plain => anstyle::Style::new(),
            Self::Strong => anstyle::Style::new().bold(),
            Self::Dim => AnsiColor::BrightBlack.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Busy => AnsiColor::Cyan.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
        }
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
            let ansi = tone.ansi();
            format!("{ansi}{text}{ansi:#}")
        } else {
            text.to_owned()
        }
    }
}
