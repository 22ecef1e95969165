//! Another program on the same database: SQLite's own shell, an older version than the daemon's.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::signals;
use crate::support::waiting::PATIENCE;

/// A shell that is fed statements. It is killed when dropped.
pub(crate) struct Outside {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Outside {
    pub(crate) fn start(database: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("sqlite3");
        command.arg(database);
        Self::by(command)
    }

    /// By another user, with a umask that shuts out all others.
    pub(crate) fn by_user(database: &Path, user: u32, group: u32) -> anyhow::Result<Self> {
        let mut command = as_user(user, group);
        command
            .args(["sh", "-c", "umask 077; exec sqlite3 \"$0\""])
            .arg(database);
        Self::by(command)
    }

    fn by(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start sqlite3")?;
        let input = child.stdin.take().context("its input")?;
        let output = BufReader::new(child.stdout.take().context("its output")?).lines();
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// Hands over statements without waiting for them.
    pub(crate) async fn write(&mut self, sql: &str) -> anyhow::Result<()> {
        Ok(self.input.write_all(sql.as_bytes()).await?)
    }

    /// Runs statements, and waits until they are done; answers what they print.
    pub(crate) async fn run(&mut self, sql: &str) -> anyhow::Result<Vec<String>> {
        self.write(&format!("{sql}\nSELECT 'done';\n")).await?;
        let mut printed = Vec::new();
        let reading = async {
            while let Some(line) = self.output.next_line().await? {
                if line == "done" {
                    return Ok(());
                }
                printed.push(line);
            }
            anyhow::bail!("sqlite3 has ended")
        };
        timeout(PATIENCE, reading)
            .await
            .context("sqlite3 does not answer")??;
        Ok(printed)
    }

    /// Takes the lock, with a job that is never committed unless `run("COMMIT;")` follows.
    pub(crate) async fn lock(&mut self, job: &str) -> anyhow::Result<()> {
        let sql = format!(
            "PRAGMA busy_timeout = 20000;\nBEGIN IMMEDIATE;\nINSERT INTO jobs (id) VALUES ('{job}');"
        );
        let printed = self
            .run(&format!(
                "{sql}\nSELECT count(*) FROM jobs WHERE id = '{job}';"
            ))
            .await?;
        ensure!(
            printed.last().is_some_and(|last| last == "1"),
            "the lock was not to be had: {printed:?}"
        );
        Ok(())
    }

    /// Hands over more statements than there is time for, while what they print is read.
    pub(crate) fn flood(self, sql: String) -> Flood {
        let (mut input, mut output) = (self.input, self.output);
        tokio::spawn(async move {
            // It ends when the shell does.
            let _ = input.write_all(sql.as_bytes()).await;
        });
        let (count, printed) = watch::channel(0);
        let reading = tokio::spawn(async move {
            while let Ok(Some(_)) = output.next_line().await {
                count.send_modify(|count| *count += 1);
            }
        });
        Flood {
            child: self.child,
            printed,
            reading,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        signals::send(self.child.id().context("sqlite3 has ended")?, signal)
    }

    /// Kills it; answers what it had printed until then.
    pub(crate) async fn kill(mut self) -> anyhow::Result<Vec<String>> {
        self.child.start_kill()?;
        self.child.wait().await?;
        let mut printed = Vec::new();
        while let Ok(Some(line)) = self.output.next_line().await {
            printed.push(line);
        }
        Ok(printed)
    }
}

/// A shell that works off its statements.
pub(crate) struct Flood {
    child: Child,
    printed: watch::Receiver<usize>,
    reading: JoinHandle<()>,
}

impl Flood {
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("sqlite3 has ended")
    }

    /// Waits until it has printed something.
    pub(crate) async fn begun(&mut self) -> anyhow::Result<()> {
        let begun = timeout(PATIENCE, self.printed.wait_for(|lines| *lines > 0)).await;
        begun
            .context("sqlite3 does not begin")?
            .context("sqlite3 has ended")?;
        Ok(())
    }

    /// Kills it; answers how many lines it had printed until then.
    pub(crate) async fn kill(mut self) -> anyhow::Result<usize> {
        self.child.start_kill()?;
        self.child.wait().await?;
        self.reading.await?;
        Ok(*self.printed.borrow())
    }
}

/// The words that run a program as a user of this number.
pub(crate) fn as_user(user: u32, group: u32) -> Command {
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={group}"))
        .arg("--clear-groups");
    command
}
