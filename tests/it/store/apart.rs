//! Tests that need a world of their own run again in a child process: a copy of this test program under a script.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FOLDER: &str = "JOBTRACKD_TEST_FOLDER";

/// The folder of the child; `None` in the parent, which only starts it.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Runs the test `name` again under `script`, a line for `sh` in which `$JOBTRACKD_TEST_FOLDER` is an empty folder and
/// `"$@"` the program. Says on standard error when this machine does not allow such a world.
pub(crate) fn again(name: &str, launcher: &[&str], script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let allowed = launch(launcher, folder.path(), "exec true", name);
    if !allowed.status.success() {
        eprintln!("{name}: skipped, {launcher:?} is not allowed here");
        return;
    }
    let child = launch(launcher, folder.path(), script, name);
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&child.stderr)
    );
}

fn launch(launcher: &[&str], folder: &Path, script: &str, name: &str) -> Output {
    let words = launcher.iter().copied().chain(["sh", "-ec", script, "sh"]);
    Command::new("env")
        .args(words)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .output()
        .unwrap()
}

/// A launcher with file systems of its own: mounts vanish with the child.
pub(crate) fn own_mounts() -> &'static [&'static str] {
    if rustix::process::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--map-root-user", "--mount"]
    }
}
