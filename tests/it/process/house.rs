//! What a daemon needs around it: a folder with its configuration and database, an upstream and a receiver.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jobtrackd::clock::Clock;
use jobtrackd::simulator::{
    Control, Fault, FaultRule, Inbox, NewJob, Phase, Receiver, Script, Simulator,
    SimulatorSettings, Step,
};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tempfile::TempDir;

use super::program::Program;
use crate::support::receiver::{SECRET, receiver};
use crate::support::waiting::{PATIENCE, found};

/// The program under test.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_jobtrackd");

pub(super) struct House {
    pub(super) folder: TempDir,
    pub(super) simulator: Simulator,
    pub(super) receiver: Receiver,
    /// What the receiver received.
    pub(super) sink: Inbox,
    /// Sections, and in each of them keys with their values as TOML.
    settings: BTreeMap<String, BTreeMap<String, String>>,
}

impl House {
    /// With a fast configuration in which the webhook `all` gets every event.
    pub(super) async fn new() -> Self {
        let settings = SimulatorSettings {
            api_key: Some("the-api-key".to_owned()),
            ..SimulatorSettings::default()
        };
        let receiver = receiver(Clock::system()).await;
        let mut house = Self {
            folder: TempDir::new().unwrap(),
            simulator: Simulator::start(settings).await.unwrap(),
            sink: receiver.inbox(),
            receiver,
            settings: BTreeMap::new(),
        };
        let database = format!("sqlite://{}", house.database().display());
        let base_url = house.simulator.base_url().to_owned();
        house.set("database", "url", &database);
        house.set("status", "listen", "127.0.0.1:0");
        house.set("upstream", "base_url", &base_url);
        house.set("upstream", "api_key", "the-api-key");
        house.set("polling", "initial_delay", "20ms");
        house.set("polling", "max_delay", "50ms");
        house.webhook("all");
        house
    }

    /// Adds a webhook of the receiver that gets every event.
    pub(super) fn webhook(&mut self, name: &str) {
        let section = format!("webhooks.{name}");
        let url = format!("http://{}/{name}", self.receiver.address());
        self.set(&section, "url", &url);
        self.set(&section, "secret", SECRET);
        self.raw(&section, "events", "[\"*\"]");
        self.raw(&section, "allow_private", "true");
        self.raw(
            &section,
            "retry",
            "[\"50ms\", \"100ms\", \"200ms\", \"400ms\"]",
        );
    }

    /// Sets a text, and writes the file.
    pub(super) fn set(&mut self, section: &str, key: &str, text: &str) {
        self.raw(section, key, &format!("\"{text}\""));
    }

    /// Sets any value, and writes the file.
    pub(super) fn raw(&mut self, section: &str, key: &str, value: &str) {
        let keys = self.settings.entry(section.to_owned()).or_default();
        keys.insert(key.to_owned(), value.to_owned());
        self.write();
    }

    pub(super) fn unset(&mut self, section: &str, key: &str) {
        self.settings.get_mut(section).unwrap().remove(key).unwrap();
        self.write();
    }

    pub(super) fn unset_section(&mut self, section: &str) {
        self.settings.remove(section).unwrap();
        self.write();
    }

