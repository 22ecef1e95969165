//! Copies of a database in use.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jobtrackd::clock::Clock;
use jobtrackd::store::Store;
use jobtrackd::store::sqlite::{BackupTarget, Copied, CopyError};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::apart;
use super::bench::{Bench, Outsider};
use super::files::{made_by, place};
use super::fixtures;
use crate::support::SCHEMA;

pub(super) async fn back_up(database: &Path, target: &Path) -> Result<Copied, CopyError> {
    back_up_over(database, target, false).await
}

async fn back_up_over(database: &Path, target: &Path, replace: bool) -> Result<Copied, CopyError> {
    let stop = CancellationToken::new();
    back_up_until(database, target, replace, &stop).await
}

async fn back_up_until(
    database: &Path,
    target: &Path,
    replace: bool,
    stop: &CancellationToken,
) -> Result<Copied, CopyError> {
    let target = BackupTarget::prepare(database, target, replace, None)?;
    let copied = Store::back_up(database.into(), &target, &Clock::system(), stop).await?;
    target.put()?;
    Ok(copied)
}

pub(super) fn names(folder: &Path) -> BTreeSet<OsString> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

/// A folder for copies, and a file in it that is not there yet.
pub(super) fn elsewhere() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("copy.db");
    (folder, file)
}

/// What is 0 in every committed state of jobs whose events go to one webhook.
const TORN: [&str; 3] = [
    "SELECT (SELECT count(*) FROM transitions)
          - (SELECT count(*) FROM events WHERE type = 'job.step_changed')",
    "SELECT (SELECT count(*) FROM events) - (SELECT count(*) FROM deliveries)",
    "SELECT count(*) FROM jobs WHERE state = 'success' AND id NOT IN
        (SELECT job_id FROM events WHERE type = 'job.completed')",
];

#[tokio::test]
async fn a_copy_made_while_others_write_is_one_moment_of_the_database() {
    let bench = Bench::fresh().await;
    let (_folder, target) = elsewhere();
    let (enough, ended) = (AtomicBool::new(false), AtomicU64::new(0));
    let writing = async {
        let mut outsider = bench.another_outsider().await;
        for id in 0.. {
            if enough.load(Ordering::Relaxed) {
                return;
            }
            let id = id.to_string();
            let row = format!("INSERT INTO jobs (id) VALUES ('{id}')");
            outsider.run(&row).await.unwrap();
            for states in [["success", "pending"], ["success", "success"]] {
                let steps = [("a", states[0]), ("b", states[1])];
                bench.sees(&id, &fixtures::body(&steps), &["billing"]).await;
            }
            ended.fetch_add(1, Ordering::Relaxed);
        }
    };
    let copying = async {
        let mut held = Vec::new();
        while held.len() < 10 {
            let before = ended.load(Ordering::Relaxed);
            let copied = back_up_over(&bench.file, &target, true).await.unwrap();
            let mut copy = Outsider::of(&target).await;
            for torn in TORN {
                assert_eq!(copy.value(torn).await, "0", "{torn}");
            }
            let successes = "SELECT count(*) FROM jobs WHERE state = 'success'";
            let successes: u64 = copy.value(successes).await.parse().unwrap();
            assert!(successes >= before, "what was committed is in it");
            assert_eq!(
                copied.jobs.to_string(),
                copy.value("SELECT count(*) FROM jobs").await
            );
            copy.leave().await;
            held.push(successes);
        }
        enough.store(true, Ordering::Relaxed);
        held
    };
    let (held, ()) = tokio::join!(copying, writing);
    assert!(held.first() < held.last(), "the writer went on: {held:?}");
}

#[tokio::test]
async fn a_copy_needs_nothing_beside_it_and_has_everything_of_the_original() {
    let mut bench = Bench::with_jobs(&["1", "2", "3"]).await;
    bench
        .sees("2", &fixtures::body(&[("a", "success")]), &["billing"])
        .await;
    // Numbers that must not come again, and gaps that must stay.
    let script = "DELETE FROM job_changes; UPDATE jobs SET cancel_requested = 1 WHERE id = '3';
                  DELETE FROM job_changes; UPDATE deliveries SET state = 'exhausted', next_attempt_at = NULL;
                  DELETE FROM jobs WHERE id = '2'";
    bench.outsider.run(script).await.unwrap();
    let (folder, target) = elsewhere();
    let copied = back_up(&bench.file, &target).await.unwrap();
    assert_eq!(names(folder.path()), BTreeSet::from(["copy.db".into()]));
    let meta = fs::metadata(&target).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.len()), (0o600, copied.bytes));
    assert_eq!((copied.jobs, copied.schema), (2, SCHEMA));

    let mut copy = Outsider::of(&target).await;
    assert_eq!(copy.value("PRAGMA journal_mode").await, "delete");
    for query in [
        "PRAGMA application_id",
        "PRAGMA user_version",
        "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name",
        "SELECT name, seq FROM sqlite_sequence ORDER BY name",
        "SELECT rowid, id FROM jobs ORDER BY rowid",
        "SELECT version, hex(checksum), success FROM _sqlx_migrations",
    ] {
        let (original, copied) = (bench.outsider.rows(query).await, copy.rows(query).await);
        assert!(
            !original.is_empty() && original == copied,
            "{query}: {copied:?}"
        );
    }
    let refused = copy.run("INSERT INTO jobs (id) VALUES ('a/b')").await;
    assert!(refused.unwrap_err().starts_with("jobs.id must be"));
    copy.run("INSERT INTO jobs (id) VALUES ('4')")
        .await
        .unwrap();
    let number = copy.value("SELECT seq FROM job_changes").await;
    assert_eq!(number, "5", "numbers of changes go on");
}

