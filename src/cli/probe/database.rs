//! The database and the disk it is on: the file system, the room left, whether it opens, its schema, and whether the file
//! is sound.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, StatVfs, StatVfsMountFlags, accessat, statvfs};

use super::account::Accounts;
use super::{Finding, Level, beside, files, note, ok, problem, size_of, warning};
use crate::cli::privilege::{leave_to_owner, reads_as_root};
use crate::cli::session::database_file;
use crate::cli::text::{self, outside};
use crate::clock::Clock;
use crate::config::DatabaseSettings;
use crate::store::sqlite::{Filesystem, FilesystemKind, folder_of};
use crate::store::{Checks as _, Store, StoreError};

/// The check of the file system.
const FILESYSTEM: &str = "database.filesystem";

/// Less free space than this is a problem: one busy minute fills it.
const LEAST_SPACE: u64 = 64 << 20;

/// Less free space than this is a warning, and so is less than twice the database: a copy, or a `VACUUM`, needs that.
const COMFORTABLE_SPACE: u64 = 512 << 20;

/// Fewer free inodes than this are a problem: SQLite makes files beside the database.
const LEAST_INODES: u64 = 64;

/// A log beyond this is a warning: the daemon cuts it back to 64 MiB whenever no program reads an old state of it.
const LARGE_LOG: u64 = 64 << 20;

/// A file up to this is read whole to find damage.
const CHECKED_WHOLE: u64 = 1 << 30;

/// Everything about the database, and its store if it can be opened.
pub(in crate::cli) async fn probe(
    database: &DatabaseSettings,
    accounts: &Accounts,
    clock: &Clock,
) -> (Vec<Finding>, Option<Store>) {
    let path = &database.path;
    // Before the database is opened, which creates files beside it.
    let mut findings = around(database, accounts);
    // A folder that does not exist was reported.
    if !folder_of(path).try_exists().unwrap_or(true) {
        return (findings, None);
    }
    let mut filesystem = findings.iter().filter(|each| each.check == FILESYSTEM);
    let refused = filesystem.any(|each| each.level == Level::Problem);
    if refused {
        return (findings, None);
    }
    let (opened, store) = open(database, clock).await;
    // A file that this user may not open need not be broken.
    let there = path.try_exists().unwrap_or(true);
    let barred = !reads_as_root() && there && !files::may_use(path);
    findings.push(match opened.level == Level::Problem && barred {
        true => Finding::hidden(opened.check, opened.text),
        false => opened,
    });
    if let Some(store) = &store {
        let schema = store.schema().await.ok();
        let up_to_date = |schema| ok("database.schema", format!("schema {schema}, up to date"));
        findings.extend(schema.map(up_to_date));
        findings.extend([lock(store, path).await, soundness(store, path).await]);
    }
    (findings, store)
}

/// What is seen without opening the database: its files, the file system, the room left, the log.
pub(super) fn around(database: &DatabaseSettings, accounts: &Accounts) -> Vec<Finding> {
    let path = &database.path;
    let mut findings = files::probe(path, accounts);
    if folder_of(path).try_exists().unwrap_or(true) {
        findings.push(filesystem(database));
        findings.extend(room(path));
        findings.push(log(path));
    }
    findings
}

/// Whether the file system may hold a database; a refused one is refused by the daemon too.
fn filesystem(database: &DatabaseSettings) -> Finding {
    let check = FILESYSTEM;
    let path = database.path.display();
    let found = match Filesystem::of(&database.path) {
        Ok(found) => found,
        Err(error) => {
            let text = format!("the file system of {path} cannot be read: {error}");
            return Finding::hidden(check, text);
        }
    };
    let name = found.name;
    let network = format!("{path} is on a network file system ({name})");
    match found.kind {
        FilesystemKind::Local => ok(check, format!("{path} is on {name}")),
        FilesystemKind::Memory => warning(check, format!("{path} is on {name}, in memory")).advise(
            "jobs and undelivered events are lost at a reboot; set database.url to a file on a disk",
        ),
        FilesystemKind::Network if database.allow_network_filesystem => {
            let text = format!("{network}, which database.allow_network_filesystem permits");
            warning(check, text).advise(
                "WAL does not work over a network filesystem: no other machine may ever open the file; safer is a database.url \
                 on a local disk",
            )
        }
        FilesystemKind::Network => problem(check, network + ", which the daemon refuses").advise(
            "WAL does not work over a network filesystem, and two machines would damage the database; set database.url to a \
             file on a local disk, or, if no other machine can ever reach it, database.allow_network_filesystem = true",
        ),
    }
}

