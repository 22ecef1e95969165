//! A database on a file system that may be another machine's. Served by nobody: the kernel answers for it, because only
//! another user may enter.

use std::path::Path;
use std::process::Command;

use super::{Patient, Report, Said};

/// Mounts such a file system on the folder `$1`, which nobody outside sees, and runs the rest there.
const MOUNTED: &str = "exec 5<>/dev/fuse && \
    mount -i -t fuse -o fd=5,rootmode=40000,user_id=65534,group_id=65534 none \"$1\" && shift && exec \"$@\"";

fn within(folder: &Path, command: &Command) -> Said {
    let mut mounted = Command::new("unshare");
    mounted
        .args(["-m", "sh", "-c", MOUNTED, "sh"])
        .arg(folder)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        mounted.envs(value.map(|value| (name, value)));
    }
    mounted.output().unwrap().into()
}

/// Whether such a file system cannot be had here.
fn is_missing(folder: &Path) -> bool {
    let root = rustix::process::geteuid().is_root();
    !root || within(folder, &Command::new("true")).code != 0
}

#[test]
fn a_database_on_a_network_file_system_is_refused_before_anything_touches_it() {
    let mut patient = Patient::new();
    let share = patient.shell.folder.path().join("share");
    std::fs::create_dir(&share).unwrap();
    if is_missing(&share) {
        eprintln!("not tested: only root may mount a file system, and FUSE must be there");
        return;
    }
    let url = format!("sqlite://{}/jobs.db", share.display());
    patient.set("DATABASE__URL", &url);
    let refusal =
        "jobs.db lies on a network file system (fuse); WAL does not work over a network filesystem";
    for arguments in [&["run"][..], &["migrate"], &["list"], &["enqueue", "1"]] {
        let said = within(&share, &patient.command(arguments));
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains(refusal), "{said:?}");
        assert!(
            said.err
                .contains("database.allow_network_filesystem = true")
        );
    }
    let said = within(&share, &patient.command(&["check", "--offline"]));
    assert_eq!(said.code, 1);
    assert!(said.out.contains(refusal), "{said:?}");
    let examine = ["doctor", "--offline", "--json"];
    let report = Report(within(&share, &patient.command(&examine)));
    report
        .has(
            "database.filesystem",
            "problem",
            "network file system (fuse), which the daemon refuses",
            "local disk",
        )
        .ends(1);

    patient.set("DATABASE__ALLOW_NETWORK_FILESYSTEM", "true");
    let said = within(&share, &patient.command(&["list"]));
    assert!(!said.err.contains("network file system"), "{said:?}");
    let report = Report(within(&share, &patient.command(&examine)));
    report.has("database.filesystem", "warning", "permits", "");
}
