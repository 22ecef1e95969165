//! `backup` and `restore`, as they are typed.

use std::path::Path;

use serde_json::json;

use super::{Said, Shell};
use crate::support::SCHEMA;

impl Shell {
    /// The name of a file in its folder, to be typed.
    fn named(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

fn size(path: &str) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn backup_and_restore_say_what_they_did() {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "1", "2"]).done();
    let copy = shell.named("copy.db");
    let said = shell.run(&["backup", &copy]).done();
    let (first, second) = said.out.trim_end().split_once('\n').unwrap();
    assert_eq!(first, format!("✓ {copy} written"));
    assert!(
        second.starts_with(&format!("  2 jobs, schema {SCHEMA}, 1")),
        "{second}"
    );
    assert!(
        second.contains(" KiB in ") && second.ends_with("ms"),
        "{second}"
    );

    shell.run(&["enqueue", "3"]).done();
    let said = shell.run(&["restore", &copy]).done();
    let lines: Vec<&str> = said.out.lines().collect();
    let path = shell.path().display().to_string();
    assert_eq!(lines[0], format!("✓ {path} restored from {copy}"));
    assert!(
        lines[1].starts_with(&format!("  2 jobs, schema {SCHEMA}, ")),
        "{}",
        lines[1]
    );
    let kept = format!("  the database before it is {path}.before-restore-20");
    assert!(
        lines[2].starts_with(&kept) && lines.len() == 3,
        "{}",
        said.out
    );
    assert_eq!(shell.run(&["list", "--json"]).done().json().len(), 2);
}

#[test]
fn their_json_is_one_object() {
    let shell = Shell::migrated();
    shell.run(&["enqueue", "1"]).done();
    let copy = shell.named("copy.db");
    let mut made = shell.run(&["backup", "--json", &copy]).done().json();
    assert!(made[0]["took_ms"].take().is_u64());
    let bytes = size(&copy);
    let expected =
        json!({"path": copy, "bytes": bytes, "jobs": 1, "schema": SCHEMA, "took_ms": null});
    assert_eq!(made, [expected]);

    let mut done = shell.run(&["restore", &copy, "--json"]).done().json();
    assert!(done[0]["took_ms"].take().is_u64());
    let previous = done[0]["previous"].take();
    assert!(Path::new(previous.as_str().unwrap()).is_file());
    let expected = json!({"path": shell.path(), "from": copy, "bytes": bytes, "jobs": 1, "schema": SCHEMA,
                          "previous": null, "took_ms": null});
    assert_eq!(done, [expected]);

    let empty = Shell::empty();
    let done = empty.run(&["restore", &copy, "--json"]).done().json();
    assert!(done[0]["previous"].is_null());
    assert_eq!(empty.run(&["list", "--json"]).done().json().len(), 1);
}

#[test]
fn what_cannot_be_backed_up_or_restored_ends_with_1_and_says_what_to_type() {
    let shell = Shell::migrated();
    let (copy, absent) = (shell.named("copy.db"), shell.named("absent/copy.db"));
    shell.run(&["backup", &copy]).done();
    let before = std::fs::read(&copy).unwrap();
    let itself = shell.path().display().to_string();
    for (arguments, expected) in [
        (["backup", &copy], "exists already; replace it with --force"),
        (
            ["backup", &absent],
            "does not exist; make it with: install -d -m 700 ",
        ),
        (
            ["backup", &itself],
            "belongs to the database itself; name another file",
        ),
        (["restore", &absent], "does not exist"),
        (
            ["restore", &itself],
            "is the database itself; name a backup of it",
        ),
    ] {
        let said = shell.run(&arguments);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{arguments:?}");
        assert!(said.err.contains(expected), "{}", said.err);
    }
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    shell.run(&["enqueue", "1"]).done();
    shell.run(&["backup", "--force", &copy]).done();
    assert_ne!(std::fs::read(&copy).unwrap(), before);

    let empty = Shell::empty();
    let said = empty.run(&["backup", &empty.named("copy.db")]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("jobtrackd migrate"), "{}", said.err);
    for arguments in [["backup", "-"], ["restore", "-"], ["backup", ""]] {
        let said = shell.run(&arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
        assert!(said.err.contains("name a file"), "{}", said.err);
    }
}

#[test]
fn a_relative_name_lies_in_the_working_directory() {
    let shell = Shell::migrated();
    let mut command = shell.command(&["backup", "copy.db"]);
    let output = command.current_dir(shell.folder.path()).output().unwrap();
    Said::from(output).done();
    assert!(Path::new(&shell.named("copy.db")).is_file());
}
