//! The whole of it in one process: simulator, receiver, database file and daemon, in paused time.
//!
//! Time jumps ahead whenever nobody has anything to do, and stands still while SQLite or a socket works, so days pass in
//! milliseconds and no test waits for real.
//!
//! Every world begins at [`EPOCH`], whatever the time of day. SQLite dates new jobs by the computer's clock, which the schema
//! checks; a trigger that the world adds to its database then sets `created_at` to [`EPOCH`]. A test that needs another
//! date updates the row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jobtrackd::app::{Daemon, Environment};
use jobtrackd::clock::{Clock, Jitter};
use jobtrackd::config::{Settings, Sources, load};
use jobtrackd::core::time::UnixMillis;
use jobtrackd::simulator::{
    Control, Inbox, NewJob, Phase, Receiver, Script, Simulator, SimulatorSettings, Step,
};
use jobtrackd::status::Limits;
use jobtrackd::store::sqlite::LockError;
use jobtrackd::tracker::looks::Looking;
use jobtrackd::upstream::AnswerMemory;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::receiver::{SECRET, receiver};

/// When every world begins: 2026-11-22T15:04:05Z. A whole second, as dates in HTTP are.
pub(crate) const EPOCH: UnixMillis = UnixMillis(1_795_359_845_000);

/// Where the daemon finds its upstream's key, unless a test says otherwise.
const API_KEY: &str = "api_key = \"the-api-key\"";

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) simulator: Simulator,
    pub(crate) receiver: Receiver,
    /// What the receiver received.
    pub(crate) sink: Inbox,
    folder: TempDir,
    /// Another API than the simulator's.
    pub(crate) api: Option<String>,
    /// Lines of `[upstream]` besides `base_url`.
    pub(crate) upstream: String,
    /// Lines of `[webhooks.all]` besides what it needs.
    pub(crate) all: String,
    /// Sections added to the configuration; `SINK` is the receiver's address, `SECRET` a secret.
    pub(crate) more: String,
    /// How often the daemon looks for rows without a wakeup.
    pub(crate) looking: Looking,
    /// What the status server grants its peers.
    pub(crate) limits: Limits,
    /// Memory for the API's answers.
    pub(crate) answers: AnswerMemory,
    /// The lines of `[status]`.
    pub(crate) status: String,
    daemon: Option<Daemon>,
}

impl World {
    /// A world with the daemon not started yet.
    pub(crate) async fn new() -> Self {
        Self::before(|_| {}).await
    }

    /// The same, with a simulator of other settings.
    pub(crate) async fn before(change: impl FnOnce(&mut SimulatorSettings)) -> Self {
        let clock = Clock::driven(EPOCH);
        let mut settings = SimulatorSettings {
            clock: clock.clone(),
            api_key: Some("the-api-key".to_owned()),
            ..SimulatorSettings::default()
        };
        change(&mut settings);
        let receiver = receiver(clock.clone()).await;
        Self {
            simulator: Simulator::start(settings).await.unwrap(),
            sink: receiver.inbox(),
            receiver,
            folder: TempDir::new().unwrap(),
            api: None,
            upstream: API_KEY.to_owned(),
            all: "events = [\"*\"]".to_owned(),
            more: String::new(),
            // Tests wakeup; a tick of 40 ms would be most of what a day of paused time does.
            looking: Looking {
                tick: Duration::from_secs(24 * 3600),
                after_writes: false,
            },
            limits: Limits::default(),
            answers: AnswerMemory::default(),
            status: "listen = \"127.0.0.1:0\"".to_owned(),
            daemon: None,
            clock,
        }
    }

    /// A world in which webhook "all" gets every event and the daemon runs.
    pub(crate) async fn running() -> Self {
        Self::running_with("").await
    }

    /// The same, with sections added to the configuration.
    pub(crate) async fn running_with(more: &str) -> Self {
        let mut world = Self::new().await;
        more.clone_into(&mut world.more);
        world.start().await;
        world
    }

    pub(crate) fn control(&self) -> Control {
        self.simulator.control()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("jobs.db")
    }

