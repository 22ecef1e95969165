//! A terminal that is drawn upon, and left as it was found.

use std::io::Write;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use rustix::termios::tcgetwinsize;

use crate::cli::screen::View;
use crate::cli::style::Style;
use crate::clock::Clock;

/// The other screen, without a cursor; what is too long for a line is cut.
const SHOW: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";

/// Everything back as it was.
const LEAVE: &str = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// To the upper left corner.
const HOME: &str = "\u{1b}[H";

/// Clears the rest of a line, and everything below it.
const CLEAR_LINE: &str = "\u{1b}[K";
const CLEAR_BELOW: &str = "\u{1b}[J";

/// Columns and rows of a terminal that does not know its size.
const USUAL: (u16, u16) = (80, 24);

/// The widest layout, in columns.
const LARGEST_WIDTH: usize = 160;

/// Drawn upon from [`Terminal::enter`] on until it is dropped, however that happens.
pub(super) struct Terminal {
    out: Box<dyn Output>,
    style: Style,
    shown: Arc<AtomicBool>,
}

/// A terminal's file.
trait Output: Write + AsFd {}

impl<T: Write + AsFd> Output for T {}

impl Terminal {
    /// Begins. A panic, too, leaves the terminal before it says anything.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(super) fn enter(out: impl Write + AsFd + 'static, style: Style) -> anyhow::Result<Self> {
        let shown = Arc::new(AtomicBool::new(false));
        let file = out.as_fd().try_clone_to_owned();
        let file = file.context("the terminal cannot be used")?;
        let (before, is_shown) = (std::panic::take_hook(), Arc::clone(&shown));
        std::panic::set_hook(Box::new(move |panic| {
            if is_shown.swap(false, Ordering::Relaxed) {
                give_back(&file);
            }
            before(panic);
        }));
        let mut terminal = Self {
            out: Box::new(out),
            style,
            shown,
        };
        terminal.show()?;
        Ok(terminal)
    }

    /// Takes the terminal, again.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn show(&mut self) -> anyhow::Result<()> {
        self.shown.store(true, Ordering::Relaxed);
        self.write(SHOW)
    }

    /// Gives it back.
    pub(super) fn leave(&mut self) {
        if self.shown.swap(false, Ordering::Relaxed) {
            give_back(&self.out);
        }
    }

    /// Columns and rows as they are now.
    pub(super) fn size(&self) -> (u32, u32) {
        let known = tcgetwinsize(&self.out).ok();
        let (columns, rows) = known
            .map(|size| (size.ws_col, size.ws_row))
            .filter(|(columns, rows)| *columns > 0 && *rows > 0)
            .unwrap_or(USUAL);
        (columns.into(), rows.into())
    }

    /// Draws lines, made for the size as it is now, over what was there.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub(super) fn draw(
        &mut self,
        lines: impl FnOnce(View, usize) -> Vec<String>,
        clock: &Clock,
    ) -> anyhow::Result<()> {
        let (columns, rows) = self.size();
        let view = View {
            style: self.style,
            width: usize::try_from(columns)
                .unwrap_or(LARGEST_WIDTH)
                .min(LARGEST_WIDTH),
            now: clock.now(),
        };
        let rows = usize::try_from(rows).unwrap_or(1);
        let mut out = HOME.to_owned();
        let lines = lines(view, rows);
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                out.push_str("\r\n");
            }
            // Cleared before it is written: the cursor stays on the last column of a full line.
            out.push_str(CLEAR_LINE);
            out.push_str(line);
        }
        if lines.len() < rows {
            out.push_str("\r\n");
            out.push_str(CLEAR_BELOW);
        }
        self.write(&out)
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.out.write_all(text.as_bytes());
        let written = written.and_then(|()| self.out.flush());
        written.context("the terminal cannot be written")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Around all buffers: it also happens in the middle of a panic. A terminal that is gone needs nothing.
fn give_back(file: impl AsFd) {
    let mut left = LEAVE.as_bytes();
    while !left.is_empty() {
        match rustix::io::write(&file, left) {
            Ok(written) => left = left.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
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
                terminal
                    .draw(
                        |_, _| vec!["one".to_owned(), "two".to_owned()],
                        &Clock::system(),
                    )
                    .unwrap();
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