    fn write(&self) {
        let mut text = String::new();
        for (section, keys) in &self.settings {
            text += &format!("[{section}]\n");
            for (key, value) in keys {
                text += &format!("{key} = {value}\n");
            }
        }
        let private = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.file());
        private.unwrap().write_all(text.as_bytes()).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.path("jobtrackd.toml")
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path("jobs.db")
    }

    pub(super) fn control(&self) -> Control {
        self.simulator.control()
    }

    /// `jobtrackd --config FILE COMMAND`, with nothing in its environment.
    pub(super) fn command(&self, command: &str) -> Command {
        let mut made = Command::new(PROGRAM);
        made.arg("--config")
            .arg(self.file())
            .arg(command)
            .env_clear();
        made
    }

    /// Starts the daemon.
    pub(super) fn run(&self) -> Program {
        Program::start(&mut self.command("run"))
    }

    /// Starts the daemon and waits until it follows jobs.
    pub(super) async fn running(&self) -> Program {
        let program = self.run();
        program.ready().await;
        program
    }

    /// Makes the database without the daemon.
    pub(super) async fn migrate(&self) {
        let ended = Program::start(&mut self.command("migrate")).ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.text);
    }

    /// Makes a job with these steps' states at these moments, in milliseconds, and enqueues it.
    pub(super) async fn follow(&self, id: &str, phases: &[(u64, &[(&str, &str)])]) {
        self.make(id, phases);
        self.sql(&format!("INSERT INTO jobs (id) VALUES ('{id}')"))
            .await;
    }

    pub(super) fn make(&self, id: &str, phases: &[(u64, &[(&str, &str)])]) {
        let phases = phases.iter().map(|(at, steps)| {
            let steps: Vec<Step> = steps
                .iter()
                .map(|(title, status)| Step::new(*title, *status))
                .collect();
            Phase::steps(*at, &steps)
        });
        self.control()
            .create(NewJob::scripted(Script::new(phases.collect())).with_id(id))
            .unwrap();
    }

    /// From now on the answers about a job come so many milliseconds late.
    pub(super) fn delay(&self, id: &str, ms: u64) {
        let rule = FaultRule::new(Fault::Delay { ms }).on_job(id);
        self.control().inject(rule).unwrap();
    }

    /// How often a job was asked for.
    pub(super) fn asked(&self, id: &str) -> usize {
        let asked = self.control().requests();
        let mine = asked
            .iter()
            .filter(|each| each.method == "GET" && each.job.as_deref() == Some(id));
        mine.count()
    }

    pub(super) async fn outsider(&self) -> SqliteConnection {
        outsider(&self.database()).await
    }

    /// The same, of a database that is not there yet.
    pub(super) async fn outsider_of_new(&self) -> SqliteConnection {
        std::fs::write(self.database(), "").unwrap();
        self.outsider().await
    }

    /// Runs SQL as another program would.
    pub(super) async fn sql(&self, sql: &str) {
        let mut outsider = self.outsider().await;
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut outsider)
            .await
            .unwrap();
        outsider.close().await.unwrap();
    }

    pub(super) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        rows(&self.database(), sql).await
    }

    /// The first value of a query.
    pub(super) async fn value(&self, sql: &str) -> String {
        self.rows(sql).await[0][0].clone()
    }

    /// Waits until the query's first value is `expected`.
    pub(super) async fn until(&self, sql: &str, expected: &str) {
        until(&self.database(), sql, expected).await;
    }

    /// Waits until every job has ended and every delivery is done.
    pub(super) async fn until_ended(&self) {
        self.until(UNFINISHED, "0").await;
    }
}

/// Jobs that have not ended, and deliveries that are not done.
pub(super) const UNFINISHED: &str = "SELECT (SELECT count(*) FROM jobs WHERE finished_at IS NULL) \
                                     + (SELECT count(*) FROM deliveries WHERE state = 'pending')";

async fn outsider(database: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .busy_timeout(Duration::from_secs(5));
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// The rows of a query; every value as text, NULL as "-".
pub(super) async fn rows(database: &Path, sql: &str) -> Vec<Vec<String>> {
    let mut outsider = outsider(database).await;
    let rows = sqlx::raw_sql(AssertSqlSafe(sql))
        .fetch_all(&mut outsider)
        .await
        .unwrap();
    outsider.close().await.unwrap();
    let text = |row: &SqliteRow, column: usize| {
        let value = row.try_get_unchecked::<Option<String>, _>(column).unwrap();
        value.unwrap_or_else(|| "-".to_owned())
    };
    rows.iter()
        .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
        .collect()
}

/// Waits until the query's first value is `expected`.
pub(super) async fn until(database: &Path, sql: &str, expected: &str) {
    let mut last = String::new();
    let seen = found(PATIENCE, async || {
        last = rows(database, sql).await[0][0].clone();
        (last == expected).then_some(())
    })
    .await;
    if seen.is_none() {
        let jobs = "SELECT id, state, polls, last_error, failure FROM jobs";
        let jobs = rows(database, jobs).await;
        panic!("after {PATIENCE:?} {sql} is {last:?} and not {expected:?}; jobs: {jobs:#?}");
    }
}

/// The status server's answer to a GET; `None` when nobody answers.
pub(super) async fn get(address: &str, path: &str) -> Option<(u16, Value)> {
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{address}{path}")).send().await;
    let answer = answer.ok()?;
    let status = answer.status().as_u16();
    let text = answer.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap()))
}

/// Waits until `/readyz` answers with this status, and answers its body.
pub(super) async fn readyz(address: &str, status: u16) -> Value {
    let mut last = None;
    let seen = found(PATIENCE, async || {
        last = get(address, "/readyz").await;
        last.clone()
            .filter(|(found, _)| *found == status)
            .map(|(_, body)| body)
    })
    .await;
    seen.unwrap_or_else(|| panic!("after {PATIENCE:?} /readyz is not {status} but {last:?}"))
}
