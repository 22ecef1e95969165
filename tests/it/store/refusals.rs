//! Files that are refused, and what is said of them.

use std::fs;
use std::path::Path;

use jobtrackd::store::StoreError;

use super::bench::Bench;
use super::files::{create, made_by, open, place};

/// What both ways of opening say against a file, which they must leave as it is.
async fn refusals(file: &Path) -> [StoreError; 2] {
    let before = fs::read(file).ok();
    let errors = [
        create(file).await.unwrap_err(),
        open(file).await.unwrap_err(),
    ];
    assert!(fs::read(file).ok() == before, "the file was touched");
    let folder = fs::read_dir(file.parent().unwrap()).unwrap();
    assert_eq!(folder.count(), 1, "files were left behind");
    errors
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_untouched() {
    for script in [
        "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)",
        "PRAGMA application_id = 7",
        "PRAGMA application_id = 7; CREATE TABLE jobs (id)",
        "CREATE TABLE jobs (id TEXT PRIMARY KEY)",
        "CREATE VIEW theirs AS SELECT 1",
        "PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)",
    ] {
        let (_folder, file) = made_by(script).await;
        for error in refusals(&file).await {
            assert!(
                matches!(&error, StoreError::Foreign(path) if *path == file),
                "{script}: {error:?}"
            );
            let said = format!("{} is not a database of jobtrackd", file.display());
            assert_eq!(error.to_string(), said);
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let (_folder, file) = place();
    for content in [
        "id,name\n1,one\n",
        &"# a text that is longer than a header\n".repeat(200),
    ] {
        fs::write(&file, content).unwrap();
        for error in refusals(&file).await {
            let said = error.to_string();
            assert!(said.starts_with("cannot open the database "), "{said}");
            assert!(said.ends_with("file is not a database"), "{said}");
        }
    }
}

#[tokio::test]
async fn a_damaged_header_is_refused() {
    let bench = Bench::fresh().await;
    bench.store.close().await;
    let (_folder, file) = place();
    let mut bytes = fs::read(&bench.file).unwrap();
    bytes[..16].copy_from_slice(b"SQLite format 4\0");
    fs::write(&file, bytes).unwrap();
    for error in refusals(&file).await {
        assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_numbers() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    let known = bench.store.schema().await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations
                 SELECT 4711, 'later', installed_on, 1, x'00', 0 FROM _sqlx_migrations LIMIT 1";
    bench.outsider.run(newer).await.unwrap();
    for refused in [create(&bench.file).await, open(&bench.file).await] {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, StoreError::Newer { found: 4711, known: own } if own == known),
            "{error:?}"
        );
        let said = error.to_string();
        assert!(said.contains("schema 4711"), "{said}");
        assert!(said.contains(&format!("this program's {known}")), "{said}");
    }
    assert_eq!(bench.outsider.count("jobs").await, 1);
}

#[tokio::test]
async fn an_outdated_schema_must_be_migrated() {
    let (_folder, empty) = place();
    fs::write(&empty, "").unwrap();
    let error = open(&empty).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Outdated { found: 0, .. }),
        "{error:?}"
    );
    let said = error.to_string();
    assert!(
        said.ends_with("bring it up to date with: jobtrackd migrate"),
        "{said}"
    );
    create(&empty).await.unwrap().close().await;
    open(&empty).await.unwrap().close().await;
}

#[tokio::test]
async fn a_missing_file_or_folder_is_said_to_be_missing() {
    let (_folder, file) = place();
    let said = open(&file).await.unwrap_err().to_string();
    assert!(said.starts_with("there is no database at "), "{said}");
    assert!(
        said.ends_with("create it with: jobtrackd migrate"),
        "{said}"
    );
    assert!(!file.exists());
    let deep = file.with_file_name("no").join("folder.db");
    let error = create(&deep).await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("No such file or directory"), "{said}");
    assert!(matches!(open(&deep).await, Err(StoreError::Absent(_))));
}

#[tokio::test]
async fn a_directory_is_refused_as_one() {
    let (_folder, file) = place();
    fs::create_dir(&file).unwrap();
    for error in refusals(&file).await {
        let said = error.to_string();
        assert!(said.starts_with("cannot open the database "), "{said}");
        assert!(said.ends_with("it is not a file"), "{said}");
    }
}
