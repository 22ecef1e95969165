//! Tells the program which commit it is built from: `JOBTRACKD_COMMIT` if that is set, else what git says.

use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "JOBTRACKD_COMMIT";

/// What stands in for a commit nobody knows, as in a build from an archive.
const UNKNOWN: &str = "unknown commit";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");
    let given = std::env::var(VARIABLE)
        .ok()
        .and_then(|text| first_line(&text));
    let commit = given.or_else(checked_out);
    println!(
        "cargo::rustc-env={VARIABLE}={}",
        commit.as_deref().unwrap_or(UNKNOWN)
    );
}

/// The commit that is checked out, and its day.
fn checked_out() -> Option<String> {
    // A repository further up is somebody else's, and says nothing of this code.
    if !Path::new(".git").exists() {
        return None;
    }
    watch_head();
    git(&[
        "show",
        "--no-patch",
        "--no-show-signature",
        "--abbrev=12",
        "--format=%h, %cs",
        "HEAD",
    ])
}

/// Has this script run again when another commit is checked out, and only then.
fn watch_head() {
    let watch = |path: &Path| println!("cargo::rerun-if-changed={}", path.display());
    let inside = |name: &str| git(&["rev-parse", "--git-path", name]);
    // A path that is not there would run it at every build.
    for path in ["HEAD", "packed-refs"].into_iter().filter_map(inside) {
        let path = Path::new(&path);
        if path.exists() {
            watch(path);
        }
    }
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    if let Some(path) = branch.as_deref().and_then(inside) {
        // The file of a packed branch appears in its folder with the next commit.
        if let Some(there) = Path::new(&path).ancestors().find(|path| path.exists()) {
            watch(there);
        }
    }
}

/// The first line of git's answer; nothing without git, or without an answer.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    first_line(&text).filter(|_| output.status.success())
}

fn first_line(text: &str) -> Option<String> {
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}