/// Room for the database and the files beside it; a folder that is not there is reported with the files.
fn room(path: &Path) -> Vec<Finding> {
    let folder = folder_of(path);
    let size = size_of(path) + size_of(&beside(path, "-wal"));
    statvfs(folder).map_or(Vec::new(), |found| judge(folder, &found, size))
}

fn judge(folder: &Path, found: &StatVfs, size: u64) -> Vec<Finding> {
    let shown = folder.display();
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        let text = format!("the file system of {shown} is mounted read-only");
        return vec![problem("database.read_only", text).advise(format!(
            "nothing can be recorded; after a disk error that is how it is kept from harm, see: dmesg | tail -n 50; findmnt \
             -T {shown}; then, if the disk is sound: mount -o remount,rw \"$(findmnt -no TARGET -T {shown})\""
        ))];
    }
    if found.f_blocks == 0 {
        // A file system that some program serves need not say its size.
        return Vec::new();
    }
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let comfortable = COMFORTABLE_SPACE.max(size.saturating_mul(2));
    let level = match free {
        0..LEAST_SPACE => Level::Problem,
        _ if free < comfortable => Level::Warning,
        _ => Level::Ok,
    };
    let (free, size) = (text::size(free), text::size(size));
    let text = format!("{free} free at {shown}, the database has {size}");
    let mut space = Finding::new("database.space", level, text);
    if level != Level::Ok {
        space = space.advise(format!(
            "on a full disk nothing is polled or sent until there is room; see what fills it: du -xh {shown} | sort -h | tail"
        ));
    }
    let mut findings = vec![space];
    // File systems that make inodes as they need them say 0 of 0.
    if found.f_files > 0 && found.f_favail < LEAST_INODES {
        let text = format!("{} files more can be made at {shown}", found.f_favail);
        findings.push(problem("database.inodes", text).advise(format!(
            "SQLite makes files beside the database; see where the many small ones are: du -x --inodes {shown} | sort -n | \
             tail"
        )));
    }
    findings
}

/// The write-ahead log, before anything opens the database and perhaps shortens it.
fn log(path: &Path) -> Finding {
    let check = "database.log";
    let size = size_of(&beside(path, "-wal"));
    let text = format!("the write-ahead log has {}", text::size(size));
    if size <= LARGE_LOG {
        return ok(check, text);
    }
    warning(check, text).advise(format!(
        "it is cut back to {} unless some program keeps a read transaction open, and it fills the disk; find that program: \
         fuser -v {}",
        text::size(LARGE_LOG),
        path.display()
    ))
}

/// Opens the database as it is; nothing is created or migrated. What the daemon itself waits for, or does at its start, is
/// not a problem. From here on root is the owner of the folder.
pub(in crate::cli) async fn open(
    database: &DatabaseSettings,
    clock: &Clock,
) -> (Finding, Option<Store>) {
    let check = "database.open";
    let path = &database.path;
    let shown = path.display();
    if let Err(error) = leave_to_owner(path) {
        let advice = format!("root opens nothing there; see what it is: ls -ld {shown}*");
        return (problem(check, format!("{error:#}")).advise(advice), None);
    }
    match Store::open(database_file(database), clock.clone()).await {
        Ok(store) => (ok(check, shown.to_string()), Some(store)),
        Err(error) => (unopened(&error, database), None),
    }
}

