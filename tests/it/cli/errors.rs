//! What each thing that can go wrong says: what happened, why, and what to type next.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use jobtrackd::store::sqlite::InstanceLock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::{Said, Shell};

/// A user without any right.
const NOBODY: u32 = 65534;

/// A state of things, a command, its exit code, and words of its error: what, why, and how to go on.
type Case = (
    &'static str,
    &'static [&'static str],
    i32,
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "",
        &["list"],
        1,
        &[
            "there is no database at ",
            "jobtrackd migrate",
            "--config FILE",
        ],
    ),
    (
        "",
        &["watch"],
        1,
        &["there is no database at ", "jobtrackd migrate"],
    ),
    (
        "folder",
        &["list"],
        1,
        &["cannot open the database", "it is not a file", "ls -l "],
    ),
    (
        "text",
        &["list"],
        1,
        &["file is not a database", "jobtrackd doctor"],
    ),
    (
        "foreign",
        &["show", "1"],
        1,
        &["is not a database of jobtrackd", "database.url"],
    ),
    (
        "empty",
        &["list"],
        1,
        &["has schema 0 and this program needs", "jobtrackd migrate"],
    ),
    (
        "newer",
        &["list"],
        1,
        &["newer than this program's", "install the newer jobtrackd"],
    ),
    (
        "odd",
        &["list"],
        1,
        &[
            "the database is inconsistent: jobs.state of 1",
            "jobtrackd doctor",
        ],
    ),
    (
        "jobs",
        &["show", "6172"],
        1,
        &["there is no job 6172; did you mean 61723", "jobtrackd list"],
    ),
    (
        "jobs",
        &["watch", "6172"],
        1,
        &["there is no job 6172; did you mean 61723"],
    ),
    (
        "jobs",
        &["show", "zzz"],
        1,
        &["there is no job zzz;", "jobtrackd enqueue zzz"],
    ),
    (
        "jobs",
        &["cancel", "zzz"],
        1,
        &["not in the database", "jobtrackd list"],
    ),
    (
        "jobs",
        &["list", "--state", "done"],
        2,
        &["'done'", "pending, in-progress, success, failed"],
    ),
    (
        "jobs",
        &["list", "--since", "soon"],
        2,
        &["'soon'", "15m, 2h or 8d", "2026-11-22T15:04:05Z"],
    ),
    (
        "jobs",
        &["list", "--until", "-1h"],
        2,
        &["'-1h'", "15m, 2h or 8d"],
    ),
    (
        "jobs",
        &["list", "--text", ""],
        2,
        &["--text", "1 to 1000 bytes"],
    ),
    (
        "jobs",
        &["list", "--limit", "many"],
        2,
        &["'many'", "--limit"],
    ),
    ("jobs", &["watch", "a/b"], 2, &["a/b", "not only dots"]),
    ("jobs", &["wacth"], 2, &["'wacth'", "'watch'"]),
    (
        "jobs",
        &["enqueue", "1", "--deadline", "soon"],
        2,
        &["'soon'", "15m, 2h or 8d"],
    ),
    (
        "jobs",
        &["--config", "/nowhere.toml", "list"],
        78,
        &["/nowhere.toml"],
    ),
    (
        "held",
        &["run"],
        1,
        &[
            "in use by another jobtrackd (pid 1)",
            "systemctl stop jobtrackd",
        ],
    ),
];

async fn state(shell: &Shell, state: &str) {
    let file = shell.path();
    if ["odd", "jobs", "held", "newer"].contains(&state) {
        shell.run(&["migrate"]).done();
        shell.run(&["enqueue", "1", "61723"]).done();
    }
    let script = match state {
        "odd" => "PRAGMA ignore_check_constraints = ON; UPDATE jobs SET state = 'odd' WHERE id = '1'",
        "foreign" => "CREATE TABLE theirs (x)",
        "newer" => {
            "INSERT INTO _sqlx_migrations SELECT 9999, description, installed_on, success, checksum, execution_time
             FROM _sqlx_migrations LIMIT 1"
        }
        "folder" => return fs::create_dir(file).unwrap(),
        "text" => return fs::write(file, "no database at all ".repeat(100)).unwrap(),
        "empty" => return fs::write(file, "").unwrap(),
        _ => return,
    };
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    let mut outsider = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut outsider)
        .await
        .unwrap();
    outsider.close().await.unwrap();
}

#[tokio::test]
async fn every_error_says_what_happened_why_and_what_to_type_next() {
    for (before, arguments, code, expected) in CASES {
        let shell = Shell::empty();
        state(&shell, before).await;
        let lock = (*before == "held").then(|| InstanceLock::take(&shell.path(), "pid 1").unwrap());
        let mut command = shell.command(arguments);
        command.env("JOBTRACKD__UPSTREAM__AUTH", "none");
        let said = Said::from(command.output().unwrap());
        drop(lock);
        assert_eq!(said.code, *code, "{arguments:?} {}", said.err);
        for words in *expected {
            assert!(
                said.err.contains(words),
                "{arguments:?}: {words:?} is missing in\n{}",
                said.err
            );
        }
        assert!(!said.err.contains('\u{1b}'), "{}", said.err);
    }
}

#[tokio::test]
async fn a_user_who_may_not_read_the_database_learns_which_group_may() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let shell = Shell::migrated();
    let program = shell.folder.path().join("jobtrackd");
    fs::copy(env!("CARGO_BIN_EXE_jobtrackd"), &program).unwrap();
    for (path, mode) in [
        (shell.folder.path().to_owned(), 0o755),
        (program.clone(), 0o755),
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let url = format!("sqlite://{}", shell.path().display());
    let mut command = std::process::Command::new(program);
    command
        .arg("list")
        .env_clear()
        .env("JOBTRACKD__DATABASE__URL", url)
        .uid(NOBODY)
        .gid(NOBODY);
    let said = Said::from(command.output().unwrap());
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    for words in [
        "cannot open the database",
        "usermod -aG jobtrackd-queue",
        "log in again",
        "ls -l ",
    ] {
        assert!(
            said.err.contains(words),
            "{words} is missing in\n{}",
            said.err
        );
    }
}
