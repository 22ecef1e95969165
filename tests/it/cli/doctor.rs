//! `doctor` and `check` on hosts with a really broken piece.

mod files;
mod network;
mod remote;
mod stored;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use jobtrackd::store::sqlite::InstanceLock;
use serde_json::Value;
use sqlx::sqlite::SqliteConnection;

use super::{Said, Shell, run_sql};
use crate::support::receiver::SECRET;

/// A shell, and what its commands find in their environment.
struct Patient {
    shell: Shell,
    environment: Vec<(String, String)>,
}

impl Patient {
    /// Without a database; an API that is never asked, no webhook, no status server.
    fn new() -> Self {
        let shell = Shell::empty();
        chmod(shell.folder.path(), 0o2770);
        let mut patient = Self {
            shell,
            environment: Vec::new(),
        };
        patient.set("UPSTREAM__AUTH", "none");
        patient.set("UPSTREAM__BASE_URL", "http://127.0.0.1:1");
        patient.set("STATUS__LISTEN", "");
        patient
    }

    fn migrated() -> Self {
        let patient = Self::new();
        patient.shell.run(&["migrate"]).done();
        patient
    }

    fn set(&mut self, key: &str, value: &str) {
        self.environment
            .push((format!("JOBTRACKD__{key}"), value.to_owned()));
    }

    fn webhook(&mut self, name: &str, url: &str) {
        self.set(&format!("WEBHOOKS__{name}__URL"), url);
        self.set(&format!("WEBHOOKS__{name}__SECRET"), SECRET);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.shell.command(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap()).of(arguments)
    }

    /// Everything but the network.
    fn examined(&self) -> Report {
        Report(self.run(&["doctor", "--json", "--offline"]))
    }

    /// The same without blocking the servers of the test.
    async fn visited(&self) -> Report {
        let mut command = self.command(&["doctor", "--json"]);
        let said = tokio::task::spawn_blocking(move || command.output().unwrap());
        Report(said.await.unwrap().into())
    }

    async fn outsider(&self) -> SqliteConnection {
        self.shell.outsider().await
    }

    async fn sql(&self, sql: &str) {
        self.shell.sql(sql).await;
    }

