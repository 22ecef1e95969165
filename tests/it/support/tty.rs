//! A terminal that a program may take as its controlling one: what it writes is kept, what is typed reaches it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use tokio::sync::watch;
use tokio::time::timeout;

use super::waiting::PATIENCE;

/// The side of a terminal where the keys and the screen are.
pub(crate) struct Tty {
    keys: File,
    /// The program's side, held open so that its modes can be read after the program.
    line: File,
    screen: watch::Receiver<String>,
}

impl Tty {
    /// A new terminal, which echoes as terminals do.
    pub(crate) fn open() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys = openpt(flags).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap();
        let line = OpenOptions::new()
            .read(true)
            .write(true)
            .open(OsStr::from_bytes(name.as_bytes()));
        let keys = File::from(keys);
        let (shown, screen) = watch::channel(String::new());
        let mut reading = keys.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut chunk = [0; 1024];
            // Ends with an error once nobody holds the program's side.
            while let Ok(read @ 1..) = reading.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..read]).into_owned();
                shown.send_modify(|screen| screen.push_str(&text));
            }
        });
        Self {
            keys,
            line: line.unwrap(),
            screen,
        }
    }

    /// The command as the leader of a session on this terminal.
    pub(crate) fn command(&self, command: &Command) -> tokio::process::Command {
        let mut leader = tokio::process::Command::new("/usr/bin/setsid");
        leader
            .args(["--ctty", "--wait"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .stdin(self.line.try_clone().unwrap())
            .stdout(self.line.try_clone().unwrap())
            .stderr(self.line.try_clone().unwrap())
            .kill_on_drop(true);
        leader
    }

    /// Presses these keys.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen has shown these words.
    pub(crate) async fn shows(&self, words: &str) {
        let mut screen = self.screen.clone();
        let shown = timeout(PATIENCE, screen.wait_for(|text| text.contains(words))).await;
        assert!(shown.is_ok(), "{words:?} is not in {:?}", self.text());
    }

    /// Everything the screen has shown.
    pub(crate) fn text(&self) -> String {
        self.screen.borrow().clone()
    }

    /// Whether what is typed is shown.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        modes.contains(LocalModes::ECHO)
    }
}