#[tokio::test]
async fn a_copy_is_never_readable_by_others() {
    const NAME: &str = "store::backup::a_copy_is_never_readable_by_others";
    let Some(folder) = apart::folder() else {
        return apart::again(NAME, &[], "umask 0; exec \"$@\"");
    };
    let bench = Bench::with_jobs(&["1"]).await;
    let target = folder.join("copy.db");
    fs::write(&target, "an older copy").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o666)).unwrap();
    back_up_over(&bench.file, &target, true).await.unwrap();
    assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o600);
}

#[tokio::test]
async fn places_that_are_no_good_are_refused_and_left_as_they_are() {
    let bench = Bench::with_jobs(&["1"]).await;
    let (folder, free) = elsewhere();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("old.db"), "precious").unwrap();
    fs::create_dir(at("folder")).unwrap();
    symlink(at("nowhere"), at("link")).unwrap();
    fs::hard_link(&bench.file, at("same.db")).unwrap();
    fs::write(at("stale.db-wal"), "of another one").unwrap();
    let own = |ending: &str| PathBuf::from(format!("{}{ending}", bench.file.display()));
    for (target, replace, said) in [
        (
            at("old.db"),
            false,
            "exists already; replace it with --force",
        ),
        (at("folder"), true, "is a folder; name a file in it"),
        (at("link"), true, "is a symbolic link"),
        (at("missing/copy.db"), false, "install -d -m 700 "),
        (at("same.db"), true, "belongs to the database itself"),
        (
            at("stale.db"),
            false,
            "stale.db-wal would be read as a part of the copy",
        ),
        (own(""), true, "belongs to the database itself"),
        (own("-wal"), true, "belongs to the database itself"),
        (own("-journal"), false, "belongs to the database itself"),
        (own(".lock"), true, "belongs to the database itself"),
        (PathBuf::from("/"), true, "is a folder"),
    ] {
        let before = names(folder.path());
        let error = back_up_over(&bench.file, &target, replace)
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains(said),
            "{}: {error}",
            target.display()
        );
        assert_eq!(names(folder.path()), before);
        assert_eq!(fs::read(at("old.db")).unwrap(), b"precious");
    }
    fs::remove_file(at("same.db")).unwrap();
    assert_eq!(back_up(&bench.file, &free).await.unwrap().jobs, 1);
}

#[tokio::test]
async fn what_is_no_database_of_ours_is_not_copied() {
    let (folder, target) = elsewhere();
    let (_home, missing) = place();
    let error = back_up(&missing, &target).await.unwrap_err().to_string();
    assert!(
        error.contains("create it with: jobtrackd migrate"),
        "{error}"
    );
    let (_home, theirs) = made_by("CREATE TABLE theirs (x)").await;
    let error = back_up(&theirs, &target).await.unwrap_err().to_string();
    assert!(error.ends_with("is not a database of jobtrackd"), "{error}");

    let bench = Bench::with_jobs(&["1"]).await;
    bench.store.close().await;
    bench.outsider.leave().await;
    let mut bytes = fs::read(&bench.file).unwrap();
    let damaged = missing;
    for page in 2..bytes.len() / 4096 {
        bytes[page * 4096..page * 4096 + 100].fill(0xa5);
    }
    fs::write(&damaged, bytes).unwrap();
    let error = back_up(&damaged, &target).await.unwrap_err().to_string();
    assert!(
        error.contains("malformed") || error.contains("damaged"),
        "{error}"
    );
    assert_eq!(names(folder.path()), BTreeSet::new());
}

#[tokio::test]
async fn any_schema_of_ours_is_copied() {
    let mut bench = Bench::with_jobs(&["1"]).await;
    let newer = "INSERT INTO _sqlx_migrations
                 SELECT 4711, 'later', installed_on, 1, x'00', 0 FROM _sqlx_migrations LIMIT 1";
    bench.outsider.run(newer).await.unwrap();
    let (_folder, target) = elsewhere();
    let copied = back_up(&bench.file, &target).await.unwrap();
    assert_eq!((copied.schema, copied.jobs), (4711, 1));
}

#[tokio::test]
async fn a_copy_that_is_no_longer_wanted_leaves_nothing() {
    let bench = Bench::with_jobs(&["1"]).await;
    let (folder, target) = elsewhere();
    let stop = CancellationToken::new();
    stop.cancel();
    let stopped = back_up_until(&bench.file, &target, false, &stop).await;
    assert!(matches!(stopped, Err(CopyError::Stopped)), "{stopped:?}");
    assert_eq!(names(folder.path()), BTreeSet::new());
}

#[tokio::test]
async fn a_full_disk_leaves_nothing_and_is_named() {
    const NAME: &str = "store::backup::a_full_disk_leaves_nothing_and_is_named";
    let Some(folder) = apart::folder() else {
        let small = "mount -t tmpfs -o size=64k none $JOBTRACKD_TEST_FOLDER; exec \"$@\"";
        return apart::again(NAME, apart::own_mounts(), small);
    };
    let bench = Bench::with_jobs(&["1"]).await;
    let target = folder.join("copy.db");
    let error = back_up(&bench.file, &target).await.unwrap_err();
    let said = format!(
        "cannot write {}: the disk is full; make space",
        target.display()
    );
    assert!(error.to_string().starts_with(&said), "{error}");
    assert_eq!(names(&folder), BTreeSet::new());
    let old = folder.join("old.db");
    fs::write(&old, "precious").unwrap();
    back_up_over(&bench.file, &old, true).await.unwrap_err();
    assert_eq!(fs::read(&old).unwrap(), b"precious");
}
