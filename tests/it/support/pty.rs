//! A terminal: a pseudo-terminal with a program on it, and the screen as a person sees it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use vt100::{Color, Parser, Screen};

use super::waiting::{PATIENCE, found, until};

/// A program on a terminal of its own.
pub(crate) struct Pty {
    keyboard: File,
    child: Child,
    shown: Arc<Mutex<Shown>>,
    /// Reads what is written, until no program has the terminal any more.
    reader: JoinHandle<()>,
}

/// The terminal's screen, and everything that was written to it.
struct Shown {
    parser: Parser,
    raw: Vec<u8>,
}

/// What a terminal shows at one moment.
#[derive(Debug)]
pub(crate) struct Glass {
    screen: Screen,
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
        let slave = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(OFlags::NOCTTY.bits().cast_signed())
            .open(OsStr::from_bytes(name.to_bytes()))
            .unwrap();
        let (rows, columns) = size(columns, rows);
        let shown = Arc::new(Mutex::new(Shown {
            parser: Parser::new(rows, columns, 0),
            raw: Vec::new(),
        }));
        // setsid gives it the terminal; it then is the program, under the same number.
        let mut setsid = Command::new("setsid");
        setsid
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .env("TERM", "xterm")
            .stdin(slave.try_clone().unwrap())
            .stdout(slave.try_clone().unwrap())
            .stderr(slave);
        for (key, value) in command.get_envs() {
            setsid.envs(value.map(|value| (key, value)));
        }
        let keyboard = File::from(master);
        resize(&keyboard, columns, rows);
        let (screen, written) = (Arc::clone(&shown), keyboard.try_clone().unwrap());
        Self {
            keyboard,
            child: setsid.spawn().unwrap(),
            shown,
            reader: std::thread::spawn(move || read(written, &screen)),
        }
    }

    /// Makes the terminal larger or smaller; the program gets a signal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (rows, columns) = size(columns, rows);
        self.shown.lock().parser.set_size(rows, columns);
        resize(&self.keyboard, columns, rows);
    }

    /// Presses keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether what is typed is shown.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.keyboard).unwrap().local_modes;
        modes.contains(LocalModes::ECHO)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the program has stopped, as after Ctrl+Z: a signal to go on that comes earlier has no effect.
    pub(crate) async fn stops(&self) {
        let stat = format!("/proc/{}/stat", self.child.id());
        until("the program has stopped", || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('T')
        })
        .await;
    }

    pub(crate) fn glass(&self) -> Glass {
        let shown = self.shown.lock();
        Glass {
            screen: shown.parser.screen().clone(),
            raw: String::from_utf8_lossy(&shown.raw).into_owned(),
        }
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

    /// Waits for the program's end, and answers what it left on the screen. The demo takes five seconds on an idle computer.
    pub(crate) async fn ended(&mut self) -> (ExitStatus, Glass) {
        let ended = found(6 * PATIENCE, async || self.child.try_wait().unwrap()).await;
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

/// Rows and columns as a screen takes them.
fn size(columns: u16, rows: u16) -> (NonZeroU16, NonZeroU16) {
    let size = |number| NonZeroU16::new(number).expect("a screen has a size");
    (size(rows), size(columns))
}

fn resize(terminal: &File, columns: NonZeroU16, rows: NonZeroU16) {
    let size = Winsize {
        ws_col: columns.get(),
        ws_row: rows.get(),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(terminal, size).unwrap();
}

/// Ends with an error of the terminal when the last program on it has gone.
fn read(mut terminal: File, shown: &Mutex<Shown>) {
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = terminal.read(&mut chunk) {
        let mut shown = shown.lock();
        shown.parser.process(&chunk[..read]);
        shown.raw.extend_from_slice(&chunk[..read]);
    }
}

impl Glass {
    /// What is to be read on the screen, without blanks at the ends of lines.
    pub(crate) fn text(&self) -> String {
        self.lines().join("\n").trim_end().to_owned()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let (_, columns) = self.screen.size();
        let rows = self.screen.rows(0, columns.get());
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    /// It shows the other screen, which is left without a trace.
    pub(crate) fn is_other(&self) -> bool {
        self.screen.alternate_screen()
    }

    pub(crate) fn hides_cursor(&self) -> bool {
        self.screen.hide_cursor()
    }

    /// The terminal is as programs expect to find it.
    pub(crate) fn is_clean(&self) -> bool {
        let screen = &self.screen;
        let is_plain = screen.fgcolor() == Color::Default && !screen.bold();
        let cuts_lines = self.raw.rfind("\u{1b}[?7l") > self.raw.rfind("\u{1b}[?7h");
        !self.is_other() && !self.hides_cursor() && !cuts_lines && is_plain
    }
}
