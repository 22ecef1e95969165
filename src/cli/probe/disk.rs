//! What the database lies on: the kind of file system, and how much room is left.

use std::path::Path;

use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};

use super::{Finding, as_root, bytes};
use crate::config::DatabaseSettings;
use crate::store::{Filesystem, FilesystemKind, folder_of};

/// Less free space than this is a problem: one busy minute fills it.
const LEAST: u64 = 64 << 20;

/// Less free space than this is a warning, and so is less than twice the database: a copy, or a `VACUUM`, needs that.
const COMFORTABLE: u64 = 512 << 20;

/// Fewer free inodes than this are a problem: SQLite makes files beside the database.
const LEAST_INODES: u64 = 64;

/// Whether the file system may hold a database; a refused one is refused by the daemon too.
pub(in crate::cli) fn filesystem(database: &DatabaseSettings) -> Finding {
    let check = "database.filesystem";
    let path = database.path.display();
    let found = match Filesystem::of(&database.path) {
        Ok(found) => found,
        Err(error) => {
            let says = format!("the file system of {path} cannot be looked at: {error}");
            return Finding::note(check, says, as_root());
        }
    };
    let name = found.name;
    match found.kind {
        FilesystemKind::Local => Finding::ok(check, format!("{path} is on {name}")),
        FilesystemKind::Memory => Finding::warning(
            check,
            format!("{path} is on {name}, in memory"),
            "jobs and events that were not told yet are gone after a reboot; set database.url to a file on a disk",
        ),
        FilesystemKind::Network if database.allow_network_filesystem => Finding::warning(
            check,
            format!(
                "{path} is on a network file system ({name}), which database.allow_network_filesystem permits"
            ),
            "WAL does not work over a network filesystem: no other machine may ever open the file; safer is a \
             database.url on a local disk",
        ),
        FilesystemKind::Network => Finding::problem(
            check,
            format!("{path} is on a network file system ({name}), which the daemon refuses"),
            "WAL does not work over a network filesystem, and two machines would damage the database; set database.url \
             to a file on a local disk, or, if no other machine can ever reach it, \
             database.allow_network_filesystem = true",
        ),
    }
}

/// Room for the database and the files beside it.
pub(in crate::cli) fn room(path: &Path) -> Vec<Finding> {
    let folder = folder_of(path);
    let size = ["", "-wal"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        std::fs::metadata(name).map_or(0, |found| found.len())
    });
    match statvfs(folder) {
        Ok(found) => judge(folder, &found, size.iter().sum()),
        // A folder that is not there is told with the files.
        Err(_) => Vec::new(),
    }
}

fn judge(folder: &Path, found: &StatVfs, size: u64) -> Vec<Finding> {
    let shown = folder.display();
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return vec![Finding::problem(
            "database.read_only",
            format!("the file system of {shown} is mounted read-only"),
            format!(
                "nothing can be recorded; after a disk error that is how it is kept from harm, look at: dmesg | tail \
                 -n 50; findmnt -T {shown}; then, if the disk is sound: mount -o remount,rw \"$(findmnt -no TARGET -T {shown})\""
            ),
        )];
    }
    if found.f_blocks == 0 {
        // Its own business, as with some that are served by programs.
        return Vec::new();
    }
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let says = format!(
        "{} free at {shown}, the database has {}",
        bytes(free),
        bytes(size)
    );
    let advice = format!(
        "on a full disk nothing is polled or told until there is room; see what fills it: du -xh {shown} | sort -h | tail"
    );
    let check = "database.space";
    let mut findings = vec![if free < LEAST {
        Finding::problem(check, says, advice)
    } else if free < COMFORTABLE.max(size.saturating_mul(2)) {
        Finding::warning(check, says, advice)
    } else {
        Finding::ok(check, says)
    }];
    // File systems that make inodes as they need them say 0 of 0.
    if found.f_files > 0 && found.f_favail < LEAST_INODES {
        findings.push(Finding::problem(
            "database.inodes",
            format!("{} files more can be made at {shown}", found.f_favail),
            format!(
                "SQLite makes files beside the database; see where the many small ones are: du -x --inodes {shown} | \
                 sort -n | tail"
            ),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn judged(change: impl FnOnce(&mut StatVfs), size: u64) -> Vec<(&'static str, Level)> {
        let mut found = statvfs("/proc").unwrap();
        found.f_flag = StatVfsMountFlags::empty();
        (found.f_frsize, found.f_bavail, found.f_blocks) = (4096, 1 << 20, 1 << 21);
        (found.f_files, found.f_favail) = (1000, 500);
        change(&mut found);
        judge(Path::new("/x"), &found, size)
            .iter()
            .map(|each| (each.check, each.level))
            .collect()
    }

    #[test]
    fn room_is_judged_by_what_is_left_and_by_what_a_copy_needs() {
        let space = |level| vec![("database.space", level)];
        let free = |mib: u64| move |found: &mut StatVfs| found.f_bavail = mib << 8;
        assert_eq!(judged(free(4096), 1 << 30), space(Level::Ok));
        assert_eq!(judged(free(4096), 3 << 30), space(Level::Warning));
        assert_eq!(judged(free(511), 0), space(Level::Warning));
        assert_eq!(judged(free(512), 0), space(Level::Ok));
        assert_eq!(judged(free(63), 0), space(Level::Problem));
        assert_eq!(
            judged(|found| found.f_favail = 10, 0)[1],
            ("database.inodes", Level::Problem)
        );
        let btrfs = |found: &mut StatVfs| (found.f_files, found.f_favail) = (0, 0);
        assert_eq!(judged(btrfs, 0), space(Level::Ok));
        assert_eq!(judged(|found| found.f_blocks = 0, 0), []);
        let read_only = |found: &mut StatVfs| found.f_flag = StatVfsMountFlags::RDONLY;
        assert_eq!(
            judged(read_only, 0),
            [("database.read_only", Level::Problem)]
        );
    }
}
