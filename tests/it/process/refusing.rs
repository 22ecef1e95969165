//! Everything an operator gets wrong before the daemon can start: one message that says what, and the right exit code.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use sqlx::Connection as _;

use super::house::{House, PROGRAM};
use super::program::Program;

/// A user and group without rights.
const NOBODY: u32 = 65534;

/// What `run` says when it does not start, after the first line of log if there is any.
async fn refused(house: &House, code: i32) -> String {
    let ended = house.run().ended().await;
    assert_eq!(ended.code, Some(code), "{}", ended.text);
    let errors = ended.text.matches("error: ").count();
    assert_eq!(errors, 1, "{}", ended.text);
    ended.text
}

#[tokio::test]
async fn a_bad_configuration_ends_with_78_and_names_the_key() {
    for (section, key, value, said) in [
        (
            "polling",
            "intial_delay",
            "1s",
            "polling.intial_delay: there is no such key; did you mean polling.initial_delay?",
        ),
        ("poling", "jitter", "1s", "did you mean polling?"),
        ("polling", "max_delay", "soon", "polling.max_delay: "),
        ("webhooks.all", "timeout", "15", "webhooks.all.timeout: "),
        ("log", "level", "lodu", "log.level: "),
        (
            "webhooks.bare",
            "url",
            "https://x.example/",
            "webhooks.bare.secret_file: the signing secret is missing",
        ),
        ("database", "url", "postgres://x", "database.url: "),
    ] {
        let mut house = House::new().await;
        house.set(section, key, value);
        let text = refused(&house, 78).await;
        assert!(text.starts_with("error: bad configuration in "), "{text}");
        assert!(text.contains(said), "{text}");
        assert!(!house.database().exists(), "nothing is begun");
    }
}

#[tokio::test]
async fn variables_that_cannot_be_used_or_are_misspelt_end_with_78() {
    for (variable, value, said) in [
        ("TOKIO_WORKER_THREADS", "0", "from 1 to 1024"),
        ("TOKIO_WORKER_THREADS", "many", "from 1 to 1024"),
        (
            "JOBTRACKD_UPSTREAM_BASE_URL",
            "https://x.example",
            "did you mean JOBTRACKD__UPSTREAM__BASE_URL?",
        ),
    ] {
        let house = House::new().await;
        let mut command = house.command("run");
        let ended = Program::start(command.env(variable, value)).ended().await;
        assert_eq!(ended.code, Some(78), "{}", ended.text);
        let start = "error: bad configuration in ";
        assert!(ended.text.starts_with(start), "{}", ended.text);
        assert!(ended.text.contains(said), "{}", ended.text);
        assert!(!house.database().exists(), "nothing is begun");
    }
}

#[tokio::test]
async fn a_secret_or_a_file_that_is_not_there_ends_with_78() {
    let mut house = House::new().await;
    house.unset("upstream", "api_key");
    let text = refused(&house, 78).await;
    assert!(
        text.contains("upstream.api_key_file: the API key is missing"),
        "{text}"
    );
    let absent = house.path("absent");
    house.set("upstream", "api_key_file", absent.to_str().unwrap());
    let text = refused(&house, 78).await;
    assert!(
        text.contains(&format!("cannot read {}", absent.display())),
        "{text}"
    );
    std::fs::remove_file(house.file()).unwrap();
    let text = refused(&house, 78).await;
    assert!(
        text.contains(&format!("cannot read {}", house.file().display())),
        "{text}"
    );
}

#[tokio::test]
async fn a_database_where_none_can_be_ends_with_1_and_names_the_path() {
    let mut house = House::new().await;
    std::fs::write(house.path("text"), "These are notes of mine.\n".repeat(400)).unwrap();
    std::fs::create_dir(house.path("folder")).unwrap();
    for (path, why) in [
        ("absent/jobs.db", "No such file or directory"),
        ("text/jobs.db", "Not a directory"),
        ("folder", "folder"),
        ("text", "not a database"),
    ] {
        let path = house.path(path);
        house.set("database", "url", &format!("sqlite://{}", path.display()));
        let text = refused(&house, 1).await;
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        assert!(text.contains(why), "{text}");
    }
    let notes = std::fs::read_to_string(house.path("text")).unwrap();
    assert_eq!(notes, "These are notes of mine.\n".repeat(400));
    assert!(!house.path("text-wal").exists());
}

