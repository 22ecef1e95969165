//! A terminal: a pseudo-terminal with a program on it, and the screen as a person sees it.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::waiting::{PATIENCE, found, until};

/// A program on a terminal of its own.
pub(crate) struct Pty {
    keyboard: File,
    child: Child,
    seen: Arc<Mutex<Glass>>,
    /// Reads what is written, until no program has the terminal any more.
    reader: JoinHandle<()>,
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
        let (keyboard, seen) = (File::from(master), Arc::default());
        resize(&keyboard, &seen, columns, rows);
        // setsid gives it the terminal; it then is the program, under the same number.
        let child = Command::new("setsid")
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
            .stderr(slave)
            .spawn()
            .unwrap();
        let (screen, written) = (Arc::clone(&seen), keyboard.try_clone().unwrap());
        Self {
            keyboard,
            child,
            seen,
            reader: std::thread::spawn(move || read(written, &screen)),
        }
    }

    /// Makes the terminal larger or smaller; the program is told.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        resize(&self.keyboard, &self.seen, columns, rows);
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
        until("everything is read", || self.reader.is_finished()).await;
        (ended, self.glass())
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(terminal: &File, seen: &Mutex<Glass>, columns: u16, rows: u16) {
    let size = Winsize {
        ws_col: columns,
        ws_row: rows,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    seen.lock().unwrap().resize(columns.into(), rows.into());
    tcsetwinsize(terminal, size).unwrap();
}

/// Ends with an error of the terminal when the last program on it has gone.
fn read(mut terminal: File, seen: &Mutex<Glass>) {
    let mut chunk = [0; 4096];
    let mut kept = Vec::new();
    while let Ok(read @ 1..) = terminal.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..read]);
        let whole = match std::str::from_utf8(&kept) {
            Ok(text) => text.len(),
            Err(error) => error.valid_up_to(),
        };
        let text: Vec<u8> = kept.drain(..whole).collect();
        seen.lock()
            .unwrap()
            .write(&String::from_utf8(text).unwrap());
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
