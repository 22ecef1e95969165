//! One daemon per database.

use std::path::Path;

use jobtrackd::store::sqlite::{Holder, InstanceLock, LockError};

use super::apart;

#[test]
fn the_second_taker_learns_who_holds_the_lock_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (
        folder.path().join("jobs.db"),
        folder.path().join("other.db"),
    );
    let first = InstanceLock::take(&one, "pid 4711, since a long time ago").unwrap();
    let second = InstanceLock::take(&one, "pid 1").unwrap_err();
    assert!(
        matches!(&second, LockError::Held { holder } if holder == "pid 4711, since a long time ago")
    );
    assert_eq!(
        second.to_string(),
        "the database is in use by another jobtrackd (pid 4711, since a long time ago); one daemon follows one database"
    );
    let _unrelated = InstanceLock::take(&other, "pid 2").unwrap();
    drop(first);
    let _third = InstanceLock::take(&one, "pid 3").unwrap();
    let fourth = InstanceLock::take(&one, "pid 4").unwrap_err();
    assert!(matches!(&fourth, LockError::Held { holder } if holder == "pid 3"));
}

#[test]
fn a_note_that_is_missing_or_strange_is_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("jobs.db");
    for (note, shown) in [("", "which left no note"), ("a\u{1b}[31m\nb", "a")] {
        let _held = InstanceLock::take(&database, note).unwrap();
        let LockError::Held { holder } = InstanceLock::take(&database, "x").unwrap_err() else {
            panic!("the lock is held");
        };
        assert!(
            holder.starts_with(shown) && !holder.contains(['\u{1b}', '\n']),
            "{holder:?}"
        );
    }
}

#[test]
fn a_lock_that_cannot_be_made_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing").join("jobs.db");
    let error = InstanceLock::take(&nowhere, "x").unwrap_err().to_string();
    assert!(
        error.starts_with("cannot lock ") && error.contains("missing/jobs.db.lock"),
        "{error}"
    );
}

#[test]
fn the_lock_is_that_of_the_file_whatever_name_leads_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("disk")).unwrap();
    let real = at("disk/jobs.db");
    std::os::unix::fs::symlink(&real, at("link.db")).unwrap();
    std::os::unix::fs::symlink(at("disk"), at("folder")).unwrap();

    // Before there is a file it is that of the place where it is going to be.
    let mut lock = InstanceLock::take(&at("link.db"), "pid 1").unwrap();
    assert!(at("disk/jobs.db.lock").exists());
    for name in ["link.db", "disk/jobs.db", "folder/jobs.db"] {
        let error = InstanceLock::take(&at(name), "pid 2").unwrap_err();
        assert!(
            matches!(&error, LockError::Held { holder } if holder == "pid 1"),
            "{name}: {error}"
        );
        let holder = InstanceLock::holder(&at(name)).unwrap();
        assert_eq!(holder, Holder::Daemon("pid 1".to_owned()), "{name}");
    }
    std::fs::write(&real, "").unwrap();
    lock.cover(&at("link.db")).unwrap();
    std::fs::hard_link(&real, at("name.db")).unwrap();
    let error = InstanceLock::take(&at("name.db"), "pid 2")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("under another name; see: fuser -v "),
        "{error}"
    );
    drop(lock);
    let _lock = InstanceLock::take(&at("name.db"), "pid 2").unwrap();
    let error = InstanceLock::take(&real, "pid 3").unwrap_err();
    assert!(matches!(error, LockError::Held { .. }), "{error}");
}

#[test]
fn a_bind_mount_of_the_file_is_the_same_file() {
    const NAME: &str = "store::lock::a_bind_mount_of_the_file_is_the_same_file";
    let Some(folder) = apart::folder() else {
        let script = "cd $JOBTRACKD_TEST_FOLDER; touch jobs.db; mkdir other; touch other/jobs.db
                      mount --bind jobs.db other/jobs.db; exec \"$@\"";
        return apart::again(NAME, apart::own_mounts(), script);
    };
    let _lock = InstanceLock::take(&folder.join("jobs.db"), "pid 1").unwrap();
    let error = InstanceLock::take(&folder.join("other/jobs.db"), "pid 2").unwrap_err();
    assert!(matches!(error, LockError::Held { .. }), "{error}");
}

#[test]
fn what_lies_where_the_lock_is_to_be_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (database, lock) = (
        folder.path().join("jobs.db"),
        folder.path().join("jobs.db.lock"),
    );
    let precious = folder.path().join("precious");
    std::fs::write(&precious, "mine").unwrap();
    for (put, said) in [
        (
            std::os::unix::fs::symlink as fn(_, _) -> _,
            "it is a symbolic link; remove it",
        ),
        (
            |from: &Path, to: &Path| std::fs::hard_link(from, to),
            "it has another name (a hard link); remove it",
        ),
        (
            |_: &Path, to: &Path| std::fs::create_dir(to),
            "it is not a file",
        ),
    ] {
        let _: () = put(precious.as_path(), lock.as_path()).unwrap();
        for error in [
            InstanceLock::take(&database, "pid 1").unwrap_err(),
            InstanceLock::holder(&database).unwrap_err(),
        ] {
            assert!(
                error
                    .to_string()
                    .ends_with(&format!("jobs.db.lock: {said}")),
                "{error}"
            );
        }
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
        drop(std::fs::remove_file(&lock));
    }
}
