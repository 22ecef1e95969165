//! Faults of system calls, by strace.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::process::{Child, Command};

use crate::signals;
use crate::support::waiting::{PATIENCE, until};

/// The calls that write a database.
const CALLS: &str = "trace=fsync,fdatasync,pwrite64";
/// What strace writes behind a call that it has changed, and behind one that it has delayed.
const MARK: &str = "(INJECTED)";
const DELAYED: &str = "(DELAYED)";

/// A strace that follows all threads of a process. The faults are over when it is dropped.
pub(crate) struct Tracer {
    child: Child,
    log: PathBuf,
}

/// The words with which strace runs a program under these faults, as this program's own child: `strace … PROGRAM`.
pub(crate) fn wrapper(faults: &[String], log: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-y", "-e", "signal=none", "-e", CALLS]);
    command.args(faults.iter().flat_map(|fault| ["-e", fault.as_str()]));
    command.arg("-o").arg(log);
    command
}

impl Tracer {
    /// Attaches to a process; `faults` are what strace takes behind `-e`. Calls are counted per thread, from now on.
    pub(crate) async fn attach(pid: u32, faults: &[String], log: &Path) -> anyhow::Result<Self> {
        let said = log.with_extension("attached");
        let child = Command::new("strace")
            .args(["-f", "-y", "-e", "signal=none", "-e", CALLS])
            .args(faults.iter().flat_map(|fault| ["-e", fault.as_str()]))
            .args(["-p", &pid.to_string()])
            .arg("-o")
            .arg(log)
            .stdin(Stdio::null())
            .stderr(File::create(&said)?)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start strace")?;
        let attached = format!("Process {pid} attached");
        until(&attached, PATIENCE, async || {
            Ok(std::fs::read_to_string(&said)?.contains(&attached))
        })
        .await?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// The calls with a fault so far.
    pub(crate) fn injected(&self) -> usize {
        std::fs::read_to_string(&self.log).map_or(0, |text| {
            text.matches(MARK).count() + text.matches(DELAYED).count()
        })
    }

    /// Lets the process go on without faults.
    pub(crate) async fn detach(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id() {
            signals::send(pid, Signal::INT)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}

/// What a fault has hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hit {
    /// A transaction: its pages in the write-ahead log, or their flush.
    Commit,
    /// What SQLite does beside a commit and keeps to itself when it fails: the checkpoint, which is done again at the next
    /// occasion, and the flush of the folder.
    Unreported,
    /// A write to a temporary file.
    Other,
}

/// What the first fault in the log has hit, and how many writes of the write-ahead log came after it; `None` while there
/// is no fault.
pub(crate) fn first_fault(log: &str) -> Option<(Hit, usize)> {
    let lines: Vec<&str> = log.lines().collect();
    let at = lines.iter().position(|line| line.contains(MARK))?;
    let thread = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let mine = thread(lines[at]);
    // The calls of this thread up to the fault, the latest first; one that was interrupted by others is in two lines, of which the
    // first one has the file.
    let begins =
        |line: &&&str| thread(line) == mine && line.contains('(') && !line.contains("resumed>");
    let mut before = lines[..=at].iter().rev().filter(begins);
    let call = before.next().copied().unwrap_or_default();
    // Between the flushes of the commit and of its checkpoint the index may grow.
    let flushed_before = before
        .find(|line| line.contains("-wal>"))
        .is_some_and(|line| line.contains("fsync("));
    let flushes = call.contains("fsync(");
    let hit =
        if call.contains("/jobs.db>") || (flushes && (flushed_before || !call.contains("-wal>"))) {
            Hit::Unreported
        } else if call.contains("-wal>") {
            Hit::Commit
        } else {
            Hit::Other
        };
    let writes = lines[at + 1..]
        .iter()
        .filter(|line| line.contains("pwrite64(") && line.contains("-wal>"));
    Some((hit, writes.count()))
}
