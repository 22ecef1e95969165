//! What the scenarios need of the machine, and the namespaces in which they run.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;

/// Set in the environment of the process inside.
const INSIDE: &str = "TORTURE_INSIDE";
/// Mounts and processes of its own; all of them end with it.
const NAMESPACES: [&str; 7] = [
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
];

/// Why nothing can be run here.
pub(crate) fn missing(binary: &Path) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    if is_inside() {
        return None;
    }
    if !binary.exists() {
        return Some(format!("{} is not built", binary.display()));
    }
    if let Some(why) = lacks(&["unshare", "sqlite3"]) {
        return Some(why);
    }
    let allowed = Command::new("unshare")
        .args(NAMESPACES)
        .arg("true")
        .stderr(Stdio::null())
        .status();
    match allowed {
        Ok(status) if status.success() => None,
        _ => Some("namespaces are not allowed".to_owned()),
    }
}

pub(crate) fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program again in namespaces of its own, and answers with its end.
pub(crate) fn go_inside() -> anyhow::Result<ExitCode> {
    let status = Command::new("unshare")
        .args(NAMESPACES)
        .arg(std::env::current_exe()?)
        .args(std::env::args().skip(1))
        .env(INSIDE, "1")
        .status()
        .context("cannot run unshare")?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A tool that is not installed, as a reason.
fn lacks(tools: &[&str]) -> Option<String> {
    let is_there = |tool: &&&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(tool).exists())
    };
    let missing = tools.iter().find(|tool| !is_there(tool))?;
    Some(format!("{missing} is not installed"))
}

pub(crate) fn nothing() -> Option<String> {
    None
}

pub(crate) fn strace() -> Option<String> {
    lacks(&["strace"]).or_else(|| {
        let traced = Command::new("strace")
            .args(["-qq", "-o", "/dev/null", "true"])
            .stderr(Stdio::null())
            .status();
        (!traced.is_ok_and(|status| status.success()))
            .then(|| "strace is not allowed to trace".to_owned())
    })
}

pub(crate) fn small_disk() -> Option<String> {
    let tried = "mount -t tmpfs -o size=1m none /mnt && umount /mnt";
    let mounted = Command::new("sh")
        .args(["-c", tried])
        .stderr(Stdio::null())
        .status();
    (!mounted.is_ok_and(|status| status.success()))
        .then(|| "a small file system cannot be mounted".to_owned())
}

pub(crate) fn users() -> Option<String> {
    lacks(&["setpriv"])
}

pub(crate) fn power() -> Option<String> {
    lacks(&["mkfs.ext4", "mount", "umount", "python3"]).or_else(|| {
        let tried = "set -e; d=$(mktemp -d); truncate -s 8M $d/i; mkfs.ext4 -q -F $d/i; mkdir $d/m; mount -o loop $d/i $d/m; \
                     umount $d/m; rm -r $d";
        let mounted = Command::new("sh").args(["-c", tried]).stderr(Stdio::null()).status();
        (!mounted.is_ok_and(|status| status.success()))
            .then(|| "an ext4 cannot be mounted from a file (no loop device?)".to_owned())
    })
}

pub(crate) fn power_and_strace() -> Option<String> {
    power().or_else(strace)
}
