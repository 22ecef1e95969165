//! Creating and opening files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jobtrackd::clock::Clock;
use jobtrackd::store::{Intake as _, Jobs as _, NewJob, Store, StoreError};
use tempfile::TempDir;

use super::apart;
use super::bench::{Bench, Outsider};

pub(super) async fn create(file: &Path) -> Result<Store, StoreError> {
    Store::create_or_migrate(file, Clock::system()).await
}

pub(super) async fn open(file: &Path) -> Result<Store, StoreError> {
    Store::open(file, Clock::system()).await
}

pub(super) fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jobs.db");
    (folder, file)
}

/// A database file that holds the outcome of a script.
pub(super) async fn made_by(script: &str) -> (TempDir, PathBuf) {
    let (folder, file) = place();
    fs::write(&file, "").unwrap();
    let mut outsider = Outsider::of(&file).await;
    outsider.run(script).await.unwrap();
    outsider.leave().await;
    (folder, file)
}

fn job(id: &str) -> NewJob {
    NewJob {
        id: id.to_owned(),
        ..NewJob::default()
    }
}

#[tokio::test]
async fn a_created_file_is_known_again_with_all_that_is_in_it() {
    let bench = Bench::with_jobs(&["1"]).await;
    let tracked = bench.tracked("1").await;
    bench.store.close().await;
    for store in [open(&bench.file).await, create(&bench.file).await] {
        let store = store.unwrap();
        let again = store.tracked(&tracked.id).await.unwrap();
        assert_eq!(again.as_ref(), Some(&tracked));
        assert_eq!(store.newest_change().await.unwrap(), 1);
        store.close().await;
    }
}

#[tokio::test]
async fn the_file_says_what_it_is() {
    let mut bench = Bench::fresh().await;
    bench.store.close().await;
    let header = fs::read(&bench.file).unwrap();
    assert_eq!(&header[68..72], b"JOBT");
    assert_eq!(bench.outsider.value("PRAGMA journal_mode").await, "wal");
    let lax = "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type = 'table'
               AND name NOT LIKE 'sqlite%' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\' AND NOT strict";
    assert_eq!(bench.outsider.value(lax).await, "0");
}

#[tokio::test]
async fn closing_leaves_a_tidy_file_also_while_an_outsider_stays() {
    let bench = Bench::with_jobs(&["1"]).await;
    bench.store.close().await;
    let log = fs::metadata(bench.file.with_extension("db-wal")).unwrap();
    assert_eq!(log.len(), 0);
}

#[tokio::test]
async fn database_log_and_index_are_0660_under_any_umask() {
    const NAME: &str = "store::files::database_log_and_index_are_0660_under_any_umask";
    let Some(folder) = apart::folder() else {
        return apart::again(NAME, &[], "umask 0777; exec \"$@\"");
    };
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&folder, None, Some(4711)).unwrap();
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o2770)).unwrap();
    let group = fs::metadata(&folder).unwrap().gid();
    let store = create(&folder.join("jobs.db")).await.unwrap();
    store.enqueue(&job("1")).await.unwrap();
    for name in ["jobs.db", "jobs.db-wal", "jobs.db-shm"] {
        let meta = fs::metadata(folder.join(name)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.gid()), (0o660, group), "{name}");
    }
    store.close().await;
}

#[tokio::test]
async fn an_existing_file_keeps_its_mode() {
    let (_folder, file) = place();
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    create(&file).await.unwrap().close().await;
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn a_read_only_file_is_refused_by_the_daemon_and_can_be_read() {
    const NAME: &str = "store::files::a_read_only_file_is_refused_by_the_daemon_and_can_be_read";
    let Some(folder) = apart::folder() else {
        let twice = "\"$@\"; f=$JOBTRACKD_TEST_FOLDER/jobs.db
                     mount --bind $f $f; mount -o remount,ro,bind $f; exec \"$@\"";
        return apart::again(NAME, apart::own_mounts(), twice);
    };
    let file = folder.join("jobs.db");
    if !file.exists() {
        let store = create(&file).await.unwrap();
        store.enqueue(&job("1")).await.unwrap();
        return store.close().await;
    }
    let error = create(&file).await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error:?}");
    let said = error.to_string();
    assert!(
        said.ends_with("Read-only file system (os error 30)"),
        "{said}"
    );
    let store = open(&file).await.unwrap();
    assert_eq!(store.active_jobs(0, 9).await.unwrap().len(), 1);
    for _ in 0..2 {
        let error = store.enqueue(&job("2")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the database refused: attempt to write a readonly database"
        );
        assert!(!error.is_temporary());
    }
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_is_taken_up_again() {
    let table = "CREATE TABLE _sqlx_migrations (
        version BIGINT PRIMARY KEY, description TEXT NOT NULL,
        installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)";
    for script in [
        table.to_owned(),
        "PRAGMA journal_mode = WAL".to_owned(),
        format!("PRAGMA journal_mode = WAL; {table}"),
    ] {
        let (_folder, file) = made_by(&script).await;
        let early = open(&file).await;
        assert!(
            matches!(early, Err(StoreError::Outdated { found: 0, .. })),
            "{early:?}"
        );
        create(&file).await.unwrap().close().await;
        open(&file).await.unwrap().close().await;
    }
}
