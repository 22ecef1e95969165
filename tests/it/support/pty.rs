//! A terminal: a pseudo-terminal with a program on it, and the screen as a person sees it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::patience::{PATIENCE, found};

/// A program on a terminal of its own.
pub(crate) struct Pty {
    keyboard: File,
    child: Child,
    seen: Arc<Mutex<Glass>>,
}

/// What a terminal shows, as far as our programs need one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Glass {
    columns: usize,
    rows: usize,
    /// The ordinary screen, and the other one that is left without a trace.
    screens: [Vec<Vec<char>>; 2],
    cursor: (usize, usize),
    kept_cursor: (usize, usize),
    /// A sequence that has begun.
    escape: Option<String>,
    pub(crate) is_other: bool,
    pub(crate) hides_cursor: bool,
    pub(crate) cuts_lines: bool,
    /// A colour is on.
    pub(crate) is_coloured: bool,
    /// Everything that was written.
    pub(crate) raw: String,
}

impl Pty {
    /// Starts a program on a terminal of so many columns and rows, which it also has as its controlling terminal.
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = std::ffi::OsStr::from_bytes(name.to_bytes()).to_owned();
        let noctty = i32::try_from(OFlags::NOCTTY.bits()).unwrap();
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(noctty)
            .open(name)
            .unwrap();
        let seen = Arc::new(Mutex::new(Glass::default()));
        let mut pty = Self {
            keyboard: File::from(master),
            // setsid gives it the terminal; it then is the program, under the same number.
            child: Command::new("setsid")
                .arg("--ctty")
                .arg(command.get_program())
                .args(command.get_args())
                .env_clear()
                .env("TERM", "xterm")
                .envs(
                    command
                        .get_envs()
                        .filter_map(|(key, value)| Some((key, value?))),
                )
                .stdin(slave.try_clone().unwrap())
                .stdout(slave.try_clone().unwrap())
                .stderr(slave.try_clone().unwrap())
                .spawn()
                .unwrap(),
            seen: Arc::clone(&seen),
        };
        pty.resize(columns, rows);
        drop(slave);
        let mut master = pty.keyboard.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            let mut kept = Vec::new();
            // It ends with an error when the last program on the terminal has gone.
            while let Ok(read @ 1..) = master.read(&mut chunk) {
                kept.extend_from_slice(&chunk[..read]);
                let whole = match std::str::from_utf8(&kept) {
                    Ok(text) => text.len(),
                    Err(error) => error.valid_up_to(),
                };
                let text: Vec<u8> = kept.drain(..whole).collect();
                let text = String::from_utf8(text).unwrap();
                seen.lock().unwrap().write(&text);
            }
        });
        pty
    }

    /// Makes the terminal larger or smaller; the program is told.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        let size = Winsize {
            ws_col: columns,
            ws_row: rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        self.seen
            .lock()
            .unwrap()
            .resize(columns.into(), rows.into());
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    /// Presses keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn glass(&self) -> Glass {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until the screen is as it should be.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Glass) -> bool) -> Glass {
        let seen = found(PATIENCE, async || Some(self.glass()).filter(&is_so)).await;
        seen.unwrap_or_else(|| panic!("not seen: {what}\n{}", self.glass().text()))
    }

    /// Waits until the screen holds this text.
    pub(crate) async fn shows(&self, text: &str) -> Glass {
        self.until(text, |glass| glass.text().contains(text)).await
    }

    /// Waits for the program's end, and answers what it left on the screen.
    pub(crate) async fn ended(mut self) -> (ExitStatus, Glass) {
        let ended = found(PATIENCE, async || self.child.try_wait().unwrap()).await;
        let ended = ended.unwrap_or_else(|| panic!("it has not ended:\n{}", self.glass().text()));
        // What it wrote last may still be on its way.
        let idle = |glass: &Glass| !glass.is_other && glass.escape.is_none();
        let left = self.until("the ordinary screen", idle).await;
        (ended, left)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Glass {
    /// What is to be read on the screen, without blanks at the ends of lines.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<String> = self.lines();
        lines.join("\n").trim_end().to_owned()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let rows = self.screens[usize::from(self.is_other)].iter();
        let rows = rows.map(|row| row.iter().collect::<String>().trim_end().to_owned());
        rows.collect()
    }

    /// The terminal is as programs expect to find it.
    pub(crate) fn is_clean(&self) -> bool {
        !self.is_other && !self.hides_cursor && !self.cuts_lines && !self.is_coloured
    }

    fn resize(&mut self, columns: usize, rows: usize) {
        (self.columns, self.rows) = (columns, rows);
        for (row, column) in [&mut self.cursor, &mut self.kept_cursor] {
            *row = (*row).min(rows.saturating_sub(1));
            *column = (*column).min(columns);
        }
        for screen in &mut self.screens {
            screen.resize(rows, Vec::new());
            for row in screen {
                row.resize(columns, ' ');
            }
        }
    }

    fn write(&mut self, text: &str) {
        self.raw.push_str(text);
        for c in text.chars() {
            match self.escape.take() {
                Some(mut sequence) => {
                    sequence.push(c);
                    let is_whole = sequence.len() > 1 && c.is_ascii_alphabetic();
                    if is_whole {
                        self.obey(&sequence);
                    } else {
                        self.escape = Some(sequence);
                    }
                }
                None => self.put(c),
            }
        }
    }

    fn put(&mut self, c: char) {
        let (row, column) = self.cursor;
        match c {
            '\u{1b}' => self.escape = Some(String::new()),
            '\r' => self.cursor.1 = 0,
            '\n' if row + 1 < self.rows => self.cursor.0 += 1,
            '\n' => {
                let blank = vec![' '; self.columns];
                let screen = &mut self.screens[usize::from(self.is_other)];
                screen.remove(0);
                screen.push(blank);
            }
            _ => {
                if column < self.columns {
                    self.screens[usize::from(self.is_other)][row][column] = c;
                    self.cursor.1 += 1;
                } else if !self.cuts_lines {
                    self.put('\r');
                    self.put('\n');
                    self.put(c);
                }
            }
        }
    }

    fn obey(&mut self, sequence: &str) {
        let (row, column) = self.cursor;
        let screen = &mut self.screens[usize::from(self.is_other)];
        match sequence {
            "[H" => self.cursor = (0, 0),
            "[K" => screen[row][column.min(self.columns - 1)..].fill(' '),
            "[J" => {
                screen[row][column.min(self.columns - 1)..].fill(' ');
                screen[row + 1..].iter_mut().for_each(|row| row.fill(' '));
            }
            "[?1049h" => {
                self.kept_cursor = self.cursor;
                self.is_other = true;
                self.screens[1].iter_mut().for_each(|row| row.fill(' '));
            }
            "[?1049l" => {
                self.cursor = self.kept_cursor;
                self.is_other = false;
            }
            "[?25l" => self.hides_cursor = true,
            "[?25h" => self.hides_cursor = false,
            "[?7l" => self.cuts_lines = true,
            "[?7h" => self.cuts_lines = false,
            "[0m" => self.is_coloured = false,
            colour if colour.ends_with('m') => self.is_coloured = true,
            other => panic!("a terminal does not know {other:?}"),
        }
    }
}
