//! A backup in the place of a database, and what becomes of the old one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jobtrackd::clock::Clock;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::store::sqlite::{BackupFile, CopyError, InstanceLock, LockError, Restored};
use jobtrackd::store::{Intake as _, Store, StoreError};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::backup::{back_up, elsewhere, names};
use super::bench::{Bench, Outsider};
use super::files::{create, made_by, open, place};
use crate::support::SCHEMA;

async fn restore(database: &Path, from: &Path) -> Result<Restored, CopyError> {
    let stop = CancellationToken::new();
    let from = BackupFile::open(from)?;
    Store::restore(database.into(), &from, &Clock::system(), &stop).await
}

/// A backup with these jobs.
async fn backup_of(ids: &[&str]) -> (TempDir, PathBuf) {
    let bench = Bench::with_jobs(ids).await;
    let (folder, target) = elsewhere();
    back_up(&bench.file, &target).await.unwrap();
    (folder, target)
}

/// The jobs in a file, as any program sees them.
async fn jobs(file: &Path) -> String {
    let mut outsider = Outsider::of(file).await;
    assert_eq!(outsider.value("PRAGMA integrity_check").await, "ok");
    let found = outsider
        .rows("SELECT id FROM jobs ORDER BY id")
        .await
        .join(" ");
    outsider.leave().await;
    found
}

/// What a crash leaves: the file, and its last commits in the log beside it.
async fn crashed(ids: &[&str]) -> (TempDir, PathBuf) {
    let mut bench = Bench::fresh().await;
    bench
        .outsider
        .run("PRAGMA wal_checkpoint(TRUNCATE)")
        .await
        .unwrap();
    for id in ids {
        let row = format!("INSERT INTO jobs (id) VALUES ('{id}')");
        bench.outsider.run(&row).await.unwrap();
    }
    let (folder, file) = place();
    for ending in ["", "-wal"] {
        let name = |file: &Path| format!("{}{ending}", file.display());
        fs::copy(name(&bench.file), name(&file)).unwrap();
    }
    assert!(fs::metadata(file.with_extension("db-wal")).unwrap().len() > 0);
    (folder, file)
}

fn assert_alone(file: &Path) {
    for ending in ["wal", "shm", "journal"] {
        let beside = file.with_extension(format!("db-{ending}"));
        assert!(!beside.exists(), "{} is left", beside.display());
    }
    let folder = names(file.parent().unwrap());
    let staging = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with('.');
    assert_eq!(folder.iter().find(staging), None);
}

#[tokio::test]
async fn a_backup_takes_the_place_and_the_mode_of_the_database_which_is_kept() {
    let (_folder, backup) = backup_of(&["1", "2"]).await;
    let bench = Bench::with_jobs(&["3"]).await;
    bench.store.close().await;
    bench.outsider.leave().await;
    fs::set_permissions(&bench.file, fs::Permissions::from_mode(0o640)).unwrap();
    let restored = restore(&bench.file, &backup).await.unwrap();
    assert_eq!((restored.copied.jobs, restored.copied.schema), (2, SCHEMA));
    assert_eq!(fs::metadata(&bench.file).unwrap().mode() & 0o7777, 0o640);
    assert_alone(&bench.file);
    assert_eq!(jobs(&bench.file).await, "1 2");
    let previous = restored.previous.unwrap();
    let name = previous.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("jobs.db.before-restore-20"), "{name}");
    assert_eq!(jobs(&previous).await, "3");

    // And back again.
    let again = restore(&bench.file, &previous).await.unwrap();
    let store = open(&bench.file).await.unwrap();
    assert_eq!(store.active_jobs(0, 9).await.unwrap().len(), 1);
    store.close().await;
    assert_eq!(jobs(&again.previous.unwrap()).await, "1 2");
    assert_eq!(jobs(&backup).await, "1 2", "the backup is only read");
}

#[tokio::test]
async fn without_a_database_the_backup_becomes_one_as_the_daemon_would_make_it() {
    let (_folder, backup) = backup_of(&["1"]).await;
    let (folder, file) = place();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(4710), Some(4711)).unwrap();
    }
    let home = fs::metadata(folder.path()).unwrap();
    let restored = restore(&file, &backup).await.unwrap();
    assert_eq!(restored.previous, None);
    for name in ["jobs.db", "jobs.db.lock"] {
        let made = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!((made.uid(), made.gid()), (home.uid(), home.gid()), "{name}");
    }
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o660);
    assert_eq!(jobs(&file).await, "1");
}

