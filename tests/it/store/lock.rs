//! One daemon per database.

use jobtrackd::store::{InstanceLock, LockError};

#[test]
fn the_second_taker_is_told_who_holds_the_lock_until_it_is_released() {
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
