//! A terminal in which a screen is drawn, restored afterwards.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;

use crate::cli::screen::{Style, View, size_of};
use crate::core::time::UnixMillis;

/// The alternate screen, without a cursor; long lines are cut.
const SHOW: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";

/// Restores the terminal.
const LEAVE: &str = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// To the upper left corner.
const HOME: &str = "\u{1b}[H";

/// Clears the rest of a line, and everything below it.
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Columns and rows of a terminal that does not know its size.
const USUAL: (u16, u16) = (80, 24);

/// The widest layout, in columns.
const MAX_WIDTH: usize = 160;

/// A terminal that is taken by [`Terminal::enter`] and restored when this is dropped.
pub(in crate::cli) struct Terminal {
    out: Arc<File>,
    style: Style,
    is_shown: Arc<AtomicBool>,
}

impl Terminal {
    /// Takes the terminal. A panic restores it before it prints anything.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(in crate::cli) fn enter(out: impl AsFd, style: Style) -> anyhow::Result<Self> {
        let out = out.as_fd().try_clone_to_owned();
        let mut terminal = Self {
            out: Arc::new(out.context("the terminal cannot be used")?.into()),
            style,
            is_shown: Arc::default(),
        };
        let (out, is_shown) = (Arc::clone(&terminal.out), Arc::clone(&terminal.is_shown));
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            leave(&out, &is_shown);
            before(panic);
        }));
        terminal.show()?;
        Ok(terminal)
    }

    /// Takes the terminal, again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn show(&mut self) -> anyhow::Result<()> {
        self.is_shown.store(true, Ordering::Relaxed);
        self.write(SHOW)
    }

    /// Restores it.
    pub(super) fn leave(&mut self) {
        leave(&self.out, &self.is_shown);
    }

    pub(super) fn size(&self) -> (u16, u16) {
        let size = size_of(&*self.out).filter(|(_, rows)| *rows > 0);
        size.unwrap_or(USUAL)
    }

    /// The view for lines that fit the present size.
    pub(super) fn view(&self, now: UnixMillis) -> View {
        View {
            style: self.style,
            width: usize::from(self.size().0).min(MAX_WIDTH),
            now,
        }
    }

    /// Draws lines over the previous ones.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(super) fn draw(&mut self, lines: &[String]) -> anyhow::Result<()> {
        // Each line is cleared before it is written: the cursor stays on the last column of a full line.
        let lines = lines.iter().map(|line| format!("{CLEAR_LINE}{line}"));
        let lines: Vec<String> = lines.collect();
        let mut out = HOME.to_owned() + &lines.join("\r\n");
        if lines.len() < usize::from(self.size().1) {
            out.push_str("\r\n");
            out.push_str(CLEAR_BELOW);
        }
        self.write(&out)
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let written = (&*self.out).write_all(text.as_bytes());
        written.context("the terminal cannot be written")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Restores the terminal if it is taken. Errors do not matter: it may be gone.
fn leave(mut out: &File, is_shown: &AtomicBool) {
    if is_shown.swap(false, Ordering::Relaxed) {
        let _ = out.write_all(LEAVE.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read as _};

    use super::*;

    #[test]
    fn a_terminal_is_left_as_it_was_however_its_owner_ends() {
        for panics in [false, true] {
            let (mut read, write) = io::pipe().unwrap();
            let done = std::thread::spawn(move || {
                let mut terminal = Terminal::enter(write, Style { colour: true }).unwrap();
                let lines = ["one", "two"].map(str::to_owned);
                terminal.draw(&lines).unwrap();
                assert!(!panics, "its owner panics");
            })
            .join();
            assert_eq!(done.is_err(), panics);
            // The hook keeps the file open.
            drop(std::panic::take_hook());
            let mut all = String::new();
            read.read_to_string(&mut all).unwrap();
            let drawn = "\u{1b}[H\u{1b}[Kone\r\n\u{1b}[Ktwo\r\n\u{1b}[J";
            assert_eq!(all, format!("{SHOW}{drawn}{LEAVE}"));
        }
    }
}