#[tokio::test]
async fn the_log_of_the_old_database_goes_with_it() {
    let (_folder, backup) = backup_of(&["new"]).await;

    // It can be folded into the old file.
    let (_home, file) = crashed(&["a", "b"]).await;
    let restored = restore(&file, &backup).await.unwrap();
    assert_alone(&file);
    assert_eq!(jobs(&file).await, "new");
    assert_eq!(jobs(&restored.previous.unwrap()).await, "a b");

    // It cannot, because the old file is damaged.
    let (_home, file) = crashed(&["a", "b"]).await;
    let mut bytes = fs::read(&file).unwrap();
    let log = fs::read(file.with_extension("db-wal")).unwrap();
    bytes[..100].fill(0xa5);
    fs::write(&file, &bytes).unwrap();
    // Whether SQLite can make something of it depends on what the log holds; either way nothing is lost.
    let restored = restore(&file, &backup).await.unwrap();
    assert_alone(&file);
    assert_eq!(jobs(&file).await, "new");
    assert!(restored.previous.unwrap().is_file());

    // It cannot, and the log is of no use to SQLite either.
    fs::write(
        &file,
        "not a database, and longer than a header of one, ".repeat(100),
    )
    .unwrap();
    fs::write(file.with_extension("db-wal"), &log[..32]).unwrap();
    let previous = restore(&file, &backup).await.unwrap().previous.unwrap();
    assert_alone(&file);
    assert_eq!(jobs(&file).await, "new");
    let kept = PathBuf::from(format!("{}-wal", previous.display()));
    assert_eq!(fs::read(kept).unwrap(), &log[..32]);

    // Only the log is there.
    let (_home, file) = place();
    fs::write(file.with_extension("db-wal"), &log).unwrap();
    restore(&file, &backup).await.unwrap();
    assert_alone(&file);
    assert_eq!(jobs(&file).await, "new");
}

#[tokio::test]
async fn nothing_is_restored_while_anybody_has_the_database() {
    let (_folder, backup) = backup_of(&["1"]).await;
    let bench = Bench::with_jobs(&["2"]).await;
    let lock = InstanceLock::take(&bench.file, "pid 4711").unwrap();
    let error = restore(&bench.file, &backup).await.unwrap_err();
    assert!(
        matches!(&error, CopyError::Lock(LockError::Held { holder }) if holder == "pid 4711"),
        "{error:?}"
    );
    drop(lock);
    bench.store.close().await;
    // The bench's outsider has read nothing for a while, and is still there.
    let before = names(bench.file.parent().unwrap());
    let error = restore(&bench.file, &backup).await.unwrap_err().to_string();
    assert!(error.starts_with("another program has "), "{error}");
    assert!(error.contains("fuser -v "), "{error}");
    assert_eq!(names(bench.file.parent().unwrap()), before);
    assert_eq!(jobs(&bench.file).await, "2");
    bench.outsider.leave().await;
    restore(&bench.file, &backup).await.unwrap();
    assert_eq!(jobs(&bench.file).await, "1");
}

#[tokio::test]
async fn what_is_no_whole_backup_of_ours_is_refused_and_changes_nothing() {
    let (home, file) = place();
    create(&file).await.unwrap().close().await;
    let (folder, backup) = backup_of(&["1"]).await;
    let at = |name: &str| folder.path().join(name);
    let whole = fs::read(&backup).unwrap();
    fs::write(at("short.db"), &whole[..whole.len() / 2]).unwrap();
    fs::write(at("text.db"), "id,name\n".repeat(2000)).unwrap();
    fs::write(at("empty.db"), "").unwrap();
    let mut bytes = whole.clone();
    // An index that does not fit its table any more: only the thorough check sees it.
    let mut original = Outsider::of(&backup).await;
    let page = "SELECT rootpage FROM sqlite_schema WHERE name = 'jobs_created'";
    let page: usize = original.value(page).await.parse().unwrap();
    original.leave().await;
    bytes[page * 4096 - 8..page * 4096].fill(0x33);
    fs::write(at("index.db"), bytes).unwrap();
    let (_theirs, theirs) = made_by("CREATE TABLE theirs (x)").await;
    symlink_to(&file, &at("self.db"));
    let before = (names(home.path()), fs::read(&file).unwrap());
    for (from, said) in [
        (
            at("missing.db"),
            "name a file that jobtrackd backup has made",
        ),
        (folder.path().to_owned(), "is not a file"),
        (at("short.db"), "name another backup"),
        (at("text.db"), "file is not a database; name another backup"),
        (at("empty.db"), "is not a database of jobtrackd"),
        (at("index.db"), "name another backup"),
        (theirs, "is not a database of jobtrackd"),
        (file.clone(), "is the database itself"),
        (at("self.db"), "is the database itself"),
    ] {
        let error = restore(&file, &from).await.unwrap_err().to_string();
        assert!(error.contains(said), "{}: {error}", from.display());
        drop(fs::remove_file(file.with_extension("db.lock")));
        assert_eq!((names(home.path()), fs::read(&file).unwrap()), before);
    }
}