    /// The configuration, read as the daemon reads it.
    pub(crate) fn settings(&self) -> Settings {
        let text = format!(
            "[database]\nurl = \"sqlite://{}\"\n[status]\n{}\n\
             [upstream]\nbase_url = \"{}\"\n{}\n\
             [webhooks.all]\nurl = \"http://{}/all\"\nsecret = \"{SECRET}\"\nallow_private = true\n{}\n{}",
            self.database().display(),
            self.status,
            self.api.as_deref().unwrap_or(self.simulator.base_url()),
            self.upstream,
            self.receiver.address(),
            self.all,
            self.more
                .replace("SINK", &self.receiver.address().to_string())
                .replace("SECRET", SECRET),
        );
        let file = self.folder.path().join("jobtrackd.toml");
        std::fs::write(&file, text).unwrap();
        let sources = Sources {
            file: Some(file),
            environment: BTreeMap::new(),
            credentials_directory: None,
        };
        load(&sources).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) async fn start(&mut self) {
        let clock = self.clock.clone();
        self.start_with(clock).await;
    }

    pub(crate) async fn start_with(&mut self, clock: Clock) {
        let environment = Environment {
            clock,
            jitter: Jitter::seeded(7),
            looking: self.looking,
            status_limits: self.limits,
            answers: self.answers.clone(),
            ..Environment::default()
        };
        // A child that another test has just forked keeps a copy of the lock of a daemon that was killed, until it has
        // become another program.
        for _ in 0..20_000 {
            let (settings, stop) = (self.settings(), CancellationToken::new());
            match Daemon::start(settings, environment.clone(), &stop).await {
                Err(error) if error.is::<LockError>() => {
                    let breath = tokio::task::spawn_blocking(std::thread::yield_now);
                    self.clock.held(breath).await.unwrap();
                }
                started => {
                    self.daemon = Some(started.unwrap_or_else(|error| panic!("{error:#}")));
                    self.date_new_jobs().await;
                    return;
                }
            }
        }
        panic!("the database stays locked");
    }

    /// Has the database date new jobs at [`EPOCH`], whoever inserts them. Starting the daemon does it.
    pub(crate) async fn date_new_jobs(&self) {
        let trigger = format!(
            "CREATE TRIGGER IF NOT EXISTS new_jobs_begin_with_the_world AFTER INSERT ON jobs BEGIN \
             UPDATE jobs SET created_at = {} WHERE id = NEW.id; END",
            EPOCH.0
        );
        self.foreign_sql(&trigger).await;
    }

    /// Has the daemon take the settings as they are now.
    pub(crate) fn reload(&mut self) {
        let settings = self.settings();
        self.daemon().reload(settings).unwrap();
    }

    pub(crate) fn daemon(&mut self) -> &mut Daemon {
        self.daemon.as_mut().unwrap()
    }

    /// Drops the daemon as it stands, as a kill would.
    pub(crate) fn kill(&mut self) {
        self.daemon = None;
    }

    pub(crate) async fn stop(&mut self) {
        let daemon = self.daemon.take().unwrap();
        daemon.stop(&CancellationToken::new()).await.unwrap();
    }

    /// Runs SQL as another program would, and makes the daemon look.
    pub(crate) async fn sql(&mut self, sql: &str) {
        self.try_sql(sql).await.unwrap();
    }

    pub(crate) async fn try_sql(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        let done = self.try_foreign_sql(sql).await;
        if let Some(daemon) = &self.daemon {
            daemon.wakeup();
        }
        done
    }

    /// Runs SQL as another program does: nobody makes the daemon look.
    pub(crate) async fn foreign_sql(&self, sql: &str) {
        self.try_foreign_sql(sql).await.unwrap();
    }