    fn locked(&self) -> InstanceLock {
        let note = format!("pid {}, since now", std::process::id());
        InstanceLock::take(&self.shell.path(), &note).unwrap()
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a doctor's visit brought, from `--json`.
struct Report(Said);

impl Report {
    /// The findings of this name as level, what is said, and the advice.
    fn all(&self, check: &str) -> Vec<(String, String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.0
            .json()
            .iter()
            .filter(|found| found["check"] == check)
            .map(|found| {
                (
                    text(&found["level"]),
                    text(&found["says"]),
                    text(&found["advice"]),
                )
            })
            .collect()
    }

    /// Asserts that one finding of this name has this level and says and advises these words.
    fn has(&self, check: &str, level: &str, says: &str, advises: &str) -> &Self {
        let all = self.all(check);
        let found = all.iter().any(|(its, said, advice)| {
            its == level && said.contains(says) && advice.contains(advises)
        });
        assert!(
            found,
            "no {check} at {level} with {says:?} and {advises:?} in {all:#?}; all of it: {:#?}",
            self.0
        );
        self
    }

    fn levels(&self, level: &str) -> Vec<String> {
        let found = self.0.json();
        let found = found.iter().filter(|found| found["level"] == level);
        found
            .map(|found| found["check"].as_str().unwrap().to_owned())
            .collect()
    }

    fn ends(&self, code: i32) -> &Self {
        assert_eq!(self.0.code, code, "{:#?}", self.0);
        self
    }
}

#[tokio::test]
async fn on_a_good_host_nothing_is_a_problem_and_every_finding_has_the_same_keys() {
    let mut patient = Patient::migrated();
    let simulator = remote::simulator().await;
    patient.set("UPSTREAM__AUTH", "basiq");
    patient.set("UPSTREAM__API_KEY", remote::KEY);
    patient.set("UPSTREAM__BASE_URL", simulator.base_url());
    let _lock = patient.locked();
    let report = patient.visited().await;
    report.ends(0);
    assert_eq!(report.levels("problem"), [""; 0]);
    report
        .has("configuration.file", "ok", "0 webhooks", "")
        .has("database.folder", "ok", "mode 2770", "")
        .has("database.permissions", "ok", "mode 0660", "")
        .has("database.open", "ok", "jobs.db", "")
        .has("database.lock", "ok", "nobody", "")
        .has("database.integrity", "ok", "sound", "")
        .has("daemon.lock", "ok", "since now", "")
        .has("upstream.answer", "ok", "a token was granted", "")
        .has("clock.upstream", "ok", "agree", "");
    for found in report.0.json() {
        let keys: Vec<_> = found.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["advice", "check", "level", "says"], "{found}");
        assert_eq!(found["advice"].is_null(), found["level"] == "ok", "{found}");
    }
}

#[test]
fn people_get_parts_signs_advice_below_and_a_verdict_and_no_colours_in_a_pipe() {
    let patient = Patient::migrated();
    let said = patient.run(&["doctor", "--offline"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    let lines: Vec<&str> = said.out.lines().collect();
    let at = |start: &str| lines.iter().position(|line| line.starts_with(start));
    let parts = ["Host", "Configuration", "Database", "Jobs", "Daemon"].map(at);
    assert!(parts.is_sorted() && parts[0] == Some(0), "{}", said.out);
    let warned = at("  ! no daemon follows this database").unwrap();
    assert!(lines[warned + 1].starts_with("    no job is polled"));
    assert!(lines[warned + 2].starts_with("    run: systemctl start jobtrackd"));
    assert!(lines.last().unwrap().ends_with("1 warning"), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'));

    chmod(&patient.shell.path(), 0o666);
    let said = patient.run(&["doctor", "--offline"]);
    assert_eq!(said.code, 1);
    assert!(said.out.ends_with("1 problem, 1 warning\n"), "{}", said.out);
    assert_eq!(said.err, "error: the doctor found 1 problem\n");
}

#[test]
fn with_a_bad_configuration_the_host_is_looked_at_all_the_same() {
    let mut patient = Patient::migrated();
    patient.set("UPSTREAM__AUTH", "basiq");
    let report = patient.examined();
    report
        .ends(78)
        .has(
            "configuration.problem",
            "problem",
            "upstream.api_key_file: the API key is missing",
            "LoadCredential=NAME:FILE jobtrackd doctor",
        )
        .has("database.integrity", "ok", "sound", "")
        .has("daemon.lock", "warning", "no daemon", "systemctl start");
    assert!(report.0.err.starts_with("error: bad configuration"));

    patient.set("POLLING__JITTER", "2");
    let report = patient.examined();
    report
        .ends(78)
        .has("configuration.problem", "problem", "polling.jitter", "0.1");
    let found = report.0.json();
    assert_eq!(found[0]["check"], "host.sqlite3", "the host comes first");
    assert!(
        report.all("database.open").is_empty(),
        "it is not known which"
    );
}

#[test]
fn other_sqlite_libraries_are_asked_for_their_version() {
    let mut patient = Patient::migrated();
    let tools = patient.shell.folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let write = |name: &str, says: &str| {
        let file = tools.join(name);
        fs::write(&file, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
        chmod(&file, 0o755);
    };
    write("sqlite3", "3.37.2 2022-01-06 13:25:41");
    write("python3", "3.40.1");
    write("timedatectl", "no");
    let path = tools.to_str().unwrap().to_owned();
    patient.environment.push(("PATH".to_owned(), path));
    patient
        .examined()
        .has("host.sqlite3", "warning", "3.37.2", "jobtrackd enqueue")
        .has(
            "host.python3",
            "note",
            "3.40.1",
            "PRAGMA wal_autocheckpoint=0;",
        )
        .ends(0);
    write("sqlite3", "3.52.0");
    write("python3", "\u{1b}[2Jgarbage");
    let report = patient.examined();
    report.has("host.sqlite3", "ok", "3.52.0", "").has(
        "host.python3",
        "note",
        "says no version",
        "by hand",
    );
    assert!(!report.0.out.contains('\u{1b}'));
}

#[test]
fn the_limit_of_open_files_is_compared_with_the_connections_that_are_allowed() {
    let patient = Patient::migrated();
    let limited = |files: u32| {
        let mut command = Command::new("/bin/sh");
        let program = patient.command(&["doctor", "--json", "--offline"]);
        command
            .args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")])
            .arg(program.get_program())
            .args(program.get_args())
            .env_clear();
        for (name, value) in program.get_envs() {
            command.envs(value.map(|value| (name, value)));
        }
        Report(command.output().unwrap().into())
    };
    limited(100).has(
        "daemon.open_files",
        "warning",
        "may open 100 files, and all connections at once need 320",
        "LimitNOFILE=512",
    );
    limited(320).has("daemon.open_files", "ok", "need 320", "");
}
