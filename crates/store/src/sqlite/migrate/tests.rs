//! Migrations of files that are made for it: whatever happens in the middle, the file is as it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType};

use super::super::open::plain_options;
use super::super::store::{Store, integer};
use super::*;
use jobtrackd_clock::Clock;

const FIRST: &str = "PRAGMA application_id = 1246708308;
    CREATE TABLE jobs (id TEXT NOT NULL PRIMARY KEY) STRICT;
    CREATE TABLE steps (job_id TEXT NOT NULL REFERENCES jobs (id), title TEXT NOT NULL) STRICT;
    INSERT INTO jobs VALUES ('1'); INSERT INTO steps VALUES ('1', 'a');";

const SECOND: &str = "ALTER TABLE steps ADD COLUMN note TEXT; UPDATE steps SET note = 'second';";

/// A table is made anew while rows of another one refer to it.
const THIRD: &str = "CREATE TABLE made_anew (id TEXT NOT NULL PRIMARY KEY, more INTEGER) STRICT;
    INSERT INTO made_anew SELECT id, 7 FROM jobs; DROP TABLE jobs; ALTER TABLE made_anew RENAME TO jobs;";

const BROKEN: &str = "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);";

/// Writes more than SQLite keeps in memory, and then goes on for minutes.
const LONG: &str = "CREATE TABLE large (x); INSERT INTO large VALUES (zeroblob(20000000));
    WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 2000000000) INSERT INTO large SELECT max(x) FROM n;";

fn migrations(scripts: &[&'static str]) -> Migrator {
    let numbered = scripts.iter().zip(1..).map(|(sql, number)| {
        Migration::new(
            number,
            "test".into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(numbered.collect())
}

async fn migrated(file: &Path, scripts: &[&'static str]) -> Result<(), StoreError> {
    let migrations = migrations(scripts);
    let store = Store::create_or_migrate_by(&migrations, file.into(), Clock::system()).await?;
    store.close().await;
    Ok(())
}

async fn value(file: &Path, sql: &'static str) -> i64 {
    let mut connection = SqliteConnection::connect_with(&plain_options(file))
        .await
        .unwrap();
    let value = integer(&mut connection, sql).await.unwrap();
    connection.close().await.unwrap();
    value
}

const SCHEMA: &str = "SELECT max(version) FROM _sqlx_migrations";
const TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
const WHOLE: &str = "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'";

async fn assert_first_only(file: &Path) {
    assert_eq!(value(file, SCHEMA).await, 1);
    assert_eq!(value(file, TABLES).await, 3);
    assert_eq!(value(file, WHOLE).await, 1);
    let column = "SELECT count(*) FROM pragma_table_info('steps') WHERE name = 'note'";
    assert_eq!(value(file, column).await, 0, "nothing of the second");
}

async fn assert_all_three(file: &Path) {
    assert_eq!(value(file, SCHEMA).await, 3);
    assert_eq!(value(file, "SELECT more FROM jobs").await, 7);
    assert_eq!(
        value(file, "SELECT count(*) FROM steps WHERE note = 'second'").await,
        1
    );
    assert_eq!(
        value(file, "SELECT count(*) FROM pragma_foreign_key_check").await,
        0
    );
}

#[tokio::test]
async fn a_migration_that_fails_takes_all_before_it_back_and_the_fixed_program_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    migrated(&file, &[FIRST]).await.unwrap();
    let before = fs::read(&file).unwrap();
    for _ in 0..2 {
        let error = migrated(&file, &[FIRST, SECOND, BROKEN]).await.unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("the schema was not brought up to date"),
            "{said}"
        );
        assert!(said.contains("no such table: nowhere"), "{said}");
        assert_first_only(&file).await;
        assert!(fs::read(&file).unwrap() == before, "the file is as it was");
    }
    migrated(&file, &[FIRST, SECOND, THIRD]).await.unwrap();
    assert_all_three(&file).await;
    migrated(&file, &[FIRST, SECOND, THIRD]).await.unwrap();
}

#[tokio::test]
async fn a_migration_that_orphans_rows_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    migrated(&file, &[FIRST]).await.unwrap();
    let orphaning = "DELETE FROM jobs";
    let error = migrated(&file, &[FIRST, SECOND, orphaning])
        .await
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("a row of steps refers to one of jobs"),
        "{said}"
    );
    assert_first_only(&file).await;
    assert_eq!(value(&file, "SELECT count(*) FROM jobs").await, 1);
}

#[tokio::test]
async fn a_released_migration_that_was_edited_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    migrated(&file, &[FIRST]).await.unwrap();
    let edited = "CREATE TABLE jobs (id TEXT)";
    let error = migrated(&file, &[edited, SECOND]).await.unwrap_err();
    assert!(error.to_string().contains("migration 1"), "{error}");
    assert_first_only(&file).await;
}

#[tokio::test]
async fn of_two_programs_that_migrate_at_once_both_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    migrated(&file, &[FIRST]).await.unwrap();
    let both = [FIRST, SECOND, THIRD];
    let (one, other) = tokio::join!(migrated(&file, &both), migrated(&file, &both));
    one.unwrap();
    other.unwrap();
    assert_all_three(&file).await;
}

const NAME: &str = concat!(
    "sqlite::migrate::tests::",
    "a_process_killed_in_the_middle_leaves_the_file_as_it_was"
);
const FILE: &str = "JOBTRACKD_TEST_FILE";

/// A child process; it never outlives its test.
struct Migrating(Child);

impl Drop for Migrating {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_process_killed_in_the_middle_leaves_the_file_as_it_was() {
    if let Some(file) = std::env::var_os(FILE) {
        let done = migrated(&PathBuf::from(file), &[FIRST, SECOND, LONG]).await;
        panic!("nobody killed it: {done:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    migrated(&file, &[FIRST]).await.unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--test-threads=1"])
        .env(FILE, &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Migrating(child);
    let log = folder.path().join("jobs.db-wal");
    // What does not fit into its memory it has written into the log.
    while fs::metadata(&log).map_or(0, |log| log.len()) < 4_000_000 {
        assert!(child.0.try_wait().unwrap().is_none(), "it has ended");
        tokio::task::yield_now().await;
    }
    child.0.kill().unwrap();
    assert_eq!(child.0.wait().unwrap().signal(), Some(9));
    assert_first_only(&file).await;
    migrated(&file, &[FIRST, SECOND, THIRD]).await.unwrap();
    assert_all_three(&file).await;
    let names: BTreeMap<_, _> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| (entry.unwrap().file_name(), ()))
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
}
