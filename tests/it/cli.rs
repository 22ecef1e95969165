//! The commands that work on the database: the built program, run against real files.

mod backup;
mod bench;
mod deliveries;
mod doctor;
mod enqueueing;
mod errors;
mod listing;
mod reading;
mod replay;
mod webhook;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use jobtrackd::clock::Clock;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;

use crate::support::SCHEMA;
use crate::support::schemas::assert_output_fits;

/// A folder for a database, and the program beside it.
struct Shell {
    folder: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("no signal ended it"),
            out: String::from_utf8(output.stdout).expect("it prints UTF-8"),
            err: String::from_utf8(output.stderr).expect("it prints UTF-8"),
        }
    }
}

impl Said {
    /// The lines of standard output as JSON.
    fn json(&self) -> Vec<Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The same, once its JSON has been held against the schema of the command.
    fn of(self, arguments: &[&str]) -> Self {
        assert_output_fits(arguments, &self.out);
        self
    }

    fn done(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self
    }
}

impl Shell {
    fn empty() -> Self {
        let folder = TempDir::new().expect("a folder can be made");
        Self { folder }
    }

    fn migrated() -> Self {
        let shell = Self::empty();
        shell.run(&["migrate"]).done();
        shell
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("jobs.db")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobtrackd"));
        command
            .args(arguments)
            .env_clear()
            .env(
                "JOBTRACKD__DATABASE__URL",
                format!("sqlite://{}", self.path().display()),
            )
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap()).of(arguments)
    }

    /// The database as another program opens it.
    async fn outsider(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new()
            .filename(self.path())
            .busy_timeout(Duration::from_secs(5));
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    async fn sql(&self, sql: &str) {
        let mut outsider = self.outsider().await;
        run_sql(&mut outsider, sql).await;
        outsider.close().await.unwrap();
    }

    fn piped(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Said::from(child.wait_with_output().unwrap()).of(arguments)
    }
}

async fn run_sql(connection: &mut SqliteConnection, sql: &str) {
    let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    ran.unwrap();
}

#[test]
fn migrate_creates_the_database_and_says_which_schema_it_has() {
    let shell = Shell::empty();
    let created = shell.run(&["migrate", "--json"]).done().json();
    assert_eq!(
        created,
        [json!({"path": shell.path(), "schema": SCHEMA, "outcome": "created"})]
    );
    let again = shell.run(&["migrate"]).done();
    assert!(again.out.contains("is up to date already"), "{}", again.out);
    assert!(
        again.out.contains(&format!("schema {SCHEMA}")),
        "{}",
        again.out
    );
}

#[test]
fn migrate_makes_no_folders_and_says_how_to() {
    let shell = Shell::empty();
    let absent = shell.folder.path().join("absent");
    let url = format!("sqlite://{}", absent.join("jobs.db").display());
    let mut command = shell.command(&["migrate"]);
    let said = Said::from(
        command
            .env("JOBTRACKD__DATABASE__URL", url)
            .output()
            .unwrap(),
    );
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(
        said.err.starts_with("error: cannot create "),
        "{}",
        said.err
    );
    assert!(said.err.contains("install -d -m 2770 "), "{}", said.err);
    assert!(!absent.exists());
}

#[test]
fn without_a_database_every_command_says_what_to_type() {
    let shell = Shell::empty();
    for arguments in [
        &["enqueue", "1"][..],
        &["list"],
        &["show", "1"],
        &["cancel", "1"],
    ] {
        let said = shell.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{arguments:?}");
        assert!(said.err.contains("jobtrackd migrate"), "{}", said.err);
    }
}

