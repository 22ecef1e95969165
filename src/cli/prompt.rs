//! Questions on the terminal, answered without echo.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// The terminal of this process, without echo until this is dropped.
pub(super) struct Terminal {
    tty: Arc<File>,
    before: Termios,
}

impl Terminal {
    /// Turns the echo off.
    ///
    /// # Errors
    /// When the process has no terminal.
    pub(super) fn quiet() -> anyhow::Result<Self> {
        let tty = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&tty)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(&tty, OptionalActions::Now, &quiet)?;
        let tty = Arc::new(tty);
        Ok(Self { tty, before })
    }

    /// Writes a line.
    pub(super) fn print(&self, text: &str) -> anyhow::Result<()> {
        writeln!(&*self.tty, "{text}").context("the terminal cannot be written to")
    }

    /// Asks, and waits for a line of at most `limit` bytes.
    pub(super) async fn ask(&self, question: &str, limit: usize) -> anyhow::Result<Typed> {
        write!(&*self.tty, "{question}: ").context("the terminal cannot be written to")?;
        let (done, line) = oneshot::channel();
        let tty = Arc::clone(&self.tty);
        // In another thread, which is not awaited when the user interrupts.
        std::thread::spawn(move || done.send(read_line(&tty, limit)));
        line.await.context("the terminal is gone")?
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

/// The line that was typed, in memory that is overwritten when it is dropped.
pub(super) type Typed = Zeroizing<String>;

fn read_line(tty: impl AsFd, limit: usize) -> anyhow::Result<Typed> {
    let mut lines = read_until(tty, limit + 1, |read| read.contains(&b'\n'))?;
    if lines.is_empty() {
        bail!("nothing was typed");
    }
    Ok(lines.swap_remove(0))
}

/// Reads all lines of `input`, at most `limit` bytes.
pub(super) fn read_lines(input: impl AsFd, limit: usize) -> anyhow::Result<Vec<Typed>> {
    read_until(input, limit, |_| false)
}

/// Reads into memory that never moves, so that no copy of an answer is left in a buffer of the standard library.
fn read_until(
    input: impl AsFd,
    limit: usize,
    done: impl Fn(&[u8]) -> bool,
) -> anyhow::Result<Vec<Typed>> {
    let mut bytes = Zeroizing::new(vec![0; limit + 1]);
    let mut length = 0;
    while !done(&bytes[..length]) {
        if length > limit {
            bail!("that is more than {limit} bytes");
        }
        match rustix::io::read(&input, &mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("the answers cannot be read"),
        }
    }
    let text = std::str::from_utf8(&bytes[..length]).ok();
    let text = text.context("the answers are not UTF-8")?;
    Ok(text.lines().map(|line| line.to_owned().into()).collect())
}