fn unopened(error: &StoreError, database: &DatabaseSettings) -> Finding {
    let check = "database.open";
    let path = &database.path;
    let shown = path.display();
    let refused = |advice: String| problem(check, error.to_string()).advise(advice);
    match error {
        StoreError::Absent(path) if !database.create => {
            problem(check, format!("there is no database at {}", path.display())).advise(
                "the daemon does not start, since database.create = false; if its volume is not mounted, mount it; to make a \
                 new database, run: jobtrackd migrate",
            )
        }
        StoreError::Absent(path) => absent(path),
        StoreError::Outdated { found, wanted } => outdated(path, *found, *wanted),
        StoreError::Newer { .. } => problem("database.schema", format!("{shown}: {error}")).advise(
            "the daemon refuses a schema that it does not know; install the newer jobtrackd again, or restore a backup of \
             before",
        ),
        StoreError::Busy => warning(check, format!("{shown} is locked by another program")).advise(format!(
            "the daemon waits for it, and nothing is recorded or sent meanwhile; find that program and end it: fuser -v {shown}"
        )),
        StoreError::Full => warning(check, format!("{shown} cannot be used: the disk is full")).advise(format!(
            "the daemon waits for room; make some: df -h {}",
            folder_of(path).display()
        )),
        StoreError::Short(shortage) => {
            warning(check, format!("{shown} cannot be used from here: {shortage}")).advise(
                "the daemon waits until there is enough; see the limits: ulimit -a; quota -v",
            )
        }
        StoreError::SecondName { .. } => refused("the daemon does not start, and no command opens it".to_owned()),
        StoreError::NetworkFilesystem { .. } => refused(format!(
            "the daemon does not start; see what is mounted there: findmnt -T {shown}"
        )),
        StoreError::Foreign(_) => refused(format!("see what it is, and correct database.url: file {shown}")),
        _ => refused(format!(
            "the daemon does not start with it; see who it belongs to, and what the disk says: ls -l {shown}*; dmesg | tail -n \
             50"
        )),
    }
}

fn outdated(path: &Path, found: i64, wanted: i64) -> Finding {
    let (check, shown) = ("database.schema", path.display());
    if found == 0 {
        let text = format!("{shown} has no tables yet; they are made at the next start");
        return note(check, text).advise("to insert rows before that, run: jobtrackd migrate");
    }
    let text =
        format!("{shown} has schema {found}, is brought up to date ({wanted}) at the next start");
    note(check, text).advise(
        "commands refuse it until then; run: systemctl restart jobtrackd, or, with the daemon stopped: jobtrackd migrate",
    )
}

/// A first start creates the file, if it may.
fn absent(path: &Path) -> Finding {
    let check = "database.open";
    let folder = folder_of(path);
    let (shown, within) = (path.display(), folder.display());
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let text = match accessat(CWD, folder, wanted, AtFlags::EACCESS) {
        Ok(()) => return ok(check, format!("{shown} is created at the first start")),
        Err(error) => format!("{shown} cannot be created: {within}: {error}"),
    };
    problem(check, text).advise(format!(
        "the daemon does not start; see who may write there: ls -ld {within}"
    ))
}

async fn lock(store: &Store, path: &Path) -> Finding {
    let check = "database.lock";
    match store.writable().await {
        Ok(()) => ok(check, "nobody keeps the write lock"),
        Err(StoreError::Busy) => problem(check, "another program keeps the write lock").advise(format!(
            "nothing is recorded or sent until it lets go; find that program and end it: fuser -v {}",
            path.display()
        )),
        Err(error) if error.is_temporary() => problem(check, format!("nothing can be written: {error}"))
            .advise("nothing is polled or sent until there is room; it goes on by itself"),
        Err(error) => Finding::hidden(check, format!("nothing can be written from here: {error}")),
    }
}

async fn soundness(store: &Store, path: &Path) -> Finding {
    let check = "database.integrity";
    let shown = path.display();
    let size = size_of(path);
    if size > CHECKED_WHOLE {
        let text = format!("the file has {} and was not read whole", text::size(size));
        return note(check, text).advise(format!(
            "to find damage, run: sqlite3 -readonly {shown} 'PRAGMA quick_check'"
        ));
    }
    let wrong = match store.quick_check().await {
        Ok(wrong) if wrong.is_empty() => return ok(check, "the file is sound"),
        Ok(wrong) => outside(&wrong.join("; "), 500),
        Err(error) => error.to_string(),
    };
    problem(check, format!("the file is damaged: {wrong}")).advise(format!(
        "what is in it cannot be trusted; stop the daemon, keep a copy, and restore a backup: systemctl stop jobtrackd; cp -a \
         {shown}* /var/tmp/"
    ))
}

#[cfg(test)]
mod tests {
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