    async fn try_foreign_sql(&self, sql: &str) -> Result<(), sqlx::Error> {
        let mut outsider = self.outsider().await;
        let done = self
            .clock
            .held(sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut outsider))
            .await;
        self.clock.held(outsider.close()).await.unwrap();
        done.map(|_| ())
    }

    /// The rows of a query; every value as text, NULL as "-".
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let mut outsider = self.outsider().await;
        let rows = self
            .clock
            .held(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut outsider))
            .await
            .unwrap();
        self.clock.held(outsider.close()).await.unwrap();
        let text = |row: &sqlx::sqlite::SqliteRow, column: usize| {
            let value = row.try_get_unchecked::<Option<String>, _>(column).unwrap();
            value.unwrap_or_else(|| "-".to_owned())
        };
        rows.iter()
            .map(|row| (0..row.len()).map(|column| text(row, column)).collect())
            .collect()
    }

    /// The first value of a query.
    pub(crate) async fn value(&self, sql: &str) -> String {
        self.rows(sql).await[0][0].clone()
    }

    async fn outsider(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.database())
            .busy_timeout(Duration::from_secs(5));
        self.clock
            .held(SqliteConnection::connect_with(&options))
            .await
            .unwrap()
    }

    /// Waits until the query's first value is `expected`, for at most `patience` of paused time.
    pub(crate) async fn until(&mut self, patience: Duration, sql: &str, expected: &str) {
        let step = (patience / 200).max(Duration::from_millis(50));
        for _ in 0..200 {
            if self.value(sql).await == expected {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(step) => {}
                error = self.daemon.as_mut().unwrap().failed() => panic!("the daemon failed: {error:#}"),
            }
        }
        let found = self.value(sql).await;
        let jobs = self
            .rows("SELECT id, state, polls, consecutive_errors, last_error, failure FROM jobs")
            .await;
        panic!("after {patience:?} {sql} is {found:?} and not {expected:?}; jobs: {jobs:#?}");
    }

    /// Waits until a job has ended, and every delivery is done.
    pub(crate) async fn until_ended(&mut self, patience: Duration) {
        let unfinished = "SELECT (SELECT count(*) FROM jobs WHERE finished_at IS NULL) \
                          + (SELECT count(*) FROM deliveries WHERE state = 'pending')";
        self.until(patience, unfinished, "0").await;
    }

    /// Lets paused time pass.
    pub(crate) async fn pass(&mut self, time: Duration) {
        let Some(daemon) = &mut self.daemon else {
            return tokio::time::sleep(time).await;
        };
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            error = daemon.failed() => panic!("the daemon failed: {error:#}"),
        }
    }

    /// Paused time since the beginning, in milliseconds.
    pub(crate) fn elapsed(&self) -> i64 {
        self.clock.now().0 - EPOCH.0
    }

    /// Makes a job of the simulator with these steps' states at these moments, and enqueues it.
    pub(crate) async fn follow(&mut self, id: &str, phases: &[(u64, &[(&str, &str)])]) {
        self.make(id, phases);
        self.enqueue(id).await;
    }

    pub(crate) async fn enqueue(&mut self, id: &str) {
        self.sql(&format!("INSERT INTO jobs (id) VALUES ('{id}')"))
            .await;
    }

    /// Makes a job of the simulator that says these things.
    pub(crate) fn tell(&self, id: &str, phases: Vec<Phase>) {
        self.control()
            .create(NewJob::scripted(Script::new(phases)).with_id(id))
            .unwrap();
    }

    pub(crate) fn make(&self, id: &str, phases: &[(u64, &[(&str, &str)])]) {
        let phases = phases.iter().map(|(at, steps)| {
            let steps: Vec<Step> = steps
                .iter()
                .map(|(title, status)| Step::new(*title, *status))
                .collect();
            Phase::steps(*at, &steps)
        });
        self.tell(id, phases.collect());
    }

    /// When requests for a job came, in milliseconds since the start.
    pub(crate) fn polled_at(&self, id: &str) -> Vec<i64> {
        let log = self.control().requests();
        let mine = log
            .iter()
            .filter(|request| request.method == "GET" && request.job.as_deref() == Some(id));
        mine.map(|request| request.at.0 - EPOCH.0).collect()
    }

    /// When tokens were asked for, in milliseconds since the start.
    pub(crate) fn tokens_asked_at(&self) -> Vec<i64> {
        let log = self.control().requests();
        let asked = log.iter().filter(|request| request.path == "/token");
        asked.map(|request| request.at.0 - EPOCH.0).collect()
    }

    /// The status server's answer to a GET.
    pub(crate) async fn get(&mut self, path: &str) -> (u16, Value) {
        let address = self.daemon().status_address().unwrap();
        jobtrackd::tls::install_provider();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asking = async {
            let answer = client
                .get(format!("http://{address}{path}"))
                .send()
                .await
                .unwrap();
            (
                answer.status().as_u16(),
                serde_json::from_str(&answer.text().await.unwrap()).unwrap(),
            )
        };
        self.clock.held(asking).await
    }
}