#[test]
fn a_bad_configuration_ends_with_78_and_names_the_key() {
    let shell = Shell::migrated();
    let file = shell.folder.path().join("jobtrackd.toml");
    std::fs::write(&file, "[polling]\nintial_delay = \"1s\"\n").unwrap();
    let file = file.to_str().unwrap();
    for arguments in [["--config", file, "list"], ["list", "--config", file]] {
        let said = shell.run(&arguments);
        assert_eq!(said.code, 78);
        assert!(
            said.err.starts_with("error: bad configuration in "),
            "{}",
            said.err
        );
        assert!(said.err.contains("intial_delay"), "{}", said.err);
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_known() {
    let shell = Shell::migrated();
    for (arguments, expected) in [
        (
            &["list", "--state", "running"][..],
            "pending, in-progress, success, failed",
        ),
        (&["list", "--limit", "0"], "--limit"),
        (&["enqueue"], "<ID>"),
        (&["enqueue", "1", "2", "--url", "/x"], "goes with one ID"),
        (&["enqueue", "-", "--url", "/x"], "goes with one ID"),
        (&["enqueue", "1", "-"], "stands alone"),
        (&["enqueue", "1", "--deadline", "soon"], "15m, 2h or 8d"),
        (&["show", "a/b"], "not only dots"),
        (&["cancel", ".."], "not only dots"),
        (&["lsit"], "list"),
    ] {
        let said = shell.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
        assert!(said.err.contains(expected), "{}", said.err);
    }
    assert_eq!(shell.run(&["list", "--json"]).done().out, "");
}

#[test]
fn good_ids_are_enqueued_beside_refused_ones() {
    let shell = Shell::migrated();
    let said = shell.run(&["enqueue", "1", "../token", "1", "2", "a\u{1b}[2J"]);
    assert_eq!(said.code, 1);
    assert_eq!(
        said.out.lines().collect::<Vec<_>>(),
        [
            "✓ 1           enqueued",
            "· 1           exists, not changed",
            "✓ 2           enqueued"
        ]
    );
    let lines: Vec<&str> = said.err.lines().collect();
    for (line, start) in lines.iter().zip([
        "✗ ../token  refused: jobs.id must be 1 to 200 characters",
        r"✗ a\u{1b}[2J  refused: jobs.id must be",
        "error: 2 of 5 ids refused; the others are in the database",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(lines.len(), 3);

    let again = shell.run(&["enqueue", "--json", "2", "3", "..."]);
    let outcomes: Vec<_> = again.json();
    assert_eq!(
        outcomes[0],
        json!({"id": "2", "outcome": "exists", "reason": null})
    );
    assert_eq!(outcomes[1]["outcome"], "enqueued");
    assert_eq!(outcomes[2]["outcome"], "refused");
    assert_eq!(shell.run(&["list", "--json"]).done().json().len(), 3);
}

#[test]
fn what_is_said_of_a_job_when_it_is_enqueued_is_kept() {
    let shell = Shell::migrated();
    shell
        .billing(&[
            "enqueue",
            "61724",
            "--url",
            "/users/u/jobs/61724",
            "--metadata",
            "{\"customer\":\n\"c_9\",\"n\":1e400}",
            "--webhook",
            "billing",
            "--priority",
            "-5",
            "--deadline",
            "2099-11-22T15:04:05Z",
            "--not-before",
            "1h",
        ])
        .done();
    let shown = &shell.run(&["show", "61724", "--json"]).done().json()[0];
    assert_eq!(shown["url"], "/users/u/jobs/61724");
    assert_eq!(shown["metadata"]["customer"], "c_9");
    assert_eq!(shown["webhook"], "billing");
    assert_eq!(shown["priority"], -5);
    assert_eq!(shown["deadline_at"], "2099-11-22T15:04:05.000Z");
    let not_before: jiff::Timestamp = shown["not_before"].as_str().unwrap().parse().unwrap();
    let wait = not_before.as_millisecond() - Clock::system().now().0;
    assert!((3_500_000..=3_600_000).contains(&wait), "{wait}");

    let refused = shell.run(&["enqueue", "1", "--metadata", "[1]"]);
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert_eq!(
        refused.err,
        "✗ 1  refused: jobs.metadata must be a JSON object of at most 16 KiB (16384 bytes)\nerror: the job was refused\n"
    );
}

#[test]
fn ids_are_read_from_standard_input_one_per_line() {
    let shell = Shell::migrated();
    let ids: String = (0..1200).map(|id| format!("{id}\r\n\n")).collect();
    let said = shell
        .piped(&["enqueue", "-", "--json"], (ids + "last").as_bytes())
        .done();
    assert_eq!(said.json().len(), 1201);
    let listed = shell.run(&["list", "--json", "--limit", "5000"]).done();
    assert_eq!(listed.json().len(), 1201);

    let bad = shell.piped(&["enqueue", "-"], b"ok\n\xff\xfe\n");
    assert_eq!((bad.code, bad.out.as_str()), (1, "✓ ok  enqueued\n"));
    assert!(
        bad.err
            .starts_with("✗ \u{fffd}\u{fffd}  refused (line 2): jobs.id must be"),
        "{}",
        bad.err
    );
    let long = shell.piped(
        &["enqueue", "-"],
        format!("fine\n{}\n", "x".repeat(5000)).as_bytes(),
    );
    assert_eq!(long.code, 1);
    assert!(long.out.contains("enqueued"), "{}", long.out);
    assert!(
        long.err.contains("line 2 of standard input is longer"),
        "{}",
        long.err
    );
    let none = shell.piped(&["enqueue", "-"], b"\n \n");
    assert!(none.err.contains("held no id"), "{}", none.err);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let shell = Shell::migrated();
    let ids: String = (0..3000).map(|id| format!("job-{id}\n")).collect();
    shell.piped(&["enqueue", "-"], ids.as_bytes()).done();
    for arguments in [
        &["list", "--json", "--limit", "3000"][..],
        &["list", "--limit", "3000"],
        &["--help"],
    ] {
        let mut child = shell
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let said = Said::from(child.wait_with_output().unwrap());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "1"]).done();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let said = Said::from(shell.command(&["list"]).stdout(full).output().unwrap());
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .starts_with("error: standard output could not be written"),
        "{}",
        said.err
    );
}