fn symlink_to(file: &Path, link: &Path) {
    std::os::unix::fs::symlink(file, link).unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_a_database_with_one_can_be_replaced() {
    let newer = "INSERT INTO _sqlx_migrations
                 SELECT 4711, 'later', installed_on, 1, x'00', 0 FROM _sqlx_migrations LIMIT 1";
    let (_folder, backup) = backup_of(&["1"]).await;
    let (_home, file) = place();
    create(&file).await.unwrap().close().await;
    let mut outsider = Outsider::of(&file).await;
    outsider.run(newer).await.unwrap();
    outsider.leave().await;
    let previous = restore(&file, &backup).await.unwrap().previous.unwrap();
    assert_eq!(jobs(&file).await, "1");
    let error = restore(&file, &previous).await.unwrap_err();
    assert!(
        matches!(
            error,
            CopyError::Store(StoreError::Newer {
                found: 4711,
                known: SCHEMA
            })
        ),
        "{error:?}"
    );
    assert_eq!(jobs(&file).await, "1");
}

#[tokio::test]
async fn a_name_for_the_old_database_that_somebody_else_has_taken_is_left_alone() {
    let (_folder, backup) = backup_of(&["1"]).await;
    let (home, file) = place();
    create(&file).await.unwrap().close().await;
    let precious = home.path().join("precious");
    fs::write(&precious, "mine").unwrap();
    tokio::time::pause();
    let clock = Clock::driven(UnixMillis(1_795_000_000_000));
    let time = clock.now().rfc3339().replace(['-', ':'], "");
    let taken = PathBuf::from(format!("{}.before-restore-{time}", file.display()));
    std::os::unix::fs::symlink(&precious, &taken).unwrap();
    let from = BackupFile::open(&backup).unwrap();
    let stop = CancellationToken::new();
    let restored = Store::restore(file.as_path().into(), &from, &clock, &stop).await;
    assert_eq!(jobs(&file).await, "1");
    let previous = restored.unwrap().previous.unwrap();
    assert!(
        previous.to_string_lossy().contains("/.jobtrackd-restore-"),
        "{}",
        previous.display()
    );
    assert_eq!(jobs(&previous).await, "");
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
    assert!(fs::symlink_metadata(&taken).unwrap().is_symlink());
}

#[tokio::test]
async fn a_backup_that_was_copied_with_its_log_is_restored_with_what_is_in_the_log() {
    let (_from, from) = crashed(&["a", "b"]).await;
    let (_home, file) = place();
    let restored = restore(&file, &from).await.unwrap();
    assert_eq!(restored.copied.jobs, 2);
    assert_alone(&file);
    assert_eq!(jobs(&file).await, "a b");
    assert!(
        fs::metadata(from.with_extension("db-wal")).unwrap().len() > 0,
        "it is only read"
    );
}

#[tokio::test]
async fn a_database_with_a_second_name_is_not_replaced_and_a_backup_with_one_is_taken() {
    let (folder, backup) = backup_of(&["1"]).await;
    fs::hard_link(&backup, folder.path().join("of-yesterday.db")).unwrap();
    let (home, file) = place();
    create(&file).await.unwrap().close().await;
    let name = home.path().join("name.db");
    fs::hard_link(&file, &name).unwrap();
    let error = restore(&file, &backup).await.unwrap_err();
    assert!(
        matches!(
            error,
            CopyError::Store(StoreError::SecondName { names: 2, .. })
        ),
        "{error:?}"
    );
    fs::remove_file(name).unwrap();
    restore(&file, &backup).await.unwrap();
    assert_eq!(jobs(&file).await, "1");
}

#[tokio::test]
async fn a_database_of_another_program_is_not_replaced() {
    let (_folder, backup) = backup_of(&["1"]).await;
    let (_home, theirs) = made_by("CREATE TABLE theirs (x)").await;
    let before = fs::read(&theirs).unwrap();
    let error = restore(&theirs, &backup).await.unwrap_err().to_string();
    assert!(error.ends_with("correct database.url"), "{error}");
    assert!(fs::read(&theirs).unwrap() == before);
}
