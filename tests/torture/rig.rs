//! What a scenario works with: a folder, an API and a receiver that keep the ground truth, and the daemon's starts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, ensure};
use fastrand::Rng;
use tempfile::TempDir;
use tokio::process::Command;

use crate::daemon::Daemon;
use crate::fakes::{Fakes, KEY, SECRET, START};
use crate::ground::Ground;
use crate::manager::Manager;
use crate::oracle::{self, Complaints};
use crate::support::waiting::{PATIENCE, until};
use crate::tables::{self, FINISHED, Tables, UNFINISHED};

/// Complaints that are printed; there may be thousands of one kind.
const MAX_COMPLAINTS: usize = 10;

pub(crate) struct Rig {
    pub(crate) ground: Arc<Ground>,
    pub(crate) random: Rng,
    pub(crate) manager: Manager,
    fakes: Fakes,
    folder: TempDir,
    database: PathBuf,
    binary: PathBuf,
    starts: u32,
    /// The words before the program, such as those of strace.
    wrapper: Option<Command>,
    keeps: AtomicBool,
}

impl Rig {
    pub(crate) async fn new(binary: &Path, seed: u64) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("torture-")?;
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
        let ground = Arc::new(Ground::default());
        ground.keep_secret(SECRET.trim_start_matches("whsec_"));
        ground.keep_secret(KEY);
        Ok(Self {
            fakes: Fakes::start(Arc::clone(&ground), seed).await?,
            manager: Manager::new(folder.path())?,
            ground,
            random: Rng::with_seed(seed),
            database: folder.path().join("jobs.db"),
            folder,
            binary: binary.to_owned(),
            starts: 0,
            wrapper: None,
            keeps: AtomicBool::new(false),
        })
    }

    /// A file of the scenario.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn database(&self) -> &Path {
        &self.database
    }

    /// Has the database in this folder of the scenario instead.
    pub(crate) fn keep_database_in(&mut self, folder: &str) -> anyhow::Result<PathBuf> {
        let folder = self.path(folder);
        std::fs::create_dir(&folder)?;
        self.database = folder.join("jobs.db");
        Ok(folder)
    }

    /// Starts the daemon by these words the next time.
    pub(crate) fn wrap(&mut self, wrapper: Option<Command>) {
        self.wrapper = wrapper;
    }

    /// Copies the program to where every user may run it.
    pub(crate) fn publish_program(&mut self) -> anyhow::Result<()> {
        let copy = self.path("jobtrackd");
        std::fs::copy(&self.binary, &copy)?;
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755))?;
        self.binary = copy;
        Ok(())
    }

    fn configure(&self) -> anyhow::Result<PathBuf> {
        let text = format!(
            r#"
[database]
url = "sqlite://{}"
[status]
listen = "127.0.0.1:0"
[upstream]
base_url = "http://{}"
auth = "bearer"
api_key = "{KEY}{}"
[polling]
initial_delay = "20ms"
max_delay = "60ms"
error_max_delay = "500ms"
[webhooks.all]
url = "http://{}/all"
secret = "{SECRET}"
events = ["*"]
allow_private = true
retry = [{}]
headers = {{ "{START}" = "{}" }}
"#,
            self.database.display(),
            self.fakes.api,
            self.starts,
            self.fakes.receiver,
            vec![r#""50ms""#; 50].join(", "),
            self.starts,
        );
        let path = self.path("jobtrackd.toml");
        std::fs::write(&path, text)?;
        Ok(path)
    }

    /// Starts the daemon, which carries the number of this start in all its requests.
    pub(crate) fn start(&mut self) -> anyhow::Result<Daemon> {
        self.starts += 1;
        let file = self.configure()?;
        let mut command = match self.wrapper.take() {
            Some(mut wrapper) => {
                wrapper.arg(&self.binary);
                wrapper
            }
            None => Command::new(&self.binary),
        };
        command.arg("--config").arg(file).arg("run").env_clear();
        command
            .env("PATH", "/usr/bin:/bin")
            .envs(self.manager.environment());
        Daemon::start(
            &mut command,
            &self.path(&format!("daemon-{}.log", self.starts)),
        )
    }

    pub(crate) async fn running(&mut self) -> anyhow::Result<Daemon> {
        let mut daemon = self.start()?;
        daemon.ready().await?;
        Ok(daemon)
    }

    /// The same by these words, such as those that make it another user's.
    pub(crate) async fn running_as(&mut self, wrapper: Command) -> anyhow::Result<Daemon> {
        self.wrap(Some(wrapper));
        self.running().await
    }

    /// Makes the database without the daemon.
    pub(crate) async fn migrate(&self) -> anyhow::Result<()> {
        let file = self.configure()?;
        let made = Command::new(&self.binary)
            .arg("--config")
            .arg(file)
            .arg("migrate")
            .env_clear()
            .output();
        let made = made.await?;
        ensure!(
            made.status.success(),
            "migrate: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        Ok(())
    }

    pub(crate) async fn tables(&self) -> anyhow::Result<Tables> {
        Tables::read(&self.database).await
    }

    /// What must hold now.
    pub(crate) async fn check(&self) -> anyhow::Result<()> {
        // The tables last: what was sent before was committed before.
        let seen = self.ground.seen();
        let tables = self.tables().await?;
        Self::judge(&oracle::always(&seen, &tables))
    }

    /// The faults are over: everything ends and everything is delivered, and nothing was wrong.
    pub(crate) async fn finish(&mut self, daemon: Daemon) -> anyhow::Result<Figures> {
        self.fakes.be_kind();
        self.catch_up().await?;
        daemon.stop().await?;
        let (seen, tables) = (self.ground.seen(), self.tables().await?);
        Self::judge(&oracle::finally(&seen, &tables))?;
        Self::judge(&self.leaks(seen.secrets.iter())?)?;
        Ok(Figures {
            jobs: tables.jobs.len(),
            transitions: tables.transitions.len(),
            events: tables.events.len(),
            polls: seen.polls.len(),
            sends: seen.posts.len(),
            more: Vec::new(),
        })
    }

    /// Waits until everything has ended and is delivered, as long as more and more is.
    async fn catch_up(&self) -> anyhow::Result<()> {
        let mut done = -1;
        while tables::number(&self.database, UNFINISHED).await? > 0 {
            let before = done;
            until(
                "something more has ended or is delivered",
                PATIENCE,
                async || {
                    done = tables::number(&self.database, FINISHED).await?;
                    Ok(done > before)
                },
            )
            .await?;
        }
        Ok(())
    }

    pub(crate) fn judge(complaints: &[String]) -> anyhow::Result<()> {
        if complaints.is_empty() {
            return Ok(());
        }
        let some: Vec<_> = complaints
            .iter()
            .take(MAX_COMPLAINTS)
            .map(String::as_str)
            .collect();
        bail!("{} complaints :\n  {}", complaints.len(), some.join("\n  "));
    }

    /// The folder, which stays.
    pub(crate) fn keep(&self) -> &Path {
        self.keeps.store(true, Ordering::Relaxed);
        self.folder.path()
    }

    /// Secrets in the database, its log, or what the daemon wrote.
    fn leaks<'a>(&self, secrets: impl Iterator<Item = &'a String>) -> anyhow::Result<Complaints> {
        let secrets: Vec<&String> = secrets.collect();
        let mut complaints = Vec::new();
        let folders = [Some(self.folder.path()), self.database.parent()];
        for entry in folders
            .into_iter()
            .flatten()
            .map(std::fs::read_dir)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
        {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if !(name.starts_with("jobs.db") || name.starts_with("daemon-")) {
                continue;
            }
            let text = std::fs::read(&path)?;
            for secret in &secrets {
                if text
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes())
                {
                    complaints.push(format!("a secret is in {name}"));
                }
            }
        }
        Ok(complaints)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.keeps.load(Ordering::Relaxed) {
            self.folder.disable_cleanup(true);
        }
    }
}

/// How much a scenario did.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) jobs: usize,
    pub(crate) transitions: usize,
    pub(crate) events: usize,
    pub(crate) polls: usize,
    pub(crate) sends: usize,
    /// What only this scenario counts.
    pub(crate) more: Vec<(&'static str, usize)>,
}

impl Figures {
    pub(crate) fn with(mut self, what: &'static str, number: usize) -> Self {
        self.more.push((what, number));
        self
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = [
            (self.jobs, "jobs"),
            (self.transitions, "transitions"),
            (self.events, "events"),
            (self.polls, "polls"),
            (self.sends, "sends"),
        ];
        let all = all.into_iter().filter(|(number, _)| *number > 0);
        let more = self.more.iter().map(|(what, number)| (*number, *what));
        let parts: Vec<String> = more
            .chain(all)
            .map(|(number, what)| format!("{number} {what}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}