#[tokio::test]
async fn the_database_of_another_program_is_left_as_it_is() {
    for (mode, made) in [
        ("DELETE", "CREATE TABLE notes (text)"),
        ("DELETE", "PRAGMA application_id = 7"),
        ("WAL", "CREATE TABLE notes (text)"),
    ] {
        let house = House::new().await;
        let mut theirs = house.outsider_of_new().await;
        let sql = format!("PRAGMA journal_mode = {mode}; {made}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut theirs)
            .await
            .unwrap();
        theirs.close().await.unwrap();
        let before = std::fs::read(house.database()).unwrap();
        let text = refused(&house, 1).await;
        assert!(
            text.contains("jobs.db is not a database of jobtrackd"),
            "{text}"
        );
        assert_eq!(
            std::fs::read(house.database()).unwrap(),
            before,
            "{mode}, {made}"
        );
        assert!(!house.path("jobs.db-wal").exists());
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone_and_both_numbers_are_named() {
    let house = House::new().await;
    house.migrate().await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99, 'later', 1, x'00', 0)";
    house.sql(newer).await;
    let known = house
        .value("SELECT max(version) FROM _sqlx_migrations WHERE version < 99")
        .await;
    let text = refused(&house, 1).await;
    let delivered = format!("the database has schema 99, newer than this program's {known};");
    assert!(text.contains(&delivered), "{text}");
}

#[tokio::test]
async fn a_status_address_that_is_taken_ends_with_1_and_is_named() {
    let mut house = House::new().await;
    let address = house.receiver.address().to_string();
    house.set("status", "listen", &address);
    // The sink's own address may not be delivered events then.
    house.unset_section("webhooks.all");
    let text = refused(&house, 1).await;
    assert!(
        text.contains(&format!("status.listen = \"{address}\"")),
        "{text}"
    );
    assert!(text.contains("Address already in use"), "{text}");
}

#[tokio::test]
async fn wrong_usage_ends_with_2() {
    let house = House::new().await;
    for arguments in [
        &["run", "--fast"][..],
        &["rnu"],
        &["--confg", "x", "run"],
        &[],
    ] {
        let mut command = Command::new(PROGRAM);
        let ended = Program::start(command.env_clear().args(arguments))
            .ended()
            .await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.text);
        assert!(ended.text.contains("Usage: "), "{}", ended.text);
    }
    assert!(!house.database().exists());
}

#[tokio::test]
async fn a_database_that_may_not_be_written_ends_with_1_and_says_so() {
    let mut house = House::new().await;
    let nobody = |command: &mut Command| {
        command.uid(NOBODY).gid(NOBODY);
    };
    let mut trying = Command::new(PROGRAM);
    nobody(trying.arg("--version").stdout(std::process::Stdio::null()));
    if !trying.status().is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: only root may run the program as another user, and that user must reach it"
        );
        return;
    }
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let (closed, open) = (house.path("closed"), house.path("open"));
    for folder in [&closed, &open] {
        std::fs::create_dir(folder).unwrap();
    }
    mode(house.folder.path(), 0o755);
    mode(&closed, 0o700);
    mode(&open, 0o777);
    house.set(
        "database",
        "url",
        &format!("sqlite://{}", open.join("jobs.db").display()),
    );
    house.migrate().await;
    mode(&open.join("jobs.db"), 0o644);
    for folder in [&closed, &open] {
        let database = folder.join("jobs.db");
        house.set(
            "database",
            "url",
            &format!("sqlite://{}", database.display()),
        );
        chown(house.file(), Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = house.command("run");
        nobody(&mut command);
        let ended = Program::start(&mut command).ended().await;
        assert_eq!(ended.code, Some(1), "{}", ended.text);
        assert!(
            ended.text.contains(database.to_str().unwrap()),
            "{}",
            ended.text
        );
        assert!(!ended.text.contains("follows jobs"), "{}", ended.text);
    }
}
